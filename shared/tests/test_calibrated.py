"""A detector with a threshold: p-values and flags agree, within classes too, and nothing passes for ID by mistake."""

from argparse import Namespace
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ood_shared.calibrated import Examined, calibrate
from ood_shared.datasets import resize
from ood_shared.detector import outputs_of
from ood_shared.errors import InputError
from ood_shared.scoring import score_step
from PIL import Image


@dataclass(frozen=True)
class Level:
    """The score is the first pixel; the class is the second one, which may be one more than the classes."""

    classes: tuple[str, ...] = ("a", "b")
    threshold: float | None = None

    def score(self, images, batch_size=250):
        return outputs_of(self, images, self.prepare, batch_size)[0]

    def outputs(self, images, batch_size=250):
        return images[:, 0, 0, 0].double(), images[:, 0, 0, 1].long()

    def prepare(self, pixels):
        return resize(pixels, (1, 2), channels=1)


def pictures(scores, classes) -> np.ndarray:
    return np.stack([scores, classes], axis=1).astype(np.uint8)[:, None, :]


def calibrated(scores, taken=None, **named):
    taken = None if taken is None else np.array(taken)
    return calibrate(Level(), np.array(scores, float), taken, **{"alarm_rate": 0.2, **named})


@given(
    st.lists(st.integers(0, 9), min_size=9, max_size=40),
    st.sampled_from([0.1, 0.2, 0.5]),
    st.lists(st.integers(0, 9), min_size=1, max_size=5),
)
@settings(max_examples=60, deadline=None)
def test_an_image_is_flagged_where_its_p_value_is_at_most_the_rate(scores, rate, new):
    found = calibrated(scores, alarm_rate=rate)
    verdict = found.judge(found.prepare(torch.from_numpy(pictures(new, [0] * len(new)))[:, None]))
    assert (verdict.flagged == (verdict.p <= rate)).all()
    assert verdict.flagged.tolist() == [value > found.threshold for value in new]
    assert (found.predict(pictures(new, [0] * len(new))) == np.where(verdict.flagged, -1, 0)).all()


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 1)), min_size=30, max_size=60),
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2)), min_size=1, max_size=6),
)
@settings(max_examples=60, deadline=None)
def test_by_class_p_values_and_flags_agree_and_look_at_the_own_class_only(pairs, new):
    scores, taken = (np.array(column) for column in zip(*pairs, strict=True))
    if min((taken == 0).sum(), (taken == 1).sum()) < 4:
        return
    found = calibrated(scores, taken, by_class=True)
    assert found.by_class
    assert found.threshold is None
    verdict = found.judge(found.prepare(torch.from_numpy(pictures(*zip(*new, strict=True)))[:, None]))
    assert (verdict.flagged == (verdict.p <= 0.2)).all()
    for (value, number), p, taken_for in zip(new, verdict.p, verdict.classes, strict=True):
        own = scores[taken == number] if number < 2 else scores  # class 2 is none of the names
        assert p == (1 + (own >= value).sum()) / (len(own) + 1)
        assert taken_for == (number if number < 2 else -1)


def test_the_promise_by_class_is_that_of_the_smallest_class():
    found = calibrated(range(30), [0] * 20 + [1] * 10, by_class=True)
    assert found.limit.n == 10
    assert found.words().startswith("within each class at most")
    assert "calibration sets of 10" in found.words()


def test_too_few_images_of_a_class_are_refused_by_its_name():
    with pytest.raises(InputError, match=r"3 calibration images were taken for class b.*needs 4"):
        calibrated(range(10), [0] * 7 + [1] * 3, by_class=True)
    with pytest.raises(InputError, match="two classes or more"):
        calibrate(Level(("a",)), np.arange(9.0), np.zeros(9, int), alarm_rate=0.2, by_class=True)
    with pytest.raises(InputError, match="3 calibration images cannot support"):
        calibrated(range(3))


def test_a_score_that_is_no_number_is_an_error_and_not_id():
    class Broken(Level):
        def outputs(self, images, batch_size=250):
            return torch.full((len(images),), float("nan")), None

    found = calibrate(Broken(), np.arange(9.0), alarm_rate=0.2)
    with pytest.raises(InputError, match="1 of 1 scores are NaN"):
        found.judge(torch.zeros(1, 1, 1, 2, dtype=torch.uint8))
    with pytest.raises(InputError, match="NaN"):
        calibrated([*range(9), float("nan")])


def test_what_a_detector_says_beside_its_score_is_kept():
    class Talking(Level):
        def examine(self, images, batch_size=250):
            n = len(images)
            return Examined(np.arange(n, dtype=float), np.zeros(n, int), ["edge"] * n, ["near.png"] * n)

    verdict = calibrate(Talking(), np.arange(9.0), alarm_rate=0.2).judge(torch.zeros(2, 1, 1, 2, dtype=torch.uint8))
    assert (verdict.drivers, verdict.nearest) == (["edge"] * 2, ["near.png"] * 2)


def test_new_images_of_16_bits_are_read_by_the_range_of_the_training(tmp_path, capsys) -> None:
    path = tmp_path / "scan.png"
    Image.fromarray(np.array([[2000, 0]], dtype=np.uint16)).save(path)
    plain = calibrated(range(20))
    ranged = calibrated(range(20), about={"value_range": [0, 4000]})
    with Image.open(path) as opened:
        assert plain.score([path, opened]).tolist() == [8, 8]  # 2000 of 65535
        assert ranged.score([path, opened]).tolist() == [128, 128]  # 2000 of 4000
    assert ranged.predict(path).tolist() == [-1]
    for detector, score in ((plain, "8"), (ranged, "128")):
        options = Namespace(images=[str(path)], csv="-", resume=False)
        assert score_step(detector, options) == 0
        assert f"scan.png,{score}," in capsys.readouterr().out


@pytest.mark.parametrize("images", [torch.zeros(3, 1, 8, 8, dtype=torch.uint8), torch.zeros(3, 1, 1, 2)])
def test_images_that_are_not_prepared_are_not_judged(images):
    with pytest.raises(InputError, match=r"expected uint8 \(1, 1, 2\), as `prepare` makes them: judge\(prepare"):
        calibrated(np.arange(9)).judge(images)
