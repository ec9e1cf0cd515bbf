"""The device changes rounding, nothing else: draws are made on the CPU."""

import pytest
import torch
from know_your_space.inliers import draw_latent
from know_your_space.operators import OPERATORS, apply_operators
from know_your_space.outliers import convolved_outliers, pixel_outliers
from know_your_space.queues import LatentQueue
from torch import Tensor

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def pixels() -> Tensor:
    return torch.randint(0, 256, (64, 3, 28, 28), dtype=torch.uint8, generator=generator(1))


def test_every_operator_gives_the_same_pixels_on_both_devices(pixels: Tensor) -> None:
    n = len(pixels)
    operators = torch.arange(n) % len(OPERATORS)
    magnitudes = 0.1 + 10.9 * torch.rand(n, generator=generator(2), dtype=torch.float64)
    settings = operators, magnitudes, torch.rand(n, generator=generator(3)) > 0.5, 32
    pairs = zip(apply_operators(pixels, *settings), apply_operators(pixels.to("cuda"), *settings), strict=True)
    for (rows, on_cpu), (same, on_gpu) in pairs:
        assert torch.equal(rows, same)
        assert torch.equal(on_gpu.cpu(), on_cpu)


def test_outliers_are_the_same_on_both_devices(pixels: Tensor) -> None:
    made = [pixel_outliers(p, ["augmix_jigsaw", "jigsaw"], 11, generator()) for p in (pixels, pixels.to("cuda"))]
    torch.testing.assert_close(made[1].cpu(), made[0], rtol=0, atol=1e-5)


def test_convolved_rows_are_the_same_on_both_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    images = torch.randn(16, 3, 32, 32, generator=generator(4))
    for seed in range(8):
        on_cpu, on_gpu = (convolved_outliers(x, generator(seed)) for x in (images, images.to("cuda")))
        torch.testing.assert_close(on_gpu.cpu(), on_cpu, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("length", [5, 50])
def test_queues_and_latent_samples_are_the_same_on_both_devices(length: int) -> None:
    """With 5 slots, a batch has several features for the same one: the last must win."""
    features, labels = torch.randn(400, 16, generator=generator(5)), torch.arange(400) % 3
    held, samples = [], []
    for device in ("cpu", "cuda"):
        queue = LatentQueue(3, length, 16).to(device)
        for rows, classes in zip(features.split(64), labels.split(64), strict=True):
            queue.push(rows.to(device), classes.to(device))
        held.append(queue.ordered().cpu())
        samples.append(draw_latent(queue.ordered(), 5, 100, generator(6))[0].cpu())
    assert torch.equal(held[1], held[0])
    torch.testing.assert_close(samples[1], samples[0], rtol=1e-4, atol=1e-4)
