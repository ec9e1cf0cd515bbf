"""Class shells for dimensions, ranks and scales that nobody thought of."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oodgen.on_manifold import fit_class_shells, mahalanobis, sample_shells
from torch import Tensor


@st.composite
def class_codes(draw: st.DrawFn) -> tuple[Tensor, Tensor, int, int]:
    """Codes, labels, number of classes and rank; classes are as many samples as they like, at least two."""
    classes, dim = draw(st.integers(1, 4)), draw(st.integers(1, 6))
    rank, scale = draw(st.integers(1, dim)), 10.0 ** draw(st.integers(-3, 3))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    codes, labels = [], []
    for c in range(classes):
        n = draw(st.integers(2, 40))
        span = torch.linalg.qr(torch.randn(dim, rank, generator=generator, dtype=torch.float64)).Q
        offset = torch.randn(dim, generator=generator, dtype=torch.float64)
        codes.append((torch.randn(n, rank, generator=generator, dtype=torch.float64) @ span.T + offset) * scale)
        labels.append(torch.full((n,), c))
    order = torch.randperm(sum(map(len, labels)), generator=generator)
    return torch.cat(codes)[order], torch.cat(labels)[order], classes, rank


@settings(deadline=None)
@given(class_codes(), st.integers(0, 2**31))
def test_every_sample_lies_in_the_shell_of_its_class(found: tuple[Tensor, Tensor, int, int], seed: int) -> None:
    codes, labels, classes, _ = found
    shells = fit_class_shells(codes, labels, classes)
    wanted = torch.arange(3 * classes) % classes
    samples = sample_shells(shells, wanted, torch.Generator().manual_seed(seed))
    for z, c in zip(samples, wanted, strict=True):
        ratio = (mahalanobis(z[None], shells.mean[c], shells.precision[c]) / shells.radius[c]).item()
        assert 1 - 1e-6 <= ratio <= 1.5 + 1e-6


@settings(deadline=None)
@given(class_codes())
def test_the_rank_is_at_most_that_of_the_codes(found: tuple[Tensor, Tensor, int, int]) -> None:
    codes, labels, classes, rank = found
    counts = torch.bincount(labels)
    assert (fit_class_shells(codes, labels, classes).rank <= (counts - 1).clamp_max(rank)).all()


@settings(deadline=None)
@given(class_codes())
def test_the_order_of_the_codes_does_not_matter(found: tuple[Tensor, Tensor, int, int]) -> None:
    codes, labels, classes, _ = found
    first = fit_class_shells(codes, labels, classes)
    second = fit_class_shells(codes.flip(0), labels.flip(0), classes)
    torch.testing.assert_close(first.radius, second.radius, rtol=1e-6, atol=0)


@settings(deadline=None)
@given(class_codes(), st.floats(1e-3, 1e3))
def test_radii_do_not_depend_on_the_scale(found: tuple[Tensor, Tensor, int, int], scale: float) -> None:
    codes, labels, classes, _ = found
    first, second = (fit_class_shells(z, labels, classes).radius for z in (codes, codes * scale))
    torch.testing.assert_close(first, second, rtol=1e-6, atol=0)
