"""Reconstructions of the training images, as in-distribution images beside them."""

import pytest
import torch
from ood_shared.testing.golden import fill_state_dict
from oodgen import outliers, reconstructions
from oodgen.data.folders import Pixels
from oodgen.data.png import to_uint8
from oodgen.reconstructions import vae_crc32, with_reconstructions
from oodgen.vae import ConditionalVAE, build_vae, one_hot

N = 14


@pytest.fixture(params=["doc", "paper"])
def vae(request: pytest.FixtureRequest) -> ConditionalVAE:
    return fill_state_dict(build_vae(request.param, 3, 4), salt=1).eval()


@pytest.fixture
def pixels() -> Pixels:
    images = torch.randint(0, 256, (N, 1, 28, 28), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    return Pixels(images, torch.arange(N) % 3, ("a", "b", "c"))


def decoded(vae: ConditionalVAE, pixels: Pixels, mean: float = 0.0, std: float = 1.0) -> torch.Tensor:
    """The literal form: one image after the other, from the mean of its code."""
    images = []
    for image, label in zip(pixels.images, pixels.labels, strict=True):
        y = one_hot(label[None], 3)
        with torch.no_grad():
            images.append(vae.decoder(vae.encode((image[None] / 255 - mean) / std, y)[0], y))
    return torch.cat(images)


def test_every_image_is_decoded_from_the_mean_of_its_code(vae: ConditionalVAE, pixels: Pixels) -> None:
    found = reconstructions.reconstructions(vae, pixels)
    assert found.images.dtype == torch.uint8
    # float32 sums in another order may move a pixel by one level
    assert (found.images.int() - to_uint8(decoded(vae, pixels)).int()).abs().max() <= 1
    assert torch.equal(found.labels, pixels.labels)
    assert found.classes == pixels.classes


def test_the_encoder_is_fed_in_its_own_scale(vae: ConditionalVAE, pixels: Pixels) -> None:
    found = reconstructions.reconstructions(vae, pixels, (0.1307, 0.3081))
    assert (found.images.int() - to_uint8(decoded(vae, pixels, 0.1307, 0.3081)).int()).abs().max() <= 1


def test_they_come_after_the_images_with_the_same_labels(vae: ConditionalVAE, pixels: Pixels) -> None:
    found = with_reconstructions(vae, pixels)
    assert len(found) == 2 * N
    assert torch.equal(found.images[:N], pixels.images)
    assert torch.equal(found.images[N:], reconstructions.reconstructions(vae, pixels).images)
    assert torch.equal(found.labels, torch.cat([pixels.labels, pixels.labels]))


def test_no_random_number_is_drawn(vae: ConditionalVAE, pixels: Pixels) -> None:
    before = torch.get_rng_state()
    one, two = (with_reconstructions(vae, pixels) for _ in range(2))
    assert torch.equal(one.images, two.images)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_chunk_does_not_change_them(vae: ConditionalVAE, pixels: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = with_reconstructions(vae, pixels).images
    for module in (outliers, reconstructions):
        monkeypatch.setattr(module, "ENCODE_CHUNK", 5)
    assert (with_reconstructions(vae, pixels).images.int() - whole.int()).abs().max() <= 1


def test_the_fingerprint_is_that_of_the_weights(vae: ConditionalVAE) -> None:
    before = vae_crc32(vae)
    assert vae_crc32(vae) == before
    with torch.no_grad():
        vae.fc12.bias[0] += 1
    assert vae_crc32(vae) != before
