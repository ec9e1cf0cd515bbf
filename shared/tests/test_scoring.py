"""`score` and `check` of any detector."""

import argparse
import csv
import io
import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ood_shared import scoring
from ood_shared.batch_alarms import Alarms
from ood_shared.errors import InputError
from ood_shared.locks import Busy, take
from ood_shared.rows import COLUMNS, Row, whole_rows
from ood_shared.scoring import check_step, score_step
from ood_shared.thresholds import fit_threshold, p_values
from PIL import Image


class Bright:
    """A detector: the brighter the image, the higher its score; light ones are of class `day`."""

    classes = ("night", "day")

    def __init__(self, calibration=tuple(range(200)), gain: float = 1.0, **extras: object) -> None:
        self.calibration, self.gain, self.extras = np.array(calibration, float), gain, extras
        self.limit = fit_threshold(self.calibration, 0.05)

    def prepare(self, pixels):
        return pixels.float().mean(dim=(1, 2, 3))

    def judge(self, images):
        scores = self.gain * images.double().numpy()
        p, classes = p_values(self.calibration, scores), np.where(scores > 250, -1, scores > 100)
        extras = {name: [f"{name} {score:g}" for score in scores] for name in self.extras}
        return SimpleNamespace(scores=scores, p=p, flagged=scores > self.limit.value, classes=classes, **extras)


def images(folder, values, ending="png"):
    folder.mkdir(exist_ok=True)
    for number, value in enumerate(values):
        Image.fromarray(np.full((4, 4), value, np.uint8)).save(folder / f"{number:05d}.{ending}")
    return folder


def run(step, detector, *words: object, csv_path: object = "-", resume: bool = False) -> int:
    options = argparse.Namespace(images=[str(word) for word in words], csv=str(csv_path), resume=resume, data_dir=None)
    return step(detector, options)


def rows_of(path):
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def test_a_row_says_everything_of_an_image(tmp_path) -> None:
    folder = images(tmp_path / "in", [50, 150, 255])
    detector = Bright(drivers=True, nearest=True)
    assert run(score_step, detector, folder, csv_path=tmp_path / "out.csv") == 0
    rows = rows_of(tmp_path / "out.csv")
    assert tuple(rows[0]) == COLUMNS
    assert list(rows[0].values()) == [
        str(folder / "00000.png"), "50", f"{151 / 201:.9g}", "ID", "night", "drivers 50", "nearest 50", ""
    ]  # fmt: skip
    assert [row["decision"] for row in rows] == ["ID", "ID", "OOD"]
    assert [row["class"] for row in rows] == ["night", "day", ""]


def test_a_detector_without_drivers_and_neighbours_leaves_them_empty(tmp_path) -> None:
    run(score_step, Bright(), images(tmp_path / "in", [50]), csv_path=tmp_path / "out.csv")
    (row,) = rows_of(tmp_path / "out.csv")
    assert (row["driver"], row["nearest"], row["problem"]) == ("", "", "")


def test_what_cannot_be_read_is_a_row_a_line_and_status_1(tmp_path, capsys) -> None:
    folder = images(tmp_path / "in", [50, 60, 70])
    (folder / "00001.png").write_bytes(b"no image")
    assert run(score_step, Bright(), folder, csv_path=tmp_path / "out.csv") == 1
    good, bad, also_good = rows_of(tmp_path / "out.csv")
    assert (good["score"], bad["score"], also_good["score"]) == ("50", "", "70")
    assert bad["decision"] == "unreadable"
    assert "damaged or no image" in bad["problem"]
    errors = capsys.readouterr().err
    assert f"skipped: {folder / '00001.png'} is damaged or no image" in errors
    assert "2 ID, 0 OOD, 1 unreadable" in errors


ODD = ("a,b.png", 'quo"te.png', "line\nbreak.png", "=1+1.png", "carriage\rreturn.png", "ümlaut.png", b"\xff\xfe.png")


def test_odd_names_come_back_as_they_are_and_can_be_gone_on_with(tmp_path) -> None:
    data = (images(tmp_path / "one", [9]) / "00000.png").read_bytes()
    (tmp_path / "in").mkdir()
    for name in ODD:
        (tmp_path / "in" / os.fsdecode(name)).write_bytes(data)
    assert run(score_step, Bright(), tmp_path / "in", csv_path=tmp_path / "out.csv") == 0
    found = {row["file"].rpartition("/")[2] for row in rows_of(tmp_path / "out.csv")}
    assert found == {os.fsdecode(name) for name in ODD}
    whole = (tmp_path / "out.csv").read_bytes()
    for cut in range(len(whole)):  # every place where a kill could stop it
        (tmp_path / "cut.csv").write_bytes(whole[:cut])
        assert run(score_step, Bright(), tmp_path / "in", csv_path=tmp_path / "cut.csv", resume=True) == 0
        assert (tmp_path / "cut.csv").read_bytes() == whole


@pytest.mark.parametrize("kind", ["folder", "npz", "stdin", "known", "broken"])
def test_a_stopped_run_goes_on_with_words_of_every_kind(tmp_path, monkeypatch, kind) -> None:
    folder = images(tmp_path / "in", range(100, 140))
    word: object = folder
    lines = "".join(f"{path}\n" for path in sorted(folder.iterdir()))
    if kind == "npz":
        np.savez(tmp_path / "x.npz", test_images=np.stack([np.full((4, 4), v, np.uint8) for v in range(40)]))
        word = tmp_path / "x.npz"
    elif kind == "broken":
        (folder / "00003.png").write_bytes(b"no image")
    elif kind != "folder":
        word = "-" if kind == "stdin" else "digits"
    whole, cut = tmp_path / "whole.csv", tmp_path / "cut.csv"
    monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
    status = run(score_step, Bright(), word, csv_path=whole)
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    judged = []
    judge = Bright.judge
    monkeypatch.setattr(Bright, "judge", lambda self, images: judged.append(len(images)) or judge(self, images))
    monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
    assert run(score_step, Bright(), word, csv_path=cut, resume=True) == status == (1 if kind == "broken" else 0)
    assert cut.read_bytes() == whole.read_bytes()
    assert sum(judged) < 0.5 * len(rows_of(whole))


def test_rows_of_others_are_not_gone_on_with(tmp_path) -> None:
    folder, out = images(tmp_path / "in", [10, 20, 30]), tmp_path / "out.csv"
    run(score_step, Bright(), folder, csv_path=out)
    before = out.read_bytes()
    for detector, word, message in (
        (Bright(), images(tmp_path / "other", [10, 20, 30]), "has a row of"),
        (Bright(), folder / "00000.png", "no more images are named now"),
        (Bright(gain=1.01), folder, "another detector"),
    ):
        with pytest.raises(InputError, match=message):
            run(score_step, detector, word, csv_path=out, resume=True)
        assert out.read_bytes() == before
    for text, message in (("a,b\n1,2\n", "has the columns a, b"), (",".join(COLUMNS) + "\nx,1\n", "has the row x,1")):
        out.write_text(text)
        with pytest.raises(InputError, match=message):
            run(score_step, Bright(), folder, csv_path=out, resume=True)


def test_without_resume_a_csv_is_written_anew(tmp_path) -> None:
    folder, out = images(tmp_path / "in", [10, 20]), tmp_path / "out.csv"
    out.write_text("something else\n")
    run(score_step, Bright(), folder, csv_path=out)
    assert len(rows_of(out)) == 2


@pytest.mark.parametrize("resume", [False, True])
def test_a_csv_that_another_process_writes_is_refused_and_left(tmp_path, resume) -> None:
    folder, out = images(tmp_path / "in", [10, 20]), tmp_path / "out.csv"
    run(score_step, Bright(), folder, csv_path=out)
    before = out.read_bytes()
    with out.open("a") as other:
        take(other, out)
        with pytest.raises(Busy, match=r"out\.csv is being written by another process"):
            run(score_step, Bright(), folder, csv_path=out, resume=resume)
    assert out.read_bytes() == before
    run(score_step, Bright(), folder, csv_path=out, resume=resume)
    assert out.read_bytes() == before


def test_words_without_an_image_leave_the_csv_alone(tmp_path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out.csv").write_text("of before\n")
    with pytest.raises(InputError, match="no image in"):
        run(score_step, Bright(), tmp_path / "in", csv_path=tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "of before\n"


def test_rows_are_read_back_as_they_were_written(tmp_path) -> None:
    row = Row("a\nb", 1.5, 0.25, "OOD", "c", "d", 'e"', "")
    with (tmp_path / "x.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, row.cells(), row.cells()])
    found = list(whole_rows(tmp_path / "x.csv"))
    assert [item for item, _ in found[1:]] == [row, row]
    assert found[-1][1] == (tmp_path / "x.csv").stat().st_size


def test_only_a_few_batches_are_held(tmp_path, monkeypatch) -> None:
    np.savez(tmp_path / "x.npz", images=np.zeros((5000, 2, 2), np.uint8))
    prepared, judged, most = 0, 0, 0

    class Counting(Bright):
        def prepare(self, pixels):
            nonlocal prepared
            prepared += len(pixels)
            return super().prepare(pixels)

        def judge(self, images):
            nonlocal judged, most
            most = max(most, prepared - judged)
            judged += len(images)
            return super().judge(images)

    assert run(score_step, Counting(), tmp_path / "x.npz", csv_path=tmp_path / "out.csv") == 0
    assert judged == 5000
    assert most <= 4 * scoring.BATCH


def test_check_judges_both_tails_of_the_share(tmp_path, capsys) -> None:
    random = np.random.default_rng(0)
    detector = Bright(random.integers(0, 200, 400))
    for name, values, said in (
        ("like", random.integers(0, 200, 300), "not seen to be shifted"),
        ("bright", random.integers(150, 256, 300), "is shifted"),
        ("dark", random.integers(0, 100, 300), "fewer alarms than new images give"),
    ):
        assert run(check_step, detector, images(tmp_path / name, values)) == 0
        out = capsys.readouterr().out
        assert said in out, out
        assert "of 300 images flagged" in out
        assert out.count("p = ") == 4


@pytest.mark.parametrize(
    ("more", "said"),
    [(0.002, "the batch is shifted: p = 0.006,"), (0.01, "the batch may be shifted: p = 0.03,"), (0.02, "not seen")],
)
def test_a_batch_is_judged_in_three_words(more, said) -> None:
    *_, last = scoring._words(Alarms(51, 624, 0.06, 0.1, more, 0.99, 0.5), "promise")
    assert said in last
    assert ("more alarms than promised" in last) == (more < 0.05 / 3)


def test_check_counts_no_image_twice(tmp_path) -> None:
    folder = images(tmp_path / "in", [10, 20, 30])
    (tmp_path / "link").symlink_to("in")
    one = folder / "00000.png"
    for words, said in (
        ((one, one), "00000.png is named twice"),
        ((folder, tmp_path / "link"), "link is named twice"),
        ((one, folder), r"00000.png lies in \S+in; its images would count twice"),
        (("digits", "digits"), "digits is named twice"),
    ):
        with pytest.raises(InputError, match=said):
            run(check_step, Bright(), *words)
    assert run(check_step, Bright(), one, folder / "00001.png") == 0


def test_standard_output_is_not_gone_on_with(tmp_path) -> None:
    with pytest.raises(InputError, match="--csv - writes to standard output"):
        run(score_step, Bright(), images(tmp_path / "in", [10]), resume=True)


def test_check_names_what_it_cannot_read(tmp_path, capsys) -> None:
    folder = images(tmp_path / "in", [10, 20])
    (folder / "bad.png").write_bytes(b"no image")
    assert run(check_step, Bright(), folder) == 1
    said = capsys.readouterr()
    assert "of 2 images flagged" in said.out
    assert "bad.png is damaged or no image" in said.err
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="no images to check"):
        run(check_step, Bright(), tmp_path / "none")


def test_images_of_all_sizes_and_colours_are_judged_together(tmp_path) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(np.full((3, 5), 40, np.uint8)).save(tmp_path / "in/a.png")
    Image.fromarray(np.full((8, 2, 3), 60, np.uint8)).save(tmp_path / "in/b.png")
    run(score_step, Bright(), tmp_path / "in", csv_path=tmp_path / "out.csv")
    assert [float(row["score"]) for row in rows_of(tmp_path / "out.csv")] == [40, 60]
    assert torch.is_tensor(Bright().prepare(torch.zeros(1, 1, 2, 2, dtype=torch.uint8)))


def test_rows_by_another_alarm_rate_are_not_gone_on_with(tmp_path) -> None:
    folder, out = images(tmp_path / "in", [10, 150, 185, 199]), tmp_path / "out.csv"
    run(score_step, Bright(), folder, csv_path=out)
    before = out.read_bytes()
    other = Bright()
    other.limit = fit_threshold(other.calibration, 0.5)
    with pytest.raises(InputError, match=r"calls `.*00001\.png` with p = 0\.\d+ ID, not by the alarm rate .* 0\.5"):
        run(score_step, other, folder, csv_path=out, resume=True)
    assert out.read_bytes() == before
    assert run(score_step, Bright(), folder, csv_path=out, resume=True) == 0
    assert out.read_bytes() == before
