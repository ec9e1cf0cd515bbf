"""The methods that `ood-bench` can run: packages with a bench module in the entry point group `ood_shared.bench`.

    [project.entry-points."ood_shared.bench"]
    oodgen = "oodgen.bench"

Nothing else of a package is known here, and none is imported. Beside them stand the baselines of `baselines`, which
share one process, as they share one classifier.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata, util

from ood_shared.errors import InputError, unknown

from ood_bench.baselines import DETECTORS

BASELINES = "baselines"
BASELINES_MODULE = "ood_bench.baselines"
GROUP = "ood_shared.bench"
SIBLINGS = (
    "know_your_space",
    "mood_dpa",
    "ascood",
    "imood",
    "oodgen",
)  # in the README's order


def installed() -> dict[str, str]:
    """Name and bench module of every method that is installed and built: the siblings first, then others by name."""
    found: dict[str, str] = {}
    for point in metadata.entry_points(group=GROUP):
        found.setdefault(point.name, point.module)
    ranks = {name: rank for rank, name in enumerate(SIBLINGS)}
    return {name: found[name] for name in sorted(found, key=lambda name: (ranks.get(name, len(ranks)), name))}


@dataclass(frozen=True)
class Source:
    """What is run as one process: a package, or the baselines.

    Attributes:
        name: for people, and for the folder.
        module: started with `python -m`.
        methods: whose results it leaves: in its folder, or for a group in a folder of each.
        arguments: beyond those that all get.
    """

    name: str
    module: str
    methods: tuple[str, ...]
    arguments: tuple[str, ...] = ()

    @property
    def group(self) -> bool:
        """Whether each method has a folder of its own."""
        return self.name == BASELINES


def choose(requested: Sequence[str] | None) -> list[Source]:
    """The requested methods, in the order of the request; when None all packages installed, then the baselines.

    Args:
        requested: names of packages and of baselines; `baselines` stands for all of these.

    Raises:
        InputError: nothing is installed, or a name is not built yet, or not known.
    """
    built = installed()
    if requested is None:
        if not built:
            raise InputError(f"No method is installed: no package has an entry point in the group `{GROUP}`.")
        return [*(_package(name, built) for name in built), *([_baselines(DETECTORS)] if _has_library() else [])]
    found: dict[str, Source] = {}
    plain: list[str] = []
    for word in requested:
        name = word.replace("-", "_")
        if name in built:
            found[name] = _package(name, built)
        elif name == BASELINES or name in DETECTORS:
            plain += DETECTORS if name == BASELINES else (name,)
            found[BASELINES] = _baselines(tuple(dict.fromkeys(plain)))
        elif name in SIBLINGS:
            raise InputError(
                f"--methods `{word}` is not built yet: its package is not installed or has no entry point in the group "
                f"`{GROUP}`. Built: {', '.join(built) or 'none'}."
            )
        else:
            raise unknown("--methods", word, dict.fromkeys((*built, *SIBLINGS, BASELINES, *DETECTORS)))
    return list(found.values())


def _package(name: str, built: dict[str, str]) -> Source:
    return Source(name, built[name], (name,))


def _baselines(detectors: tuple[str, ...]) -> Source:
    return Source(BASELINES, BASELINES_MODULE, detectors, ("--detectors", ",".join(detectors)))


def _has_library() -> bool:
    return util.find_spec("pytorch_ood") is not None


def not_built() -> list[str]:
    """The siblings that cannot be run yet."""
    built = installed()
    return [name for name in SIBLINGS if name not in built]
