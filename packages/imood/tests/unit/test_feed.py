"""Batches as a function of seed, epoch and step; views with draws of their own."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from imood.data import batches as feeding
from imood.data.batches import Feed
from imood.data.images import Resident, Streamed
from imood.data.views import LARGE, LARGE_FILES, SMALL, CommonViews
from ood_shared.errors import InputError
from PIL import Image

CPU = torch.device("cpu")


def resident(n, seed=0, side=32):
    g = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (n, 3, side, side), generator=g, dtype=torch.uint8)
    return Resident(images, torch.arange(n))


def feed(n=20, m=15, batch=4, seed=1):
    return Feed(resident(n), resident(m, 1), SMALL, batch, seed, CPU)


def test_an_epoch_has_the_steps_of_the_shorter_set_and_each_image_at_most_once():
    batches = list(feed().epoch(0))
    labels = torch.cat([batch.labels for batch in batches])
    assert len(batches) == len(feed()) == 3
    assert len(set(labels.tolist())) == len(labels) == 12
    assert all(batch.images.shape == (12, 3, 32, 32) for batch in batches)


@given(st.integers(0, 4), st.integers(0, 3))
@settings(max_examples=10, deadline=None)
def test_an_epoch_that_starts_in_the_middle_has_the_same_batches(first, epoch):
    whole = list(feed(24, 24).epoch(epoch))[first:]
    rest = list(feed(24, 24).epoch(epoch, first))
    assert [batch.step for batch in rest] == [batch.step for batch in whole]
    for one, other in zip(rest, whole, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)


def test_epochs_and_seeds_have_orders_of_their_own():
    def order(seed, epoch):
        return torch.cat([batch.labels for batch in feed(seed=seed).epoch(epoch)]).tolist()

    assert order(1, 0) == order(1, 0)
    assert len({tuple(order(1, 0)), tuple(order(1, 1)), tuple(order(2, 0))}) == 3


def test_outliers_are_reordered_in_each_epoch_too():
    """The published code reseeds the ID sampler only."""
    one = feed()
    outliers = [one._orders(one.aux, feeding.OOD_ORDER, epoch)[0].tolist() for epoch in range(2)]
    assert outliers[0] != outliers[1]


def test_the_two_views_of_an_image_differ_and_come_in_its_order():
    batch = next(feed(batch=8).epoch(0))
    first, second = batch.images[:8], batch.images[8:16]
    assert not any(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_views_are_in_the_unit_range_and_test_images_are_not_changed():
    images = resident(30).images
    seen = SMALL.train(images, torch.Generator().manual_seed(0))
    assert seen.min() >= 0
    assert seen.max() <= 1
    assert torch.equal(SMALL.test(images), images / 255)


def test_small_crops_move_by_four_pixels_at_most():
    marked = torch.zeros(400, 3, 32, 32, dtype=torch.uint8)
    marked[:, :, 16, 16] = 255
    seen = SMALL.train(marked, torch.Generator().manual_seed(0)).sum(1).flatten(1).argmax(1)
    rows, columns = seen // 32, seen % 32
    assert (rows.min(), rows.max()) == (12, 20)
    assert (columns.min(), columns.max()) == (11, 20)  # mirrored: 31 - 20 is 11


def test_large_views_are_normalised_and_cut_random_parts():
    images = resident(4, side=224).images
    seen = LARGE.train(images, torch.Generator().manual_seed(0))
    assert seen.shape == images.shape
    assert seen.min() < -1
    plain = LARGE.test(images)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    torch.testing.assert_close(plain, (images / 255 - mean) / std)


@pytest.fixture
def files(tmp_path):
    paths = []
    for number in range(6):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (260 + 9 * number, 300), (40 * number, 10, 200)).save(path)
        paths.append(path)
    return paths


def test_files_give_the_same_batches_whatever_the_number_of_workers(files):
    orders, seeds = [torch.tensor([0, 3]), torch.tensor([5, 1])], [11, 12]
    found = []
    for workers in (0, 2):
        streamed = Streamed(files, torch.arange(6), CPU, workers)
        found.append(list(streamed.train_batches(orders, seeds, 2)))
    assert found[0][0].shape == (4, 3, 224, 224)
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_file_batches_have_all_first_views_before_the_second_ones(files):
    streamed = Streamed(files, torch.arange(6), CPU)
    batch = next(streamed.train_batches([torch.tensor([0, 3])], [1], 2))
    assert batch[:, 0].float().mean((1, 2)).tolist() == [0, 120, 0, 120]
    test = next(streamed.test_batches(torch.tensor([2, 4]), 2))
    assert test[:, 0].float().mean((1, 2)).tolist() == [80, 160]


def test_a_jpeg_that_is_cut_short_can_be_trained_with(tmp_path):
    path = tmp_path / "a.jpg"
    noise = torch.randint(0, 256, (300, 300, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    Image.fromarray(noise.numpy()).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    streamed = Streamed([path], torch.zeros(1, dtype=torch.int64), CPU)
    assert next(streamed.train_batches([torch.tensor([0])], [1], 1)).shape == (1, 3, 224, 224)


def test_files_feed_the_large_network(files):
    labels = torch.arange(6)
    found = Feed(Streamed(files, labels, CPU), Streamed(files, labels, CPU), LARGE_FILES, 3, 0, CPU)
    batch = next(found.epoch(0))
    assert batch.images.shape == (9, 3, 224, 224)


@pytest.mark.parametrize(("n", "m", "what"), [(3, 20, "3 training"), (20, 2, "2 auxiliary outlier")])
def test_fewer_images_than_a_batch_are_refused(n, m, what):
    with pytest.raises(InputError, match=what):
        feed(n, m)


def test_more_processes_than_images_in_a_batch_are_refused(monkeypatch):
    monkeypatch.setattr("ood_shared.distributed.world_size", lambda: 8)
    with pytest.raises(InputError, match="each of 8 processes"):
        feed(batch=4)


@pytest.mark.parametrize("mirror", [False, True])
def test_common_views_are_those_of_every_method(mirror):
    """No colour changes: the pixels are those of the images, shifted, as the baselines of a comparison see them."""
    from ood_shared.augment import common_views

    images = torch.randint(0, 256, (12, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    found = CommonViews(mirror=mirror).train(images, torch.Generator().manual_seed(3))
    expected = common_views(images, torch.Generator().manual_seed(3), mirror)
    assert torch.equal(found, expected.float() / 255)
    assert torch.equal(CommonViews().test(images), SMALL.test(images))


@pytest.mark.parametrize(("n_aux", "n_train"), [(50, 400), (300, 400), (50, 61)])
def test_half_of_the_common_outliers_are_blobs_of_any_contrast(n_aux, n_train):
    """Else contrast alone tells flat photographs from digits, and noise passes for digits."""
    from imood.data.benchmark import common_outliers

    flat = Resident(torch.full((n_aux, 3, 32, 32), 90, dtype=torch.uint8), torch.full((n_aux,), -1), CPU)
    found = common_outliers(flat, "photos", n_train)
    contrast = found.images.float().flatten(1).std(dim=1) / 255
    assert len(found) >= n_train
    assert (found.labels == -1).all()
    half = len(found) // 2
    assert (contrast[:half] == 0).all()
    assert contrast[half:].min() < 0.05
    assert contrast[half:].max() > 0.3
    again = common_outliers(flat, "photos", n_train)
    assert torch.equal(found.images, again.images)


def test_blobs_alone_stay_blobs():
    from imood.data.benchmark import common_outliers

    blobs = Resident(torch.zeros(10, 3, 32, 32, dtype=torch.uint8), torch.full((10,), -1), CPU)
    assert len(common_outliers(blobs, "blobs", 25)) == 30
