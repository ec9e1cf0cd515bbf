"""What a training reads: two parts, with a fingerprint, and more than one class."""

import argparse
from pathlib import Path
from types import ModuleType

import pytest
from know_your_space.data import source as datasource
from know_your_space.data.options import DataOptions
from know_your_space.data.training import training_data
from ood_shared.errors import InputError


def flags(in_dataset: str, **kwargs: object) -> argparse.Namespace:
    defaults = {"data_dir": None, "split_file": None, "novel_classes": None, "path_channels": "bgr"}
    return argparse.Namespace(in_dataset=in_dataset, no_download=True, **{**defaults, **kwargs})


def test_training_reads_no_test_split(blood: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    real = datasource._load_split
    monkeypatch.setattr(datasource, "_load_split", lambda source, split: reads.append(split) or real(source, split))
    found = training_data("bloodmnist", DataOptions.of(flags("bloodmnist", data_dir=str(tmp_path))))
    assert reads == ["train", "val"]
    assert (found.train.n_classes, len(found.train), len(found.val)) == (6, 18, 12)
    assert not found.train.reversed


def test_other_images_have_another_fingerprint(blood: Path, tmp_path: Path) -> None:
    found = training_data("bloodmnist", DataOptions.of(flags("bloodmnist", data_dir=str(tmp_path))))
    before = found.crc32()
    assert training_data("bloodmnist", DataOptions.of(flags("bloodmnist", data_dir=str(tmp_path)))).crc32() == before
    found.val.images[0, 0, 0, 0] += 1
    assert found.crc32() != before


def test_one_class_only_is_refused_unless_asked_for(tmp_path: Path, builders: ModuleType) -> None:
    builders.write_authors_files(tmp_path, "scans", [3, 3], [3], [5])
    with pytest.raises(InputError, match=r"one class only \(3\)"):
        training_data("scans", DataOptions.of(flags("scans", data_dir=str(tmp_path))))
    builders.write_medmnist(tmp_path, "pneumoniamnist")
    found = training_data(
        "pneumoniamnist", DataOptions.of(flags("pneumoniamnist", data_dir=str(tmp_path), novel_classes="1"))
    )
    assert found.train.classes == (0,)
