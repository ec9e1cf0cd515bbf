"""A method that is one file: `ood-bench --methods ./my_method.py:MyDetector`.

    class MyDetector:
        def fit(self, images, labels): …     # uint8 (n, 32, 32, 3), int64 (n,), 0..classes-1
        def score(self, images): …           # (n,), higher = more OOD
        def predict(self, images): …         # (n,), classes; may be left out

The file runs as its own process, `python -m ood_bench.user_method --method FILE:CLASS …`, under the bench contract: the
same images, seeds and files as every package. Python's, NumPy's and torch's global generators are seeded before it.
"""

import argparse
import hashlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ood_shared.contract import COMMON, Request, bench_parser, run_bench
from ood_shared.errors import InputError, MissingFileError
from ood_shared.files import path_of

if TYPE_CHECKING:
    from ood_shared.detector import Train

MODULE = "ood_bench.user_method"
SIDE, CHANNELS = 32, 3
NEEDED = ("fit", "score")


def is_file(word: str) -> bool:
    """Whether a word of `--methods` names a class in a file."""
    path, separator, _ = word.rpartition(":")
    return bool(separator) and path.endswith(".py")


def name_of(word: str) -> str:
    """The method's name: `my_method.MyDetector` of `./my_method.py:MyDetector`.

    Raises:
        MissingFileError: the file is not there.
        InputError: the class has no name that Python allows.
    """
    path, _, kind = word.rpartition(":")
    if not path_of(path).is_file():
        raise MissingFileError(f"--methods {word}: {path} is missing.")
    if not kind.isidentifier():
        raise InputError(f"--methods {word}: `{kind}` is no name of a class. Write FILE.py:ClassName.")
    return f"{Path(path).stem}.{kind}"


def arguments_of(word: str) -> tuple[str, ...]:
    """The flags of its process; with the file's hash, so that `--resume` runs a changed file again."""
    path = path_of(word.rpartition(":")[0])
    return ("--method", word, "--sha256", hashlib.sha256(path.read_bytes()).hexdigest())


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m ood_bench.user_method`."""
    parser = bench_parser("ood_bench.user_method")
    parser.add_argument("--method", required=True, metavar="FILE:CLASS", help="Python file and class in it")
    parser.add_argument("--sha256", help="of the file when the run was asked for; another one is refused")
    return run_bench(MODULE, COMMON, parser, argv)


def bench(options: argparse.Namespace, schedule: Any) -> None:
    """Fit the user's class on the images of the budget and score; leaves what every bench leaves."""
    from ood_shared.detector import Method, run_within_budget
    from ood_shared.training import Compute

    if options.sha256 is not None and arguments_of(options.method)[-1] != options.sha256:
        raise InputError(f"{options.method} has changed since this run was asked for. Start ood-bench again.")
    request, compute = Request.from_options(options), Compute.from_options(options)
    about = f"{options.method}, a method of the user's own"
    method = Method(name_of(options.method), about, SIDE, CHANNELS)
    limits = (schedule.train_images, schedule.test_images)
    run_within_budget(method, request, limits, training(options.method, request.seed), compute, options.output_dir)


def training(word: str, seed: int) -> "Train":
    """How the class of `FILE:CLASS` is trained, as `run_within_budget` takes it."""
    from ood_shared.detector import Trained
    from ood_shared.devices import seed_everything

    from ood_bench.user_detector import UserDetector, as_arrays

    path, _, kind = word.rpartition(":")
    method_class = load_class(path_of(path), kind)

    def train(benchmark: Any, generator: Any, compute: Any, folder: Path) -> Trained:
        seed_everything(seed)
        user = method_class()
        user.fit(as_arrays(benchmark.train), benchmark.train_labels.numpy())
        detector = UserDetector(user, benchmark.classes)
        return Trained(detector, [], 1, path_of(path), None, {"n_train": len(benchmark.train)}, backbone="own")

    return train


def load_class(path: Path, kind: str) -> type:
    """The class in a file of the user's, which is imported.

    Raises:
        InputError: the file lacks it, or it lacks a method.
    """
    spec = importlib.util.spec_from_file_location(f"user_method_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is no Python file.")
    module: ModuleType = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickles look there for their module
    sys.path.insert(0, str(path.parent.resolve()))
    spec.loader.exec_module(module)
    user_class = getattr(module, kind, None)
    if not isinstance(user_class, type):
        classes = [name for name, value in vars(module).items() if isinstance(value, type)]
        raise InputError(f"{path} has no class `{kind}`. It has: {', '.join(classes) or 'none'}.")
    lacking = [name for name in NEEDED if not callable(getattr(user_class, name, None))]
    if lacking:
        needs = "it needs fit(images, labels) and score(images)"
        raise InputError(f"{path}: class `{kind}` has no method `{lacking[0]}`; {needs}.")
    return user_class


if __name__ == "__main__":
    sys.exit(main())
