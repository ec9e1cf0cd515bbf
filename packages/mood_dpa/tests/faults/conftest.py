"""A prediction of three small models, for the tests that break what it takes."""

from pathlib import Path

import torch
from mood_dpa.configuration import write_config


def predict_config(prepared: Path, at: Path) -> Path:
    weights = {8: {"img_weight": 1, "feature_weights": {}}}
    models = []
    for axis in range(3):
        state = torch.load(prepared / f"axis_{axis}" / "checkpoints" / "anomaly_detection.tar", weights_only=True)
        kwargs = {"weights_per_resolution": weights, "normalize_vgg_input": False}
        state["config"]["image_rec_loss"] = {"loss_type": "relative_perceptual_L1", "loss_kwargs": kwargs}
        torch.save(state, at / f"model_{axis}.tar")
        models.append({"checkpoint_path": str(at / f"model_{axis}.tar"), "along_axis": axis, "resize": 8})
    config = {"do_not_process_small_area": True, "small_area": 20, "delete_zero_area": False, "resize": 12}
    write_config(at / "predict.yaml", {**config, "path_to_vgg19_weights": None, "models": models})
    return at / "predict.yaml"
