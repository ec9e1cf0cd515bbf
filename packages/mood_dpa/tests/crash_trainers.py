"""Short trainings of both stages, as `ood_shared.testing.trainers` takes them."""

from pathlib import Path

from mood_dpa import cli
from mood_dpa.config_files import read_config, write_config
from mood_dpa.data.folds import folds_text
from ood_shared.files import write_text
from ood_shared.testing.modules import module_of
from ood_shared.testing.trainers import Trainer


def trainers(place: Path) -> dict[str, Trainer]:
    small = module_of(Path(__file__).with_name("conftest.py"))
    small.write_phantoms(place / "volumes", 4)
    write_text(place / "folds.csv", folds_text([(f"{n:05d}.nii.gz", int(n > 1)) for n in range(4)]))
    assert cli.main(["save-2d", "-i", str(place / "volumes"), "-o", str(place / "2d_axis_0"), "-a", "0"]) == 0
    write_config(place / "train.yaml", small.small_train_config(place, trns_iter=6, stab_iter=6))
    config = read_config(small.PACKAGE / "configs" / "embedded" / "simclr.yaml")
    config |= {"batch_size": 4, "epochs": 2, "model": {"base_model": "resnet18", "out_dim": 8}, "warmup_steps": 3}
    slices = {"image_root": str(place / "2d_axis_0"), "folds_path": str(place / "folds.csv"), "max_dataset_size": 12}
    params = config["dataset"]["dataset_params"]
    for part in ("train", "val"):
        params[part] = [params[part][0] | slices]
    write_config(place / "short.yaml", config)
    shared = ["--device", "cpu", "--output-dir", "{out}"]
    return {
        "mood-dpa train": Trainer(
            cli.main,
            ["train", str(place / "train.yaml"), *shared],
            ["--resume"],
            "checkpoints",
            "checkpoints/anomaly_detection.tar",
        ),
        "mood-dpa simclr": Trainer(
            cli.main,
            ["simclr", str(place / "short.yaml"), *shared, "--seed", "3"],
            ["--resume"],
            "short",
            "short/checkpoint.pt",
        ),
    }
