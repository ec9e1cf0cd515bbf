"""Own image folders and image lists: the layouts, the numbering of classes, and every way to get them wrong."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ood_shared.datasets import load
from ood_shared.datasets.decode import EXTENSIONS, Encoded, decode
from ood_shared.errors import InputError, MissingFileError
from PIL import Image


def save(path, value=0, size=(8, 6), mode="L"):
    """An image of one value; `size` is width and height."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode != "RGB" else (value, 0, 0)).save(path)
    return path


@pytest.fixture
def folder(tmp_path):
    for split, count in (("train", 3), ("test", 2)):
        for label, name in enumerate(("cat", "dog")):
            for number in range(count):
                save(tmp_path / split / name / f"{number}.png", value=10 * label + number)
    return tmp_path


def values(images):
    return images.images[:, 0, 0, 0].tolist()


def refused(path, split="test", **options):
    with pytest.raises(InputError) as caught:
        load(str(path), split, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_split_folders_are_read_by_sorted_class_and_file(folder):
    train = load(str(folder), "train")
    assert values(train) == [0, 1, 2, 10, 11, 12]
    assert train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert train.classes == ("cat", "dog")
    assert train.name == folder.name
    assert values(load(str(folder), "test")) == [0, 1, 10, 11]


def test_folders_without_splits_are_all_test(folder):
    images = load(str(folder / "train"), "test")
    assert (images.classes, len(images)) == (("cat", "dog"), 6)
    assert "no `train` split. Present: test" in refused(folder / "train", "train")


def test_missing_split_lists_those_present(folder):
    assert "no `val` split. Present: train, test" in refused(folder, "val")


@pytest.mark.parametrize("word", ["val", "valid", "validation", "Val"])
def test_validation_folder_may_have_other_names(folder, word):
    save(folder / word / "cat" / "0.png", value=99)
    assert values(load(str(folder), "val")) == [99]


def test_class_that_a_split_lacks_keeps_the_numbers_of_the_others(folder):
    save(folder / "train" / "ant" / "0.png")
    test = load(str(folder), "test")
    assert test.classes == ("ant", "cat", "dog")
    assert test.labels.tolist() == [1, 1, 2, 2]


def test_folders_inside_a_class_are_walked(folder):
    save(folder / "test" / "cat" / "black" / "young" / "0.png", value=5)
    assert values(load(str(folder), "test")) == [0, 1, 5, 10, 11]


def test_a_folder_around_everything_is_looked_through(folder):
    around = folder.parent / "around"
    around.mkdir()
    folder.rename(around / "inner")
    assert len(load(str(around), "train")) == 6


def test_images_without_class_folders_are_one_class(tmp_path):
    save(tmp_path / "photos" / "b.png", 2)
    save(tmp_path / "photos" / "a.png", 1)
    images = load(str(tmp_path / "photos"), "test")
    assert (values(images), images.labels.tolist(), len(images.classes)) == ([1, 2], [0, 0], 1)


WRITTEN = sorted({*EXTENSIONS, ".PNG", ".Jpg"} - {".qoi", ".ras", ".webp", ".avif", ".pfm", ".apng", ".mpo"})


@pytest.mark.parametrize("extension", WRITTEN)  # in grey; the others stand in test_datasets_formats
def test_extension_is_read_in_any_case(tmp_path, extension):
    save(tmp_path / "test" / "cat" / f"0{extension}", 255)
    assert load(str(tmp_path), "test").images.shape == (1, 6, 8, 1)


def test_hidden_files_are_not_images(folder):
    (folder / "test" / "cat" / "._0.png").write_bytes(b"finder")
    (folder / "test" / ".cache").mkdir()
    assert len(load(str(folder), "test")) == 4


def test_linked_class_folder_is_followed(folder):
    (folder / "test" / "elk").symlink_to(folder / "train" / "cat", target_is_directory=True)
    assert load(str(folder), "test").classes == ("cat", "dog", "elk")


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(MissingFileError, match="nowhere is missing"):
        load(str(tmp_path / "nowhere"), "test")


def test_folder_without_images_names_the_extensions(tmp_path):
    (tmp_path / "cat.doc").write_bytes(b"")
    said = refused(tmp_path)
    assert "holds no images" in said
    assert all(extension in said for extension in EXTENSIONS)


def test_empty_class_folder_is_named(folder):
    (folder / "test" / "eel").mkdir()
    (folder / "test" / "eel" / "notes.md").write_text("to do")
    assert "test/eel is a class folder without images" in refused(folder)


def test_split_without_classes_beside_one_with_classes_is_refused(folder):
    save(folder / "val" / "0.png")
    assert "val holds images without class folders, and another split has the class cat" in refused(folder, "val")


def test_image_beside_class_folders_is_named(folder):
    save(folder / "test" / "stray.png")
    assert "test/stray.png stands beside the class folders" in refused(folder)


@pytest.mark.parametrize(
    "content",
    [b"", b"not a picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 40],
)
def test_corrupt_image_is_named(folder, content):
    (folder / "test" / "dog" / "1.png").write_bytes(content)
    assert "test/dog/1.png is damaged or no image" in refused(folder)


@pytest.mark.parametrize("extension", [".png", ".jpg", ".bmp", ".ppm"])
def test_truncated_image_is_named(tmp_path, extension):
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    path = tmp_path / "test" / "cat" / f"0{extension}"
    path.parent.mkdir(parents=True)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert f"test/cat/0{extension} is damaged or no image" in refused(tmp_path)


def test_image_that_would_fill_the_memory_is_refused(folder):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    (folder / "test" / "cat" / "1.png").write_bytes(bomb)
    assert "test/cat/1.png" in refused(folder)


def test_images_of_two_sizes_are_named_with_their_sizes(folder):
    save(folder / "test" / "dog" / "1.png", size=(9, 7))
    said = refused(folder)
    assert "test/cat/0.png has 8 x 6 pixels" in said
    assert "test/dog/1.png has 9 x 7" in said


def test_grey_beside_rgb_is_named(folder):
    save(folder / "test" / "dog" / "1.png", mode="RGB")
    said = refused(folder)
    assert "test/cat/0.png is grey" in said
    assert "test/dog/1.png is RGB" in said


def test_size_and_channels_make_one_array_of_mixed_images(folder):
    save(folder / "test" / "dog" / "1.png", size=(9, 7), mode="RGB", value=200)
    images = load(str(folder), "test", size=4, channels=3)
    assert images.images.shape == (4, 4, 4, 3)
    assert images.images[3, 0, 0].tolist() == [200, 0, 0]


def test_size_takes_the_centre_square(tmp_path):
    pixels = np.zeros((4, 10), dtype=np.uint8)
    pixels[:, 3:7] = 90
    (tmp_path / "cat").mkdir()
    Image.fromarray(pixels).save(tmp_path / "cat" / "0.png")
    assert load(str(tmp_path), "test", size=4).images.tolist() == np.full((1, 4, 4, 1), 90).tolist()


def test_palette_and_transparency_are_resolved(tmp_path):
    grey = Image.new("L", (2, 2), 77)
    for name, image in (("0", grey), ("1", grey.convert("LA")), ("2", grey.convert("P"))):
        (tmp_path / "cat").mkdir(exist_ok=True)
        image.save(tmp_path / "cat" / f"{name}.png")
    assert load(str(tmp_path), "test").images.ravel().tolist() == [77] * 12


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(["ant", "bee", "cat"]), min_size=1, max_size=12))
def test_every_image_comes_back_with_its_class(tmp_path_factory, names):
    root = tmp_path_factory.mktemp("folder")
    for number, name in enumerate(names):
        save(root / name / f"{number:02}.png", number)
    images = load(str(root), "test")
    found = {value: images.classes[label] for value, label in zip(values(images), images.labels, strict=True)}
    assert found == dict(enumerate(names))


def test_decoding_keeps_the_order_over_many_chunks(tmp_path):
    for number in range(600):
        save(tmp_path / "cat" / f"{number:03}.png", number % 256, size=(1, 1))
    assert values(load(str(tmp_path), "test")) == [number % 256 for number in range(600)]


def test_grey_of_rgb_is_pillows_luma():
    path_free = Encoded(0, "x", _png(np.array([[[200, 100, 50]]], dtype=np.uint8)))
    assert decode(path_free, channels=1).item() == (19595 * 200 + 38470 * 100 + 7471 * 50 + 32768) >> 16


def _png(pixels):
    from io import BytesIO

    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


# Image lists


@pytest.fixture
def listed(tmp_path):
    for number in range(4):
        save(tmp_path / "images" / f"a {number}.png", number)
    (tmp_path / "test_x.txt").write_text("images/a 3.png 1\nimages/a 0.png 0\n\nimages/a 1.png 1\n")
    (tmp_path / "train_x.txt").write_text("images/a 2.png 0\n")
    return tmp_path


def test_list_is_read_in_its_order_with_blanks_in_names(listed):
    images = load(str(listed / "test_x.txt"), "test")
    assert (values(images), images.labels.tolist(), images.classes) == ([3, 0, 1], [1, 0, 1], ("0", "1"))


def test_list_leads_to_the_list_of_the_split(listed):
    assert values(load(str(listed / "test_x.txt"), "train")) == [2]
    assert "no `val` split. Present: train, test. Expected val_x.txt" in refused(listed / "test_x.txt", "val")


def test_root_moves_the_start_of_the_paths(listed):
    moved = listed / "lists" / "test_x.txt"
    moved.parent.mkdir()
    (listed / "test_x.txt").rename(moved)
    assert len(load(str(moved), "test", root=listed)) == 3
    with pytest.raises(MissingFileError, match=r"line 1: .* is missing"):
        load(str(moved), "test")


def test_list_of_ood_images_without_classes_is_one_class(listed):
    (listed / "ood.txt").write_text("images/a 1.png -1\nimages/a 2.png -1\n")
    images = load(str(listed / "ood.txt"), "test")
    assert (images.labels.tolist(), images.classes) == ([0, 0], ("unlabelled",))
    assert "no `train` split" in refused(listed / "ood.txt", "train")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("images/a", "line 1: `images/a`; expected `relative/path label`"),
        ("images/a 1.png one", "expected `relative/path label`"),
        ("images/a 1.png -2", "label -1 or more"),
        ("/etc/a.png 0", "leads out of"),
        ("../a.png 0", "leads out of"),
        ("images/a 1.png 0\nimages/a 2.png -1", "mixes the label -1"),
        ("\n", "lists no images"),
    ],
)
def test_broken_list_is_refused(listed, line, said):
    (listed / "ood.txt").write_text(line)
    assert said in refused(listed / "ood.txt")


def test_list_that_is_no_text_is_refused(listed):
    (listed / "ood.txt").write_bytes(b"\xff\xfe\x00")
    assert "is not text in UTF-8" in refused(listed / "ood.txt")


def test_file_of_another_kind_names_the_kinds(tmp_path):
    (tmp_path / "data.csv").write_text("1,2")
    assert "expected a folder, .tar" in refused(tmp_path / "data.csv")
