import re

import numpy as np
import pytest
import torch
from ood_bench import conclusion, page
from ood_bench.leaderboard import leaderboard as board
from ood_bench.methods import BASELINES, Source
from ood_bench.run_folder import Ended, Run
from ood_shared.errors import InputError
from ood_shared.report import PNG_SIGNATURE
from ood_shared.results import record as schema
from ood_shared.results.thumbnails import PICTURES, Picture, read_pictures, write_pictures
from ood_shared.sections import Gallery
from ood_shared.testing.results import result

RANDOM = np.random.default_rng(0)


def arrays(n_id=12, n_ood=10):
    return schema.pack_scores(
        "digits",
        (RANDOM.permutation(n_id) / 10, np.arange(n_id) % 3, (np.arange(n_id) + 1) % 3),
        {"novel": (RANDOM.permutation(n_ood) / 10, np.zeros(n_ood, int)), "far": (np.arange(n_ood) / 10, None)},
    )


def images(scores, channels=1, side=8, kind=np.uint8):
    """Images that carry their row in every pixel."""
    sizes = np.bincount(scores["dataset"])
    rows = [np.arange(n)[:, None, None, None] * np.ones((n, channels, side, side)) for n in sizes]
    return {name: set_.astype(kind) for name, set_ in zip(scores["names"].tolist(), rows, strict=True)}


def test_the_highest_scores_of_id_and_the_lowest_of_ood_are_kept_in_that_order(tmp_path):
    scores = arrays()
    write_pictures(tmp_path, scores, images(scores), ["a", "b", "c"])
    found = read_pictures(tmp_path, scores)
    of_id, novel, far = schema.split_scores(scores)
    assert list(found.sets) == ["digits", "novel", "far"]
    assert [p.row for p in found.sets["digits"]] == np.argsort(-of_id)[:8].tolist()
    assert [p.row for p in found.sets["novel"]] == np.argsort(novel)[:8].tolist()
    assert [p.score for p in found.sets["far"]] == far[:8].tolist()
    assert found.classes == ("a", "b", "c")


def test_every_picture_is_the_image_of_its_row_with_label_and_prediction(tmp_path):
    scores = arrays()
    write_pictures(tmp_path, scores, images(scores))
    for name, shown in read_pictures(tmp_path, scores).sets.items():
        for picture in shown:
            assert (picture.image == picture.row).all()
            expected = (
                (picture.row % 3, (picture.row + 1) % 3) if name == "digits" else (-1, 0 if name == "novel" else -1)
            )
            assert (picture.label, picture.prediction) == expected


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", [torch.uint8, torch.float32, torch.bfloat16, np.uint8, np.float32, np.float64])
def test_tensors_and_arrays_of_bytes_and_floats_give_the_same_rgb(tmp_path, channels, kind):
    scores = arrays()
    whole = {name: torch.from_numpy(set_ % 2 * 255) for name, set_ in images(scores, channels).items()}
    if isinstance(kind, torch.dtype):
        given = {name: set_ if kind == torch.uint8 else (set_ / 255).to(kind) for name, set_ in whole.items()}
    else:
        given = {name: (set_ if kind is np.uint8 else set_ / 255).numpy().astype(kind) for name, set_ in whole.items()}
    write_pictures(tmp_path, scores, given)
    for shown in read_pictures(tmp_path, scores).sets.values():
        for picture in shown:
            assert picture.image.shape == (8, 8, 3)
            assert (picture.image == picture.row % 2 * 255).all()


def test_colours_keep_their_channel(tmp_path):
    scores = arrays()
    coloured = images(scores, channels=3)
    for set_ in coloured.values():
        set_[:] = np.array([200, 100, 0])[:, None, None]
    write_pictures(tmp_path, scores, coloured)
    assert read_pictures(tmp_path, scores).sets["far"][0].image[3, 4].tolist() == [200, 100, 0]


def test_floats_beyond_black_and_white_are_shown_as_the_nearer_end(tmp_path):
    scores = arrays()
    sphere = {name: np.where(set_ > 0, 7.0, -7.0) for name, set_ in images(scores).items()}
    write_pictures(tmp_path, scores, sphere)
    assert {int(p.image[0, 0, 0]) for p in read_pictures(tmp_path, scores).sets["far"]} == {0, 255}


def test_large_images_are_made_small_in_their_proportions(tmp_path):
    scores = arrays()
    large = {name: np.repeat(set_, 30, axis=2).repeat(10, axis=3) for name, set_ in images(scores).items()}
    write_pictures(tmp_path, scores, large)
    assert read_pictures(tmp_path, scores).sets["far"][1].image.shape == (48, 16, 3)


def test_sets_with_fewer_images_keep_all_and_sets_may_differ_in_size(tmp_path):
    scores = arrays(n_id=3, n_ood=20)
    given = images(scores) | {"far": images(scores, side=5)["far"]}
    write_pictures(tmp_path, scores, given)
    found = read_pictures(tmp_path, scores).sets
    assert [len(found[name]) for name in found] == [3, 8, 8]
    assert found["far"][0].image.shape == (5, 5, 3)


def test_infinite_scores_come_first(tmp_path):
    scores = arrays()
    scores["scores"][[4, 13]] = np.inf, -np.inf
    write_pictures(tmp_path, scores, images(scores))
    found = read_pictures(tmp_path, scores).sets
    assert (found["digits"][0].row, found["novel"][0].row) == (4, 1)


def test_a_folder_without_pictures_gives_none(tmp_path):
    assert read_pictures(tmp_path, arrays()) is None


def test_one_file_is_left_and_it_holds_no_pickle(tmp_path):
    scores = arrays()
    write_pictures(tmp_path / "new", scores, images(scores))
    assert [file.name for file in (tmp_path / "new").iterdir()] == [PICTURES]
    with np.load(tmp_path / "new" / PICTURES, allow_pickle=False) as archive:
        assert all(archive[name].dtype.kind in "uifU" for name in archive.files)


# Refusals


@pytest.mark.parametrize(
    "spoil",
    [
        lambda sets: sets.pop("far"),
        lambda sets: sets.update(digits=sets.pop("digits")),  # the order
        lambda sets: sets.update(other=sets["far"]),
    ],
)
def test_other_sets_than_those_of_the_scores_are_refused(tmp_path, spoil):
    scores = arrays()
    sets = images(scores)
    spoil(sets)
    with pytest.raises(InputError, match=r"expected those of the scores: \['digits', 'novel', 'far'\]"):
        write_pictures(tmp_path, scores, sets)


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((9, 1, 8, 8)), np.zeros((10, 8, 8)), np.zeros((10, 8, 8, 3)), np.zeros((10, 1, 8, 8), np.int64)],
)
def test_images_of_another_number_or_form_are_refused_and_nothing_is_written(tmp_path, wrong):
    scores = arrays()
    with pytest.raises(InputError, match=r"Pictures of `far` were given .* shape \(10, 1 or 3, height, width\)"):
        write_pictures(tmp_path, scores, images(scores) | {"far": wrong})
    assert list(tmp_path.iterdir()) == []


def test_pictures_of_other_scores_are_refused(tmp_path):
    scores = arrays()
    write_pictures(tmp_path, scores, images(scores))
    scores["scores"] = scores["scores"] + 1
    with pytest.raises(InputError, match=r"pictures.npz: the scores of digits are not those of scores.npz"):
        read_pictures(tmp_path, scores)
    scores["names"] = np.array(["digits", "novel", "other"])
    with pytest.raises(InputError, match=r"has pictures of .* Run the method again"):
        read_pictures(tmp_path, scores)


def rewrite(path, **changes):
    with np.load(path) as archive:
        stored = {name: archive[name] for name in archive.files}
    stored |= changes
    np.savez_compressed(path, **{name: array for name, array in stored.items() if array is not None})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rows": None}, "it lacks 'rows'"),
        ({"images_2": None}, "it lacks 'images_2'"),
        ({"rows": np.arange(3)}, "not numbers of one length"),
        ({"rows": np.zeros(24)}, "not numbers of one length"),
        ({"rows": np.full(24, 99)}, "not those of scores.npz"),
        ({"images_1": np.zeros((8, 4, 4, 3))}, "images of novel are float64"),
        ({"images_1": np.zeros((2, 4, 4, 3), np.uint8)}, r"expected uint8 of shape \(8, height, width, 3\)"),
        ({"rows": np.array([{}] * 24)}, "is damaged or no file of pictures"),
    ],
)
def test_a_changed_file_is_one_line(tmp_path, changes, said):
    scores = arrays()
    write_pictures(tmp_path, scores, images(scores))
    rewrite(tmp_path / PICTURES, **changes)
    with pytest.raises(InputError, match=said):
        read_pictures(tmp_path, scores)


@pytest.mark.parametrize("keep", [0, 20, 500])
def test_a_damaged_file_is_one_line(tmp_path, keep):
    scores = arrays()
    write_pictures(tmp_path, scores, images(scores))
    path = tmp_path / PICTURES
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match="is damaged or no file of pictures"):
        read_pictures(tmp_path, scores)


# In the report


def ended(folder, *names):
    results = [result(name, 0, ood=("novel", "far")) for name in names]
    run = Run(Source(BASELINES, "module", names), 0, folder, ())
    return Ended(run, 1.0, tuple(results)), results


def test_the_command_takes_the_pictures_of_each_methods_first_run(tmp_path):
    (first, results), (second, _) = ended(tmp_path / "0", "a", "b"), ended(tmp_path / "1", "a", "b")
    for folder in (first.run.folder / "a", second.run.folder / "a", second.run.folder / "b"):
        write_pictures(folder, results[0][1], images(results[0][1]))
    found = conclusion._pictures_of([first, second])
    assert found["a"].sets.keys() == {"digits", "novel", "far"}
    assert found["b"] is None  # its first run left none; those of the second are not of the scores that are shown


def test_damaged_pictures_cost_the_report_no_more_than_these(tmp_path, capsys):
    one, results = ended(tmp_path, "a", "b")
    for (method, folder), (_, scores) in zip(one.run.folders().items(), results, strict=True):
        write_pictures(folder, scores, images(scores))
        if method == "a":
            (folder / PICTURES).write_bytes(b"PK")
    found = conclusion._pictures_of([one])
    assert found["a"] is None
    assert found["b"] is not None
    said = capsys.readouterr().err
    assert re.fullmatch(r"ood-bench: no pictures of a: \S+npz is damaged or no file of pictures [^\n]*\n", said)


def shown(names, classes):
    """The galleries of a page."""
    results = [result(name, 0, ood=("textures", "novel")) for name in names]
    found = {}
    for (record, scores), folder in zip(results, names, strict=True):
        write_pictures(folder, scores, images(scores), classes)
        found[record["method"]] = read_pictures(folder, scores)
    places = board(results, ["novel"], np.random.default_rng(0), 20)
    sections = page.sections(results, {}, "ood-bench", {}, places, found)
    return [section for section in sections if isinstance(section, Gallery)]


def test_a_page_shows_id_first_then_near_and_far_and_folds_all_but_the_first_three_methods(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("roc", "histograms"):
        monkeypatch.setattr(page.plots, name, lambda *_: PNG_SIGNATURE)
    one, *others = shown(["a", "b", "c", "d", "e"], ["zero", "one", "two"])
    headings = [heading.split("\n")[0] for heading, _ in one.rows]
    assert headings == ["digits (ID)", "novel (near)", "textures (far)"]
    assert [one.folded, *(gallery.folded for gallery in others)] == [False] * 3 + [True] * 2
    assert {len(row) for _, row in one.rows} == {8}
    captions = [picture.caption.split("\n")[1] for picture in one.rows[0][1]]
    assert set(captions) <= {"zero", "one", "two", "zero → one", "one → two", "two → zero"}
    assert all("\n" not in picture.caption for picture in one.rows[1][1])  # the fake predicts no class of OOD images


def test_a_caption_tells_class_and_prediction_where_they_differ():
    blank = np.zeros((2, 2, 3), np.uint8)
    cases = [(0, 0), (0, 1), (1, -1), (-1, 1), (-1, -1), (7, 0)]
    found = page._strip("set", [Picture(blank, 0, 0.25, *case) for case in cases], ["a", "b"])
    assert [p.caption for p in found] == ["0.25\na", "0.25\na → b", "0.25\nb", "0.25\n→ b", "0.25", "0.25\n7 → a"]
    assert found[1].alternative == "set, image 2: score 0.25, class a, taken for b"
    assert found[4].alternative == "set, image 5: score 0.25"
