"""Fit AttentiveBPR with several processes: users are dealt out with what they took, items are everywhere.

User u is of process ``u % world``, which alone holds the user's row, reads the user's list, and computes what the user adds to
the loss of a batch. All processes draw the same batches and the same negatives, so the batch is that of one process.
Gradients of items are added up, those of users are not sent anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from sklearn.utils import check_random_state
from torch import Tensor
from torch.nn.functional import embedding as read

from modalsplit.recommend._batches import Batch, Batches, BatchLoss
from modalsplit.recommend._fitting import Fitting
from modalsplit.recommend._negatives import draw_chance
from modalsplit.training import Rows, dealt_together, from_first, ranks, rows_of_all, sum_gradients, summed

# Numbers of a table that are drawn at a time. A multiple of 16: torch draws normal numbers by so many, so that the table is
# the same as if it were drawn at once.
DRAWN = 1 << 20


class OwnBatch(NamedTuple):
    """What is of this process in a batch, and the size of the whole."""

    own: Batch
    n_users: int
    n_positives: int


class OwnBatches(Batches):
    """Draw batches as `Batches` does, and keep of each what is of this process."""

    def draw_own(self, samples: Tensor) -> OwnBatch:
        """Complete some samples to a batch.

        Parameters
        ----------
        samples : Tensor of int64 of shape (n,)
            From 0 to ``n_samples - 1``, the same on all processes.

        Returns
        -------
        OwnBatch
            With users as positions among all.
        """
        rank, world = ranks()
        chosen = self.places(samples)
        if self.sampling == "users":
            own = chosen[chosen % world == rank]
            batch = Batch(own, *self.taken.of(own), self._shared())
            return OwnBatch(batch, len(chosen), int(self.taken.counts[chosen].sum()))
        chosen = chosen.sort().values  # and with them, their users
        owner = self.taken.owners(chosen)
        chance = draw_chance(owner, self.n_negatives, self.generator)
        mine = owner % world == rank
        owner_of_mine, item = owner[mine], self.taken.items[chosen[mine]].long()
        users, row = torch.unique_consecutive(owner_of_mine, return_inverse=True)
        batch = Batch(users, row, item, self.taken.negatives_at(owner_of_mine, chance[mine]))
        return OwnBatch(batch, len(torch.unique_consecutive(owner)), len(chosen))


class ShardedLoss(BatchLoss):
    """The loss of a batch, of which each process computes its users' share."""

    batches: OwnBatches
    rows: Rows  # items of the last batch

    def __call__(self, samples: Tensor) -> Tensor:
        """Compute the loss; see `BatchLoss`."""
        own, n_users, n_positives = self.batches.draw_own(samples)
        if not len(own.users):
            nothing = samples[:0]
            self.rows = rows_of_all(nothing)
            return summed(read(nothing, self.ranker.embedding, sparse=True).sum())
        loss, users, items, distinct = self._compared(own)
        self.rows = rows_of_all(distinct)
        loss = loss * (len(own.item) / n_positives)
        if self.l2:
            once = items.embedding[self.rows.is_first].square().sum()
            loss = loss + self.l2 * (users.square().sum() / n_users + once / len(self.rows.ids))
        return summed(loss)

    def _users(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        if self.ranker.history:
            return super()._users(batch)
        return read(batch.users // ranks().world, self.ranker.users, sparse=True), None

    def reduce(self, parameters: Sequence[Tensor]) -> None:
        """Add up the gradients of all processes.

        Parameters
        ----------
        parameters : sequence of Tensor
            Of the ranker.
        """
        tables = self.ranker.tables()
        for table in tables:
            grad = table.grad
            if grad is None:
                ids, values = self.rows.ids[:0], table.new_zeros(0, table.shape[1])
            else:
                ids, values = grad._indices()[0], grad._values()
            if table is not self.ranker.users or self.ranker.history:
                rows = rows_of_all(ids) if table is self.ranker.users else self.rows
                ids, values = rows.ids, rows.summed(values)
            table.grad = torch.sparse_coo_tensor(ids[None], values, table.shape, check_invariants=False)
        sum_gradients([parameter for parameter in parameters if all(parameter is not table for table in tables)])


class ShardedFitting(Fitting):
    """One fit of AttentiveBPR by several processes; each ends with all that was learned."""

    def __init__(self, params: Any, *arguments: Any, seed: int | None = None, **options: Any) -> None:
        if seed is None and params.random_state is None:
            seed = from_first(lambda: int(check_random_state(None).randint(2**31 - 1)))
        super().__init__(params, *arguments, seed=seed, **options)
        old = self.batches
        self.batches = OwnBatches(old.taken, old.sampling, old.n_negatives, old.generator)

    def _loss(self) -> BatchLoss:
        params = self.params
        return ShardedLoss(self.ranker, self.batches, params.attention, params.loss, params.l2)

    def _reduce(self, loss: Any) -> Callable[[Sequence[Tensor]], object]:
        reduce: Callable[[Sequence[Tensor]], object] = loss.reduce
        return reduce

    def _start_lending(self, n: int, n_components: int) -> Tensor:
        if self.params.users == "history":
            return super()._start_lending(n, n_components)
        rank, world = ranks()
        # Whole rows, and none of the draws is short, so that the numbers are those of one draw.
        own, row, at_a_time = [], 0, max(DRAWN // n_components // 16, 1) * 16
        while row < n:
            n_rows = at_a_time if n - row >= 2 * at_a_time else n - row
            drawn = self._start(n_rows, n_components)
            own.append(drawn[(rank - row) % world :: world].clone())
            row += n_rows
        return torch.cat(own)

    def _users(self) -> Tensor:
        return super()._users() if self.ranker.history else self._together(self.ranker.users.detach())

    def _validation_ndcg(self) -> float:
        found = super()._validation_ndcg()
        return from_first(lambda: found)

    def _together(self, own: Tensor) -> Tensor:
        return dealt_together(own, len(self.taken.counts))

    def _to_keep(self, state: dict[str, Any]) -> dict[str, Any]:
        """Put together what one process would keep, so that any number of them can go on."""
        return self._with_users(super()._to_keep(state), self._together)

    def _kept(self) -> Any:
        rank, world = ranks()
        kept = super()._kept()
        return None if kept is None else self._with_users(kept, lambda table: table[rank::world])

    def _with_users(self, kept: dict[str, Any], change: Callable[[Tensor], Tensor]) -> dict[str, Any]:
        """Change the table of users, and its moments, in what is kept."""
        if self.ranker.history:
            return kept
        training, (value, epoch, best) = kept["training"], kept["best"]
        tables = self.ranker.tables()
        place = next(number for number, table in enumerate(tables) if table is self.ranker.users)
        parameters = [*training["parameters"]]
        parameters[place] = change(parameters[place])
        adam, *others = training["steppers"]
        of_users = adam["state"][place]
        moments = [change(moment) for moment in of_users["moments"]]
        adam = {**adam, "state": {**adam["state"], place: {**of_users, "moments": moments}}}
        if best:
            best = {**best, "users": change(best["users"])}
        training = {**training, "parameters": parameters, "steppers": [adam, *others]}
        return {"training": training, "best": [value, epoch, best]}
