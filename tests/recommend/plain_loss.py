"""AttentiveBPR's loss as autograd differentiates the plain formulas: the reference of the fast one."""

import torch

from modalsplit.nn import score, score_pairs
from modalsplit.nn._attention import with_parts_fused
from modalsplit.recommend._batches import BatchLoss, select


class PlainLoss(BatchLoss):
    def __call__(self, samples):
        batch = self.batches.draw(samples)
        every, users = self._users(batch)
        users = every[batch.row] if users is None else users
        mentioned = torch.cat([batch.item, batch.negative.flatten()])
        distinct, place = torch.unique(mentioned, return_inverse=True)
        items = with_parts_fused(self.ranker.items(distinct), self.attention)
        n = len(batch.item)
        positive = score_pairs(users, select(items, place[:n]), self.attention)
        if batch.negative.ndim == 1:
            negative = score(every, select(items, place[n:]), self.attention)
            counts, row = self.batches.taken.not_taken(batch.users, batch.negative), batch.row
        else:
            each = users.repeat_interleave(batch.negative.shape[1], dim=0)
            negative = score_pairs(each, select(items, place[n:]), self.attention).view(batch.negative.shape)
            counts, row = torch.ones_like(negative, dtype=torch.bool), torch.arange(n)
        size = every.square().sum() / len(every) + items.embedding.square().sum() / len(distinct)
        return self.loss(positive, negative, counts, row) + self.l2 * size
