"""Scoring the sets of a suite with any number of scores, each pass of the network done once.

Scores of logits and features share one pass over each set; ODIN and i-ODIN go over the images themselves. Everything is
the same on every rank under `torchrun`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from ood_shared import distributed
from ood_shared.errors import InputError
from torch import nn

from ascood.data.loading import TestBatches
from ascood.data.samples import Samples
from ascood.data.sources import Source, Suite
from ascood.extraction import cached_extract, fingerprint, read_cache, write_cache
from ascood.heads import T2FNormNet
from ascood.metrics import COLUMNS, openood_metrics
from ascood.scores.base import Confidences, Extract, FeatureScore, TrainingFeatures
from ascood.scores.catalogue import AnyScore
from ascood.scores.odin import ODIN
from ascood.scoring import score_images, score_outputs
from ascood.search import search_extracts, search_images

Arrays = dict[str, npt.NDArray[Any]]
Row = tuple[str, dict[str, float]]  # name of a set or mean, metrics in percent


@dataclass
class Evaluator:
    """A network and the sets that are scored.

    Attributes:
        network: in evaluation mode, on the device.
        suite: the sets.
        folder: of the run, for caches; None keeps none.
        device: of the computation.
        identity: what the network is: hash of its weights and its kind. Part of every fingerprint.
        batch_size: images per forward pass.
        workers: of loaders that read files.
        precision: of the passes that give logits and features; gradients are always float32.
        fresh: ignore caches.
        stores: whether caches are written.
    """

    network: nn.Module
    suite: Suite
    folder: Path | None
    device: torch.device
    identity: Mapping[str, Any]
    batch_size: int = 200
    workers: int = 8
    precision: str = "fp32"
    fresh: bool = False
    stores: bool = True
    _samples: dict[str, Samples] = field(default_factory=dict, repr=False)
    _batches: dict[str, TestBatches] = field(default_factory=dict, repr=False)
    _extracts: dict[str, Extract] = field(default_factory=dict, repr=False)
    _set_keys: dict[str, str] = field(default_factory=dict, repr=False)
    _id_features: TrainingFeatures | None = field(default=None, repr=False)

    def source(self, key: str) -> Source:
        """A set by its key: id/train, csid/…, near/…, far/…, ood/val."""
        part, _, name = key.partition("/")
        if part == "id":
            if name not in self.suite.id_sets:
                raise InputError(f"`{self.suite.name}` has no `{name}` split, which the score needs.")
            return self.suite.id_sets[name]
        if key == "ood/val":
            if self.suite.ood_val is None:
                raise InputError(
                    f"`{self.suite.name}` has no OOD validation set for the search. "
                    "Add ood_dataset.val, or pass --no-aps."
                )
            return self.suite.ood_val
        return next(source for source in getattr(self.suite, part) if source.name == name)

    def keys(self, with_csid: bool) -> list[str]:
        """The sets that are scored: ID test, covariate shifts if asked for, near and far OOD."""
        csid = [f"csid/{source.name}" for source in self.suite.csid] if with_csid else []
        outliers = [f"{part}/{source.name}" for part in ("near", "far") for source in getattr(self.suite, part)]
        return ["id/test", *csid, *outliers]

    def samples(self, key: str) -> Samples:
        """The samples of a set."""
        if key not in self._samples:
            self._samples[key] = self.source(key).load()
        return self._samples[key]

    def id_keys(self, with_csid: bool) -> list[str]:
        """Those of `keys` whose images are ID: the test set, then the covariate-shifted ones."""
        return [key for key in self.keys(with_csid) if key.startswith(("id/", "csid/"))]

    def batches(self, key: str) -> TestBatches:
        """Images of a set, in order."""
        if key not in self._batches:
            chain = self.suite.chain.with_kind("raw") if self.source(key).raw else self.suite.chain
            self._batches[key] = TestBatches(self.samples(key), chain, self.batch_size, self.workers, self.device)
        return self._batches[key]

    def set_key(self, key: str) -> str:
        """Fingerprint of a set as this network sees it."""
        if key not in self._set_keys:
            chain = self.batches(key).chain.settings()
            facts = {"set": self.samples(key).fingerprint(), "chain": chain, "precision": self.precision}
            self._set_keys[key] = fingerprint({**facts, "network": dict(self.identity)})
        return self._set_keys[key]

    def extract(self, key: str) -> Extract:
        """Logits and features of a set, computed once."""
        if key not in self._extracts:
            path = None if self.folder is None else self.folder / "features" / f"{key.replace('/', '_')}.npz"
            self._extracts[key] = cached_extract(
                path, self.set_key(key), self.network, self.batches(key), self.precision, self.fresh, self.stores
            )
        return self._extracts[key]

    def id_features(self) -> TrainingFeatures:
        """What scores are fitted to."""
        if self._id_features is None:
            self._id_features = features_for(self.network, lambda split: self.extract(f"id/{split}"))
        return self._id_features

    def tune(self, score: AnyScore, search: bool) -> list[dict[str, Any]]:
        """Fit the score, and search its hyper-parameters where its yml file asks for it; the trials."""
        with torch.no_grad():
            if isinstance(score, FeatureScore):
                score.fit(self.id_features())
            if not (search and score.search):
                score.prepare()
                return []
            if isinstance(score, FeatureScore):
                return search_extracts(score, self.extract("id/val"), self.extract("ood/val"))

            def of_validation(noises: Sequence[float]) -> list[tuple[Confidences, Confidences]]:
                return list(zip(self._odin(score, "id/val", noises), self._odin(score, "ood/val", noises), strict=True))

            return search_images(score, of_validation)

    def score_set(self, score: AnyScore, key: str) -> Confidences:
        """Confidence and predicted class of every input of a set, on the CPU."""
        if isinstance(score, FeatureScore):
            confidence, predicted = score_outputs(score, self.extract(key))
        else:
            confidence, predicted = self._odin(score, key, None)[0]
        return confidence.detach().cpu(), predicted.cpu()

    def score_all(self, score: AnyScore, with_csid: bool, search: bool) -> tuple[Arrays, list[dict[str, Any]]]:
        """Confidences, predictions and labels of all sets, and the trials of the search.

        They come from `scores/<name>.npz` when that was made by the same weights, sets and settings.
        """
        keys = self.keys(with_csid)
        asked = {"args": dict(score.args), "sweep": [list(values) for values in score.sweep] if search else None}
        facts = {"score": score.name, **asked, "sets": [self.set_key(key) for key in keys]}
        if score.fits or (search and score.search):
            facts["fitted"] = [self.set_key(key) for key in ("id/train", "id/val") if key[3:] in self.suite.id_sets]
        if search and score.search:
            facts["searched"] = [self.set_key("ood/val")]
        name = f"{score.name}_fsood" if with_csid else score.name
        path = None if self.folder is None else self.folder / "scores" / f"{name}.npz"
        key = fingerprint(facts)
        stored = None if path is None or self.fresh else read_cache(path, key)
        if stored is not None:
            score.args.update(_restore_args(stored))
            return stored, []
        trials = self.tune(score, search)
        arrays: Arrays = {}
        for set_key in keys:
            confidence, predicted = self.score_set(score, set_key)
            arrays[f"{set_key}/conf"], arrays[f"{set_key}/pred"] = confidence.numpy(), predicted.numpy()
            arrays[f"{set_key}/label"] = self.samples(set_key).labels
        arrays |= {f"args/{name}": np.array(value) for name, value in score.args.items() if value is not None}
        if path is not None and self.stores:
            write_cache(path, key, arrays)
        return arrays, trials

    def accuracy_of_id(self, with_csid: bool) -> float:
        """Share of ID test images (with covariate shifts if asked for) whose plain arg-max is right, in percent."""
        right, total = 0, 0
        for key in self.id_keys(with_csid):
            outputs = self.extract(key)
            right += int((outputs.logits.argmax(1) == outputs.labels).sum())
            total += len(outputs)
        return 100 * right / total

    def table(self, arrays: Mapping[str, npt.NDArray[Any]], with_csid: bool) -> list[Row]:
        """Rows of near sets, nearood, far sets, farood: metrics in percent, ACC the same in every row."""
        accuracy = self.accuracy_of_id(with_csid)
        of_id = self.id_keys(with_csid)
        id_parts = [np.concatenate([arrays[f"{key}/{part}"] for key in of_id]) for part in ("conf", "label", "pred")]
        rows: list[Row] = []
        for part in ("near", "far"):
            group: list[Row] = []
            for source in getattr(self.suite, part):
                parts = [arrays[f"{part}/{source.name}/{name}"] for name in ("conf", "label", "pred")]
                together = [np.concatenate(pair) for pair in zip(id_parts, parts, strict=True)]
                measured = openood_metrics(together[0], together[1], together[2])
                percent = {name: 100 * value for name, value in measured.items()}
                group.append((source.name, {**percent, "ACC": accuracy}))
            if group:
                mean = {name: float(np.mean([values[name] for _, values in group])) for name in COLUMNS}
                rows += [*group, (f"{part}ood", mean)]
        return rows

    def _odin(self, score: ODIN, key: str, noises: Sequence[float] | None) -> list[Confidences]:
        batches, std = self.batches(key), self.suite.chain.std
        parts = [score_images(score, self.network, images, std, noises, len(images)) for images in batches]
        total = len(batches.samples)
        return [
            (
                distributed.gather_rows(torch.cat([part[at][0] for part in parts]), total),
                distributed.gather_rows(torch.cat([part[at][1] for part in parts]), total),
            )
            for at in range(len(parts[0]))
        ]


def features_for(network: Any, get: Callable[[str], Extract]) -> TrainingFeatures:
    """What scores of a network are fitted to.

    Args:
        network: with a last layer.
        get: gives the outputs of `train` or `val`, when a score asks for them.
    """
    layer = network.get_fc_layer()
    head = network.score_head if isinstance(network, T2FNormNet) else None
    return TrainingFeatures(get, layer.weight.detach(), layer.bias.detach(), head)


def _restore_args(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
    return {name.removeprefix("args/"): value.item() for name, value in arrays.items() if name.startswith("args/")}
