"""Flags that say where images come from and which classes are novel; the same for every command, read without torch."""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

from ood_shared.files import path_of

DATA = "./data"
CHANNELS = ("bgr", "rgb")


@dataclass(frozen=True)
class DataOptions:
    """The values of `add_data_flags`.

    Attributes:
        data_dir: value of --data_dir; None when it was not given.
        split_file: value of --split_file.
        novel_classes: value of --novel_classes; of the ID set only.
        path_channels: order of the colours of pathmnist.
        download: whether absent sets may be downloaded.
    """

    data_dir: str | None = None
    split_file: str | None = None
    novel_classes: str | None = None
    path_channels: str = "bgr"
    download: bool = True

    @classmethod
    def of(cls, options: argparse.Namespace) -> "DataOptions":
        """From parsed flags."""
        names = ("data_dir", "split_file", "novel_classes", "path_channels")
        return cls(**{name: getattr(options, name) for name in names}, download=not options.no_download)

    @property
    def roots(self) -> tuple[Path, ...]:
        """Folders in which sets are looked for: --data_dir, else ./data and then what OOD_DATA_DIR names."""
        if self.data_dir is not None:
            return (path_of(self.data_dir),)
        shared = os.environ.get("OOD_DATA_DIR")
        return (Path(DATA), *([path_of(shared)] if shared else []))

    @property
    def download_root(self) -> Path:
        """The folder that downloads go to: the last of `roots`."""
        return self.roots[-1]


def add_data_flags(parser: argparse.ArgumentParser) -> None:
    """Add --data_dir, --split_file, --novel_classes, --path_channels and --no_download.

    A command that also takes the shared flags passes `skip=("data-dir",)` to `ood_shared.cli.add_shared_flags`.
    """
    group = parser.add_argument_group("data")
    group.add_argument(
        "--data_dir",
        "--data-dir",
        default=None,
        metavar="DIR",
        help=f"where sets are kept and downloaded to (default: {DATA}, then the folder OOD_DATA_DIR)",
    )
    group.add_argument(
        "--split_file", default=None, metavar="FILE", help="YAML or JSON: known and novel classes of further sets"
    )
    group.add_argument(
        "--novel_classes",
        default=None,
        metavar="CLASSES",
        help="classes of the ID set to keep out of training, numbers or names with commas; none keeps all "
        "(default: by set; 8,9 of digits, none of own data)",
    )
    group.add_argument(
        "--path_channels",
        default="bgr",
        choices=CHANNELS,
        help="order of the colours of pathmnist, which the original reverses (default: bgr)",
    )
    group.add_argument("--no_download", action="store_true", help="do not download sets that are absent")
