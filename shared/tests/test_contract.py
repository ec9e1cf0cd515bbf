"""What `--backbone common` gives to every classifier."""

import pytest
import torch
from ood_shared.augment import PADDING, common_views
from ood_shared.contract import BUDGETS, COMMON, Common, bench_parser, run_bench
from ood_shared.datasets.benchmark import is_mirrored


def test_every_budget_has_a_common_training():
    assert tuple(COMMON) == BUDGETS


def test_whole_epochs_come_to_about_the_steps():
    common = Common(None, None, 350, 32, "smallresnet10")
    assert common.epochs(1000) == 11  # 31 steps each, 341 together
    assert common.epochs(100_000) == 1
    assert common.epochs(5) == 350  # a batch that is not full is a step


def test_the_bench_of_a_package_takes_the_common_network_unless_told_otherwise():
    parser = bench_parser("own")
    words = ["--id", "digits", "--ood", "faces"]
    assert parser.parse_args(words).backbone == "common"
    assert parser.parse_args([*words, "--backbone", "paper"]).backbone == "paper"
    with pytest.raises(SystemExit):
        parser.parse_args([*words, "--backbone", "own"])


def test_a_bench_writes_nothing_among_its_images(tmp_path, capsys):
    words = ["--id", str(tmp_path), "--ood", "faces", "--output-dir", str(tmp_path / "out")]
    assert run_bench("nowhere", dict.fromkeys(BUDGETS), bench_parser("own"), words) == 2
    assert f"lies in {tmp_path}, which is read by this command. Name another folder." in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def views_of(mirror):
    """400 views of one image whose rows are all 0, 1, …, 15."""
    row = torch.arange(16, dtype=torch.uint8).expand(400, 1, 16, 16)
    return row, common_views(row, torch.Generator().manual_seed(0), mirror)


def test_without_mirror_a_view_is_a_crop_that_is_shifted_by_at_most_two_pixels():
    row, views = views_of(mirror=False)
    shifted = torch.nn.functional.pad(row[0, 0], (PADDING,) * 4)
    crops = [shifted[y : y + 16, x : x + 16] for y in range(2 * PADDING + 1) for x in range(2 * PADDING + 1)]
    found = [next((n for n, crop in enumerate(crops) if torch.equal(view[0], crop)), None) for view in views]
    assert set(found) == set(range(25))  # every shift, and nothing else: never a mirrored one


def test_with_mirror_about_half_of_the_views_run_the_other_way():
    _, views = views_of(mirror=True)
    falling = views[:, 0, 8, 7] > views[:, 0, 8, 8]
    assert 150 < int(falling.sum()) < 250


def test_known_photographs_are_mirrored_and_own_data_only_when_asked_for():
    assert is_mirrored("cifar10")
    assert is_mirrored("CIFAR-10")
    assert not is_mirrored("mnist")
    assert not is_mirrored("chestmnist_64")
    assert not is_mirrored("./photos")
    assert is_mirrored("./photos", "yes")
    assert not is_mirrored("cifar10", "no")
