"""Attribution, outliers, losses, heads and mixing: hand-computed cases and identities."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from ascood.attribution import frozen, saliency
from ascood.build import parameter_groups
from ascood.heads import ASCOODNet, T2FNormNet, standardise
from ascood.losses import cutmix_box, logitnorm_loss, mixed_labels, outlier_exposure_loss, soft_cross_entropy
from ascood.networks import make_backbone
from ascood.objectives import AscoodArgs, MixArgs, mix
from ascood.outliers import draw_noise, gradient_outliers, make_outliers, selection_size, shuffle_outliers
from ascood.testing import Tiny, filled, image
from ood_shared.errors import InputError


@pytest.fixture
def network():
    return filled(ASCOODNet(Tiny(5), 0.5), 3).train()


def literal_saliency(network, images, labels):
    """As first written: a whole backward pass, parameters included."""
    network.eval()
    inputs = images.clone().requires_grad_(True)
    network(inputs).gather(1, labels[:, None]).sum().backward()
    network.zero_grad()
    network.train()
    return inputs.grad


def test_saliency_equals_the_literal_backward_pass(network):
    images, labels = image((4, 3, 10, 10), 1), torch.tensor([0, 4, 2, 1])
    assert torch.allclose(saliency(network, images, labels), literal_saliency(network, images, labels), atol=1e-7)


def test_saliency_leaves_the_network_and_the_images_as_they_were(network):
    images, labels = image((4, 3, 10, 10), 1), torch.tensor([0, 4, 2, 1])
    before = {key: value.clone() for key, value in network.state_dict().items()}
    saliency(network, images, labels)
    assert network.training
    assert not images.requires_grad
    assert all(p.requires_grad and p.grad is None for p in network.parameters())
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_attribution_in_training_mode_uses_batch_statistics(network):
    images, labels = image((4, 3, 10, 10), 1), torch.tensor([0, 4, 2, 1])
    before = network.backbone.bn1.running_mean.clone()
    found = saliency(network, images, labels, training_mode=True)
    assert not torch.allclose(found, literal_saliency(network, images, labels), atol=1e-4)
    assert not torch.equal(before, network.backbone.bn1.running_mean)


def test_frozen_leaves_what_was_frozen_before(network):
    network.backbone.fc.weight.requires_grad_(False)
    with frozen(network):
        assert not any(p.requires_grad for p in network.parameters())
    assert [name for name, p in network.named_parameters() if not p.requires_grad] == ["backbone.fc.weight"]


def test_no_selection_gives_the_image_back():
    x, grad = image((2, 3, 4, 4), 1), image((2, 3, 4, 4), 2)
    assert torch.equal(gradient_outliers(x, grad, 0.0, 300.0), x)
    assert torch.equal(shuffle_outliers(x, grad, 0.05, torch.zeros(2, 0)), x)


def test_gradient_outliers_move_the_largest_values_only():
    x, grad = torch.zeros(1, 1, 2, 2), torch.tensor([[[[1.0, -3.0], [2.0, 0.5]]]])
    assert torch.equal(gradient_outliers(x, grad, 0.5, 10.0), torch.tensor([[[[0.0, -30.0], [20.0, 0.0]]]]))


def test_shuffle_ranks_by_signed_attribution_and_moves_channels_together():
    x = torch.arange(8.0).view(1, 2, 2, 2)
    grad = torch.tensor([[[[-9.0, 1.0], [2.0, -9.0]], [[-9.0, 1.0], [2.0, -9.0]]]])
    swapped = shuffle_outliers(x, grad, 0.5, torch.tensor([[0.9, 0.1]]))
    assert torch.equal(swapped, torch.tensor([[[[0.0, 2.0], [1.0, 3.0]], [[4.0, 6.0], [5.0, 7.0]]]]))


def test_shuffle_stands_gradients_that_overflow_exp():
    x, grad = image((1, 3, 4, 4), 1), 1e4 * image((1, 3, 4, 4), 2)
    assert torch.isfinite(shuffle_outliers(x, grad, 0.5, torch.rand(1, 8))).all()


@pytest.mark.parametrize("p_inv", [-0.1, 1.5])
def test_a_share_outside_of_0_to_1_is_refused(p_inv):
    with pytest.raises(InputError, match="fraction from 0 to 1"):
        selection_size((3, 4, 4), p_inv, "gradient")
    with pytest.raises(InputError, match="p_inv"):
        AscoodArgs(p_inv=p_inv)


def test_an_unknown_type_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="Did you mean `shuffle`"):
        AscoodArgs(ood_type="shufle")
    with pytest.raises(InputError, match="is not known"):
        make_outliers(image((1, 3, 4, 4), 1), None, "noise", 0.1, 1.0, None)


def test_draws_are_those_of_the_generator():
    x = image((2, 3, 4, 4), 1)
    for kind, shape in (("shuffle", (2, 8)), ("gaussian", (2, 3, 4, 4))):
        first, second = (draw_noise(x, 0.5, kind, torch.Generator().manual_seed(4)) for _ in range(2))
        assert first.shape == shape
        assert torch.equal(first, second)
    assert draw_noise(x, 0.5, "gradient", torch.Generator()) is None


def test_standardised_rows_have_mean_0_and_deviation_sigma():
    found = standardise(image((5, 64), 1) * 7 + 3, 0.5)
    assert torch.allclose(found.mean(1), torch.zeros(5), atol=1e-6)
    assert torch.allclose(found.std(1), torch.full((5,), 0.5), rtol=1e-5)


def test_the_wrapper_offers_its_last_layer():
    network = ASCOODNet(make_backbone("lenet", 4))
    weight, bias = network.get_fc()
    assert weight.shape == (4, 64)
    assert bias.shape == (4,)
    assert network.get_fc_layer() is network.backbone.fc


def test_t2fnorm_trains_on_normalised_and_scores_on_raw_features():
    network = T2FNormNet(Tiny(4), 4, tau=0.1)
    features = image((3, 12), 2)
    assert torch.allclose(network.head(features), network.head(5 * features), atol=1e-5)
    assert torch.allclose(network.score_head(features), network.fc(features / 0.1))
    wide = T2FNormNet(Tiny(1000), 1000, tau=0.1)
    assert torch.equal(wide.score_head(features), wide.fc(features))


def test_the_last_layer_has_a_rate_of_its_own():
    groups = parameter_groups(ASCOODNet(Tiny(4)), 0.1, 0.05)
    assert [len(group["params"]) for group in groups] == [6, 2]
    assert [group["lr"] for group in groups] == [0.1, 0.1 * 0.05]


def test_logitnorm_does_not_see_the_size_of_the_logits():
    logits, labels = image((4, 5), 1), torch.tensor([0, 1, 2, 3])
    small, large = (logitnorm_loss(factor * logits, labels, 0.04) for factor in (1.0, 100.0))
    assert torch.allclose(small, large, rtol=1e-4)


def test_outlier_exposure_is_the_cross_entropy_to_the_uniform_distribution():
    logits, outliers, labels = image((4, 5), 1), image((6, 5), 2), torch.tensor([0, 1, 2, 3])
    uniform = -F.log_softmax(outliers, 1).mean(1).mean()
    found = outlier_exposure_loss(logits, labels, outliers, 0.5)
    assert torch.allclose(found, F.cross_entropy(logits, labels) + 0.5 * uniform)


def test_soft_cross_entropy_of_hard_labels_is_cross_entropy():
    logits, labels = image((4, 5), 1), torch.tensor([0, 1, 2, 3])
    hard = mixed_labels(labels, 5, 1.0)
    assert torch.allclose(soft_cross_entropy(logits, hard), F.cross_entropy(logits, labels))


def test_mixed_labels_sum_to_one():
    found = mixed_labels(torch.tensor([2]), 4, 0.6)
    assert torch.allclose(found, torch.tensor([[0.1, 0.1, 0.7, 0.1]]))


def test_a_cutmix_box_is_clipped_at_the_border():
    assert cutmix_box(32, 32, 0.75, (0, 31)) == (0, 8, 23, 32)
    assert cutmix_box(32, 32, 1.0, (5, 5)) == (5, 5, 5, 5)


@pytest.mark.parametrize("operation", ["cutmix", "mixup"])
def test_the_share_of_a_mix_is_what_is_left_of_the_image(operation):
    ones, zeros = torch.ones(3, 3, 16, 16), torch.zeros(2, 3, 16, 16)
    generator = torch.Generator().manual_seed(3)
    mixed, share = mix(ones, zeros, MixArgs(alpha=1.0, mix_op=operation), generator)
    assert math.isclose(float(mixed.mean()), share, abs_tol=1e-6)
    assert 0 < share < 1


def test_sigma_is_a_buffer_and_not_trained():
    network = ASCOODNet(Tiny(3))
    network.set_params(0.5)
    assert float(network.sigma) == 0.5
    assert next(iter(network.state_dict())) == "sigma"
    assert "sigma" not in dict(network.named_parameters())
    assert np.isclose(float(ASCOODNet(Tiny(3)).sigma), 1.0)
