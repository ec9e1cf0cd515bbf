"""`anomaly_detection` is a package: it can be imported, under the original module names, and it is in the wheel."""

import subprocess
import sys
import tomllib
import zipfile
from importlib import import_module
from pathlib import Path

import pytest
from mood_dpa.config_files import read_config
from mood_dpa.data.folds import read_folds
from mood_dpa.standalone import MissingFileError
from ood_shared.files import write_text

from ..conftest import PACKAGE

MODULES = [
    *(f"dpa.{name}" for name in ("train", "evaluate", "inference_evaluate_3d", "layers", "pg_networks", "pg_encoders")),
    *(f"dpa.{name}" for name in ("pg_decoders", "rec_losses", "pg_rec_losses", "feature_extractor")),
    *("dpa.data_generators", "dpa.optimizer", "dpa.main", "main", "utils.utils", "utils.loggers"),
    *(f"utils.data.{name}" for name in ("datasets", "transforms", "save_2D", "create_folds")),
    "utils.data.create_val_dataset_with_synthetic_anomalies",
]


@pytest.fixture(autouse=True)
def _from_the_project_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PACKAGE))


@pytest.mark.parametrize("name", MODULES)
def test_the_original_module_names_can_be_imported(name: str) -> None:
    module = import_module(f"anomaly_detection.{name}")
    assert dir(module)
    assert module.__doc__


def test_names_are_those_of_the_implementation() -> None:
    from anomaly_detection.dpa.feature_extractor import VGG19
    from anomaly_detection.dpa.train import Trainer
    from anomaly_detection.utils.data.datasets import Images
    from mood_dpa import loop, vgg
    from mood_dpa.data import slices

    assert (VGG19, Trainer, Images) == (vgg.VGG19, loop.Trainer, slices.Images)
    with pytest.raises(ImportError, match="Nothing"):
        from anomaly_detection.dpa.layers import Nothing  # noqa: F401


def test_importing_the_package_does_not_wait_for_torch() -> None:
    names = ", ".join(f"anomaly_detection.{name}" for name in MODULES)
    code = f"import sys, {names}; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE)
    assert found.stdout.strip() == "False", found.stderr


def test_a_stage_runs_as_a_module() -> None:
    words = [sys.executable, "-m", "anomaly_detection.dpa.train", "--help"]
    found = subprocess.run(words, capture_output=True, text=True, cwd=PACKAGE)
    assert found.returncode == 0, found.stderr
    assert "path of a YAML file" in found.stdout


def test_the_wheel_is_made_of_both_packages() -> None:
    wheel = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["packages"] == ["src/mood_dpa", "anomaly_detection"]
    for name in MODULES:
        assert (PACKAGE / "anomaly_detection" / f"{name.replace('.', '/')}.py").is_file()
    for folder in ("", "dpa", "utils", "utils/data"):
        assert (PACKAGE / "anomaly_detection" / folder / "__init__.py").is_file()


def test_a_built_wheel_holds_every_module(tmp_path: Path) -> None:
    builders = pytest.importorskip(
        "hatchling.builders.wheel", reason="hatchling, which builds wheels, is not installed"
    )
    pytest.importorskip("hatch_fancy_pypi_readme", reason="the hook that makes the long description is not installed")
    wheel = next(iter(builders.WheelBuilder(str(PACKAGE)).build(directory=str(tmp_path))))
    held = set(zipfile.ZipFile(wheel).namelist())
    assert {f"anomaly_detection/{name.replace('.', '/')}.py" for name in MODULES} <= held
    assert "mood_dpa/cli.py" in held
    assert "mood_dpa/configs/brain/pixel/axis_0/train_config.yaml" in held
    assert {"mood_dpa/folds/brain/train_folds_10.csv", "mood_dpa/submission_data/scripts/run_pixel_brain.sh"} <= held


def test_shipped_configurations_and_folds_are_found_from_any_folder_behind_the_users_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name, folds = Path("configs/embedded/axis_1/train_config.yaml"), Path("folds/brain/train_folds_10.csv")
    assert read_config(name) == read_config(PACKAGE / name)
    assert read_folds(folds) == read_folds(PACKAGE / folds)
    write_text(tmp_path / name, "verbose: false\n")
    assert read_config(name) == {"verbose": False}
    with pytest.raises(MissingFileError, match=r"configs/nothing\.yaml is missing"):
        read_config("configs/nothing.yaml")
