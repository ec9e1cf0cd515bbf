"""`ood_detection.py`: one pass over each set, the original's files and figures, and the shared ones beside them.

Below logs/<model_type>/<in_dataset>/<dir_name>:

    <ood set>/scores_energy_{In,Out}.txt    confidences, higher = more ID, one a line in the order of the images
    result.json, scores.npz, report.html    the shared convention, higher = more OOD
"""

import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from ood_shared import checkpoints, distributed
from ood_shared.devices import maybe_compile, module_device
from ood_shared.errors import InputError, MissingFileError
from ood_shared.files import write_text
from ood_shared.training import Compute
from torch import Tensor, nn

from know_your_space.checkpoints import read_checkpoint
from know_your_space.data import paths
from know_your_space.data.ood_sets import OodSet, check, ood_images, planned
from know_your_space.data.parts import Part, load_parts
from know_your_space.data.source import Source, locate
from know_your_space.legacy_metrics import NAMES, legacy_metrics
from know_your_space.losses import confidence
from know_your_space.networks import WideResNet
from know_your_space.run_files import Outcome, Scored, write_outcome
from know_your_space.scores import BATCH, logits_of
from know_your_space.settings import DetectSettings
from know_your_space.validation import say

METHOD = "energy"
GPU_BATCH = 1024
IN_FILE, OUT_FILE = "scores_energy_In.txt", "scores_energy_Out.txt"


class Loaded(NamedTuple):
    """A network as its checkpoint left it."""

    network: WideResNet
    path: Path
    epochs: int | None  # that it was trained for


def detect(settings: DetectSettings, compute: Compute) -> None:
    """Score the sets that are named; several processes share the work when a launcher started them."""
    where, device = settings.where, compute.device
    run = (settings.root, settings.model_type, settings.in_dataset, settings.run)
    file = paths.find_checkpoint(*run, settings.m_in, settings.m_out, settings.temperature, settings.last)
    wanted = planned(settings.in_dataset, settings.out_test_dataset)
    if distributed.is_main():  # one process downloads
        locate(settings.in_dataset, where)
        check(wanted, where)
    distributed.wait_for_all()
    parts = load_parts(settings.in_dataset, (settings.id_part, "novel"), where)
    id_part, novel = parts[settings.id_part], parts.get("novel")
    loaded = load_network(file, id_part, settings)
    sources, absent = check(wanted, where)
    say(f"arguments: {dict(settings.record)}")
    say(f"checkpoint: {file}" + ("" if loaded.epochs is None else f", {loaded.epochs} epochs"))
    say(f"ID: {id_part.source}")
    if absent:
        say(f"absent, left out: {', '.join(ood.name for ood in absent)}")
    if novel is None:
        _leave_out_novel(sources, absent, id_part.name, asked=settings.out_test_dataset is not None)
    if not sources:
        raise MissingFileError(_nothing(absent))

    network = loaded.network.to(device)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if compute.compile:
        network.forward = maybe_compile(network.forward, True)
    id_scored = score(network, id_part.images, id_part.name, settings, compute)
    folder = paths.log_folder(*run)
    results: dict[OodSet, Scored] = {}
    for ood, source in sources.items():
        try:
            images = _images(ood, source, novel, id_part, settings)
        except MissingFileError as error:  # a set whose loader alone can tell whether it is there
            absent[ood] = str(error)
            continue
        results[ood] = score(network, images, ood.name, settings, compute)
        _warn_of_constant(id_scored, results[ood], ood)
        if distributed.is_main():
            write_scores(folder / ood.folder, id_scored.confidences, results[ood].confidences)
            _print_row(id_part.name, ood.name, id_scored, results[ood])
    if not results:
        raise MissingFileError(_nothing(absent))
    if distributed.is_main():
        outcome = Outcome(id_part, id_scored, results, absent, file, loaded.epochs)
        write_outcome(folder, outcome, settings, device)
    say(f"results in {folder}")
    for ood, reason in absent.items():
        say(f"warning: {ood.name} was not scored. {reason}", warning=True)


def load_network(file: Path, id_part: Part, settings: DetectSettings) -> Loaded:
    """The network of a checkpoint, in eval mode.

    Raises:
        InputError: no checkpoint of this program, another number of classes, or another network.
    """
    state = read_checkpoint(file)
    weights = state["state_dict"]
    classes = weights["fc.weight"].shape[0]
    if classes != id_part.n_classes:
        raise InputError(
            f"{file} was written for {classes} classes, {settings.in_dataset} has {id_part.n_classes} known ones "
            f"({', '.join(map(str, id_part.classes))}; {id_part.source}). Pass --novel_classes or --split_file as in "
            "training, the matching data set, or another run."
        )
    network = WideResNet(classes, settings.layers, settings.widen_factor, settings.droprate)
    shapes = {name: value.shape for name, value in weights.items()}
    if shapes != {name: value.shape for name, value in network.state_dict().items()}:
        raise InputError(
            f"{file} does not fit a network of --layers {settings.layers} and --widen-factor {settings.widen_factor}. "
            "Pass these as in training."
        )
    checkpoints.load_weights(network, weights, file)
    epoch = state.get("epoch")
    return Loaded(network.eval(), file, epoch - 1 if isinstance(epoch, int) else None)


def score(network: nn.Module, images: Tensor, name: str, settings: DetectSettings, compute: Compute) -> Scored:
    """Confidences and predicted classes of all images, with a line for each batch.

    Raises:
        InputError: NaN among the confidences.
    """
    say(f"{name}: {len(images)} samples")
    started = before = time.perf_counter()
    total, ranks = len(images), distributed.world_size()
    batch = settings.batch_size or (BATCH if module_device(network).type == "cpu" else GPU_BATCH)

    def progress(done: int) -> None:
        nonlocal before
        now = time.perf_counter()
        say(f"{min(done * ranks, total)}/{total}\t{now - before:.3f} s")
        before = now

    rows = distributed.shard(torch.arange(total))
    mine = logits_of(network, images[rows] if ranks > 1 else images, compute.precision, batch, progress)
    logits = distributed.gather_rows(mine, total).cpu()
    confidences = confidence(logits, settings.temperature)
    broken = torch.isnan(confidences)
    if broken.any():
        narrow = compute.precision != "fp32" and not torch.isnan(_weights(network)).any()
        raise InputError(
            f"{int(broken.sum())} of the {total} scores of {name} are NaN, the first at image "
            f"{int(broken.int().argmax())}. "
            + (f"--precision {compute.precision} is too narrow here; pass fp32." if narrow else "")
            + ("" if narrow else "The weights in the checkpoint are broken; train again, with a lower --lr.")
        )
    return Scored(confidences.numpy(), logits.argmax(dim=1).numpy(), time.perf_counter() - started)


def write_scores(folder: Path, id_values: npt.NDArray[np.float32], ood_values: npt.NDArray[np.float32]) -> None:
    """The two text files of a set: one confidence a line, the shortest text that gives the float32 again."""
    for name, values in ((IN_FILE, id_values), (OUT_FILE, ood_values)):
        write_text(folder / name, "".join(str(value) + "\n" for value in values.astype(np.float32)))


def _leave_out_novel(sources: dict[OodSet, Source], absent: dict[OodSet, str], id_name: str, asked: bool) -> None:
    """The ID set has no novel classes; that is an absence only to those who asked for them."""
    for ood in [ood for ood in sources if ood.novel]:
        del sources[ood]
        say(f"{id_name} has no novel classes: modality shift only.")
        if asked:
            absent[ood] = f"{id_name} has no novel classes; --novel_classes or --split_file can name some."


def _images(ood: OodSet, source: Source, novel: Part | None, id_part: Part, settings: DetectSettings) -> Tensor:
    if ood.novel and novel is not None:
        return novel.images
    return ood_images(ood, source, settings.where, id_part.native, settings.all_classes)


def _weights(network: nn.Module) -> Tensor:
    return torch.cat([value.detach().flatten().float() for value in network.state_dict().values()])


def _warn_of_constant(id_scored: Scored, scored: Scored, ood: OodSet) -> None:
    values = np.concatenate([id_scored.confidences, scored.confidences])
    if (values == values[0]).all():
        say(
            f"warning: all {len(values)} scores of the ID set and {ood.name} are {values[0]}: the network tells "
            "nothing apart. AUROC is 0.5, and 0 by the original's count of ties. Train it again.",
            warning=True,
        )


def _print_row(id_name: str, ood_name: str, id_scored: Scored, scored: Scored) -> None:
    """The original's lines: higher confidence = ID, ID positive, percent."""
    metrics = legacy_metrics(id_scored.confidences, scored.confidences)
    say(f"in_distribution: {id_name}\tout_distribution: {ood_name}")
    say(f"method: {METHOD}")
    say(" ".join(f"{name:>6}" for name in NAMES))
    say(" ".join(f"{100 * metrics[name]:6.2f}" for name in NAMES))


def _nothing(absent: dict[OodSet, str]) -> str:
    if not absent:
        return "There is no OOD set to score: the ID set has no novel classes, and no other set is asked for."
    first = next(iter(absent.values()))
    return (
        f"Every OOD set is missing: {', '.join(ood.name for ood in absent)}. {first} Or pass --out_test_dataset with "
        "sets that are there; textures, faces, photos and letters always are."
    )
