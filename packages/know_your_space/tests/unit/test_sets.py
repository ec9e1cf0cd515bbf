"""Which classes are known: the registry, split files and --novel_classes."""

import json
from pathlib import Path

import pytest
from know_your_space.data.options import DataOptions
from know_your_space.data.sets import EIGHT, RULES, Classes, Rule, read_split_file, resolve, rule_of
from ood_shared.datasets.medical import MEDICAL
from ood_shared.errors import InputError, MissingFileError

KNOWN = {
    **{"bloodmnist": 6, "dermamnist": 5, "octmnist": 3, "organamnist": 8},
    **{"organcmnist": 8, "organsmnist": 8, "pathmnist": 6, "tissuemnist": 6},
}


def classes_of(name: str, **kwargs: str) -> Classes:
    return resolve(rule_of(name, DataOptions(**kwargs), as_id=True), MEDICAL[name].classes, name)


@pytest.mark.parametrize("name", EIGHT)
def test_the_eight_sets_have_the_published_numbers_of_known_classes(name: str) -> None:
    known, novel = classes_of(name)
    assert len(known) == KNOWN[name]
    assert sorted(known + novel) == list(range(len(MEDICAL[name].classes)))


def test_the_eight_sets_stand_in_the_order_of_scoring() -> None:
    assert list(EIGHT) == list(KNOWN)


def test_the_novel_cells_of_bloodmnist_are_monocytes_and_platelets() -> None:
    assert [MEDICAL["bloodmnist"].classes[i] for i in classes_of("bloodmnist").novel] == ["monocyte", "platelet"]


def test_both_classes_of_pneumoniamnist_are_known() -> None:
    assert classes_of("pneumoniamnist") == ((0, 1), ())


@pytest.mark.parametrize(("channels", "colour"), [("bgr", "bgr"), ("rgb", "stored")])
def test_the_colours_of_pathmnist_follow_the_flag(channels: str, colour: str) -> None:
    assert rule_of("pathmnist", DataOptions(path_channels=channels), as_id=False).colour == colour


def test_a_file_of_the_name_of_a_set_is_own_data() -> None:
    assert rule_of("./pathmnist.npz", DataOptions(), as_id=True) == Rule()


def test_a_larger_version_of_a_set_is_split_like_the_set() -> None:
    assert rule_of("bloodmnist_64", DataOptions(), as_id=True) == RULES["bloodmnist"]


@pytest.mark.parametrize(("words", "novel"), [("3,1", (1, 3)), ("melanoma", (4,)), ("none", ()), (" 0 , 0 ", (0,))])
def test_novel_classes_are_named_by_number_or_by_word(words: str, novel: tuple[int, ...]) -> None:
    assert classes_of("dermamnist", novel_classes=words).novel == novel


def test_novel_classes_are_those_of_the_id_set_only() -> None:
    options = DataOptions(novel_classes="0")
    assert rule_of("bloodmnist", options, as_id=False) == RULES["bloodmnist"]


@pytest.mark.parametrize(
    ("words", "says"),
    [("11", "no class `11`"), ("monocytes", "Did you mean"), ("", "is empty"), ("0,1,2,3,4,5,6,7", "left to train on")],
)
def test_novel_classes_that_cannot_be_are_refused(words: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        classes_of("bloodmnist", novel_classes=words)


def test_a_medmnist_set_without_a_split_says_how_to_give_one() -> None:
    with pytest.raises(InputError, match=r"--novel_classes .* or --split_file"):
        rule_of("retinamnist", DataOptions(), as_id=True)


SPLIT = """
retinamnist:
  novel: [3, "4"]
  n_known: 3
  colour: grey
My scans:
  known: [healthy]
  novel: [ill]
"""


@pytest.mark.parametrize("as_json", [False, True])
def test_a_split_file_names_classes_count_and_colours(tmp_path: Path, as_json: bool) -> None:
    file = tmp_path / "split"
    entry = {"retinamnist": {"novel": [3, "4"], "n_known": 3, "colour": "grey"}}
    file.write_text(json.dumps(entry) if as_json else SPLIT)
    rule = rule_of("retinamnist", DataOptions(split_file=str(file)), as_id=True)
    assert resolve(rule, MEDICAL["retinamnist"].classes, "retinamnist") == ((0, 1, 2), (3, 4))
    assert rule.colour == "grey"
    assert rule.origin == "split file split"


def test_a_split_file_may_leave_classes_out(tmp_path: Path) -> None:
    (tmp_path / "split.yaml").write_text(SPLIT)
    rule = rule_of("../My scans.npz", DataOptions(split_file=str(tmp_path / "split.yaml")), as_id=True)
    assert resolve(rule, ("healthy", "ill", "unclear"), "scans") == ((0,), (1,))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no sets"),
        ("[1, 2]", "holds no sets"),
        ("a: [", "not valid YAML"),
        ("a: {novel: []}\na: {novel: [1]}", "`a` stands twice"),
        ("a: {novel: [], novel: [1]}", "`novel` stands twice"),
        ("a: {novell: [1]}", "Did you mean `novel`"),
        ("a: {colour: grey}", "neither `novel` nor `known`"),
        ("a: {novel: 3}", "expected a list"),
        ("a: {novel: [1.5]}", "expected a list"),
        ("a: {novel: [true]}", "expected a list"),
        ("a: {novel: [], n_known: 0}", "from 1 on"),
        ("a: {novel: [], colour: red}", "`red` is not known"),
        ("a: 3", "expected `novel"),
        ("a: !!python/object/apply:os.getcwd []", "not valid YAML"),
    ],
)
def test_a_wrong_split_file_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "split.yaml").write_text(text)
    with pytest.raises(InputError, match=says):
        read_split_file(tmp_path / "split.yaml")


def test_a_split_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"split\.yaml is missing"):
        read_split_file(tmp_path / "split.yaml")


def test_a_split_file_without_the_id_set_is_refused(tmp_path: Path) -> None:
    (tmp_path / "split.yaml").write_text("bloodmnits: {novel: [5]}")
    with pytest.raises(InputError, match=r"no entry `bloodmnist`. Did you mean `bloodmnits`"):
        rule_of("bloodmnist", DataOptions(split_file=str(tmp_path / "split.yaml")), as_id=True)


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (Rule(novel=(1,), known=(0, 1)), "Class 1 of set is listed as known and as novel"),
        (Rule(novel=(1,), n_known=3), r"has 2 known classes \(0, 2\), expected 3"),
        (Rule(known=()), "left to train on"),
    ],
)
def test_a_rule_that_contradicts_itself_is_refused(rule: Rule, says: str) -> None:
    with pytest.raises(InputError, match=says):
        resolve(rule, ("a", "b", "c"), "set")
