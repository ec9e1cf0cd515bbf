"""The residual autoencoder g(e(x)), one network for each resolution and kind of stage, sharing their modules.

Source: Shvetsova et al., Anomaly Detection in Medical Imaging with Deep Perceptual Autoencoders, IEEE Access 2021
(arXiv 2006.13265), section III; growing as in Karras et al., Progressive Growing of GANs, ICLR 2018.

A stabilisation net ("stab") works at one resolution; a transition net ("trns") at R blends the path that existed for
R/2 into the new one: (1 - alpha) low + alpha high. Modules are shared between stages, so growing keeps what was
trained. Names of the state dict are those of the published checkpoints.
"""

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Mapping
from math import log2
from typing import Any

from torch import Tensor, nn

from mood_dpa.layers import SLOPE, Concat, ConvBlock, FadeIn, Layers, ResidualBlock
from mood_dpa.standalone import InputError, unknown

POOLS = ("avg", "max")
UPSAMPLINGS = ("nearest", "nearest-exact", "bilinear", "bicubic")
TYPES = {"residual9": 1, "residual18": 2}  # residual blocks of a resolution
STAGES = ("stab", "trns")


class StageNet(nn.Module):
    """Encoder or decoder of one stage; its parts stand in `model` under the published names."""

    def __init__(self, parts: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.model = nn.Sequential(OrderedDict(parts))

    def set_progress(self, progress: float) -> None:
        """Progress of a transition; a stabilisation net has none."""
        if "fadein" in dict(self.model.named_children()):
            self.model.get_submodule("fadein").set_progress(progress)  # type: ignore[operator]

    def forward(self, x: Tensor) -> Tensor:
        """Encoder: (n, image_dim, R, R) -> (n, latent_dim, latent_res, latent_res); decoder: the reverse."""
        out: Tensor = self.model(x)
        return out


class _Family(ABC):
    """Nets of all stages over one set of modules, made when they are first asked for."""

    def __init__(
        self,
        kind: str,
        inner_dims: list[int],
        latent_res: int,
        latent_dim: int,
        image_dim: int,
        layers: Layers,
    ) -> None:
        if kind not in TYPES:
            raise unknown("network type", str(kind), TYPES)
        self.blocks = TYPES[kind]
        self.inner_dims, self.latent_dim, self.image_dim, self.layers = inner_dims, latent_dim, image_dim, layers
        self.lowest = 4 if latent_res == 1 else latent_res
        self.to_point = latent_res == 1
        self._modules: dict[str, nn.Module] = {}

    def _shared(self, name: str, make: Callable[[], nn.Module]) -> tuple[str, nn.Module]:
        if name not in self._modules:
            self._modules[name] = make()
        return name, self._modules[name]

    def _level(self, res: int) -> int:
        level = int(log2(res)) - int(log2(self.lowest))
        if level < 0 or level >= len(self.inner_dims):
            raise InputError(
                f"inner_dims has {len(self.inner_dims)} entries; resolution {res} over {self.lowest} needs {level + 1}."
            )
        return level

    def _residuals(self, channels: int, count: int) -> list[nn.Module]:
        return [ResidualBlock(self.layers, channels, channels) for _ in range(count)]

    @abstractmethod
    def parts(self, stage: str, res: int) -> dict[str, nn.Module]:
        """Modules of a stage in order."""

    def net(self, stage: str, res: int) -> StageNet:
        """The network of a stage; it shares its modules with those of other stages."""
        if stage not in STAGES:
            raise unknown("stage", stage, STAGES)
        return StageNet(self.parts(stage, res))


class EncoderFamily(_Family):
    """Encoders e of all stages. Channels at resolution R count from the end of `inner_dims`."""

    def __init__(self, *args: Any, pool: str = "avg", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if pool not in POOLS:
            raise unknown("pool", pool, POOLS)
        self.pool = pool

    def channels(self, res: int) -> int:
        """Width at a resolution."""
        return self.inner_dims[-self._level(res) - 1]

    def _preprocess(self, res: int) -> tuple[str, nn.Module]:
        width = self.channels(res)

        def make() -> nn.Module:
            first = ConvBlock(self.layers, self.image_dim, width, 3, 1, active=False)
            return nn.Sequential(first, *self._residuals(width, self.blocks))

        return self._shared(f"preprocess_res_{res}", make)

    def _res(self, res: int) -> tuple[str, nn.Module]:
        def make() -> nn.Module:
            width = self.channels(res)
            if res > self.lowest:
                below = self.channels(res // 2)
                down = ResidualBlock(self.layers, width, below, "down")
                return nn.Sequential(down, *self._residuals(below, self.blocks - 1))
            if self.to_point:
                last = ConvBlock(self.layers, width, self.latent_dim, 4, 0, active=False)
                return nn.Sequential(nn.LeakyReLU(SLOPE), last)
            return nn.Sequential(ResidualBlock(self.layers, width, self.latent_dim))

        return self._shared(f"res_{res}", make)

    def _below(self, res: int) -> list[tuple[str, nn.Module]]:
        modules = []
        while res >= self.lowest:
            modules.append(self._res(res))
            res //= 2
        return modules

    def parts(self, stage: str, res: int) -> dict[str, nn.Module]:
        """Modules of a stage in order."""
        if stage == "stab":
            return dict([self._preprocess(res), *self._below(res)])
        half = self.layers.of("AvgPool" if self.pool == "avg" else "MaxPool")(2)
        low = nn.Sequential(OrderedDict([(f"from_res_{res}_to_res_{res // 2}", half), self._preprocess(res // 2)]))
        high = nn.Sequential(OrderedDict([self._preprocess(res), self._res(res)]))
        return {"concat": Concat(low, high), "fadein": FadeIn(), **dict(self._below(res // 2))}


class DecoderFamily(_Family):
    """Decoders g of all stages. Channels at resolution R count from the front of `inner_dims`."""

    def __init__(self, *args: Any, upsample_mode: str = "nearest", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if upsample_mode not in UPSAMPLINGS:
            raise unknown("upsample_mode", str(upsample_mode), UPSAMPLINGS)
        self.upsample_mode = upsample_mode

    def channels(self, res: int) -> int:
        """Width at a resolution."""
        return self.inner_dims[self._level(res)]

    def _res(self, res: int) -> tuple[str, nn.Module]:
        def make() -> nn.Module:
            width = self.channels(res)
            if res > self.lowest:
                up = ResidualBlock(self.layers, self.channels(res // 2), width, "up")
                return nn.Sequential(up, *self._residuals(width, self.blocks - 1))
            if self.to_point:  # 1 x 1 -> 4 x 4, padded with zeros whatever pad_type says
                zeros = Layers(self.layers.norm, "zero", self.layers.dims)
                first = ConvBlock(zeros, self.latent_dim, width, 4, 3, active=False)
                return nn.Sequential(nn.LeakyReLU(SLOPE), first)
            return nn.Sequential(ResidualBlock(self.layers, self.latent_dim, width))

        return self._shared(f"res_{res}", make)

    def _postprocess(self, res: int) -> tuple[str, nn.Module]:
        def make() -> nn.Module:
            last = ConvBlock(self.layers, self.channels(res), self.image_dim, 3, 1, active=False)
            return nn.Sequential(nn.LeakyReLU(SLOPE), last)

        return self._shared(f"postprocess_res_{res}", make)

    def _upto(self, res: int) -> list[tuple[str, nn.Module]]:
        modules, at = [], self.lowest
        while at <= res:
            modules.append(self._res(at))
            at *= 2
        return modules

    def parts(self, stage: str, res: int) -> dict[str, nn.Module]:
        """Modules of a stage in order."""
        if stage == "stab":
            return dict([*self._upto(res), self._postprocess(res)])
        double = nn.Upsample(scale_factor=2, mode=self.upsample_mode)
        low = nn.Sequential(OrderedDict([self._postprocess(res // 2), (f"from_res_{res // 2}_to_res_{res}", double)]))
        high = nn.Sequential(OrderedDict([self._res(res), self._postprocess(res)]))
        return {**dict(self._upto(res // 2)), "concat": Concat(low, high), "fadein": FadeIn()}
