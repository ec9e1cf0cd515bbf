"""From slices to the map of a volume: resizing, gaps, axes, and their mean."""

import numpy as np
import pytest
import torch
from mood_dpa.checkpoints import Model
from mood_dpa.data.preprocessing import prepare_slices
from mood_dpa.perceptual import PerceptualLoss
from mood_dpa.scores import SliceSelection, axis_map, combine
from PIL import Image

IMAGE_ONLY = {8: {"img_weight": 1, "feature_weights": {}}}


class Identity(torch.nn.Module):
    """A network that gives back what it takes, times a factor."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.factor


def image_model(factor: float = 0.5) -> Model:
    loss = PerceptualLoss(
        IMAGE_ONLY, "pixelwise", use_L1_norm=True, use_relative_error=False, mode_3d=True, normalize_to_vgg_input=False
    )
    return Model(Identity(factor), Identity(), loss, 8, {})


@pytest.mark.parametrize(("shape", "size"), [((50, 37), 16), ((16, 16), 40), ((64, 64), 64), ((240, 155), 128)])
def test_resizing_equals_pil(shape: tuple[int, int], size: int) -> None:
    image = np.random.default_rng(0).random(shape, np.float32)
    want = np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))
    found = prepare_slices(torch.from_numpy(image)[None], size, normalised=False)[0, 0]
    np.testing.assert_allclose(found, want, rtol=0, atol=5e-7)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_an_interior_gap_keeps_slices_at_their_place(axis: int) -> None:
    volume = torch.ones(10, 10, 10)
    volume.movedim(axis, 0)[4:6] = 0
    found = axis_map(volume, image_model(), axis, SliceSelection(True, 8, small_area=50), (10, 10, 10)).movedim(axis, 0)
    assert (found[4:6] == 0).all()
    assert (found[:4] > 0).all()
    assert (found[6:] > 0).all()


def test_a_volume_without_any_slice_to_look_at_is_all_zero() -> None:
    found = axis_map(torch.zeros(6, 7, 8), image_model(), 1, SliceSelection(True, 8), (6, 7, 8))
    assert found.shape == (6, 7, 8)
    assert not found.any()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_maps_come_back_in_the_axes_of_the_volume(axis: int) -> None:
    volume = torch.rand(8, 8, 8, generator=torch.Generator().manual_seed(1))
    found = axis_map(volume, image_model(0.0), axis, SliceSelection(False, 8), (8, 8, 8))
    assert torch.allclose(found, (2 * volume - 1).abs(), atol=1e-6)


def test_the_mean_counts_axes_that_are_positive() -> None:
    maps = [torch.tensor([[[2.0, 0.0, 4.0]]]), torch.tensor([[[4.0, 0.0, 0.0]]])]
    assert combine(maps).flatten().tolist() == pytest.approx([0.03, 0.0, 0.04])
