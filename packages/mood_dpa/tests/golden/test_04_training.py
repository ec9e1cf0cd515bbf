"""train_trajectory: a whole run with scripted batches."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from mood_dpa.checkpoints import build_families
from mood_dpa.loop import Trainer
from mood_dpa.losses import make_loss
from mood_dpa.settings import LoopSettings
from ood_shared.testing.golden import check_each

from .conftest import fill, rule_features


class Bank:
    """Batches from outside: step t takes batch t mod n."""

    def __init__(self, batches: torch.Tensor) -> None:
        self.batches, self.t = batches, 0

    def take(self, batch_size: int) -> torch.Tensor:
        self.t += 1
        return self.batches[(self.t - 1) % len(self.batches)][:batch_size]

    def state_dict(self) -> dict:
        return {"t": self.t}

    def load_state_dict(self, state: dict) -> None:
        self.t = state["t"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory):
    from .conftest import GOLDEN

    arrays, want = GOLDEN.npz("train_trajectory"), GOLDEN.json("train_trajectory")
    config = {"image_dim": 1, **json.loads(json.dumps(want["config"]))}  # plain mappings, to be saved
    for name in ("batch_sizes", "iters_per_res"):
        config[name] = {int(k): v for k, v in config[name].items()}
    events = []

    def listen(name, *values):
        plain = [float(v) if isinstance(v, torch.Tensor) and v.ndim == 0 else v for v in values]
        events.append([name, *(list(v.shape) if isinstance(v, torch.Tensor) else v for v in plain)])

    def refill(encoder, decoder):
        fill(encoder)
        fill(decoder)

    folder = tmp_path_factory.mktemp("run")
    loss_entry = config["image_rec_loss"]
    bank = torch.from_numpy(arrays["train_bank"])
    val = torch.from_numpy(arrays["val_bank"])
    trainer = Trainer(
        LoopSettings.of(config),
        build_families(config),
        make_loss(loss_entry["loss_type"], loss_entry["loss_kwargs"], rule_features()),
        Bank(bank),
        lambda: iter(val),
        bank[0][:4],
        folder,
        refill,
        [listen],
    )
    trainer.fit()
    return trainer, events, arrays, want, folder


def test_events_come_in_the_published_order_with_the_published_values(run) -> None:
    _, events, _, want, _ = run
    assert [e[:2] if e[0] in ("loss", "scalar", "scalars", "grid") else e for e in events] == [
        e[:2] if e[0] in ("loss", "scalar", "scalars", "grid") else e for e in want["events"]
    ]
    for found, wanted in zip(events, want["events"], strict=True):
        for a, b in zip(found[1:], wanted[1:], strict=True):
            if isinstance(b, float):
                assert a == pytest.approx(b, rel=1e-3), (found, wanted)
            elif isinstance(b, dict):
                assert a == pytest.approx(b, rel=1e-3)
            else:
                assert a == b, (found, wanted)


def test_final_weights_agree(run) -> None:
    trainer, _, arrays, _, _ = run
    found = {}
    for prefix, net in (("final_enc/", trainer.encoder), ("final_dec/", trainer.decoder)):
        found |= {prefix + key: value for key, value in net.state_dict().items()}
    check_each(arrays, found, partial(np.testing.assert_allclose, rtol=0, atol=2e-3))


def test_the_published_files_are_written(run) -> None:
    _, _, _, want, folder = run
    expected = {name for name in want["info"]["files"] if name.endswith(".tar")}
    assert expected <= {path.name for path in Path(folder).iterdir()}


@pytest.mark.parametrize(("file", "keys"), [("checkpoint", "checkpoint_keys"), ("anomaly_detection", "ad_keys")])
def test_files_have_the_published_keys(run, file: str, keys: str) -> None:
    _, _, _, want, folder = run
    assert set(want["info"][keys]) <= set(torch.load(folder / f"{file}.tar", weights_only=True))


@pytest.mark.parametrize(
    ("file", "scalars", "keys"),
    [
        ("checkpoint", "ck_scalar", ("stage", "resolution", "progress", "n_iter", "best_val_loss", "best_val_iter")),
        ("anomaly_detection", "ad_scalar", ("niter", "stage", "resolution", "progress")),
    ],
)
def test_files_have_the_published_counters(run, file: str, scalars: str, keys: tuple[str, ...]) -> None:
    _, _, _, want, folder = run
    found = torch.load(folder / f"{file}.tar", weights_only=True)

    def same(ours: object, theirs: object) -> None:
        assert ours == (pytest.approx(theirs, rel=1e-3) if isinstance(theirs, float) else theirs)

    check_each(want["info"][scalars], {key: found[key] for key in keys}, same)
