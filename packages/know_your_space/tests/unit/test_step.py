"""One training step."""

import pytest
import torch
from know_your_space.networks import WideResNet
from know_your_space.queues import LatentQueue
from know_your_space.settings import TrainSettings
from know_your_space.step import Step, kept_running_statistics
from ood_shared.errors import InputError


def make_step(**changed: object) -> Step:
    settings = TrainSettings(2, layers=10, widen_factor=1, droprate=0.0, sample_number=2, select=4, sample_from=20)
    settings = TrainSettings(**{**vars(settings), **changed})  # type: ignore[arg-type]
    torch.manual_seed(0)
    network = WideResNet(2, 10, 1, 0.0).train()
    queue = LatentQueue(2, settings.sample_number, 64)
    return Step(network, network, queue, torch.tensor([0.5, 0.5]), settings, torch.Generator().manual_seed(0))


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (6, 3, 28, 28), generator=generator, dtype=torch.uint8)
    return pixels, torch.tensor([0, 1, 0, 1, 0, 1]), torch.randn(6, 3, 32, 32, generator=generator)


def test_the_batch_that_fills_the_queues_has_no_margin_loss_and_the_next_one_has():
    step = make_step(start_epoch=1)
    pixels, labels, outliers = batch()
    first, second = (step(pixels, labels, outliers, epoch=1) for _ in range(2))
    assert (first.active, first.margin.total.item()) == (False, 0.0)
    assert second.active
    assert second.margin.inliers.item() > 0


def test_the_margin_loss_waits_for_start_epoch():
    step = make_step(start_epoch=2)
    pixels, labels, outliers = batch()
    step(pixels, labels, outliers, epoch=1)
    assert not step(pixels, labels, outliers, epoch=1).active
    assert step(pixels, labels, outliers, epoch=2).active


def test_the_total_is_the_cross_entropy_and_beta1_times_the_margin():
    step = make_step(start_epoch=1, beta1=0.3)
    pixels, labels, outliers = batch()
    step(pixels, labels, outliers, epoch=1)
    found = step(pixels, labels, outliers, epoch=1)
    assert found.total.item() == pytest.approx((found.ce + 0.3 * found.margin.total).item(), rel=1e-6)


def test_latent_inliers_train_the_last_linear_layer_only():
    step = make_step(start_epoch=1, outlier_space="none", rand_conv=False)
    pixels, labels, _ = batch()
    step(pixels, labels, None, epoch=1)
    step(pixels, labels, None, epoch=1).margin.inliers.backward()
    with_gradient = {name for name, value in step.network.named_parameters() if value.grad is not None}
    assert with_gradient == {"fc.weight", "fc.bias"}


def test_pixel_outliers_train_the_whole_network():
    step = make_step(start_epoch=1, inlier_space="none", rand_conv=False, m_out=7.0)
    pixels, labels, outliers = batch()
    step(pixels, labels, outliers, epoch=1).margin.outliers.backward()
    assert all(value.grad is not None for value in step.network.parameters())


def test_without_latent_spaces_the_queues_stay_empty_and_nothing_waits_for_them():
    step = make_step(start_epoch=1, inlier_space="pixel")
    pixels, labels, outliers = batch()
    assert step(pixels, labels, outliers, epoch=1).active
    assert int(step.queue.counts.sum()) == 0


def test_separate_batch_norm_leaves_the_running_statistics_to_id_images():
    step, plain = make_step(separate_bn=True, rand_conv=False), make_step(outlier_space="none")
    pixels, labels, outliers = batch()
    step(pixels, labels, outliers, epoch=1)
    plain(pixels, labels, None, epoch=1)
    assert torch.equal(step.network.bn1.running_mean, plain.network.bn1.running_mean)
    assert int(step.network.bn1.num_batches_tracked) == 1


def test_kept_statistics_come_back_also_after_an_error():
    network = WideResNet(2, 10, 1).train()
    network(torch.randn(4, 3, 32, 32))
    after_one = network.bn1.running_mean.clone()
    with pytest.raises(InputError), kept_running_statistics(network):
        network(torch.cat([network.stages(torch.randn(4, 3, 32, 32))[0]]))  # no image: refused
    assert torch.equal(network.bn1.running_mean, after_one)
    assert network.bn1.momentum == 0.1


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"select": 30}, "--select 30 is more than --sample_from 20"),
        ({"operators": ()}, "No outlier operator is chosen"),
        ({"lr_schedule": "cosine"}, "--lr_schedule `cosine` is not known"),
        ({"rand_conv_sizes": ()}, "--rand_conv_kernel_size"),
    ],
)
def test_settings_that_cannot_work_are_refused(changed, words):
    with pytest.raises(InputError, match=words):
        make_step(**changed)


def test_a_jittered_contrast_changes_what_the_outliers_cost():
    pixels, labels, outliers = batch()
    margins = []
    for factor in (1.0, 4.0):
        step = make_step(start_epoch=1, outlier_contrast=factor, rand_conv=False, m_out=10.0)
        step(pixels, labels, outliers, epoch=1)
        margins.append(step(pixels, labels, outliers, epoch=1).margin)
    assert margins[0].outliers.item() != margins[1].outliers.item()


@pytest.mark.parametrize("factor", [0.5, 0.0, -1.0, float("inf"), float("nan")])
def test_a_factor_of_contrast_below_one_is_refused(factor):
    with pytest.raises(InputError, match="--outlier_contrast"):
        make_step(outlier_contrast=factor)
