"""scripts/download/download.py: data sets and checkpoints, an explicit command; nothing else downloads.

The authors' archives lie on a file-sharing drive that asks for a browser. This program says which are missing and where
they belong, and takes the zip files that a browser has fetched (`--archives`): checked against SHA256SUMS there when it
lists them, unpacked safely, and only renamed into place when whole. ImageNet weights for the backbones
(`--contents weights`) come from torchvision, checked by the hash in their names.
"""

import argparse
import sys
import urllib.error
from dataclasses import dataclass
from pathlib import Path

from ood_shared import checkpoints
from ood_shared.datasets.unpacking import unpack
from ood_shared.errors import InputError, MissingFileError, unknown

_CIFAR = ("cifar10", "cifar100", "tin", "mnist", "svhn", "texture", "places365", "tin597", "iSUN")
_FAR = ("ninco", "inaturalist", "texture", "openimage_o", "sun")
_IMAGENET = (
    *("imagenet_1k", "ssb_hard", "ninco", "inaturalist", "texture", "openimage_o"),
    *("imagenet_v2", "imagenet_c", "imagenet_r"),
)
BENCHMARKS = {
    "mnist": ("mnist",),
    "cifar-10": _CIFAR,
    "cifar-100": _CIFAR,
    "waterbirds": ("waterbirds", "waterbirds_ood", *_FAR),
    "celeba": ("celeba", *_FAR),
    "aircraft": ("aircraft", *_FAR),
    "cars": ("cars", *_FAR),
    "imagenet-200": _IMAGENET,
    "imagenet-1k": _IMAGENET,
}
GROUPS = {
    "default": ("mnist", "cifar-10", "cifar-100"),
    "ood_v1.5": ("cifar-10", "cifar-100", "imagenet-200", "imagenet-1k"),
    "ascood": ("cifar-10", "cifar-100", "celeba", "waterbirds", "cars", "aircraft"),
    "all": tuple(BENCHMARKS),
}
CLASSIC = {*_CIFAR, "cifar10c", "cinic10"}
_TAIL = "ascood_net_ascood"
ASCOOD_RUNS = (
    f"cars_{_TAIL}_e30_lr0.01_w1.0_p0.1_otype_gradient_nmg_0.1_0.1_default",
    f"celeba_{_TAIL}_e30_lr0.01_w1.0_p0.05_otype_gradient_nmg_30.0_50.0_default",
    f"celeba_{_TAIL}_e30_lr0.01_w1.0_p1.0_otype_gaussian_nmg_0.1_0.1_default",
    f"cifar100_{_TAIL}_e100_lr0.1_w5.0_p0.1_otype_shuffle_nmg_1.0_1.0_default",
    f"cifar10_{_TAIL}_e100_lr0.1_w1.0_p0.2_otype_shuffle_nmg_1.0_1.0_random",
    f"waterbirds_{_TAIL}_e30_lr0.01_w0.1_p0.1_otype_gradient_nmg_30.0_300.0_default",
    f"aircraft_{_TAIL}_e30_lr0.01_w1.0_p0.1_otype_gradient_nmg_0.1_0.1_default",
)
OPENOOD_RUNS = (
    "cifar10_resnet18_32x32_base_e100_lr0.1_default",
    "cifar100_resnet18_32x32_base_e100_lr0.1_default",
    "imagenet200_resnet18_224x224_base_e90_lr0.1_default",
)
CHECKPOINTS = {"ascood": ASCOOD_RUNS, "ood_v1.5": OPENOOD_RUNS, "ood": (), "all": (*ASCOOD_RUNS, *OPENOOD_RUNS)}
WEIGHTS = {
    "resnet18-f37072fd.pth": ("ResNet18_Weights", "f37072fd"),
    "resnet50_imagenet1k_v1.pth": ("ResNet50_Weights", "0676ba61"),
}


@dataclass(frozen=True)
class Item:
    """One archive: its name and the folder that it fills."""

    name: str
    folder: Path
    source: str


def download(options: argparse.Namespace) -> int:
    """Put in place what can be, say what cannot; status 1 when something is missing."""
    if options.archives is not None and not Path(options.archives).is_dir():
        raise MissingFileError(f"--archives {options.archives} is no folder; expected that of the zip files.")
    data, results = (Path(folder) for folder in options.save_dir)
    items: list[Item] = []
    if "datasets" in options.contents:
        items.append(Item("benchmark_imglist", data / "benchmark_imglist", "OpenOOD v1.5 and the authors' drive"))
        for name in datasets_of(options.datasets, options.dataset_mode):
            kind = "images_classic" if name in CLASSIC else "images_largescale"
            items.append(Item(name, data / kind / name, "OpenOOD v1.5 or the authors' drive"))
    if "checkpoints" in options.contents:
        for name in checkpoints_of(options.checkpoints):
            items.append(Item(name, results / name, "the authors' drive"))
    missing = [item for item in items if not _put_in_place(item, options.archives)]
    failed = _fetch_weights(results / "pretrained_weights") if "weights" in options.contents else []
    for item in missing:
        print(f"missing: {item.folder} (archive {item.name}.zip, from {item.source})", file=sys.stderr)
    if missing:
        print(
            f"{len(missing)} of {len(items)} are missing. They cannot be fetched from here: the drives that the README "
            "of the original program and OpenOOD's download script name ask for a browser. Fetch the zip files there "
            "and run this again with --archives FOLDER, or unpack each so that the folder above holds its content (a "
            "run: s0/best.ckpt, s1/best.ckpt, …). Own images: ascood build_imglist.",
            file=sys.stderr,
        )
    for line in failed:
        print(line, file=sys.stderr)
    return 1 if missing or failed else 0


def datasets_of(names: list[str], mode: str) -> list[str]:
    """The data sets that the words mean, each once.

    Raises:
        InputError: a name that is neither a group nor, by the mode, a benchmark or a data set.
    """
    sets = sorted({name for group in BENCHMARKS.values() for name in group})
    chosen: list[str] = []
    for word in names:
        if word in GROUPS:
            benchmarks = GROUPS[word]
        elif mode == "dataset":
            if word not in sets:
                raise unknown("--datasets", word, [*GROUPS, *sets])
            chosen.append(word)
            continue
        elif word in BENCHMARKS:
            benchmarks = (word,)
        else:
            raise unknown("--datasets", word, [*GROUPS, *BENCHMARKS])
        chosen += [name for benchmark in benchmarks for name in BENCHMARKS[benchmark]]
    return list(dict.fromkeys(chosen))


def checkpoints_of(names: list[str]) -> list[str]:
    """The run folders that the words mean, each once."""
    chosen: list[str] = []
    for word in names:
        if word in CHECKPOINTS:
            chosen += CHECKPOINTS[word]
        elif word in CHECKPOINTS["all"]:
            chosen.append(word)
        else:
            raise unknown("--checkpoints", word, [*CHECKPOINTS, *CHECKPOINTS["all"]])
    return list(dict.fromkeys(chosen))


def _put_in_place(item: Item, archives: str | None) -> bool:
    """Whether the item is in place, after unpacking its archive when there is one."""
    if item.folder.is_dir() and any(item.folder.iterdir()):
        print(f"{item.folder} is there already")
        return True
    archive = Path(archives) / f"{item.name}.zip" if archives is not None else None
    if archive is None or not archive.is_file():
        return False
    _check_sum(archive)
    unpack(archive, item.folder, look_through=True)
    print(f"{item.folder} unpacked")
    return True


def _check_sum(archive: Path) -> None:
    """Compare with SHA256SUMS beside the archive, when that lists it."""
    sums = archive.parent / "SHA256SUMS"
    if not sums.is_file():
        print(f"warning: {sums} is not there; {archive.name} is not checked.", file=sys.stderr)
        return
    for line in sums.read_text(encoding="utf-8").splitlines():
        expected, _, name = line.partition(" ")
        if name.strip().lstrip("*") == archive.name:
            if checkpoints.sha256(archive) != expected.strip().lower():
                raise InputError(f"{archive} differs from its checksum in {sums}. Fetch it again.")
            return
    print(f"warning: {sums} does not list {archive.name}; it is not checked.", file=sys.stderr)


def _fetch_weights(folder: Path) -> list[str]:
    """torchvision's ImageNet weights for the scripts; lines about those that could not be fetched."""
    from torch.hub import download_url_to_file
    from torchvision import models

    failed = []
    folder.mkdir(parents=True, exist_ok=True)
    for name, (weights, prefix) in WEIGHTS.items():
        path = folder / name
        if path.is_file() and checkpoints.sha256(path).startswith(prefix):
            print(f"{path} is there already")
            continue
        try:
            download_url_to_file(
                getattr(models, weights).IMAGENET1K_V1.url, str(path), hash_prefix=prefix, progress=False
            )
            print(f"{path} fetched")
        except (urllib.error.URLError, OSError, RuntimeError) as error:
            failed.append(
                f"missing: {path} ({weights}.IMAGENET1K_V1 of torchvision): {' '.join(str(error).split())[:120]}"
            )
    return failed
