"""The training loop: stages of growing resolution, early stopping in the last, resumable after any step.

Images come from outside (`take`, `validation`), what happens is told to listeners, and everything that decides the
rest of a run is in its checkpoint (`state`). The order of events is that of the published program.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from ood_shared import distributed, optimizers
from ood_shared.devices import autocast, make_scaler, maybe_compile, tuned_convolutions
from ood_shared.errors import InputError
from ood_shared.signals import Terminated, deferred_sigterm
from ood_shared.training import Compute, update
from torch import Tensor, nn

from mood_dpa.checkpoints import Loss, lay_out
from mood_dpa.data.record import Origin
from mood_dpa.growing import Stage, effective_resolution, images_of_stage, plan_of
from mood_dpa.networks import DecoderFamily, EncoderFamily, StageNet
from mood_dpa.settings import LoopSettings
from mood_dpa.state import CHECKPOINT, RESUME, Progress, restore, save_model, save_run

DIVERGED = 1e9
DISPLAYED = 4

Listener = Callable[..., None]  # (name, *values): stage, loss, scalars, scalar, grid, checkpoint, ad_model


class Source(Protocol):
    """Endless training batches with a position that can be saved."""

    def take(self, batch_size: int) -> Tensor:
        """The next batch at the highest resolution, on the device."""

    def state_dict(self) -> dict[str, Any]:
        """Where the batches stand."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""


class Trainer:
    """One training run.

    Args:
        settings: of the loop.
        families: encoders and decoders of all stages.
        loss: of real and reconstructed images.
        source: training batches.
        validation: makes one pass over the validation batches, each (n, 1, M, M) on the device.
        display: a few images at the highest resolution, reconstructed now and then for the eye.
        folder: checkpoint_root; nothing is written when None.
        on_stage: called with the encoder and decoder of a stage before its first step.
        listeners: are told every event.
        compute: device, precision, compilation.
        origin: of the images, for the checkpoints.
    """

    def __init__(
        self,
        settings: LoopSettings,
        families: tuple[EncoderFamily, DecoderFamily],
        loss: Loss,
        source: Source,
        validation: Callable[[], Iterable[Tensor]],
        display: Tensor,
        folder: Path | None = None,
        on_stage: Callable[[StageNet, StageNet], None] = lambda encoder, decoder: None,
        listeners: Iterable[Listener] = (),
        compute: Compute | None = None,
        origin: Origin | None = None,
    ) -> None:
        self.origin = origin or Origin()
        self.settings, self.families, self.source = settings, families, source
        self.validation, self.display, self.folder, self.on_stage = validation, display, folder, on_stage
        self.listeners, self.compute = list(listeners), compute or Compute(torch.device("cpu"))
        self.loss = loss.to(self.compute.device)
        lay_out(self.loss, self.compute.device)
        self.plan = plan_of(settings)
        self.at = Progress()
        self.scaler = make_scaler(self.compute.device, self.compute.precision)
        self._entered = False

    # -- stages -------------------------------------------------------------------------------------------------

    @property
    def stage(self) -> Stage:
        """The stage under way."""
        return self.plan[self.at.index]

    @property
    def progress(self) -> float:
        """Of the stage, in [0, 1]."""
        return min(self.at.k / self.stage.length, 1.0)

    def enter(self) -> None:
        """Build the nets of the stage and a new Adam."""
        stage, device = self.stage, self.compute.device
        encoders, decoders = self.families
        self.encoder = encoders.net(stage.kind, stage.resolution)
        self.decoder = decoders.net(stage.kind, stage.resolution)
        self.on_stage(self.encoder, self.decoder)
        self.nets = nn.ModuleList([self.encoder, self.decoder]).to(device)
        lay_out(self.nets, device)
        distributed.broadcast(self.nets)
        self.loss.set_stage(stage.kind, stage.resolution)
        parameters = [p for p in self.nets.parameters() if p.requires_grad]
        self.adam = optimizers.make(torch.optim.Adam, parameters, **self.settings.adam_kwargs)
        if self.compute.compile:
            torch.compiler.reset()  # the graphs of the stage before count towards a limit
        self.rebuild = maybe_compile(nn.Sequential(self.encoder, self.decoder), self.compute.compile)
        self._bad = torch.zeros((), dtype=torch.bool, device=device)
        self._entered = True

    @property
    def batch_size(self) -> int:
        """Images of a step, over all ranks."""
        return int(self.settings.batch_sizes[self.stage.resolution])

    def fit(self) -> Progress:
        """Train to the end of the plan or until it stops early.

        Raises:
            Terminated: SIGTERM arrived; `resume.tar` holds the very step.
            InputError: the loss is no longer a number.
        """
        with deferred_sigterm() as stop, tuned_convolutions():
            if not self._entered:
                self.enter()
            if self.at.k == 0:
                self._tell("stage", self.stage.kind, self.stage.resolution, self.stage.length, self.batch_size)
            while not self.at.stopped and not self._finished():
                self._iteration()
                if distributed.on_any_rank(stop.requested, self.compute.device):
                    self.save_resume()
                    raise Terminated
        if self.at.k % self.settings.val_iter:
            self._check()
            value = self._validate()
            if value < self.at.best_val_loss:
                self.at.best_val_loss, self.at.best_val_iter = value, self.at.n_iter
                self._save_best()
        return self.at

    def _finished(self) -> bool:
        return self.at.index == len(self.plan) - 1 and self.at.k >= self.stage.length

    # -- one iteration ------------------------------------------------------------------------------------------

    def _iteration(self) -> None:
        settings, at = self.settings, self.at
        at.k += 1
        at.n_iter += 1
        self.send_progress()
        self.nets.train()
        images = self.source.take(self.batch_size)
        value = self.step(images)
        self._tell("loss", "train", value, at.n_iter, self.progress, self.stage.kind, self.stage.resolution)
        if at.k % settings.log_iter == 0:
            self._check()
            mean = distributed.sum_over_ranks(value) / distributed.world_size()
            self._tell("scalars", "train/losses", {"image_rec_loss": float(mean)}, at.n_iter)
            resolution = effective_resolution(self.stage.kind, self.stage.resolution, self.progress)
            self._tell("scalar", "train/resolution", resolution, at.n_iter)
        if at.k % settings.image_sample_iter == 0:
            self._show()
        validated = at.k % settings.val_iter == 0
        last = at.index == len(self.plan) - 1
        if validated:
            self._check()
            self._note_validation(self._validate(), last)
        if not last and at.k >= self.stage.length:
            self._check()
            self._save_checkpoint()
            self._save_model()
            at.index, at.k = at.index + 1, 0
            self.enter()
            self._tell("stage", self.stage.kind, self.stage.resolution, self.stage.length, self.batch_size)
            self.save_resume()
        elif at.k % self.settings.save_iter == 0:
            self._check()
            self.save_resume()

    def step(self, images: Tensor) -> Tensor:
        """One update; returns the loss of this rank's images, on the device."""
        images = self._mixed(images)
        value = self._forward(images)
        update(self.nets, self.adam, self.scaler, value)
        value = value.detach()
        self._bad |= ~(value <= DIVERGED)  # also true for NaN
        return value

    def _forward(self, images: Tensor) -> Tensor:
        with autocast(self.compute.device, self.compute.precision):
            return self.loss(images, self.rebuild(images))

    def _mixed(self, images: Tensor) -> Tensor:
        return images_of_stage(images, self.settings.max_image_res, self.stage, self.progress)

    def send_progress(self) -> None:
        """Tell the nets and the loss of a transition how far it is."""
        if self.stage.kind == "trns":
            for part in (self.encoder, self.decoder, self.loss):
                part.set_progress(self.progress)

    def _check(self) -> None:
        if bool(self._bad):
            raise InputError(
                f"The training loss became NaN or exceeded {DIVERGED:g} before iteration {self.at.n_iter}. "
                "Lower adam_kwargs.lr; the checkpoints before it are kept."
            )

    # -- validation and early stopping ----------------------------------------------------------------------------

    @torch.no_grad()
    def _validate(self) -> float:
        self.nets.eval()
        total = torch.zeros((), dtype=torch.float64, device=self.compute.device)
        count = 0
        for images in self.validation():
            images = self._mixed(images)
            value = self._forward(images)
            stage = self.stage
            self._tell("loss", "val", value, self.at.n_iter, self.progress, stage.kind, stage.resolution)
            total += value.double() * len(images)
            count += len(images)
        sums = distributed.sum_over_ranks(torch.stack([total, torch.tensor(count, dtype=total.dtype).to(total)]))
        if not sums[1]:
            raise InputError("There is no validation image; name a fold that has some in val_dataset.")
        mean = float(sums[0] / sums[1])
        if not math.isfinite(mean):
            raise InputError(f"The validation loss became {mean} at iteration {self.at.n_iter}. Lower adam_kwargs.lr.")
        self._tell("scalar", "val/total", mean, self.at.n_iter)
        return mean

    def _note_validation(self, value: float, last: bool) -> None:
        """Save in the last stage what is better; stop after more than `patience` validations without."""
        if not last:
            return
        at, settings = self.at, self.settings
        if value < at.best_val_loss - settings.early_stopping_min_delta:
            at.best_val_loss, at.best_val_iter = value, at.n_iter
            self._save_best()
        elif (at.n_iter - at.best_val_iter) / settings.val_iter > settings.early_stopping_patience:
            at.stopped = True

    @torch.no_grad()
    def _show(self) -> None:
        self.nets.eval()  # the published program left them in training mode and so changed batch norm's statistics
        images = self._mixed(self.display)
        both = torch.cat([images, self._reconstruct(images)])
        stage, side = self.stage, 4 * self.settings.max_image_res
        name = f"res_{stage.resolution}_stage_{stage.kind}_niter{self.at.k}.png"
        for file in (name, "sample.png"):
            self._tell("grid", file, both, side, min(DISPLAYED, len(images)))

    def _reconstruct(self, images: Tensor) -> Tensor:
        with autocast(self.compute.device, self.compute.precision):
            rebuilt: Tensor = self.rebuild(images)
        return rebuilt.float()

    # -- files ----------------------------------------------------------------------------------------------------

    def _save_best(self) -> None:
        self._save_checkpoint()
        self._save_model()

    def _save_checkpoint(self) -> None:
        self._tell("checkpoint", self.at.n_iter, self.at.k)
        save_run(self, CHECKPOINT)

    def save_resume(self) -> None:
        """Write `resume.tar`, from which `--resume` goes on."""
        save_run(self, RESUME)

    def _save_model(self) -> None:
        stage, at = self.stage, self.at
        self._tell("ad_model", stage.kind, stage.resolution, at.n_iter, at.k)
        if stage.kind == "stab":
            save_model(self)

    def load_state_dict(self, state: Mapping[str, Any], source: object = "checkpoint") -> None:
        """Go on from the content of a checkpoint; see `state.restore`."""
        restore(self, state, source)

    def _tell(self, name: str, *values: object) -> None:
        for listener in self.listeners:
            listener(name, *values)
