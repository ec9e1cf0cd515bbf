"""The paper's own composition of classifier batches (arXiv 1910.04241, the authors' notebooks).

Each step takes the next 128 in-distribution images in their fixed order, 64 outliers of type 1 and 64 of type 2, both
picked by the same 64 random indices. The pool of type 1 is made anew every few epochs, that of type 2 every epoch.
"""

import zlib
from collections.abc import Iterator
from typing import Any

import torch
from ood_shared.devices import send
from torch import Tensor

from oodgen.data.folders import Pixels
from oodgen.outliers import GenerationSettings, off_manifold_of, on_manifold_of
from oodgen.reconstructions import vae_crc32
from oodgen.vae import ConditionalVAE

OUTLIERS_PER_TYPE = 64


def mixed_order(train: Pixels, seed: int) -> Pixels:
    """The images in an order drawn once: the authors' order is fixed and mixes classes, folders are sorted by class."""
    return train.select(torch.randperm(len(train), generator=torch.Generator().manual_seed(seed)))


class PaperBatches:
    """Batches (images, labels, indices) of one epoch after the other, with a position that can be saved.

    Images are float32 in [0, 1]: the pools are not quantised. The state holds where the generator stood when each pool
    was made, so that a resumed run makes the same pools again.

    Args:
        vae: trained network that makes the pools, on the device to work on.
        train: images that the pools are made from.
        settings: how they are made.
        batch_size: in-distribution images per step.
        refresh: epochs between two pools of type 1.
        generator: source of every draw, on the CPU.
        device: where the batches go.
        shown: in-distribution images in the order in which they are shown; those of `train` when None. More of them
            (reconstructions beside the images) make more steps an epoch.
    """

    def __init__(
        self,
        vae: ConditionalVAE,
        train: Pixels,
        settings: GenerationSettings,
        *,
        batch_size: int,
        refresh: int,
        generator: torch.Generator,
        device: torch.device,
        shown: Pixels | None = None,
    ) -> None:
        self.settings = settings
        self._vae, self._train = vae, train
        shown = train if shown is None else shown
        self._batch_size, self._refresh = batch_size, refresh
        self._generator, self._device = generator, device
        self._epoch = 0  # epochs that have begun
        self._position = 0  # batches of the running epoch that were handed out
        self._resuming = False
        self._before_type1 = self._before_type2 = generator.get_state()
        self._type1: Tensor | None = None
        self._images = (shown.images.float() / 255).to(device)
        self._labels = shown.labels.to(device)

    def __len__(self) -> int:
        return -(-len(self._labels) // self._batch_size)

    def crc32(self) -> int:
        """A fingerprint of what the batches are made from: the images, the VAE and the settings."""
        return vae_crc32(self._vae, zlib.crc32(repr(self.settings).encode(), self._train.crc32()))

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        skip = self._position if self._resuming else 0
        if not self._resuming:
            self._begin_epoch()
        self._resuming = False
        if self._type1 is None:  # resumed: the pool of an earlier epoch is made as it was made then
            now = self._generator.get_state()
            self._generator.set_state(self._before_type1)
            self._make_type1()
            self._generator.set_state(now)
        self._generator.set_state(self._before_type2)
        type2 = self._make_type2()
        assert self._type1 is not None
        n_classes = len(self._train.classes)
        outlier_labels = torch.full((2 * OUTLIERS_PER_TYPE,), n_classes, dtype=torch.int64, device=self._device)
        for step in range(len(self)):
            drawn = torch.randint(len(self._train), (OUTLIERS_PER_TYPE,), generator=self._generator)
            if step < skip:
                continue
            picked = send(drawn, self._device)
            rows = slice(step * self._batch_size, (step + 1) * self._batch_size)
            images = torch.cat([self._images[rows], self._type1[picked], type2[picked]])
            labels = torch.cat([self._labels[rows], outlier_labels])
            self._position = step + 1
            yield images, labels, picked
        self._position = 0

    def state_dict(self) -> dict[str, Any]:
        """Where the batches stand; taken inside the loop, the batch in hand counts as done."""
        return {
            "epoch": self._epoch,
            "position": self._position,
            "before_type1": self._before_type1,
            "before_type2": self._before_type2,
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to where `state_dict` was taken."""
        self._epoch, self._position = state["epoch"], state["position"]
        self._resuming = self._position > 0
        self._before_type1, self._before_type2 = state["before_type1"], state["before_type2"]
        self._generator.set_state(state["generator"])
        self._type1 = None

    def _begin_epoch(self) -> None:
        if self._epoch % self._refresh == 0:
            self._before_type1 = self._generator.get_state()
            self._make_type1()
        self._before_type2 = self._generator.get_state()
        self._epoch += 1

    def _make_type1(self) -> None:
        made = off_manifold_of(self._vae, self._train, self.settings, self._generator)
        self._type1 = made.to(self._device)

    def _make_type2(self) -> Tensor:
        labels = self._train.labels
        source = torch.arange(len(labels))
        made = on_manifold_of(self._vae, labels, self._train, self.settings, self._generator, source)
        return made.to(self._device)
