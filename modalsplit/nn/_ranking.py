"""Losses that teach a ranking: what a user took should score above what the user did not take."""

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import softplus

Ranking = Literal["softmax", "bpr", "logistic"]


def bpr_loss(
    positive: Float[Tensor, " P"],
    negative: Float[Tensor, "R N"],
    is_negative: Bool[Tensor, "R N"],
    row: Int[Tensor, " P"],
) -> Float[Tensor, ""]:
    """Compare each positive with its negatives, pair by pair.

    Parameters
    ----------
    positive : Tensor of shape (P,)
        Scores of items that were taken.
    negative : Tensor of shape (R, N)
        Scores of N candidates in each of R rows.
    is_negative : Tensor of bool of shape (R, N)
        False for a candidate that does not count.
    row : Tensor of int of shape (P,)
        The row of negatives that each positive is compared with.

    Returns
    -------
    Tensor of shape ()
        Mean over the positives of the mean over their negatives of ``-log sigmoid(positive - negative)``.

    References
    ----------
    Rendle et al., "BPR: Bayesian personalized ranking from implicit feedback", UAI 2009.
    """
    worse = softplus(negative.index_select(0, row) - positive[:, None])
    return _mean_where(worse, is_negative.index_select(0, row)).mean()


def logistic_loss(
    positive: Float[Tensor, " P"],
    negative: Float[Tensor, "R N"],
    is_negative: Bool[Tensor, "R N"],
    row: Int[Tensor, " P"],
) -> Float[Tensor, ""]:
    """Tell positives from negatives, each on its own, as PAMD's released code does.

    Parameters
    ----------
    positive : Tensor of shape (P,)
        Scores of items that were taken.
    negative : Tensor of shape (R, N)
        Scores of N candidates in each of R rows.
    is_negative : Tensor of bool of shape (R, N)
        False for a candidate that does not count.
    row : Tensor of int of shape (P,)
        The row of negatives that belongs to each positive.

    Returns
    -------
    Tensor of shape ()
        Mean over the positives of ``-log sigmoid(positive)``, plus the mean over their negatives of
        ``-log(1 - sigmoid(negative))``.
    """
    return (softplus(-positive) + _mean_where(softplus(negative), is_negative)[row]).mean()


def softmax_loss(
    positive: Float[Tensor, " P"],
    negative: Float[Tensor, "R N"],
    is_negative: Bool[Tensor, "R N"],
    row: Int[Tensor, " P"],
) -> Float[Tensor, ""]:
    """Compare each positive with all of its row at once; the highest rivals count most.

    Parameters
    ----------
    positive : Tensor of shape (P,)
        Scores of items that were taken.
    negative : Tensor of shape (R, N)
        Scores of N candidates in each of R rows.
    is_negative : Tensor of bool of shape (R, N)
        False for a candidate that does not count.
    row : Tensor of int of shape (P,)
        The row of negatives that each positive belongs to.

    Returns
    -------
    Tensor of shape ()
        Mean over the positives of ``-log(exp(positive) / sum of exp(rival))``, where the rivals are the
        negatives and all positives of the row.

    Notes
    -----
    Positives are rivals of each other: on MovieLens, where users have 120 of them, leaving them out costs 0.016
    NDCG@10.
    """
    lowest = torch.finfo(negative.dtype).min
    masked = negative.masked_fill(~is_negative, lowest)
    highest = masked.amax(dim=1).scatter_reduce(0, row, positive, "amax").detach()
    total = (masked - highest[:, None]).exp().sum(dim=1)
    total = total.index_add(0, row, (positive - highest[row]).exp())
    return (total.log()[row] + highest[row] - positive).mean()


LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "softmax": softmax_loss,
    "bpr": bpr_loss,
    "logistic": logistic_loss,
}


def _mean_where(values: Float[Tensor, "R N"], counts: Bool[Tensor, "R N"]) -> Float[Tensor, " R"]:
    return (values * counts).sum(dim=1) / counts.sum(dim=1).clamp(min=1)
