"""Slow, obvious forms of the fast functions: a class loop, one sample at a time, inverses written out."""

import torch
import torch.nn.functional as F


def contrastive_with_class_loop(views, ood, labels, temperature, n_classes, weights):
    """The contrastive loss with masked selections and a loop over all classes for the weights."""
    n = len(labels)
    anchors = torch.cat([views[:, 0], views[:, 1]])
    contrast = torch.cat([anchors, ood])
    logits = anchors @ contrast.T / temperature
    logits = logits - logits.max(dim=1, keepdim=True).values.detach()
    others = ~torch.eye(2 * n, len(contrast), dtype=torch.bool)
    logits = logits.masked_select(others).view(2 * n, -1)
    twice = labels.repeat(2)
    same = F.pad((twice[:, None] == twice[None]).float(), (0, len(ood)))
    target = same.masked_select(others).view(2 * n, -1)
    target = target / target.sum(1, keepdim=True)
    loss = -(target * F.log_softmax(logits, dim=1)).sum(1)
    loss = loss.clone()
    for c in range(n_classes):
        own = twice == c
        loss[own] = loss[own] * weights[c]
    return loss.mean()


def gradient_norms(weight, bias, features):
    """L1 norm of the gradient of KL(uniform || softmax) by the weights, by automatic differentiation, row by row."""
    found = []
    for feature in features:
        w = weight.clone().requires_grad_()
        logits = F.linear(feature[None], w, bias)
        uniform = torch.full_like(logits, 1 / logits.shape[1])
        loss = (uniform * (uniform.log() - F.log_softmax(logits, dim=1))).sum()
        found.append(torch.autograd.grad(loss, w)[0].abs().sum())
    return torch.stack(found)


def mahalanobis(queues, features):
    """Least squared distance, row by row; `queues` is a list of (n, dim) vectors of each class."""
    means = [queue.mean(0) for queue in queues if len(queue)]
    centred = torch.cat([queue - queue.mean(0) for queue in queues if len(queue)])
    covariance = centred.T @ centred / len(centred) + 1e-4 * torch.eye(features.shape[1], dtype=features.dtype)
    inverse = torch.linalg.inv(covariance)
    return quadratic_forms(means, inverse, features)


def quadratic_forms(means, inverse, features):
    """min_c (x - mu_c)^T inverse (x - mu_c), one row and one class at a time."""
    return torch.stack([torch.stack([(x - m) @ inverse @ (x - m) for m in means]).min() for x in features])


def balanced_terms(g, gamma, share, prior, is_id):
    """beta, delta and the two terms of the balanced loss, written as in the paper."""
    beta = (gamma.clamp(min=1e-4) * share / prior).mean(1)
    delta = (beta + (beta - 1) * g.exp()).clamp(0.1, 10)
    delta = torch.where(is_id, delta.clamp(min=1), delta.clamp(max=1))
    regulariser = (beta.log() + torch.sigmoid(g).log()).clamp(min=0)
    likelihood = F.binary_cross_entropy(torch.sigmoid(g - delta.log()), is_id.to(g.dtype), reduction="none")
    return beta, delta, regulariser, likelihood
