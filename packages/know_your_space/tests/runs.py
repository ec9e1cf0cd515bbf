"""Tiny training runs: the training command in this process or as a process of its own."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from know_your_space import cli
from know_your_space.data import paths
from ood_shared import checkpoints
from ood_shared.runs import read_metrics
from ood_shared.testing import commands
from ood_shared.testing.commands import Outcome
from ood_shared.testing.forked import Forked

PACKAGE = Path(__file__).parents[1]
SCRIPT = PACKAGE / "train_in_latent_out_pix.py"
TINY = ("--layers", "10", "--widen-factor", "1", "--batch_size", "16", "--sample_number", "6", "--seed", "1")
PAPER = ("--dist", "--augmix", "--rand_conv")


def train(*argv: str, epochs: int = 2) -> Outcome:
    """The training command on `data/tiny.npz` of the working folder, with a tiny network."""
    return commands.call(cli.main, "train", *_words(*argv, epochs=epochs))


def trained(*argv: str, epochs: int = 2) -> Outcome:
    """As `train` with the paper's flags, for a run that must succeed."""
    return commands.succeed(cli.main, "train", *_words(*PAPER, *argv, epochs=epochs))


def start(*argv: str, cwd: Path, epochs: int = 2) -> Forked:
    """The training script as a process, with the paper's flags."""
    return commands.start([str(SCRIPT), *_words(*PAPER, *argv, epochs=epochs)], cwd)


def _words(*argv: str, epochs: int) -> list[str]:
    return ["--in_dataset", "data/tiny.npz", "--epochs", str(epochs), *TINY, *argv]


def checkpoint(last: bool = True, root: Path | str = ".", name: str = paths.RUN, T: float = 1.0) -> Path:
    """A checkpoint of such a run."""
    return paths.checkpoint_path(Path(root), "wrn", "data/tiny.npz", name, -20.0, -7.0, T, last)


def run_folder(root: Path | str = ".", name: str = paths.RUN) -> Path:
    """The folder with the run's own files."""
    best = checkpoint(last=False, root=root, name=name)
    return best.with_name(best.name.removesuffix("-ckpt.pth.tar"))


def weights(root: Path | str = ".", name: str = paths.RUN) -> dict[str, torch.Tensor]:
    """The network of the last epoch."""
    found: dict[str, torch.Tensor] = checkpoints.load(checkpoint(root=root, name=name))["state_dict"]
    return found


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    """Whether two networks are bit-equal."""
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def metrics(root: Path | str = ".", name: str = paths.RUN) -> list[dict[str, Any]]:
    """The records of `metrics.jsonl`, one an epoch."""
    return read_metrics(run_folder(root, name))


def lines_with(text: str, words: Sequence[str]) -> list[str]:
    """The lines that hold all the words."""
    return [line for line in text.splitlines() if all(word in line for word in words)]
