"""A task's source: a data set's name, and the folder in which its files lie."""

from pathlib import Path

import torch
from imood.data.tasks import Source

CPU = torch.device("cpu")


def place(dataset, root, **fields):
    return Source(dataset, Path(root), fields.pop("ratio", 0.1), fields.pop("model", "ResNet18"), CPU, **fields)
