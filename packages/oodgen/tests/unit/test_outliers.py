from dataclasses import replace

import pytest
import torch
from ood_shared.errors import InputError
from oodgen import outliers
from oodgen.data.folders import Pixels
from oodgen.outliers import GenerationSettings, Outliers, make_outliers
from oodgen.vae import VAE

N = 30


@pytest.fixture
def vae():
    torch.manual_seed(0)
    return VAE(3, 8).eval()


@pytest.fixture
def pixels():
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (N, 1, 28, 28), generator=generator, dtype=torch.uint8)
    return Pixels(images, torch.arange(N) % 3, ("a", "b", "c"))


def make(vae, pixels, train=None, seed=0, **settings):
    generator = torch.Generator().manual_seed(seed)
    return make_outliers(vae, pixels, train or pixels, GenerationSettings(**settings), generator)


def test_there_is_one_outlier_of_each_type_for_every_image(vae, pixels):
    found = make(vae, pixels)
    assert found.images.shape == (2 * N, 1, 28, 28)
    assert found.images.dtype == torch.uint8
    for kind in (1, 2):
        assert found.sources[found.types == kind].tolist() == list(range(N))
        assert len(found.of_type(kind)) == N


def test_names_hold_the_source_and_the_type_and_are_unique(vae, pixels):
    names = make(vae, pixels).names()
    assert len(set(names)) == 2 * N
    assert {"000007_1.png", "000007_2.png"} <= set(names)


def test_names_of_a_source_drawn_twice_differ():
    found = Outliers(torch.zeros(3, 1, 28, 28, dtype=torch.uint8), torch.tensor([1, 1, 2]), torch.tensor([4, 4, 4]))
    assert found.names() == ["000004_1.png", "000004_1_1.png", "000004_2.png"]


def test_the_same_seed_makes_the_same_outliers(vae, pixels):
    assert torch.equal(make(vae, pixels, seed=3).images, make(vae, pixels, seed=3).images)


def test_another_seed_makes_others_of_both_types(vae, pixels):
    one, other = make(vae, pixels, seed=3), make(vae, pixels, seed=4)
    assert not torch.equal(one.of_type(1), other.of_type(1))
    assert not torch.equal(one.of_type(2), other.of_type(2))


@pytest.mark.parametrize(("asked", "expected"), [(7, 7), (30, 30), (1, 1), (0.5, 15), (0.263, 8), (0.001, 1)])
def test_a_number_or_a_fraction_of_outliers_per_type_can_be_asked_for(vae, pixels, asked, expected):
    found = make(vae, pixels, per_type=float(asked))
    for kind in (1, 2):
        sources = found.sources[found.types == kind].tolist()
        assert len(sources) == len(set(sources)) == expected


def test_more_outliers_than_images_are_refused_with_both_numbers(vae, pixels):
    with pytest.raises(InputError, match="--num_ood 31: there are 30 images"):
        make(vae, pixels, per_type=31.0)


def test_the_authors_mixture_has_half_of_each_type_drawn_with_replacement(vae, pixels):
    found = make(vae, pixels, mixture=True)
    assert [len(found.of_type(kind)) for kind in (1, 2)] == [N // 2, N // 2]
    assert len(set(found.sources[found.types == 1].tolist())) < N // 2  # 15 of 30: all different once in 10^4
    assert len(set(found.names())) == N


def test_type_1_off_a_plain_image_keeps_the_distance_it_was_given(vae, pixels):
    grey = Pixels(torch.full_like(pixels.images, 128), pixels.labels, pixels.classes)
    settings = GenerationSettings(eps_min=1.0, eps_max=1.0)
    found = outliers.off_manifold_of(vae, grey, settings, torch.Generator().manual_seed(0))
    distance = (found.double() - 128 / 255).flatten(1).norm(dim=1)
    assert torch.allclose(distance, torch.ones(N, dtype=torch.float64), rtol=1e-5)  # no pixel is clipped


def test_shells_fitted_to_the_training_split_do_not_depend_on_the_split_at_hand(vae, pixels):
    other = Pixels(255 - pixels.images, pixels.labels, pixels.classes)
    of_pixels = make(vae, pixels, train=pixels, class_stats="train").of_type(2)
    of_other = make(vae, other, train=pixels, class_stats="train", base="recon").of_type(2)
    assert torch.equal(of_pixels, of_other)


def test_shells_fitted_to_the_split_depend_on_it(vae, pixels):
    other = Pixels(255 - pixels.images, pixels.labels, pixels.classes)
    assert not torch.equal(make(vae, pixels, train=pixels).of_type(2), make(vae, other, train=pixels).of_type(2))


def test_chunks_make_one_outlier_for_each_image_too(vae, pixels):
    found = make(vae, pixels, class_stats="chunk", chunk=15, latent="sample", maha_factor="seed")
    assert [len(found.of_type(kind)) for kind in (1, 2)] == [N, N]
    assert found.of_type(2).float().std(dim=0).max() > 0


def test_a_chunk_that_lacks_a_class_says_how_to_go_on(vae, pixels):
    with pytest.raises(InputError, match=r"at least 2 images\. In chunks of 3: raise --batch_size"):
        make(vae, pixels, class_stats="chunk", chunk=3)


def test_a_class_with_one_image_is_refused(vae, pixels):
    few = pixels.select(torch.tensor([0, 1, 2, 3, 4]))
    with pytest.raises(InputError, match=r"Class 2 has 1 code\(s\); its covariance needs at least 2 images"):
        make(vae, few)


def test_codes_are_posterior_means_unless_samples_are_asked_for(vae, pixels):
    settings = GenerationSettings()
    means = [outliers.encode_all(vae, pixels, settings, torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    assert torch.equal(*means)
    sampled = outliers.encode_all(vae, pixels, replace(settings, latent="sample"), torch.Generator().manual_seed(0))
    assert not torch.equal(means[0], sampled)


def test_codes_do_not_depend_on_how_they_are_cut_into_chunks(vae, pixels, monkeypatch):
    whole = outliers.encode_all(vae, pixels, GenerationSettings(), torch.Generator())
    monkeypatch.setattr(outliers, "ENCODE_CHUNK", 7)
    cut = outliers.encode_all(vae, pixels, GenerationSettings(), torch.Generator())
    assert torch.allclose(whole, cut, rtol=1e-5, atol=1e-6)  # float32 sums in another order


def test_the_encoder_is_fed_in_its_own_scale(vae, pixels):
    found = outliers.encode_all(vae, pixels, GenerationSettings(encoder_scale=(0.5, 0.5)), torch.Generator())
    with torch.no_grad():
        condition = torch.eye(3)[pixels.labels]
        _, expected, _ = vae.encoder((pixels.images / 255 - 0.5) / 0.5, condition, generator=torch.Generator())
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-6)
