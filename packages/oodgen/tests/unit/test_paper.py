import pytest
import torch
from oodgen.data.folders import Pixels
from oodgen.outliers import GenerationSettings
from oodgen.paper import PaperBatches, mixed_order
from oodgen.vae import VAE, PaperVAE

N, BATCH = 20, 8  # batches of 8, 8 and 4 images


@pytest.fixture
def pixels():
    images = torch.randint(0, 256, (N, 1, 28, 28), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    return Pixels(images, torch.arange(N) % 2, ("a", "b"))


@pytest.fixture
def batches_of(pixels):
    def make(network=VAE, refresh=2, seed=0, settings=None, shown=None):
        torch.manual_seed(0)
        vae = network(2, 8).eval()
        return PaperBatches(
            vae,
            pixels,
            settings or GenerationSettings(class_stats="train"),
            batch_size=BATCH,
            refresh=refresh,
            generator=torch.Generator().manual_seed(seed),
            device=torch.device("cpu"),
            shown=shown,
        )

    return make


@pytest.fixture
def shown(pixels):
    """The images and as many others, in another order."""
    images, labels = torch.cat([255 - pixels.images, pixels.images]), torch.cat([pixels.labels, pixels.labels])
    return Pixels(images, labels, pixels.classes)


def epochs(batches, count):
    return [[(images.clone(), labels, picked) for images, labels, picked in batches] for _ in range(count)]


def test_a_step_has_the_next_images_in_their_order_and_64_outliers_of_each_type(batches_of, pixels):
    batches = batches_of()
    (epoch,) = epochs(batches, 1)
    assert len(batches) == len(epoch) == 3
    assert [len(images) for images, _, _ in epoch] == [BATCH + 128, BATCH + 128, 4 + 128]
    own = torch.cat([images[:-128] for images, _, _ in epoch])
    assert torch.equal(own, pixels.images / 255)
    assert torch.equal(torch.cat([labels[:-128] for _, labels, _ in epoch]), pixels.labels)
    assert all(set(labels[-128:].tolist()) == {2} for _, labels, _ in epoch)


def test_other_images_may_be_shown_than_the_outliers_are_made_from(batches_of, shown):
    batches, plain = batches_of(shown=shown), batches_of()
    (epoch,), (expected,) = epochs(batches, 1), epochs(plain, 1)
    assert len(batches) == len(epoch) == 5  # 40 images in batches of 8
    assert torch.equal(torch.cat([images[:-128] for images, _, _ in epoch]), shown.images / 255)
    assert torch.equal(torch.cat([labels[:-128] for _, labels, _ in epoch]), shown.labels)
    assert max(int(picked.max()) for _, _, picked in epoch) < N
    for (images, _, picked), (others, _, same) in zip(epoch, expected, strict=False):
        assert torch.equal(picked, same)
        assert torch.equal(images[-128:], others[-128:])


@pytest.mark.parametrize("at", [0, 4, 6])
def test_batches_that_show_other_images_are_resumed_bit_equal(batches_of, shown, at):
    whole = [batch for epoch in epochs(batches_of(shown=shown), 2) for batch in epoch]
    first, seen = batches_of(shown=shown), 0
    while seen <= at:
        for _ in first:
            seen += 1
            if seen > at:
                state = first.state_dict()
                break
    second = batches_of(seed=99, shown=shown)
    second.load_state_dict(state)
    rest = []
    while len(rest) < len(whole) - seen:
        rest += [(images.clone(), labels, picked) for images, labels, picked in second]
    for one, other in zip(whole[seen:], rest, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_both_types_are_picked_by_the_same_indices_with_replacement(batches_of):
    (epoch,) = epochs(batches_of(), 1)
    for images, _, picked in epoch:
        assert picked.shape == (64,)  # of 20 images: some more than once
        for start in (-128, -64):
            made = images[len(images) + start : len(images) + start + 64]
            for index in picked.unique():
                rows = made[picked == index]
                assert (rows == rows[0]).all()


def test_type_1_is_made_anew_every_few_epochs_and_type_2_in_each(batches_of):
    runs = epochs(batches_of(refresh=2), 4)
    pools = {1: [], 2: []}
    for epoch in runs:
        for kind, offset in ((1, -128), (2, -64)):
            pool = {}
            for images, _, picked in epoch:
                made = images[len(images) + offset : len(images) + offset + 64]
                pool |= {int(index): image for index, image in zip(picked, made, strict=True)}
            pools[kind].append(pool)

    def same(kind, one, other):
        first, second = pools[kind][one], pools[kind][other]
        shared = first.keys() & second.keys()
        assert shared
        return all(torch.equal(first[index], second[index]) for index in shared)

    assert [same(1, 0, 1), same(1, 1, 2), same(1, 2, 3)] == [True, False, True]
    assert [same(2, 0, 1), same(2, 1, 2), same(2, 2, 3)] == [False, False, False]


def test_pools_are_not_rounded_to_256_values(batches_of):
    (epoch,) = epochs(batches_of(), 1)
    made = epoch[0][0][-128:] * 255
    assert (made - made.round()).abs().max() > 0.1


@pytest.mark.parametrize("at", range(9))
@pytest.mark.parametrize("network", [VAE, PaperVAE])
def test_batches_that_are_resumed_go_on_bit_equal(batches_of, at, network):
    whole = [batch for epoch in epochs(batches_of(network), 3) for batch in epoch]
    first, state, seen = batches_of(network), None, 0
    while state is None:
        for _ in first:
            seen += 1
            if seen == at + 1:
                state = first.state_dict()  # inside the loop: the batch in hand counts as done
                break
    second = batches_of(network, seed=99)
    second.load_state_dict(state)
    rest = []
    while len(rest) < len(whole) - seen:
        rest += [(images.clone(), labels, picked) for images, labels, picked in second]
    for one, other in zip(whole[seen:], rest, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("done", [1, 2, 3])
def test_batches_that_are_resumed_between_epochs_go_on_bit_equal(batches_of, done):
    whole = epochs(batches_of(), 4)
    first = batches_of()
    epochs(first, done)
    second = batches_of(seed=99)
    second.load_state_dict(first.state_dict())
    for one, other in zip(whole[done:], epochs(second, 4 - done), strict=True):
        assert all(torch.equal(a[0], b[0]) for a, b in zip(one, other, strict=True))


def test_the_fingerprint_sees_the_network_and_the_settings(batches_of):
    prints = [
        batches_of().crc32(),
        batches_of(PaperVAE).crc32(),
        batches_of(settings=GenerationSettings(class_stats="train", eps_max=1.0)).crc32(),
    ]
    assert len(set(prints)) == 3
    assert batches_of(seed=7).crc32() == prints[0]


def test_the_order_of_the_images_mixes_the_classes_and_is_the_same_every_time():
    labels = torch.arange(200) // 50  # sorted by class, as folders are read
    pixels = Pixels(labels.to(torch.uint8).reshape(-1, 1, 1, 1).expand(-1, 1, 28, 28), labels, ("a", "b", "c", "d"))
    mixed, again = mixed_order(pixels, seed=1), mixed_order(pixels, seed=1)
    assert torch.equal(mixed.labels, again.labels)
    assert torch.equal(mixed.labels, mixed.images[:, 0, 0, 0].long())
    assert torch.equal(mixed.labels.sort().values, labels)
    assert all(len(batch.unique()) == 4 for batch in mixed.labels.split(40))
