"""Which classes of a set are known and which are novel.

Only the split of bloodmnist is published. Of the other sets the number of known classes is; their novel classes are
assumed to be those with the highest ids, unless a split file says otherwise:

    retinamnist:            # a set name, or the short name of own data
      novel: [3, 4]         # class ids or names
      known: [0, 1, 2]      # all others when left out
      n_known: 3            # checked when given
      colour: stored        # stored: grey copied to 3 channels, RGB as it is; grey: luma; bgr: red and blue swapped
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ood_shared.datasets.medical import MEDICAL, parse_name
from ood_shared.errors import InputError, did_you_mean, unknown
from ood_shared.files import read_yaml

from know_your_space.data.options import DataOptions
from know_your_space.data.paths import set_name

EIGHT = (
    "bloodmnist",
    "dermamnist",
    "octmnist",
    "organamnist",
    "organcmnist",
    "organsmnist",
    "pathmnist",
    "tissuemnist",
)  # in the order in which the original scores them
COLOURS = ("stored", "grey", "bgr")
DOCUMENTED = "documented by the authors"
ASSUMED = "assumed: the class ids above the published number of known classes"
ALL_KNOWN = "all classes are known"
CHOSEN = "--novel_classes"

Word = int | str


@dataclass(frozen=True)
class Rule:
    """How a set is split.

    Attributes:
        novel: ids or names of the classes kept out of training.
        known: ids or names of the other classes; None means all that are not novel.
        n_known: how many there must be; None when any number does.
        colour: one of `COLOURS`.
        origin: who says so.
    """

    novel: tuple[Word, ...] = ()
    known: tuple[Word, ...] | None = None
    n_known: int | None = None
    colour: str = "stored"
    origin: str = ALL_KNOWN


class Classes(NamedTuple):
    """Sorted ids of the known and of the novel classes."""

    known: tuple[int, ...]
    novel: tuple[int, ...]


_ORGANS = Rule((8, 9, 10), n_known=8, origin=ASSUMED)
RULES = {
    "bloodmnist": Rule((5, 7), n_known=6, origin=DOCUMENTED),
    "dermamnist": Rule((5, 6), n_known=5, origin=ASSUMED),
    "octmnist": Rule((3,), n_known=3, origin=ASSUMED),
    "organamnist": _ORGANS,
    "organcmnist": _ORGANS,
    "organsmnist": _ORGANS,
    "pathmnist": Rule((6, 7, 8), n_known=6, colour="bgr", origin=ASSUMED),
    "tissuemnist": Rule((6, 7), n_known=6, origin=ASSUMED),
    "pneumoniamnist": Rule(n_known=2),
    "digits": Rule((8, 9), n_known=8, origin="default of the embedded digits"),
}


def rule_of(word: str, options: DataOptions, as_id: bool) -> Rule:
    """The rule of a set.

    Args:
        word: name or path of the set.
        options: --split_file, --path_channels and, for the ID set, --novel_classes.
        as_id: whether the set is the in-distribution one, which needs a rule where a mere OOD set does without.

    Raises:
        InputError: the split file is wrong, or a MedMNIST set without a rule is to be in-distribution.
    """
    name = set_name(word)
    medical = parse_name(name)
    base = medical[0] if medical is not None else name
    in_file = read_split_file(Path(options.split_file)) if options.split_file is not None else {}
    entry = in_file.get(name, in_file.get(base))
    if entry is None and as_id and in_file and options.novel_classes is None:
        raise InputError(f"{options.split_file} has no entry `{name}`. {did_you_mean(name, in_file)}")
    if entry is None:
        entry = RULES.get(base) if word.lower() == name else None  # own data has no rule of ours, whatever its name
        if entry is not None and base == "pathmnist":
            entry = Rule(
                entry.novel, None, entry.n_known, "bgr" if options.path_channels == "bgr" else "stored", ASSUMED
            )
    if as_id and options.novel_classes is not None:
        colour = entry.colour if entry is not None else "stored"
        return Rule(_listed(options.novel_classes), colour=colour, origin=CHOSEN)
    if entry is None and as_id and base in MEDICAL and word.lower() == name:
        raise InputError(
            f"--in_dataset {word}: which of its {len(MEDICAL[base].classes)} classes are novel is not known. Pass "
            "--novel_classes with their ids or `none`, or --split_file."
        )
    return entry or Rule()


def resolve(rule: Rule, names: Sequence[str], where: str, present: Sequence[int] | None = None) -> Classes:
    """The class ids that a rule means in a set.

    Args:
        rule: which classes are known and novel.
        names: names of all classes of the set; the position is the id.
        where: name of the set, for messages.
        present: ids that the set has images of; None means all.

    Raises:
        InputError: a class that the set does not have, one that is known and novel, no known class, or another number
            of them than the rule says.
    """
    ids = range(len(names)) if present is None else sorted(set(present))
    novel = sorted({_class_id(word, names, where) for word in rule.novel})
    if rule.known is None:
        known = [number for number in ids if number not in novel]
    else:
        known = sorted({_class_id(word, names, where) for word in rule.known})
    both = sorted(set(known) & set(novel))
    if both:
        raise InputError(f"Class {both[0]} of {where} is listed as known and as novel ({rule.origin}).")
    if not known:
        raise InputError(f"No class of {where} is left to train on: all {len(novel)} are novel ({rule.origin}).")
    if rule.n_known is not None and rule.n_known != len(known):
        raise InputError(
            f"{where} has {len(known)} known classes ({', '.join(map(str, known))}), expected {rule.n_known} "
            f"({rule.origin})."
        )
    return Classes(tuple(known), tuple(novel))


def read_split_file(path: Path) -> dict[str, Rule]:
    """The rules of a split file, by the short name of the set.

    Raises:
        MissingFileError: no such file.
        InputError: no YAML or JSON, duplicate or unknown keys, or values of another kind.
    """
    content = read_yaml(path)
    if not isinstance(content, dict) or not content:
        raise InputError(f"{path} holds no sets; expected `name: {{novel: […]}}` for each set.")
    return {
        set_name(str(name)): _rule(entry, f"{path}, `{name}`", f"split file {path.name}")
        for name, entry in content.items()
    }


def _rule(entry: Any, where: str, origin: str) -> Rule:
    if not isinstance(entry, Mapping):
        raise InputError(f"{where} is {entry!r}; expected `novel: […]` and, if wanted, known, n_known and colour.")
    for key in entry:
        if key not in {"novel", "known", "n_known", "colour"}:
            raise unknown(f"{where}: key", str(key), ("novel", "known", "n_known", "colour"))
    if "novel" not in entry and "known" not in entry:
        raise InputError(f"{where} has neither `novel` nor `known`; an empty list, `novel: []`, keeps all classes.")
    n_known, colour = entry.get("n_known"), entry.get("colour", "stored")
    if n_known is not None and (not isinstance(n_known, int) or isinstance(n_known, bool) or n_known < 1):
        raise InputError(f"{where}: `n_known` is {n_known!r}; expected a whole number from 1 on.")
    if colour not in COLOURS:
        raise unknown(f"{where}: colour", str(colour), COLOURS)
    known = _words(entry["known"], f"{where}: `known`") if "known" in entry else None
    return Rule(_words(entry.get("novel", []), f"{where}: `novel`"), known, n_known, colour, origin)


def _words(value: Any, where: str) -> tuple[Word, ...]:
    fits = isinstance(value, list) and all(isinstance(word, int | str) and not isinstance(word, bool) for word in value)
    if not fits:
        raise InputError(f"{where} is {value!r}; expected a list of class ids or names.")
    return tuple(value)


def _listed(text: str) -> tuple[Word, ...]:
    """The classes of --novel_classes."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    if [word.lower() for word in words] == ["none"]:
        return ()
    if not words:
        raise InputError("--novel_classes is empty. Pass class ids or names with commas between them, or `none`.")
    return tuple(words)


def _class_id(word: Word, names: Sequence[str], where: str) -> int:
    if isinstance(word, str) and word in names:
        return names.index(word)
    if str(word).isdecimal() and int(word) < len(names):
        return int(word)
    shown = [f"{number} {name}" if str(number) != name else name for number, name in enumerate(names)]
    raise InputError(f"{where} has no class `{word}`. {did_you_mean(str(word), shown)}")
