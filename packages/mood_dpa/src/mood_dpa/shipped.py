"""Files that come with the package, beside its code: configurations, folds, and what the challenge's container takes.

`configs/brain/pixel/axis_0/train_config.yaml` is found from any folder: where the user has a file of that name it is
the user's, else the one that is shipped.
"""

from pathlib import Path

FOLDERS = ("configs", "folds", "submission_data")


def with_shipped(path: Path) -> Path:
    """The path where something lies there, else that of the shipped file of this name, else the path as it is.

    Args:
        path: as the user gave it; only a relative one that begins with a folder of `FOLDERS` is looked for.
    """
    if path.exists() or not path.parts or path.parts[0] not in FOLDERS:
        return path
    shipped = _root() / path
    return shipped if shipped.is_file() else path


def _root() -> Path:
    """The package when it is installed, the folder around `src` in a checkout."""
    here = Path(__file__).resolve().parent
    return here if (here / FOLDERS[0]).is_dir() else here.parents[1]
