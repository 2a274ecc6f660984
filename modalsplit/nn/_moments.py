"""Sums and products of rows: all that linear directions need to know, whether rows are in memory or pass by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

# Rounds of expectation and maximisation for incomplete rows; more change nothing that counts.
EM_ROUNDS = 10
# Added to variances that are inverted, as a share of their mean.
JITTER = 1e-9
# Counted at a time: modalities are put side by side in double precision, which copies them.
ROWS_A_BLOCK = 1024
ROWS_CONVERTED = 64


class Group(NamedTuple):
    """Rows that have the same modalities; what they lack counts as 0.

    Attributes
    ----------
    n_rows : int
        How many rows.
    total : Tensor of shape (n_columns,)
        Their sum.
    products : Tensor of shape (n_columns, n_columns)
        Sum of their outer products.
    """

    n_rows: int
    total: Tensor
    products: Tensor


class Moments:
    """First and second moments of rows of several modalities, float64, one `Group` a pattern of presence.

    Memory grows with the square of the columns and not with the rows. Moments of parts of the rows add up.

    Parameters
    ----------
    widths : sequence of int
        Columns of each modality.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        self.widths = list(widths)
        self.groups: dict[tuple[bool, ...], Group] = {}

    def add(self, features: Sequence[Float[Tensor, "N _"]], present: Bool[Tensor, "N M"]) -> Moments:
        """Count some rows.

        Parameters
        ----------
        features : sequence of Tensor of shape (n_rows, n_columns)
            A matrix a modality, of any precision; 0 in rows that lack it.
        present : Tensor of bool of shape (n_rows, n_modalities)
            Which row has which modality.

        Returns
        -------
        Moments
            Itself.
        """
        blocks = zip(*(torch.split(x, ROWS_A_BLOCK) for x in (*features, present)), strict=True)
        for *of_modalities, there in blocks:
            self._add_block(torch.cat(of_modalities, dim=1).double(), there)
        return self

    def _add_block(self, rows: Tensor, present: Tensor) -> None:
        if present.all():
            self._add_group((True,) * len(self.widths), rows)
            return
        patterns, of_row = torch.unique(present, dim=0, return_inverse=True)
        for index, pattern in enumerate(patterns.tolist()):
            if any(pattern):
                self._add_group(tuple(pattern), rows[of_row == index])

    def put(self, pattern: tuple[bool, ...], n_rows: int, total: Tensor, products: Tensor) -> None:
        """Set what rows of one pattern sum up to.

        Parameters
        ----------
        pattern : tuple of bool of length n_modalities
            Which modalities they have.
        n_rows : int
            How many rows.
        total : Tensor of shape (n_columns,)
            Their sum; it may be added to.
        products : Tensor of shape (n_columns, n_columns)
            Sum of their outer products; it may be added to.
        """
        self.groups[pattern] = Group(n_rows, total, products)

    def _add_group(self, pattern: tuple[bool, ...], rows: Tensor) -> None:
        if pattern in self.groups:
            n_rows, total, products = self.groups[pattern]
            group = Group(n_rows + len(rows), total.add_(rows.sum(0)), products.addmm_(rows.T, rows))
        else:
            group = Group(len(rows), rows.sum(0), rows.T @ rows)
        self.groups[pattern] = group

    def plus(self, other: Moments) -> Moments:
        """Count the rows of both.

        Parameters
        ----------
        other : Moments
            Of other rows.

        Returns
        -------
        Moments
            Of all.
        """
        both = Moments(self.widths)
        for pattern in self.groups | other.groups:
            found = [moments.groups[pattern] for moments in (self, other) if pattern in moments.groups]
            n_rows, totals, products = zip(*found, strict=True)
            both.groups[pattern] = Group(sum(n_rows), sum(totals), sum(products))
        return both

    def without(self, part: Moments) -> Moments:
        """Take some rows out again.

        Parameters
        ----------
        part : Moments
            Of rows that were counted.

        Returns
        -------
        Moments
            Of the others.
        """
        rest = Moments(self.widths)
        for pattern, group in self.groups.items():
            gone = part.groups.get(pattern)
            n_rows = group.n_rows - (gone.n_rows if gone else 0)
            if n_rows:
                rest.groups[pattern] = (
                    group if gone is None else Group(n_rows, group.total - gone.total, group.products - gone.products)
                )
        return rest

    def select(self, columns: Sequence[Iterable[int]]) -> Moments:
        """Keep some columns of each modality.

        Parameters
        ----------
        columns : sequence of iterable of int
            Which, by modality.

        Returns
        -------
        Moments
            Of these.
        """
        starts = [sum(self.widths[:m]) for m in range(len(self.widths))]
        by_modality = [[start + column for column in of_one] for start, of_one in zip(starts, columns, strict=True)]
        kept = [column for of_one in by_modality for column in of_one]
        selected = Moments([len(of_one) for of_one in by_modality])
        for pattern, group in self.groups.items():
            of_kept = torch.tensor(kept, dtype=torch.int64, device=group.total.device)
            products = group.products[of_kept[:, None], of_kept]
            selected.groups[pattern] = Group(group.n_rows, group.total[of_kept], products)
        return selected

    def of_modalities(self, chosen: Sequence[int]) -> Moments:
        """Keep some modalities.

        Parameters
        ----------
        chosen : sequence of int
            Which, rising.

        Returns
        -------
        Moments
            Of these; rows that have none of them are left out.
        """
        kept = self.select([range(width) if m in chosen else () for m, width in enumerate(self.widths)])
        found = Moments([self.widths[m] for m in chosen])
        for pattern, group in kept.groups.items():
            reduced = tuple(pattern[m] for m in chosen)
            if any(reduced):
                one = Moments(found.widths)
                one.groups[reduced] = group
                found = found.plus(one)
        return found

    def mapped(self, weights: Sequence[Float[Tensor, "_ _"]], means: Sequence[Float[Tensor, " _"]]) -> Moments:
        """Subtract a mean from each modality's rows and multiply them by a matrix.

        Parameters
        ----------
        weights : sequence of Tensor of shape (n_columns, n_columns_out)
            A matrix a modality.
        means : sequence of Tensor of shape (n_columns,)
            What is subtracted before.

        Returns
        -------
        Moments
            Of the mapped rows.
        """
        mapped = Moments([weight.shape[1] for weight in weights])
        mean = torch.cat(list(means))
        whole: Tensor = torch.block_diag(*weights)  # type: ignore[no-untyped-call]
        for pattern, group in self.groups.items():
            have = self._owned(pattern, mean.device)
            shift = torch.where(have, mean, 0.0)
            products = group.products - torch.outer(group.total, shift) - torch.outer(shift, group.total)
            products = products + group.n_rows * torch.outer(shift, shift)
            total = group.total - group.n_rows * shift
            mapped.groups[pattern] = Group(group.n_rows, total @ whole, whole.T @ products @ whole)
        return mapped

    def counts(self) -> list[int]:
        """Count the rows of each modality."""
        return [sum(g.n_rows for pattern, g in self.groups.items() if pattern[m]) for m in range(len(self.widths))]

    def means(self) -> list[Float[Tensor, " _"]]:
        """Average each modality over the rows that have it."""
        total = torch.stack([group.total for group in self.groups.values()]).sum(0)
        parts = torch.split(total, self.widths)
        return [part / max(count, 1) for part, count in zip(parts, self.counts(), strict=True)]

    def centred(self) -> Moments:
        """Subtract each modality's mean."""
        mean = torch.cat(self.means())
        centred = Moments(self.widths)
        for pattern, group in self.groups.items():
            shift = torch.where(self._owned(pattern, mean.device), mean, 0.0)
            products = torch.addr(group.products, group.total, shift, alpha=-1)
            products.addr_(shift, group.total, alpha=-1).addr_(shift, shift, alpha=group.n_rows)
            centred.groups[pattern] = Group(group.n_rows, group.total - group.n_rows * shift, products)
        return centred

    def complete(self) -> tuple[int, list[Float[Tensor, " _"]], list[list[Float[Tensor, "_ _"]]]]:
        """Sum up the rows that have all modalities.

        Returns
        -------
        n_rows : int
            How many.
        totals : list of Tensor of shape (n_columns,)
            Their sum, by modality.
        products : list of lists of Tensor of shape (n_columns, n_columns_other)
            Entry [a][b] is the sum of the outer products of modalities a and b.
        """
        some = next(iter(self.groups.values()))
        nothing = Group(0, torch.zeros_like(some.total), torch.zeros_like(some.products))
        group = self.groups.get((True,) * len(self.widths), nothing)
        return group.n_rows, list(torch.split(group.total, self.widths)), self._blocks(group.products)

    def own(self) -> list[Float[Tensor, "_ _"]]:
        """Average the products of each modality's columns over the rows that have it."""
        total = torch.stack([group.products for group in self.groups.values()]).sum(0)
        blocks = [band[m] for m, band in enumerate(self._blocks(total))]
        return [block / max(count, 1) for block, count in zip(blocks, self.counts(), strict=True)]

    def joint(self) -> list[list[Float[Tensor, "_ _"]]]:
        """Estimate the covariances within and between modalities of centred rows, complete or not.

        With all modalities present these are the sample covariances. Else expectation and maximisation for a joint
        normal distribution: what a row lacks is replaced by its expected value given what it has, with the covariance
        of what stays unknown. An item with one modality alone so sharpens the covariances between modalities, too.

        Returns
        -------
        list of lists of Tensor of shape (n_columns, n_columns_other)
            Entry [a][b] is the covariance between modalities a and b.

        References
        ----------
        Dempster, Laird and Rubin, Maximum likelihood from incomplete data via the EM algorithm, JRSS B 1977.
        """
        (pattern, group), *others = self.groups.items()
        if not others and all(pattern):
            return self._blocks(group.products / max(group.n_rows, 1))
        return self._blocks(self._by_expectation())

    def _by_expectation(self) -> Tensor:
        groups = list(self.groups.items())
        products = torch.stack([group.products for _, group in groups]).sum(0)
        owner = torch.repeat_interleave(torch.arange(len(self.widths)), torch.tensor(self.widths)).to(products.device)
        patterns = torch.tensor([pattern for pattern, _ in groups], device=products.device).double()
        sizes = torch.tensor([group.n_rows for _, group in groups], device=products.device).double()
        count = patterns.T @ (patterns * sizes[:, None])
        covariance = products / count[owner][:, owner].clamp(min=1)
        covariance = torch.where(owner[:, None] == owner, covariance, 0.0)
        jitter = JITTER * covariance.diagonal().mean() * torch.eye(len(owner)).to(covariance)
        for _ in range(EM_ROUNDS):
            total = torch.zeros_like(covariance)
            for pattern, group in groups:
                known = self._owned(pattern, owner.device)
                total += _completed(covariance, covariance + jitter, known, group)
            covariance = total / sizes.sum()
        return covariance

    def _owned(self, pattern: tuple[bool, ...], device: torch.device) -> Tensor:
        """Tell which columns belong to the modalities of a pattern."""
        have = torch.tensor(pattern, device=device)
        return torch.repeat_interleave(have, torch.tensor(self.widths, device=device))

    def _blocks(self, matrix: Tensor) -> list[list[Tensor]]:
        return [list(torch.split(band, self.widths, dim=1)) for band in torch.split(matrix, self.widths, dim=0)]


def column_means(x: Float[Tensor, "N P"], dtype: torch.dtype = torch.float64) -> Float[Tensor, " P"]:
    """Average the rows in another precision than theirs, without a copy of all of them.

    Parameters
    ----------
    x : Tensor of shape (n_rows, n_columns)
        One row or more.
    dtype : torch.dtype, default=torch.float64
        In which they are summed up.

    Returns
    -------
    Tensor of shape (n_columns,)
        The means.
    """
    total = torch.zeros(x.shape[1], dtype=dtype, device=x.device)
    for block in torch.split(x, ROWS_CONVERTED):
        total += block.sum(0, dtype=dtype)
    return total / len(x)


def float_blocks(x: Float[Tensor, "N P"], n_rows: int) -> Iterator[Float[Tensor, "B P"]]:
    """Cut a matrix into blocks of rows, half precision made single.

    Parameters
    ----------
    x : Tensor of shape (n_rows, n_columns)
        The matrix, of any precision.
    n_rows : int
        Of a block, at most.

    Yields
    ------
    Tensor of shape (n_block, n_columns)
        A block, float32 or float64: a view of the matrix where that has one of these.
    """
    for block in torch.split(x, n_rows):
        yield block.float() if block.dtype == torch.float16 else block


def _completed(covariance: Tensor, stabilised: Tensor, known: Tensor, group: Group) -> Tensor:
    """Products of the rows of a group after what they lack was filled in with its expected value."""
    unknown = ~known
    predict = torch.linalg.solve(stabilised[known][:, known], covariance[known][:, unknown])
    have = group.products[known][:, known]
    total = torch.zeros_like(covariance)
    inside, outside = known.nonzero(), unknown.nonzero()
    total[inside, inside.T] = have
    total[inside, outside.T] = have @ predict
    total[outside, inside.T] = (have @ predict).T
    unsure = covariance[unknown][:, unknown] - covariance[unknown][:, known] @ predict
    total[outside, outside.T] = predict.T @ have @ predict + group.n_rows * unsure
    return total
