"""Networks with the weights that the golden vectors were made with."""

from pathlib import Path

import pytest
import torch
from ood_shared.testing.golden import Golden, fill_state_dict, golden_dir
from oodgen.classifier import Classifier
from oodgen.vae import VAE

GOLDEN = Golden(golden_dir("oodgen", Path(__file__).parent))


@pytest.fixture(scope="session")
def golden() -> Golden:
    return GOLDEN


@pytest.fixture(scope="session")
def meta() -> dict:
    return GOLDEN.json("00_meta")


@pytest.fixture
def vae(meta: dict) -> VAE:
    return fill_state_dict(VAE(meta["n_classes"], meta["latent_dim"]), meta["salt"]).eval()


@pytest.fixture
def vae64(meta: dict) -> VAE:
    return fill_state_dict(VAE(meta["n_classes"], meta["latent_dim"]), meta["salt"], torch.float64).eval()


@pytest.fixture
def classifier(meta: dict) -> Classifier:
    return fill_state_dict(Classifier(meta["n_classes"]), meta["salt"]).eval()
