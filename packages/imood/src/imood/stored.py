"""What `imood.load` finds at a path: weights, and what the folder of a training says beside them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ood_shared import checkpoints, files
from ood_shared.backbone import NETWORKS as COMMON_NETWORKS
from ood_shared.errors import InputError, MissingFileError
from ood_shared.results.schema import RESULT
from ood_shared.runs import CHECKPOINT

from imood.checkpoints import BEST, LATEST
from imood.data import cifar
from imood.data.inputs import Inputs
from imood.data.user_data import UserDataset
from imood.data.views import LARGE, SMALL
from imood.settings import TrainedRun, read_run
from imood.state import DETECTOR

ADVICE = "Restore it, or train again."


@dataclass(frozen=True)
class Stored:
    """What lies at a path, and what it says; None where it does not.

    Attributes:
        weights: file of the weights.
        folder: with pool and settings; None for a bare file.
        run: settings of the training.
        inputs: of the test images.
        score: that the folder was made for.
    """

    weights: Path
    folder: Path | None = None
    run: TrainedRun = field(default_factory=TrainedRun)
    inputs: Inputs | None = None
    score: str | None = None


def stored_at(path: Path, checkpoint: str) -> Stored:
    """What lies there.

    Args:
        path: a folder, or a file of weights.
        checkpoint: `latest` or `best`, of a folder.

    Raises:
        MissingFileError: no weights.
        InputError: another word, or a damaged description of the run.
    """
    if path.is_file():
        return Stored(path)
    if checkpoint not in ("latest", "best"):
        raise InputError(f"checkpoint is `{checkpoint}`; expected latest or best.")
    weights = path / (LATEST if checkpoint == "latest" else BEST)
    if not weights.is_file():
        raise MissingFileError(f"{weights} is missing. Pass the folder of a run, or a file of weights.")
    run, about = read_run(path), _about(path / CHECKPOINT)
    inputs, score = (None, None) if about is None else about
    if score is None and (path / RESULT).is_file():  # of a bench of an earlier version; a test has no such entry
        score = _score_of_result(path / RESULT)
    if about is not None and score is None and run.model in COMMON_NETWORKS:  # only `fit` and benches train these
        raise files.broken(path / CHECKPOINT, "checkpoint", "its `score` is None, expected a word", ADVICE)
    return Stored(weights, path, run, inputs, score)


def _about(path: Path) -> tuple[Inputs, str | None] | None:
    """What a checkpoint says of its detector; None for older ones, which say nothing.

    The score is None where the test command chooses it.
    """
    record = checkpoints.load(path).get(DETECTOR) if path.is_file() else None
    if record is None:
        return None
    try:
        inputs = Inputs.of_record(record)
    except InputError as error:
        raise files.broken(path, "checkpoint", error, ADVICE) from None
    if "score" not in record:
        raise files.broken(path, "checkpoint", "it lacks `score` of its detector", ADVICE)
    return inputs, _word(record["score"], path)


def _score_of_result(path: Path) -> str | None:
    content = files.read_json(path)
    config = content.get("config") if isinstance(content, dict) else None
    if not isinstance(config, dict):
        raise files.broken(path, "result", "it lacks `config`", ADVICE)
    return _word(config.get("score"), path)


def _word(score: Any, path: Path) -> str | None:
    if score is not None and not isinstance(score, str):
        raise files.broken(path, "description of a detector", f"its `score` is {score!r}, expected a word", ADVICE)
    return score


def inputs_of_set(run: TrainedRun, root: Path) -> Inputs:
    """The inputs of a run that does not say them: as its data set has them."""
    if run.dataset in ("imagenet", "waterbird"):
        return Inputs(LARGE, "centre")
    views = LARGE if run.model == "ResNet50" else SMALL
    if run.dataset is None or run.dataset in cifar.FOLDERS:
        return Inputs(SMALL, "squeeze", classes=cifar.CLASSES.get(run.dataset or "", ()))
    try:
        own = UserDataset(run.dataset, root, views.side)
        return Inputs(views, "resize", own.native, own.train.classes)
    except InputError as error:
        raise InputError(
            f"The run does not say the size of its training images, and {run.dataset} cannot be read ({error}) "
            f"Pass native=(height, width), or side={views.side} if they were not enlarged."
        ) from None
