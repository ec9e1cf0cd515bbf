"""Image lists, chains, batches that can be continued, and what `--id-data` means."""

import numpy as np
import pytest
import torch
from ascood.data import openood
from ascood.data.decoded import decode
from ascood.data.loading import FileBatches, MemoryBatches, TestBatches, train_batches
from ascood.data.preprocessing import NORMALISATION, Chain, normalisation, random_part, train_kind
from ascood.data.samples import Samples, read_imglist
from ascood.data.suites import make_suite
from PIL import Image

CHAIN = Chain("classic", 32, 32, (0.5,) * 3, (0.25,) * 3)


def pixels(count=10, side=32, seed=0):
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (count, side, side, 3)).astype(np.uint8)
    return Samples("s", np.arange(count) % 3, "s", (), images)


def test_a_mapping_is_merged_and_gets_label_0(place):
    (place / "list.txt").write_text("a.png 2\nb.png {'scene': 'wood'}\nc.png -1\n")
    found = read_imglist("s", place / "list.txt", [place])
    assert found.labels.tolist() == [2, 0, -1]
    assert found.annotations == {1: {"scene": "wood"}}


def test_lists_split_at_the_first_space(place):
    (place / "list.txt").write_text("a.png   7\n")
    assert read_imglist("s", place / "list.txt", [place]).labels.tolist() == [7]


def test_the_root_that_holds_the_images_is_found(place):
    (place / "inner").mkdir()
    Image.new("RGB", (4, 4)).save(place / "inner" / "a.png")
    (place / "list.txt").write_text("a.png 0\n")
    assert read_imglist("s", place / "list.txt", [place, place / "inner"]).open(0).size == (4, 4)
    assert read_imglist("s", place / "list.txt", [place / "inner", place]).files == [place / "inner" / "a.png"]


def test_absolute_paths_need_an_empty_folder(place):
    Image.new("RGB", (4, 4)).save(place / "a.png")
    (place / "list.txt").write_text(f"{place}/a.png 0\n")
    assert read_imglist("s", place / "list.txt", [""]).open(0).size == (4, 4)


def test_outliers_have_label_minus_one_whatever_the_list_says():
    assert pixels().as_outliers().labels.tolist() == [-1] * 10


@pytest.mark.parametrize(
    ("dataset", "preprocessor", "kind"),
    [
        ("cifar10", "ascood", "classic"),
        ("waterbirds", "ascood", "resized"),
        ("waterbird", "ascood", "resized"),
        ("cars_oe", "ascood", "resized"),
        ("imagenet100", "ascood", "resized"),
        ("imagenet200", "base", "resized"),
        ("aircraft", "base", "jittered"),
        ("waterbirds", "base", "classic"),
        ("digits", "ascood", "classic"),
    ],
)
def test_the_training_chain_goes_by_preprocessor_and_data_set(dataset, preprocessor, kind):
    assert train_kind(dataset, preprocessor) == kind


def test_normalisation_goes_by_the_data_set():
    assert normalisation("waterbird") == NORMALISATION["imagenet"]
    assert normalisation("cifar10_oe")[1] == (0.2470, 0.2435, 0.2616)
    assert normalisation("mystery") == ((0.5,) * 3, (0.5,) * 3)


def test_the_test_chain_is_torchvisions():
    from torchvision.transforms import v2

    samples = pixels(2, side=50)
    chain = Chain("test", 40, 32, (0.5,) * 3, (0.25,) * 3)
    steps = [v2.Resize(40), v2.CenterCrop(32), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
    expected = v2.Compose([*steps, v2.Normalize((0.5,) * 3, (0.25,) * 3)])
    (found,) = list(TestBatches(samples, chain, 5, 0, torch.device("cpu")))
    assert torch.allclose(found, torch.stack([expected(samples.open(i)) for i in range(2)]), atol=1e-6)


def test_draws_of_an_image_go_by_its_seed_alone():
    chain = Chain("resized", 48, 32, (0.5,) * 3, (0.5,) * 3)
    image = pixels(1, side=64).open(0)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first, again, other = (random_part(image, chain, seed) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("kind", "padding", "mirrored"), [("classic", 4, True), ("common", 2, False), ("mirrored", 2, True)]
)
def test_a_set_that_does_not_fit_in_memory_is_cropped_and_flipped_as_one_that_does(kind, padding, mirrored):
    """Each view is a shift of the image, or of its mirror where the chain has it, by up to so many pixels."""
    image = Image.fromarray(np.random.default_rng(0).integers(1, 256, (32, 32, 3), dtype=np.uint8))
    chain = CHAIN.with_kind(kind)
    pixels = np.asarray(image)
    padded = [np.pad(side, ((padding, padding), (padding, padding), (0, 0))) for side in (pixels, pixels[:, ::-1])]
    shifts = range(2 * padding + 1)
    seen = set()
    for seed in range(40):
        view = random_part(image, chain, seed).permute(1, 2, 0).numpy()
        seen |= {
            (side, top, left)
            for side in range(2)
            for top in shifts
            for left in shifts
            if np.array_equal(padded[side][top : top + 32, left : left + 32], view)
        }
    assert len(seen) > 15  # every view was found, most of them different
    assert {side for side, _, _ in seen} == ({0, 1} if mirrored else {0})


def test_batches_in_common_are_the_common_views():
    from ood_shared.augment import common_views
    from ood_shared.loaders import to_float

    samples = pixels()
    for kind in ("common", "mirrored"):
        chain = CHAIN.with_kind(kind)
        images, labels = decode(samples, chain), torch.from_numpy(samples.labels)
        found, _ = next(iter(MemoryBatches(images, labels, chain, len(images), False, 7)))
        expected = common_views(images, torch.Generator().manual_seed(8), kind == "mirrored")
        assert torch.equal(found, to_float(expected, chain.mean, chain.std))


def epochs_of(batches, count):
    return [[(x.clone(), y.clone()) for x, y in batches] for _ in range(count)]


def same(first, second):
    return all(torch.equal(a, c) and torch.equal(b, d) for (a, b), (c, d) in zip(first, second, strict=True))


def memory():
    samples = pixels()
    return MemoryBatches(decode(samples, CHAIN), torch.from_numpy(samples.labels), CHAIN, 4, True, 7)


def from_files():
    return FileBatches(pixels(side=40), CHAIN.with_kind("resized"), 4, True, 7, 0, torch.device("cpu"))


@pytest.mark.parametrize("make", [memory, from_files])
@pytest.mark.parametrize("stop", [1, 3])
def test_batches_go_on_where_they_were_stopped(make, stop):
    whole = epochs_of(make(), 2)
    assert not same(whole[0], whole[1])
    first, second = make(), make()
    for number, _ in enumerate(first, start=1):
        if number == stop:
            state = first.state_dict()
            break
    second.load_state_dict(state)
    assert same(list(second), whole[0][stop:])
    assert same(list(second), whole[1])


@pytest.mark.parametrize("make", [memory, from_files])
def test_batches_go_on_between_epochs(make):
    whole = epochs_of(make(), 2)
    first, second = make(), make()
    list(first)
    second.load_state_dict(first.state_dict())
    assert same(list(second), whole[1])


def test_training_images_are_cropped_and_flipped_each_on_its_own():
    white = Samples("s", np.zeros(64, dtype=np.int64), "s", (), np.full((64, 32, 32, 3), 255, dtype=np.uint8))
    (images, _), *_ = list(train_batches(white, CHAIN, 64, True, 0, 0, torch.device("cpu")))
    black = (images.amin(1) < 0).flatten(1).sum(1)  # pixels of the zero padding
    assert len(set(black.tolist())) > 10


@pytest.mark.parametrize("name", openood.ID)
def test_a_benchmark_has_all_its_parts(name):
    suite = make_suite(name, None)
    assert set(suite.id_sets) == {"train", "val", "test"}
    assert suite.near
    assert suite.far
    assert suite.ood_val is not None


def test_cifar_has_isun_and_can_drop_it():
    assert [source.name for source in make_suite("cifar100", None).far] == [
        "mnist",
        "svhn",
        "iSUN",
        "texture",
        "places365",
    ]
    assert "iSUN" not in [source.name for source in make_suite("cifar100", None, ("iSUN",)).far]


def test_covariate_shifts_are_read_only_when_asked_for(place, make_benchmark):
    make_benchmark(place / "data", "cifar10")
    (place / "data/benchmark_imglist/cifar10/test_cifar10c.txt").unlink()
    suite = make_suite("cifar10", None)
    assert len(suite.id_sets["test"].load()) == 6
    assert [source.name for source in suite.csid] == ["cifar10c"]


def test_a_folder_is_a_suite(place, make_folder):
    make_folder(place / "mine")
    suite = make_suite("folder:mine", None)
    assert (suite.name, suite.classes, suite.network) == ("mine", 2, "resnet18_32x32")
    assert [source.name for source in (*suite.near, *suite.far)] == ["bars", "more"]
    assert suite.near[0].load().labels.tolist() == [-1] * 5


def test_digits_need_no_files():
    suite = make_suite("digits", None)
    assert suite.network == "lenet"
    assert len(suite.near[0].load()) > 100
