"""`model.ood`: the same detector after a load, the same bytes after a save, one line for whatever is no such file."""

import json
import zipfile
from dataclasses import dataclass, field

import numpy as np
import pytest
import safetensors.torch
import torch
from ood_shared import model_file
from ood_shared.calibrated import calibrate
from ood_shared.datasets import resize
from ood_shared.detector import outputs_of
from ood_shared.detector_state import State
from ood_shared.errors import InputError, MissingFileError
from torch import nn


@dataclass(frozen=True, eq=False)
class Linear:
    """The score is a weighted sum of the pixels."""

    network: nn.Linear = field(default_factory=lambda: nn.Linear(4, 1))
    classes: tuple[str, ...] = ("a", "b")
    sign: str = "plus"
    threshold: float | None = None

    def score(self, images, batch_size=250):
        return outputs_of(self, images, self.prepare, batch_size)[0]

    def outputs(self, images, batch_size=250):
        rows = images.float().flatten(1) / 255
        with torch.no_grad():
            return self.network(rows)[:, 0].double(), (rows[:, 0] > 0.5).long()

    def prepare(self, pixels):
        return resize(pixels, (2, 2), channels=1)

    def state(self):
        weights = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        return State("linear", self.classes, {"sign": self.sign, "native": None}, weights)


def restore(state, device):
    state.word("sign", ("plus", "minus"))
    return Linear(state.fill(nn.Linear(4, 1)).to(device), state.classes)


class Point:
    name, dist = "linear", None

    def load(self):
        return restore


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setattr(model_file, "_entry_points", lambda: [Point()])


IMAGES = np.random.default_rng(0).integers(0, 256, (40, 2, 2)).astype(np.uint8)


@pytest.fixture(params=[False, True], ids=["one threshold", "by class"])
def kept(request, tmp_path):
    """A detector and its file."""
    detector = Linear()
    scores, taken = detector.outputs(detector.prepare(torch.from_numpy(IMAGES)[:, None]))
    named = {"alarm_rate": 0.1, "by_class": request.param, "about": {"id": "noise"}}
    made = calibrate(detector, scores.numpy(), taken.numpy(), **named)
    model_file.save(tmp_path / "model.ood", made)
    return made, tmp_path / "model.ood"


def test_a_loaded_detector_says_the_same_of_every_image(kept):
    made, path = kept
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    again = model_file.load(path)
    assert torch.equal(torch.rand(1), expected)
    assert (again.score(IMAGES) == made.score(IMAGES)).all()
    assert (again.predict(IMAGES) == made.predict(IMAGES)).all()
    assert (again.limits, again.words(), again.about) == (made.limits, made.words(), made.about)
    assert model_file.read_card(path)["promise"] == made.words()


def test_the_same_detector_gives_the_same_bytes(kept, tmp_path):
    model_file.save(tmp_path / "again.ood", model_file.load(kept[1]))
    assert (tmp_path / "again.ood").read_bytes() == kept[1].read_bytes()


def test_the_file_holds_tensors_and_a_card_and_nothing_that_runs(kept):
    with zipfile.ZipFile(kept[1]) as archive:
        assert sorted(archive.namelist()) == ["card.json", "tensors.safetensors"]
        names = set(safetensors.torch.load(archive.read("tensors.safetensors")))
    own = {"detector.network.weight", "detector.network.bias"}
    assert names == own | {"calibration.scores", "calibration.taken_for"}


def test_a_detector_without_state_is_not_kept(tmp_path):
    class Plain:
        classes = ()

    with pytest.raises(InputError, match=r"Plain cannot be kept.*no state"):
        model_file.save(tmp_path / "x.ood", calibrate(Plain(), np.arange(20.0), alarm_rate=0.1))
    assert not list(tmp_path.iterdir())


def forged(path, change, tensors=None, packed=zipfile.ZIP_STORED):
    """The file with another card or other tensors."""
    with zipfile.ZipFile(path) as archive:
        card = json.loads(archive.read("card.json"))
        values = safetensors.torch.load(archive.read("tensors.safetensors"))
    del card["sha256"]  # as of an earlier version, so that what is wrong is found by itself
    card = change(card)
    values = tensors(values) if tensors else values
    with zipfile.ZipFile(path, "w", packed) as archive:
        archive.writestr("card.json", card if isinstance(card, str | bytes) else json.dumps(card))
        archive.writestr("tensors.safetensors", values if isinstance(values, bytes) else safetensors.torch.save(values))
    return path


def test_a_file_that_was_changed_by_hand_is_refused(kept):
    with zipfile.ZipFile(kept[1]) as archive:
        card, tensors = json.loads(archive.read("card.json")), archive.read("tensors.safetensors")
    card["classes"] = card["classes"][::-1]
    with zipfile.ZipFile(kept[1], "w") as archive:
        archive.writestr("card.json", json.dumps(card))
        archive.writestr("tensors.safetensors", tensors)
    refused(kept[1], "was changed after it was written: its checksum is another one")


def without(name):
    return lambda tensors: {key: value for key, value in tensors.items() if key != name}


CARDS = {
    "another format": (lambda card: {**card, "format": 9}, "format 9; this version reads format 2. Install"),
    "no format": (lambda card: {"kind": "linear"}, "format None"),
    "a list": (lambda card: "[]", "no card"),
    "no JSON": (lambda card: "{", "is not valid JSON"),
    "bytes": (lambda card: b"\xff\xfe\x00", "can't decode byte"),
    "nested without end": (lambda card: "[" * 100_000, "is not valid JSON"),
    "an unknown kind": (lambda card: {**card, "kind": "x", "package": "y"}, "kind `x`, of the package `y`"),
    "a kind that is none": (lambda card: {**card, "kind": ["linear"]}, "is not installed"),
    "an unknown word": (lambda card: {**card, "settings": {"sign": "os.system"}}, "`sign` is 'os.system', expected"),
    "no settings": (lambda card: {**card, "settings": 3}, "damaged"),
    "classes as a word": (lambda card: {**card, "classes": "ab"}, "`classes` is no list"),
    "no thresholds": (lambda card: {**card, "thresholds": []}, "damaged"),
    "a lower threshold": (
        lambda card: {**card, "thresholds": [{**limit, "value": -1e9} for limit in card["thresholds"]]},
        "thresholds do not follow",
    ),
    "a rate that is none": (
        lambda card: {**card, "thresholds": [{**limit, "alarm_rate": "x"} for limit in card["thresholds"]]},
        "damaged",
    ),
    "a threshold with more": (lambda card: {**card, "thresholds": [{"value": 1, "eval": 2}]}, "damaged"),
}
TENSORS = {
    "a weight is missing": (without("detector.network.weight"), "lacks `weight`"),
    "a weight of another shape": (
        lambda tensors: {**tensors, "detector.network.weight": torch.zeros(1, 5)},
        r"`weight` is (1, 5), expected (1, 4)",
    ),
    "a weight too many": (lambda tensors: {**tensors, "detector.network.more": torch.zeros(1)}, "has `more`"),
    "no calibration": (without("calibration.scores"), "damaged"),
    "fewer classes than scores": (
        lambda tensors: {**tensors, "calibration.taken_for": tensors["calibration.taken_for"][:5]},
        "do not fit together",
    ),
    "other calibration scores": (
        lambda tensors: {**tensors, "calibration.scores": tensors["calibration.scores"] + 1},
        "thresholds do not follow",
    ),
    "scores that are no numbers": (
        lambda tensors: {**tensors, "calibration.scores": tensors["calibration.scores"] * float("nan")},
        "NaN",
    ),
    "no safetensors": (lambda tensors: b"\x80\x04pickle", "damaged"),
    "a header beyond the end": (lambda tensors: (1 << 40).to_bytes(8, "little") + b"{}", "damaged"),
}


@pytest.mark.parametrize("case", CARDS)
def test_a_forged_card_is_one_line(kept, case):
    change, message = CARDS[case]
    refused(forged(kept[1], change), message)


@pytest.mark.parametrize("case", TENSORS)
def test_forged_tensors_are_one_line(kept, case):
    change, message = TENSORS[case]
    refused(forged(kept[1], lambda card: card, change), message)


def refused(path, message):
    with pytest.raises(InputError) as caught:
        model_file.load(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_was_cut_short_or_is_another_is_refused(kept, tmp_path):
    data = kept[1].read_bytes()
    for length in (0, 10, len(data) // 2, len(data) - 1):
        kept[1].write_bytes(data[:length])
        refused(kept[1], "damaged or no detector's file")
    middle = data.index(b"calibration.scores") + 300  # among the tensors
    kept[1].write_bytes(data[:middle] + b"\x00\xff" + data[middle + 2 :])
    refused(kept[1], "damaged")
    with zipfile.ZipFile(kept[1], "w") as archive:
        archive.writestr("../card.json", "{}")
    refused(kept[1], "expected card.json and tensors.safetensors")
    with pytest.raises(MissingFileError, match="missing"):
        model_file.load(tmp_path / "none.ood")


def test_parts_that_could_unpack_to_any_size_are_refused(kept):
    refused(forged(kept[1], lambda card: card, packed=zipfile.ZIP_DEFLATED), "compressed or too large")
