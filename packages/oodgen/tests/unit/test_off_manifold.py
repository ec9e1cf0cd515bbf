"""Outliers of type 1: the draws, the single step, and the whole way."""

import pytest
import torch
from ood_shared.errors import InputError
from ood_shared.testing.golden import fill_state_dict
from oodgen.manifold import decoder_jacobian
from oodgen.off_manifold import draw_distance, draw_noise, draw_sign, make_off_manifold, off_manifold
from oodgen.vae import ConditionalVAE, build_vae, latent_noise, one_hot
from torch import Tensor

N, CLASSES, DIM = 12, 4, 3
LABELS = torch.arange(N) % CLASSES


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(params=["doc", "paper"])
def vae(request: pytest.FixtureRequest) -> ConditionalVAE:
    return fill_state_dict(build_vae(request.param, CLASSES, DIM), salt=1)


@pytest.fixture
def images() -> Tensor:
    """Mid-grey, so that short steps are not clipped."""
    return 0.4 + 0.2 * torch.rand(N, 1, 28, 28, generator=seeded(9))


def make(vae: ConditionalVAE, images: Tensor, **options) -> Tensor:
    return make_off_manifold(vae, images, images, LABELS, **{"generator": seeded(), **options})


def test_one_step_by_hand() -> None:
    base = torch.tensor([[[[0.5, 0.9], [0.1, 0.0]]]])
    direction = torch.tensor([[0.5, 0.5, -0.5, -0.5]])
    found = off_manifold(base, direction, torch.tensor([0.4]), torch.tensor([1.0]))
    torch.testing.assert_close(found, torch.tensor([[[[0.7, 1.0], [0.0, 0.0]]]]))


def test_the_sign_turns_the_step_round() -> None:
    base, direction = torch.full((1, 1, 1, 2), 0.5), torch.tensor([[0.6, 0.8]])
    there, back = (off_manifold(base, direction, torch.tensor([0.1]), torch.tensor([s])) for s in (1.0, -1.0))
    torch.testing.assert_close(there + back, 2 * base)


def test_the_step_keeps_shape_and_precision_of_the_base() -> None:
    base = torch.rand(2, 1, 28, 28)
    found = off_manifold(base, torch.randn(2, 784, dtype=torch.float64), torch.ones(2), torch.ones(2))
    assert (found.shape, found.dtype) == (base.shape, torch.float32)


def test_distances_are_uniform_between_the_limits() -> None:
    found = draw_distance(20_000, 0.1, 28.0, seeded())
    assert 0.1 <= found.min() < 0.2
    assert 27.9 < found.max() <= 28
    assert found.mean().item() == pytest.approx(14.05, abs=0.25)  # 4 standard errors of 28 / sqrt(12 * 20 000)


@pytest.mark.parametrize("limits", [(-0.1, 1.0), (2.0, 1.0), (0.0, float("inf")), (float("nan"), 1.0)])
def test_limits_that_are_no_range_are_refused(limits: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="expected 0 <= min <= max"):
        draw_distance(3, *limits, seeded())


def test_binary_signs_are_even() -> None:
    found = draw_sign(10_000, "binary", seeded())
    assert set(found.tolist()) == {-1.0, 1.0}
    assert abs(found.mean().item()) < 0.04


def test_uniform_signs_halve_the_distances() -> None:
    found = draw_sign(10_000, "uniform", seeded())
    assert found.abs().max() <= 1
    assert found.abs().mean().item() == pytest.approx(0.5, abs=0.012)


@pytest.mark.parametrize(("kind", "variance"), [("normal", 1.0), ("uniform", 1 / 3)])
def test_noise_has_the_variance_of_its_kind(kind: str, variance: float) -> None:
    found = draw_noise(200, 784, kind, seeded())
    assert found.mean().item() == pytest.approx(0, abs=0.01)
    assert found.var().item() == pytest.approx(variance, rel=0.015)


def test_outliers_are_images_in_the_unit_range(vae: ConditionalVAE, images: Tensor) -> None:
    found = make(vae, images)
    assert (found.shape, found.dtype) == (images.shape, torch.float32)
    assert found.min() >= 0
    assert found.max() <= 1


def test_unclipped_steps_have_the_drawn_length(vae: ConditionalVAE, images: Tensor) -> None:
    steps = (make(vae, images, eps_min=0.2, eps_max=0.2) - images).flatten(1)
    torch.testing.assert_close(steps.norm(dim=1), torch.full((N,), 0.2), rtol=0, atol=1e-5)


def test_clipped_steps_are_not_longer_than_drawn(vae: ConditionalVAE, images: Tensor) -> None:
    steps = (make(vae, images, eps_min=20.0, eps_max=20.0) - images).flatten(1)
    assert (steps.norm(dim=1) <= 20 + 1e-4).all()


def unclipped_products(vae: ConditionalVAE, images: Tensor, **options) -> Tensor:
    """|J^T (x1 - x)| / |J| |x1 - x| of steps that are not clipped."""
    y = one_hot(LABELS, CLASSES)
    with torch.no_grad():
        mu, logvar = vae.encode(images, y)
        z = mu
        if options.get("latent") == "sample":
            generator = seeded()
            draw_distance(N, 0.0, 1.0, generator)
            draw_sign(N, "binary", generator)
            draw_noise(N, 784, "normal", generator)
            z = vae.sample(mu, logvar, latent_noise(mu, generator))
    jacobian = decoder_jacobian(vae, z, y)[1].double()
    steps = (make(vae, images, eps_min=0.3, eps_max=0.3, **options) - images).flatten(1).double()
    return (jacobian.mT @ steps.unsqueeze(-1)).squeeze(-1).norm(dim=1) / jacobian.norm(dim=(1, 2)) / steps.norm(dim=1)


@pytest.mark.parametrize(
    "options", [{}, {"latent": "sample"}, {"direction": "uniform"}, {"direction": "rref"}], ids=str
)
def test_steps_are_orthogonal_to_the_manifold(vae: ConditionalVAE, images: Tensor, options: dict) -> None:
    products = unclipped_products(vae, images, **options)
    assert products.max() < 3e-6, products.max()  # float32 images: 0.5 is resolved to 3e-8, a step of 0.02 per pixel


def test_without_the_null_space_steps_are_not_orthogonal(vae: ConditionalVAE, images: Tensor) -> None:
    assert unclipped_products(vae, images, null_space="none").max() > 1e-3


def test_the_documented_draw_leaves_the_first_pixel_alone(vae: ConditionalVAE, images: Tensor) -> None:
    found = make(vae, images, null_space="none", direction="uniform")
    assert torch.equal(found[:, 0, 0, 0], images[:, 0, 0, 0])
    assert not torch.equal(found[:, 0, 0, 1], images[:, 0, 0, 1])


def test_the_echelon_basis_without_the_null_space_is_the_documented_draw(vae: ConditionalVAE, images: Tensor) -> None:
    found, documented = (make(vae, images, null_space="none", direction=d) for d in ("rref", "uniform"))
    assert torch.equal(found, documented)


def test_the_authors_directions_change_few_pixels(vae: ConditionalVAE, images: Tensor) -> None:
    squares = (make(vae, images, direction="rref", eps_min=0.3, eps_max=0.3) - images).flatten(1).square()
    uniform = (make(vae, images, eps_min=0.3, eps_max=0.3) - images).flatten(1).square()
    share, even = (s.sort(dim=1, descending=True).values[:, :20].sum(dim=1) / s.sum(dim=1) for s in (squares, uniform))
    assert share.median() > 2 * even.median(), (share, even)


@pytest.mark.parametrize("chunk", [1, 5, 1000])
def test_the_chunk_does_not_change_the_authors_directions(vae: ConditionalVAE, images: Tensor, chunk: int) -> None:
    """In float64: rounding of a float32 Jacobian is magnified by the inverse of its corner."""
    vae, images = vae.double(), images.double()
    options = {"direction": "rref", "eps_max": 1.0}
    found, expected = make(vae, images, chunk=chunk, **options), make(vae, images, **options)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_plain_noise_moves_every_pixel(vae: ConditionalVAE, images: Tensor) -> None:
    assert (make(vae, images, null_space="none", direction="normal") != images).all()


@pytest.mark.parametrize("null_space", ["jacobian", "none"])
def test_the_base_may_be_the_reconstruction(vae: ConditionalVAE, images: Tensor, null_space: str) -> None:
    found = make(vae, images, null_space=null_space, base="recon", eps_min=0.0, eps_max=0.0)
    y = one_hot(LABELS, CLASSES)
    with torch.no_grad():
        torch.testing.assert_close(found, vae.decoder(vae.encode(images, y)[0], y), rtol=0, atol=1e-6)


def test_the_encoder_sees_its_own_scale(vae: ConditionalVAE, images: Tensor) -> None:
    normalised = (images - 0.1307) / 0.3081
    found = make_off_manifold(
        vae, images, normalised, LABELS, base="recon", eps_min=0.0, eps_max=0.0, generator=seeded()
    )
    y = one_hot(LABELS, CLASSES)
    with torch.no_grad():
        torch.testing.assert_close(found, vae.decoder(vae.encode(normalised, y)[0], y), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "options", [{}, {"latent": "sample", "base": "recon"}, {"null_space": "none"}, {"direction": "rref"}]
)
def test_one_seed_gives_one_result(vae: ConditionalVAE, images: Tensor, options: dict) -> None:
    assert torch.equal(make(vae, images, **options), make(vae, images, **options))


def test_another_seed_gives_another_result(vae: ConditionalVAE, images: Tensor) -> None:
    assert not torch.equal(make(vae, images), make(vae, images, generator=seeded(1)))


@pytest.mark.parametrize("chunk", [1, 5, 1000])
def test_the_chunk_does_not_change_the_result(vae: ConditionalVAE, images: Tensor, chunk: int) -> None:
    options = {"latent": "sample", "base": "recon", "eps_max": 1.0}
    found, expected = make(vae, images, chunk=chunk, **options), make(vae, images, **options)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-4)  # float32 sums in another order


def test_the_mode_of_the_network_is_restored(vae: ConditionalVAE, images: Tensor) -> None:
    vae.train()
    make(vae, images)
    assert vae.training


def test_no_images_give_no_outliers(vae: ConditionalVAE, images: Tensor) -> None:
    found = make_off_manifold(vae, images[:0], images[:0], LABELS[:0], generator=seeded())
    assert found.shape == (0, 1, 28, 28)


@pytest.mark.parametrize(
    ("option", "value", "guess"),
    [
        ("latent", "mean", "mu, sample"),
        ("null_space", "jacobain", "jacobian"),
        ("direction", "gauss", "normal"),
        ("sign", "both", "binary"),
        ("base", "image", "data"),
    ],
)
def test_unknown_options_are_refused(vae: ConditionalVAE, images: Tensor, option: str, value: str, guess: str) -> None:
    with pytest.raises(InputError, match=f"--{option} `{value}` is not known.*{guess}"):
        make(vae, images, **{option: value})


def test_inputs_of_different_number_are_refused(vae: ConditionalVAE, images: Tensor) -> None:
    with pytest.raises(InputError, match="do not belong together"):
        make_off_manifold(vae, images, images[1:], LABELS, generator=seeded())


def test_labels_out_of_range_are_refused(vae: ConditionalVAE, images: Tensor) -> None:
    with pytest.raises(InputError, match=r"not one of 0\.\.3"):
        make_off_manifold(vae, images, images, LABELS + 1, generator=seeded())
