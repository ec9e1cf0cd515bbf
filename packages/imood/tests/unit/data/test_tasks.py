"""Tasks: the long-tailed part of CIFAR, and the outliers of training and test, by name."""

import numpy as np
import pytest
from imood.data.registry import open_task
from imood.data.tasks import parse_outliers
from ood_shared.errors import InputError, MissingFileError

from ...conftest import colours, write_cifar
from .sources import place


def test_the_cifar_task_is_the_long_tailed_part_in_class_order(data):
    task = open_task(place("cifar10", data), training=True)
    train = task.train()
    assert task.counts == [30, 23, 17, 13, 10, 8, 6, 5, 3, 3]
    assert train.labels.tolist() == sorted(train.labels.tolist())
    assert len(task.aux()) == 64
    assert open_task(place("cifar10", data), training=False).outliers[3].load().labels.tolist()[:4] == [0, 1, 2, -1]


def test_the_other_cifar_can_be_trained_with(data):
    task = open_task(place("cifar10", data, aux_kind="CIFAR"), training=True)
    with pytest.raises(MissingFileError, match="cifar100"):
        task.aux()


def test_own_outliers_replace_the_six_sets(data):
    task = open_task(place("cifar10", data, ood_test="letters,mine=textures"), training=False)
    assert [listed.name for listed in task.outliers] == ["letters", "mine"]
    assert task.outliers[1].load().images.shape[1:] == (3, 32, 32)


def test_a_class_without_images_is_warned_of(tmp_path):
    labels = np.arange(50) % 10
    write_cifar(tmp_path, "cifar10", (colours(labels, 10, 0), labels), (colours(labels, 10, 1), labels))
    with pytest.warns(UserWarning, match=r"classes have no training image.*1e-12"):
        open_task(place("cifar10", tmp_path, ratio=0.01), training=True)


@pytest.mark.parametrize("text", ["", "a=x,a=y", "letters,letters"])
def test_no_outlier_set_or_one_twice_is_refused(text):
    with pytest.raises(InputError, match="no set, or one more than once"):
        parse_outliers(text)


def test_names_of_outlier_sets_are_short():
    assert parse_outliers("folder:/a/b/near.tar.gz,letters,x=/c") == [
        ("near", "folder:/a/b/near.tar.gz"),
        ("letters", "letters"),
        ("x", "/c"),
    ]
