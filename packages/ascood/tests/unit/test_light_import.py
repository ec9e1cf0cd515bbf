"""The scores can be imported in little more time than torch takes."""

from ood_shared.testing.commands import loaded_by

HEAVY = {"matplotlib", "nilearn", "pandas", "pytorch_ood", "scipy", "skimage", "sklearn", "tensorboard", "torchvision"}


def test_importing_the_scores_loads_torch_and_nothing_else_that_takes_long() -> None:
    loaded = loaded_by("ascood.scores.from_logits")
    assert "torch" in loaded
    assert not loaded & HEAVY
