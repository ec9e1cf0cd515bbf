"""scripts/eval_ood_imagenet.py: an ImageNet-1k network of torchvision, or an own resnet50, under post-hoc scores."""

import argparse
from pathlib import Path
from typing import Any

import torch
from ood_shared import checkpoints, distributed
from ood_shared.devices import resolve_device
from ood_shared.errors import InputError, MissingFileError
from torch import Tensor, nn
from torchvision import models

from ascood.build import load_strictly, to_device
from ascood.data.download import WEIGHTS
from ascood.data.preprocessing import Chain
from ascood.data.sources import Suite
from ascood.data.suites import make_suite
from ascood.evaluate import Evaluation, score_run, show
from ascood.evaluator import Evaluator
from ascood.networks import Backbone, make_backbone
from ascood.scores.catalogue import make_score

CLASSES = 1000
NETWORKS = {
    "resnet50": ("resnet50", "ResNet50_Weights"),
    "swin-t": ("swin_t", "Swin_T_Weights"),
    "vit-b-16": ("vit_b_16", "ViT_B_16_Weights"),
    "regnet": ("regnet_y_16gf", "RegNet_Y_16GF_Weights"),
}


class Classifier(Backbone):
    """A classifier of torchvision taken apart at its last linear layer."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        owner, name = _last_linear(model)
        layer = getattr(owner, name)
        setattr(owner, name, nn.Identity())
        self.trunk, self.fc, self.feature_size = model, layer, layer.in_features

    def stages(self, images: Tensor) -> list[Tensor]:
        """None to be had: torchvision's architectures are taken as a whole."""
        raise InputError("This architecture has no list of feature maps.")

    def forward(self, images: Tensor, return_feature: bool = False, return_feature_list: bool = False) -> Any:
        """Logits, with the flag also the features; there is no list of maps."""
        if return_feature_list:
            return self.stages(images)
        features = self.features(images)
        logits = self.fc(features)
        return (logits, features) if return_feature else logits

    def features(self, images: Tensor) -> Tensor:
        """See `Backbone.features`."""
        features: Tensor = self.trunk(images)
        return features


def eval_ood_imagenet(options: argparse.Namespace) -> int:
    """The program: flags in, tables out."""
    if options.tvs_pretrained == (options.ckpt_path is not None):
        raise InputError("Pass either --tvs-pretrained or --ckpt-path FILE.")
    if options.ckpt_path is not None and options.arch != "resnet50":
        raise InputError(f"--ckpt-path takes weights of a resnet50, not of --arch {options.arch}.")
    asked = Evaluation.of(options, None)
    version = options.tvs_version
    folder = Path(f"results/imagenet_{options.arch}_tvsv{version}_base_default")
    root = folder if options.tvs_pretrained else Path(options.ckpt_path).parent
    with distributed.setup(resolve_device(options.device)) as device:
        suite = make_suite("imagenet", options.data_dir)
        if options.tvs_pretrained:
            path = weights_file(options.arch, version)
            network, chain = torchvision_network(options.arch, version, path)
            suite = Suite(**{**vars(suite), "chain": chain})
        else:
            path = Path(options.ckpt_path)
            network = make_backbone("resnet50", CLASSES)
            load_strictly(network, path, None, "Take eval_ood with --wrapper-net; here networks are plain.")
        evaluator = Evaluator(
            to_device(network, device).eval(),
            suite,
            root if options.cache else None,
            device,
            {"weights": checkpoints.sha256(path), "name": options.arch},
            options.batch_size,
            options.num_workers,
            options.precision,
            options.fresh,
        )
        tables = {}
        for name in asked.names:
            rows = score_run(evaluator, make_score(name), asked, root)
            if rows:
                tables[name] = [rows]
        if distributed.is_main():
            show(tables, root / asked.part, asked, spread=False)
    return 0


def weights_file(arch: str, version: int) -> Path:
    """torchvision's weights in results/pretrained_weights, or where torch keeps them; nothing is downloaded.

    In the first folder they may have torchvision's name or the one that `download.py --contents weights` gives them.

    Raises:
        InputError: torchvision has no such version of these weights.
        MissingFileError: the file is in neither place.
    """
    weights = _weights(arch, version)
    name = weights.url.rsplit("/", 1)[-1]  # ends in the first digits of its hash
    ours = [key for key, (kind, digits) in WEIGHTS.items() if kind == NETWORKS[arch][1] and f"-{digits}." in name]
    folder, cache = Path("results/pretrained_weights"), Path(torch.hub.get_dir()) / "checkpoints"
    for path in [*(folder / word for word in (*ours, name)), cache / name]:
        if path.is_file():
            return path
    load = f'get_model("{NETWORKS[arch][0]}", weights="{weights.name}")'
    command = (
        "python scripts/download/download.py --contents weights"
        if ours
        else f"python -c 'from torchvision.models import get_model; {load}'"
    )
    raise MissingFileError(
        f"The weights {weights} are missing: {' or '.join((*ours, name))} in {folder}, or {name} in {cache}. Fetch "
        f"them with {command}."
    )


def torchvision_network(arch: str, version: int, path: Path) -> tuple[nn.Module, Chain]:
    """The network with these weights, and the transform that belongs to them."""
    builder, _ = NETWORKS[arch]
    model = models.get_model(builder)
    checkpoints.load_weights(model, checkpoints.read_weights(path), path)
    transform: Any = _weights(arch, version).transforms()
    chain = Chain(
        "test",
        int(transform.resize_size[0]),
        int(transform.crop_size[0]),
        tuple(transform.mean),
        tuple(transform.std),
        str(transform.interpolation.value),
    )
    return Classifier(model), chain


def _weights(arch: str, version: int) -> Any:
    kind = getattr(models, NETWORKS[arch][1])
    name = f"IMAGENET1K_V{version}"
    if name not in kind.__members__:
        raise InputError(f"--tvs-version {version}: torchvision has no {name} weights for --arch {arch}. Pass 1.")
    return kind[name]


def _last_linear(model: nn.Module) -> tuple[nn.Module, str]:
    """The module that holds the last linear layer, and its name there."""
    path = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)][-1]
    owner, _, name = path.rpartition(".")
    return model.get_submodule(owner), name
