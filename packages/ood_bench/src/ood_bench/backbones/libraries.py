"""Networks of torchvision and timm: `torchvision:NAME[=FILE]`, `timm:NAME[=FILE]`."""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from ood_shared import checkpoints
from ood_shared.errors import InputError, not_installed, unknown
from torch import Tensor, nn

from ood_bench.backbones import files
from ood_bench.backbones.backbone import Inputs


class Library(NamedTuple):
    """How a library's networks are made.

    Attributes:
        with_weights: of a name, and a file in place of the published weights.
        plain: of a name, with any weights.
    """

    with_weights: Callable[[str, Path | None], tuple[nn.Module, Inputs]]
    plain: Callable[[str], nn.Module]


def _torchvision(name: str, file: Path | None) -> tuple[nn.Module, Inputs]:
    from torchvision import models

    if name not in models.list_models(models):
        raise unknown("torchvision network", name, models.list_models(models))
    weights = models.get_model_weights(name).DEFAULT
    process = weights.transforms()
    inputs = Inputs(process.crop_size[0], 3, tuple(process.mean), tuple(process.std))
    network = _plain_torchvision(name)
    network.load_state_dict(
        _state(f"torchvision:{name}", file, lambda: weights.get_state_dict(progress=False, check_hash=True))
    )
    return network, inputs


def _plain_torchvision(name: str) -> nn.Module:
    from torchvision import models

    return models.get_model(name, weights=None).eval()


def _timm(name: str, file: Path | None) -> tuple[nn.Module, Inputs]:
    timm = _timm_library()
    if not timm.is_model(name):
        raise unknown("timm network", name, timm.list_models())
    if file is None:
        try:
            network = timm.create_model(name, pretrained=True, num_classes=0)
        except Exception as error:  # of whatever hub it asks
            raise _no_weights(f"timm:{name}", error) from None
    else:
        network = timm.create_model(name, pretrained=False)
        checkpoints.load_weights(network, _state(f"timm:{name}", file, dict), file)
        network.reset_classifier(0)
    settings = network.pretrained_cfg
    side = int(settings.get("input_size", (3, files.DEFAULT_SIDE))[1])
    return network.eval(), Inputs(side, 3, tuple(settings["mean"]), tuple(settings["std"]))


def _plain_timm(name: str) -> nn.Module:
    network: nn.Module = _timm_library().create_model(name, pretrained=False, num_classes=0)
    return network.eval()


def _timm_library() -> Any:
    try:
        return import_module("timm")
    except ImportError:
        raise not_installed("`timm:…`", "timm", "timm", "ood-bench") from None


def _state(word: str, file: Path | None, fetch: Callable[[], Mapping[str, Any]]) -> dict[str, Tensor]:
    if file is not None:
        return checkpoints.load(file)
    try:
        return dict(fetch())
    except OSError as error:  # URLError is one
        raise _no_weights(word, error) from None


def _no_weights(word: str, error: Exception) -> InputError:
    reason = " ".join(str(error).split())[:160]
    return InputError(f"The weights of {word} cannot be fetched ({reason}). Give {word}=FILE, or take `pretrained`.")


LIBRARIES = {"torchvision": Library(_torchvision, _plain_torchvision), "timm": Library(_timm, _plain_timm)}
