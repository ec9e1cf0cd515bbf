"""Which OOD sets are scored, in which order, and which of their images."""

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from know_your_space.data.ood_sets import OodSet, check, ood_images, planned
from know_your_space.data.options import DataOptions
from know_your_space.data.parts import load_part
from know_your_space.data.sets import EIGHT
from ood_shared.datasets import EMBEDDED_OOD, load, medical
from ood_shared.errors import InputError

SIZE = (28, 28)


def images_of(
    word: str, options: DataOptions, everything: bool = False, native: tuple[int, int] = SIZE
) -> torch.Tensor:
    ood = OodSet(word)
    found, absent = check([ood], options)
    assert not absent
    return ood_images(ood, found[ood], options, native, everything)


def test_the_eight_are_scored_in_the_order_of_the_original_the_id_set_as_novel() -> None:
    found = planned("OctMNIST")
    assert [ood.folder for ood in found] == list(EIGHT)
    assert [ood.folder for ood in found if ood.novel] == ["octmnist"]
    assert [ood.name for ood in found][2] == "octmnist-novel"


def test_another_medmnist_set_is_scored_against_itself_and_the_eight() -> None:
    found = planned("retinamnist")
    assert [ood.name for ood in found] == ["retinamnist-novel", *EIGHT]


@pytest.mark.parametrize("word", ["digits", "./own.npz", "/data/scans"])
def test_digits_and_own_data_are_scored_against_the_embedded_sets(word: str) -> None:
    found = planned(word)
    assert found[0] == OodSet(word, novel=True)
    assert [ood.word for ood in found[1:]] == list(EMBEDDED_OOD)


def test_given_sets_replace_the_default() -> None:
    found = planned("bloodmnist", "dermamnist, ./scans.tar.gz,bloodmnist,")
    assert [(ood.name, ood.novel) for ood in found] == [
        ("dermamnist", False),
        ("scans", False),
        ("bloodmnist-novel", True),
    ]


def test_a_path_may_have_a_comma(tmp_path: Path) -> None:
    (tmp_path / "a,b").mkdir()
    assert [ood.folder for ood in planned("digits", str(tmp_path / "a,b"))] == ["a_b"]


def test_the_id_set_is_known_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert planned("./own.npz", str(tmp_path / "own.npz"))[0].novel


@pytest.mark.parametrize(
    ("id_word", "given", "says"),
    [
        ("digits", "faces,faces", "`faces` would be written to the folder faces"),
        ("digits", "a/scans.npz,b/scans.tar", "the folder scans"),
        ("a/scans.npz", "b/scans.npz", "the folder scans"),
        ("digits", " , ", "is empty"),
    ],
)
def test_sets_that_share_a_folder_are_refused(id_word: str, given: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        planned(id_word, given)


def test_absent_sets_are_told_from_present_ones(tmp_path: Path, builders: ModuleType) -> None:
    builders.write_eight(tmp_path, ["octmnist", "bloodmnist"])
    (tmp_path / "octmnist" / "octmnist_in_val.csv").unlink()
    wanted = [OodSet(name) for name in ("octmnist", "bloodmnist", "tissuemnist", "faces")]
    found, absent = check(wanted, DataOptions(data_dir=str(tmp_path), download=False))
    assert [ood.word for ood in found] == ["bloodmnist", "faces"]
    assert "octmnist_in_val.csv" in absent[OodSet("octmnist")]
    assert "tissuemnist.npz" in absent[OodSet("tissuemnist")]


def test_after_a_download_that_failed_no_other_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def fail(base: str, *_: object) -> None:
        tried.append(base)
        raise RuntimeError("no network")

    monkeypatch.setattr(medical, "_download", fail)
    found, absent = check(planned("bloodmnist"), DataOptions(data_dir=str(tmp_path)))
    assert (tried, len(found), len(absent)) == (["bloodmnist"], 0, 8)


def test_an_unknown_name_is_refused_and_not_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Did you mean `dermamnist`"):
        check([OodSet("dermamnits")], DataOptions(data_dir=str(tmp_path)))


@pytest.mark.parametrize("layout", [False, True])
def test_other_sets_give_their_known_validation_images_or_all_classes(
    tmp_path: Path, builders: ModuleType, layout: bool
) -> None:
    options = DataOptions(data_dir=str(tmp_path), download=False)
    if layout:
        builders.write_eight(tmp_path, ["octmnist"])
    else:
        builders.write_medmnist(tmp_path, "octmnist")
    val, novel = (load_part("octmnist", part, options, as_id=False).images for part in ("val", "novel"))
    assert len(val) == 6
    assert torch.equal(images_of("octmnist", options), val)
    assert torch.equal(images_of("octmnist", options, everything=True), torch.cat([val, novel]))


def test_the_novel_classes_of_the_id_set_are_not_asked_of_others(tmp_path: Path, builders: ModuleType) -> None:
    options = DataOptions(data_dir=str(tmp_path), download=False, novel_classes="7")
    builders.write_medmnist(tmp_path, "octmnist")  # has no class 7
    assert torch.equal(images_of("octmnist", options), images_of("octmnist", replace(options, novel_classes=None)))


def test_sets_without_a_split_give_their_test_split() -> None:
    for word in EMBEDDED_OOD:
        assert len(images_of(word, DataOptions(), native=(32, 32))) == len(load(word, "test"))


def test_a_set_without_a_test_split_gives_its_validation_split(tmp_path: Path, builders: ModuleType) -> None:
    folder = builders.write_folder(tmp_path / "scans", {"train": 3, "val": 2})
    assert len(images_of(str(folder), DataOptions())) == 4


def test_no_ood_image_is_sharper_than_the_id_images() -> None:
    blunt, sharp = (images_of("photos", DataOptions(), native=side).float() for side in ((8, 8), (32, 32)))
    assert blunt.shape == sharp.shape
    assert blunt.diff(dim=-1).abs().mean() < 0.6 * sharp.diff(dim=-1).abs().mean()
