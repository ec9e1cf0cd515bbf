"""The methods that `ood-bench` can run: packages with a bench module in the entry point group `ood_shared.bench`.

    [project.entry-points."ood_shared.bench"]
    oodgen = "oodgen.bench"

Nothing else of a package is known here, and none is imported. Beside them stand the fused detector (`fused_bench`), a
user's own file (`user_method`), and the baselines of `baselines`, which share one process and one classifier.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata, util

from ood_shared.errors import InputError, unknown

from ood_bench import fused_bench, user_method
from ood_bench.baselines import DETECTORS

_CONSTANT = "with one class its score is the same for every image"
_UNTRAINED = "with one class the logits that it reads are not trained"
NEED_CLASSES = {  # methods that one ID class leaves without a score, and why; others are not known to be so
    **dict.fromkeys(("msp", "odin"), _CONSTANT),
    "ascood": "with one class its loss is 0 and nothing is trained",
    "imood": "its loss balances classes, of which it needs two",
    **dict.fromkeys(("max_logit", "energy", "react", "vim"), _UNTRAINED),
}
ONE_CLASS_WORDS = "knn, mahalanobis, mood_dpa, oodgen, know_your_space or a method of your own"
BASELINES = "baselines"
BASELINES_MODULE = "ood_bench.baselines"
GROUP = "ood_shared.bench"


def installed() -> dict[str, str]:
    """Name and bench module of every method whose distribution is installed, in the order of the names."""
    modules: dict[str, str] = {}
    for point in metadata.entry_points(group=GROUP):
        modules.setdefault(point.name, point.module)
    return dict(sorted(modules.items()))


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


FUSED = Source(fused_bench.NAME, fused_bench.MODULE, (fused_bench.NAME,))
OURS = (FUSED,)  # beside the packages when none is named


def choose(requested: Sequence[str] | None) -> list[Source]:
    """The requested methods, in the order of the request; when None all packages, the fused detector, the baselines.

    Args:
        requested: names of packages and of baselines; `baselines` stands for all of these.

    Raises:
        InputError: nothing is installed, or a name is not known.
    """
    built = installed()
    if requested is None:
        if not built:
            raise InputError(f"No method is installed: no package has an entry point in the group `{GROUP}`.")
        packages = [_package(name, built) for name in built]
        return [*packages, *OURS, *([_baselines(DETECTORS)] if _has_library() else [])]
    chosen: dict[str, Source] = {}
    plain: list[str] = []
    for word in requested:
        name = word if word in built else word.replace("-", "_")
        if name in built:
            chosen[name] = _package(name, built)
        elif name == FUSED.name:
            chosen[name] = FUSED
        elif name == BASELINES or name in DETECTORS:
            plain += DETECTORS if name == BASELINES else (name,)
            chosen[BASELINES] = _baselines(tuple(dict.fromkeys(plain)))
        elif user_method.is_file(word):
            own = user_method.name_of(word)
            if own in chosen:
                raise InputError(f"--methods names two files with {own}; rename one of the classes.")
            chosen[own] = Source(own, user_method.MODULE, (own,), user_method.arguments_of(word))
        else:
            raise unknown("--methods", word, dict.fromkeys((*built, FUSED.name, BASELINES, *DETECTORS)))
    return list(chosen.values())


def without_classes(chosen: Sequence[Source], id_name: str) -> tuple[list[Source], dict[str, str]]:
    """Those that can do with a single ID class, and the others with the reason that they are left out.

    Raises:
        InputError: none is left.
    """
    kept: list[Source] = []
    out: dict[str, str] = {}
    for source in chosen:
        able = tuple(method for method in source.methods if method not in NEED_CLASSES)
        out |= {method: NEED_CLASSES[method] for method in source.methods if method not in able}
        if able:
            kept.append(source if able == source.methods else _baselines(able))
    if not kept:
        able_words = f"{FUSED.name}, {ONE_CLASS_WORDS}"
        named = f"{', '.join(out)} {'needs' if len(out) == 1 else 'need'}"
        raise InputError(f"{id_name} has one class, and {named} two or more. With one class: {able_words}.")
    return kept, out


def with_pretrained(chosen: Sequence[Source], requested: Sequence[str] | None) -> list[Source]:
    """Those that know pretrained features: the fused detector and the baselines.

    Raises:
        InputError: another one was requested by name.
    """
    known = [source for source in chosen if source.name in (FUSED.name, BASELINES)]
    others = [source.name for source in chosen if source not in known]
    if requested is not None and others:
        raise InputError(f"--backbone pretrained: {others[0]} trains its own network; leave it out, or the flag.")
    return known


def _package(name: str, built: dict[str, str]) -> Source:
    return Source(name, built[name], (name,))


def _baselines(detectors: tuple[str, ...]) -> Source:
    return Source(BASELINES, BASELINES_MODULE, detectors, ("--detectors", ",".join(detectors)))


def _has_library() -> bool:
    return util.find_spec("pytorch_ood") is not None
