"""The methods that `ood-bench` can run: packages with a bench module in the entry point group `ood_shared.bench`.

    [project.entry-points."ood_shared.bench"]
    oodgen = "oodgen.bench"

Nothing else of a package is known here, and none is imported.
"""

from collections.abc import Sequence
from importlib import metadata

from ood_shared.errors import InputError, unknown

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


def choose(requested: Sequence[str] | None) -> dict[str, str]:
    """Name and bench module of the requested methods, in the order of the request; of all installed ones when None.

    Raises:
        InputError: nothing is installed, or a name is not built yet, or not known.
    """
    built = installed()
    if requested is None:
        if not built:
            raise InputError(f"No method is installed: no package has an entry point in the group `{GROUP}`.")
        return built
    chosen = {}
    for word in requested:
        name = word.replace("-", "_")
        if name in built:
            chosen[name] = built[name]
        elif name in SIBLINGS:
            raise InputError(
                f"--methods `{word}` is not built yet: its package is not installed or has no entry point in the group "
                f"`{GROUP}`. Built: {', '.join(built) or 'none'}."
            )
        else:
            raise unknown("--methods", word, dict.fromkeys((*built, *SIBLINGS)))
    return chosen


def not_built() -> list[str]:
    """The siblings that cannot be run yet."""
    built = installed()
    return [name for name in SIBLINGS if name not in built]
