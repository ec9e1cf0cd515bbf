"""Where the two commands keep their files, below the working directory or `--output-dir`:

    ckpts/<model_type>/<in_dataset>/<ckpt_name>/<ckpt_name>_m_in_<m_in>-m_out_<m_out>-T_<T>-ckpt.pth.tar        best
    ckpts/<model_type>/<in_dataset>/<ckpt_name>/<ckpt_name>_m_in_<m_in>-m_out_<m_out>-T_<T>-ckpt_last.pth.tar   last
    logs/<model_type>/<in_dataset>/<ckpt_name>/<ood set>/scores_energy_{In,Out}.txt

Numbers stand there as Python writes floats (`-20.0`). The original looks for checkpoints of every run under the prefix
`in_latent_out_pix`, so detection takes that one, too.
"""

import re
from pathlib import Path

from ood_shared.errors import InputError, MissingFileError
from ood_shared.files import path_of

RUN = "in_latent_out_pix"  # default of --ckpt_name and --dir_name
_ENDINGS = re.compile(r"(\.tar)?\.(npz|tar|gz|tgz|zip|txt|pkl)$", re.IGNORECASE)


def work_folder(output_dir: str | Path | None = None) -> Path:
    """The folder that holds `ckpts` and `logs`: `--output-dir`, else the working directory."""
    return path_of(output_dir) if output_dir is not None else Path()


def set_name(name_or_path: str) -> str:
    """Short name of a set for folders and tables, in lower case: a name as it is, of a path its last part.

    >>> set_name("BloodMNIST"), set_name("../scans/My set.tar.gz")
    ('bloodmnist', 'my_set')
    """
    path = path_of(name_or_path)
    last = path.name if path.name not in {"", ".."} else path.resolve().name
    clean = re.sub(r"[^\w+-]+", "_", _ENDINGS.sub("", last)).strip("_")
    return clean.lower() or "root"


def checkpoint_path(
    root: Path, model_type: str, in_dataset: str, ckpt_name: str, m_in: float, m_out: float, T: float, last: bool
) -> Path:
    """The checkpoint of the last epoch or of the best one.

    Args:
        root: as `work_folder` gives it.
        model_type: value of --model_type.
        in_dataset: name or path of the ID set.
        ckpt_name: name of the run, both folder and prefix of the file.
        m_in: margin of the inliers.
        m_out: margin of the outliers.
        T: temperature.
        last: the last epoch, not the best one.

    Raises:
        InputError: the name of the run or of the model is no name of a folder.
    """
    folder = checkpoint_folder(root, model_type, in_dataset, ckpt_name)
    return folder / checkpoint_name(ckpt_name, m_in, m_out, T, last)


def checkpoint_name(prefix: str, m_in: float, m_out: float, T: float, last: bool) -> str:
    """Name of a checkpoint's file.

    >>> checkpoint_name("in_latent_out_pix", -20, -7, 1, last=True)
    'in_latent_out_pix_m_in_-20.0-m_out_-7.0-T_1.0-ckpt_last.pth.tar'
    """
    return f"{prefix}_m_in_{float(m_in)}-m_out_{float(m_out)}-T_{float(T)}-ckpt{'_last' if last else ''}.pth.tar"


def checkpoint_folder(root: Path, model_type: str, in_dataset: str, run: str) -> Path:
    """The folder of a run's checkpoints; see `checkpoint_path`."""
    return root / "ckpts" / _folder("--model_type", model_type) / set_name(in_dataset) / _folder("Run name", run)


def log_folder(root: Path, model_type: str, in_dataset: str, run: str) -> Path:
    """The folder of a run's scores and results."""
    return root / "logs" / _folder("--model_type", model_type) / set_name(in_dataset) / _folder("Run name", run)


def find_checkpoint(
    root: Path, model_type: str, in_dataset: str, run: str, m_in: float, m_out: float, T: float, last: bool
) -> Path:
    """The checkpoint of a run under its own prefix, else under that of the original.

    Raises:
        MissingFileError: neither is there; the message says which command makes it, or goes on with a begun run.
    """
    folder = checkpoint_folder(root, model_type, in_dataset, run)
    names = list(dict.fromkeys(checkpoint_name(prefix, m_in, m_out, T, last) for prefix in (run, RUN)))
    for name in names:
        if (folder / name).is_file():
            return folder / name
    present = sorted(path.name for path in folder.glob("*.pth.tar")) if folder.is_dir() else []
    others = f" Present there: {', '.join(present)}." if present else ""
    margins = "" if (m_in, m_out, T) == (-20, -7, 1) else f" --m_in {m_in} --m_out {m_out} --T {T}"
    begun = any(folder.glob("*/checkpoint.pt"))
    advice = "Its run has not ended an epoch; go on with it, with the flags that it has:" if begun else "Train it with"
    raise MissingFileError(
        f"Checkpoint {' or '.join(str(folder / name) for name in names)} is missing.{others} {advice} "
        f"`python train_in_latent_out_pix.py --in_dataset {in_dataset} --model_type {model_type} --dist --augmix "
        f"--rand_conv --ckpt_name {run}{margins}`."
    )


def _folder(what: str, word: str) -> str:
    if not word or word in {".", ".."} or "/" in word or "\\" in word:
        raise InputError(f"{what} `{word}` is not the name of a folder; pass one word without slashes.")
    return word
