"""A linear head on features that nobody trained for the ID classes."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

TINY = 1e-9


def fit_head(last: Float[Tensor, "n v"], labels: Int64[Tensor, " n"], n_classes: int) -> nn.Linear:
    """A linear classifier of the last map's mean: scikit-learn's logistic regression on its columns, standardised."""
    from sklearn.linear_model import LogisticRegression

    mean, std = last.mean(dim=0), last.std(dim=0, correction=0) + TINY
    model = LogisticRegression(max_iter=1000).fit(((last - mean) / std).numpy(), labels.numpy())
    weight, bias = torch.from_numpy(model.coef_), torch.from_numpy(model.intercept_)
    if n_classes == 2:  # one column tells two classes apart
        weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
    weight = weight / std
    head = nn.Linear(last.shape[1], n_classes)
    with torch.no_grad():
        head.weight.copy_(weight)
        head.bias.copy_(bias - weight @ mean)
    return head.eval()
