"""Fit AttentiveBPR: from interactions and parts to arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils import check_random_state, gen_batches
from torch import Tensor
from tqdm import tqdm

from modalsplit.evaluate import ndcg_at_k
from modalsplit.nn import Attention, AttentiveRanker, Items, move_common, score
from modalsplit.nn._attention import before_fusion, with_parts_fused, without_parts
from modalsplit.objectives import Stages
from modalsplit.recommend._batches import HISTORY_POWER, Batches, BatchLoss
from modalsplit.recommend._by_user import counts_of_items, with_columns
from modalsplit.recommend._cold import Expectation, expect, stand_in
from modalsplit.recommend._compiled import compiled
from modalsplit.recommend._learned import Learned
from modalsplit.recommend._negatives import TakenItems
from modalsplit.recommend._parts import modalities
from modalsplit.recommend._row_adam import RowAdam
from modalsplit.training import minimise

if TYPE_CHECKING:
    from modalsplit.recommend._attentive_bpr import AttentiveBPR

Floats = NDArray[np.floating[Any]]
NORMAL_INIT = 0.03  # standard deviation
PART_RMS = {"normal": 0.2, "uniform": 1.0}
DEFAULT_COMPONENTS = 64
DEFAULT_NEGATIVES = {"users": 5000, "interactions": 1}
DEFAULT_STEPS = 40  # an epoch
LARGEST_DEFAULT_BATCH = 2048
MOMENT_ROWS = ITEMS_FUSED = 4096


class Fitting:
    """One fit of AttentiveBPR, from its data to what it learned.

    Items without interactions are left out: nothing is known of them but that they are new, and as
    negatives they would only be pushed down.

    Parameters
    ----------
    params : AttentiveBPR
        Its constructor's parameters.
    parts : ndarray of shape (n_items, n_parts, width)
        Parts of the items; zeros where missing.
    present : ndarray of bool of shape (n_items, n_parts)
        Which parts there are.
    pairs : list of tuple of int
        Positions of the common and the specific part of each modality.
    interactions : csr_array or csc_array of shape (n_items, n_users)
        Who took what; the latter may lie in files.
    seed : int or None
        Of every random choice; None for that of the parameters.
    stages : Stages
        Keeps what was learned.
    folder : Path or None
        Where lists go that need not fit memory; None to hold them there.
    """

    def __init__(
        self,
        params: AttentiveBPR,
        parts: NDArray[np.float32],
        present: NDArray[np.bool_],
        pairs: list[tuple[int, int]],
        interactions: Any,
        *,
        seed: int | None = None,
        stages: Stages | None = None,
        folder: Path | None = None,
    ) -> None:
        self.params, self.present = params, present
        self.modalities = modalities(parts.shape[1], pairs)
        self.stages = Stages() if stages is None else stages
        rng = check_random_state(params.random_state if seed is None else seed)
        self.device = torch.device(_available(params.device))
        self.seed = int(rng.randint(2**31 - 1))
        self.generator = torch.Generator(self.device).manual_seed(self.seed)
        self.interactions = sparse.csr_array(interactions.T)
        train, self.held_out = self.interactions, None
        if params.early_stopping:
            train, self.held_out = _hold_out(train, params.validation_fraction, rng)
        self.warm = _items_to_train(train)
        self.cold = np.setdiff1d(np.arange(len(parts)), self.warm)
        # Held once: the whole goes with who gave it.
        self.parts, self.cold_parts = (parts[self.warm], parts[self.cold]) if len(self.cold) else (parts, parts[:0])
        self.train = with_columns(train, self.warm, folder)
        self.taken = TakenItems(self.train, self.device)
        self.ranker = self._ranker(pairs)
        n_negatives = params.n_negatives or DEFAULT_NEGATIVES[params.sampling]
        self.batches = Batches(self.taken, params.sampling, n_negatives, self.generator)
        self.records: list[dict[str, float]] = []
        self.best: tuple[float, int, dict[str, Tensor]] = (-1.0, 0, {})

    def run(
        self,
        end_of_epoch: Callable[[Callable[[], dict[str, Any]]], bool],
        on_interrupt: Callable[[], object] | None = None,
    ) -> None:
        """Train, from where the stages say that training ended.

        Parameters
        ----------
        end_of_epoch : callable
            Takes a function that returns what is learned so far; returns True to stop.
        on_interrupt : callable, optional
            Called when the user interrupts training, which then ends; None to let the interrupt through.
        """
        params, n_samples = self.params, self.batches.n_samples
        bar = tqdm(total=params.max_epochs, disable=not params.verbose, desc="AttentiveBPR", unit="epoch")

        def on_epoch(record: dict[str, float]) -> bool:
            self.records.append(record)
            stop = params.early_stopping and self._has_stopped_growing(record)
            bar.set_postfix(record, refresh=False)
            bar.update()
            self._seed_epoch()
            return end_of_epoch(self.learned) or stop

        def keep(state: dict[str, Any]) -> None:
            at_once = state["ended"] or len(self.records) == params.max_epochs
            self.stages.keep("training", lambda: self._to_keep(state), at_once=at_once)

        optimizers = self._optimizers()
        if not n_samples:  # nobody left an item: there is nothing to rank
            return
        if self.held_out is not None:
            _check_held_out(self.held_out[:, self.warm], self.interactions, params.validation_fraction)
        batch_size = params.batch_size or min(-(-n_samples // DEFAULT_STEPS), LARGEST_DEFAULT_BATCH)
        n_steps = params.max_epochs * -(-n_samples // batch_size)
        decay = [torch.optim.lr_scheduler.LinearLR(o, 1.0, 1e-3, n_steps) for o in optimizers if params.decay]
        kept, loss = self._resumed(), self._loss()
        with bar:
            bar.update(len(self.records))
            minimise(
                compiled(loss, optimizers[0], params.loss, params.max_epochs),
                n_samples,
                optimizers,
                batch_size=batch_size,
                max_epochs=params.max_epochs,
                generator=self.generator,
                schedulers=decay,
                on_epoch=on_epoch,
                on_interrupt=on_interrupt,
                resume=kept,
                keep=keep,
                reduce=self._reduce(loss),
            )
        if self.best[2]:
            self.ranker.load_state_dict(self.best[2])

    def _loss(self) -> BatchLoss:
        params = self.params
        return BatchLoss(self.ranker, self.batches, params.attention, params.loss, params.l2)

    def _reduce(self, loss: Any) -> Callable[[Sequence[Tensor]], object] | None:
        """Say how the gradients of several processes are put together; None for one process."""
        return None

    def _to_keep(self, state: dict[str, Any]) -> dict[str, Any]:
        return {"training": state, "best": list(self.best)}

    def _kept(self) -> Any:
        return self.stages.load("training")

    def _resumed(self) -> dict[str, Any] | None:
        self._seed_epoch()
        kept = self._kept()
        if kept is None:
            return None
        value, epoch, state = kept["best"]
        self.best, self.records = (value, epoch, state), [*kept["training"]["history"]]
        training: dict[str, Any] = kept["training"]
        return training

    def _seed_epoch(self) -> None:
        """Let the order of samples, and the negatives, of an epoch follow from the seed and its number alone."""
        state = np.random.SeedSequence([self.seed, len(self.records)]).generate_state(1, np.uint64)
        self.generator.manual_seed(int(state[0] >> np.uint64(1)))

    def learned(self) -> dict[str, Any]:
        """Return what is learned so far.

        Returns
        -------
        dict of str to object
            Fitted attributes of AttentiveBPR.
        """
        ranker, n_items = self.ranker, len(self.present)
        maps, delta, scales = _array(ranker.maps), _array(ranker.delta), _array(ranker.scale)
        parts = np.empty((n_items, *self.parts.shape[1:]), dtype=np.float32)
        for rows, given in ((self.warm, self.parts), (self.cold, self.cold_parts)):
            parts[rows] = moved(given, delta, ranker.pairs)
        parts *= scales[:, None]
        embedding = np.zeros((n_items, ranker.embedding.shape[1]), dtype=np.float32)
        bias = np.zeros(n_items, dtype=np.float32)
        embedding[self.warm] = _array(ranker.embedding)
        bias[self.warm] = 0.0 if ranker.bias is None else _array(ranker.bias)[:, 0]
        every = Learned(embedding, bias, parts, self.present.copy())
        history = None
        if ranker.history:
            history = np.zeros_like(embedding)
            history[self.warm] = self._lent()
        users = self._user_embeddings(history)
        attention = self.params.attention
        vectors = item_vectors(every, maps, attention)
        expectation = expect(
            every,
            self.warm,
            scales,
            self.modalities,
            degree=self.params.cold_degree,
            alpha=self.params.cold_alpha,
            vectors=embedding if attention == "user" else vectors,
            users=users,
            taken=counts_of_items(self.train),
        )
        expect_cold(every, self.cold, expectation, scales, self.modalities, self.params, maps)
        vectors[self.cold] = item_vectors(every.of(self.cold), maps, attention)
        return {
            "item_embeddings_": embedding,
            "item_bias_": bias,
            "item_vectors_": vectors,
            "history_embeddings_": history,
            "user_embeddings_": users,
            "parts_": parts,
            "present_": every.present,
            "trained_": self.warm,
            "part_scales_": scales,
            "cold_landmarks_": expectation.landmarks,
            "cold_weights_": expectation.weights,
            "cold_shares_": expectation.shares,
            "mean_item_": expectation.mean,
            "part_maps_": maps,
            "extractor_deltas_": delta,
            "history_": list(self.records),
            "n_iter_": self.best[1] or len(self.records),
        }

    @torch.no_grad()
    def _lent(self) -> Floats:
        lent: Floats = _array(self.ranker.lent(torch.arange(len(self.warm), device=self.device)))
        return lent

    def _user_embeddings(self, history: Floats | None) -> Floats:
        if history is not None:
            return sums_of_history(self.interactions, history)
        users: Floats = _array(self._users())
        active = np.diff(self.train.indptr) > 0
        if not active.all():
            users[~active] = users.mean(axis=0, where=active[:, None])
        return users

    def _ranker(self, pairs: list[tuple[int, int]]) -> AttentiveRanker:
        params = self.params
        parts, present = self.parts, self.present[self.warm]
        n_parts, width = parts.shape[1:]
        n_components = params.n_components or _default_components(n_parts, width, params.projection)
        if n_parts and not params.projection and n_components != width:
            raise ValueError(
                f"n_components={n_components}, but a part has {width} columns. Without projection they are "
                "added as they are: set projection=True, or leave n_components out."
            )
        squares = np.einsum("npw,npw->p", parts, parts, dtype=np.float64)
        rms = np.sqrt(squares / np.maximum(present.sum(axis=0) * width, 1))
        inverse = np.divide(1.0, rms, out=np.zeros_like(rms), where=rms > 0)
        projection = None
        if params.projection:
            projection = self._tensor(leading_directions(parts, inverse, n_components))
        history = params.users == "history"
        n_lending = len(self.warm) if history else self.taken.counts.shape[0]
        return AttentiveRanker(
            self._tensor(parts),
            torch.as_tensor(present, device=self.device),
            self._tensor(inverse * PART_RMS[params.init]),
            pairs if params.fine_tune else [],
            self._start(len(self.warm), n_components),
            self._start_lending(n_lending, n_components),
            self._log_popularity() if params.item_bias else None,
            history=history,
            projection=projection,
        )

    def _users(self) -> Tensor:
        """Return the table of users or, with histories, of what items lend."""
        return self.ranker.users

    def _start_lending(self, n: int, n_components: int) -> Tensor:
        return self._start(n, n_components)

    def _start(self, n: int, n_components: int) -> Tensor:
        draw = torch.rand if self.params.init == "uniform" else torch.randn
        values = draw(n, n_components, generator=self.generator, device=self.device)
        return values if self.params.init == "uniform" else values.mul_(NORMAL_INIT)

    def _log_popularity(self) -> Tensor:
        counts = counts_of_items(self.train)
        return self._tensor(np.log(counts + 1) - np.log(counts + 1).mean())

    def _tensor(self, values: NDArray[Any]) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float32, device=self.device)

    def _optimizers(self) -> list[torch.optim.Optimizer]:
        ranker, params = self.ranker, self.params
        optimizers: list[torch.optim.Optimizer] = [RowAdam(ranker.tables(), lr=params.learning_rate)]
        dense = [
            {"params": tensors, "lr": lr}
            for tensors, lr in (
                (ranker.projections(), params.projection_learning_rate),
                ([ranker.delta], params.fine_tune_learning_rate),
            )
            if tensors and tensors[0] is not None
        ]
        return [*optimizers, torch.optim.Adam(dense)] if dense else optimizers

    def _has_stopped_growing(self, record: dict[str, float]) -> bool:
        record["validation_ndcg"] = self._validation_ndcg()
        if record["validation_ndcg"] > self.best[0]:
            state = {name: tensor.clone() for name, tensor in self.ranker.state_dict().items()}
            self.best = (record["validation_ndcg"], len(self.records), state)
        return len(self.records) - self.best[1] >= self.params.n_iter_no_change

    @torch.no_grad()
    def _validation_ndcg(self) -> float:
        assert self.held_out is not None
        users: Tensor = self._users()
        if self.ranker.history:
            users = self._tensor(sums_of_history(self.train, self._lent()))
        attention = self.params.attention
        every = self.ranker.items(torch.arange(len(self.warm), device=self.device))
        items = with_parts_fused(every, attention)
        values = ndcg_at_k(
            lambda at: score(users[torch.as_tensor(at, device=self.device)], items, attention).cpu().numpy(),
            self.held_out[:, self.warm].T,
            seen=self.train.T,
        )
        return float(np.nanmean(values))


def leading_directions(parts: Floats, scales: Floats, n_components: int) -> Floats:
    """Choose what parts are mapped by at first: the same for all, so that what parts have in common stays comparable.

    Parameters
    ----------
    parts : ndarray of shape (n_items, n_parts, width)
        Parts; zeros where missing.
    scales : ndarray of shape (n_parts,)
        Factors that bring the parts to the same size.
    n_components : int
        Dimensions of the embeddings.

    Returns
    -------
    ndarray of shape (width, n_components)
        The identity where `n_components` is not smaller than the width. Otherwise the orthonormal directions in which the
        parts together are largest: the first columns alone would be those of the common parts.
    """
    width = parts.shape[2]
    if width <= n_components:
        return np.eye(width, n_components, dtype=np.float32)
    moments = np.zeros((width, width))
    for rows in gen_batches(len(parts), MOMENT_ROWS):
        flat = (parts[rows] * scales[:, None]).reshape(-1, width)
        moments += flat.T @ flat
    leading = np.linalg.eigh(moments)[1][:, : -n_components - 1 : -1]
    signs = np.sign(leading[np.abs(leading).argmax(axis=0), np.arange(n_components)])
    directions: Floats = (leading * signs).astype(np.float32)
    return directions


def sums_of_history(taken: sparse.csr_array, history: Floats) -> Floats:
    """Sum what items lend to the users who took them.

    Parameters
    ----------
    taken : csr_array of shape (n_users, n_items)
        Who took what.
    history : ndarray of shape (n_items, n_components)
        What each item lends.

    Returns
    -------
    ndarray of shape (n_users, n_components)
        Sums over a power of their number; zeros for a user who took nothing.
    """
    counts = np.maximum(np.diff(taken.indptr), 1).astype(np.float32)
    sums: Floats = (taken @ history) * counts[:, None] ** -HISTORY_POWER
    return sums


def as_items(items: Learned, maps: Floats | None) -> Items:
    """Bring arrays into the form that scores are computed from.

    Parameters
    ----------
    items : Learned
        What is known of n items.
    maps : ndarray of shape (n_parts, width, n_components) or None
        Projections.

    Returns
    -------
    Items
        Of n items.
    """
    parts = items.parts
    if maps is not None:
        parts = np.einsum("nmp,mpd->nmd", parts, maps, optimize=True)
    elif not parts.shape[1]:
        parts = np.zeros((len(parts), 0, items.embedding.shape[1]))
    embedding, mapped, bias = (
        torch.as_tensor(value, dtype=torch.float32) for value in (items.embedding, parts, items.bias)
    )
    return Items(embedding, mapped, torch.as_tensor(items.present), bias)


def with_cold(
    items: Learned,
    cold: NDArray[np.intp],
    expectation: Expectation,
    scales: Floats,
    groups: list[list[int]],
    params: AttentiveBPR,
    maps: Floats | None,
    *,
    fused: bool,
) -> Items:
    """Let cold items be what is expected of them as a whole.

    Parameters
    ----------
    items, cold, expectation, scales, groups, params, maps
        As for `expect_cold`.
    fused : bool
        Whether all that is asked for is scores. Users' own attention needs more.

    Returns
    -------
    Items
        Of n items.
    """
    if fused:
        stand_in(items, cold, expectation, scales, groups, params.cold_degree)
        vectors = item_vectors(items, maps, params.attention)
        vectors[cold] = items.embedding[cold]
        return without_parts(torch.as_tensor(vectors), torch.as_tensor(items.bias))
    expect_cold(items, cold, expectation, scales, groups, params, maps)
    return as_items(items, maps)


def expect_cold(
    items: Learned,
    cold: NDArray[np.intp],
    expectation: Expectation,
    scales: Floats,
    groups: list[list[int]],
    params: AttentiveBPR,
    maps: Floats | None,
) -> None:
    """Overwrite what is held of cold items so that fusion gives what is expected of them.

    Parameters
    ----------
    items : Learned
        What is known of n items; of cold ones, it is overwritten.
    cold : ndarray of int of shape (n_cold,)
        Their rows.
    expectation : Expectation
        Of items by their parts.
    scales : ndarray of shape (n_parts,)
        What the parts were multiplied by.
    groups : list of list of int
        The parts of each modality.
    params : AttentiveBPR
        Attention and degree of the kernel.
    maps : ndarray of shape (n_parts, width, n_components) or None
        Projections.
    """
    stand_in(items, cold, expectation, scales, groups, params.cold_degree)
    if params.attention != "user":
        items.embedding[cold] = before_fusion(as_items(items.of(cold), maps), params.attention).numpy()


def item_vectors(items: Learned, maps: Floats | None, attention: Attention) -> Floats:
    """Fuse the parts of items, some at a time; by their mean where users weigh them.

    Parameters
    ----------
    items : Learned
        What is known of n items.
    maps : ndarray of shape (n_parts, width, n_components) or None
        Projections.
    attention : {"item", "user", "mean"}
        How parts are weighed.

    Returns
    -------
    ndarray of float32 of shape (n, n_components)
        Vectors.
    """
    vectors = np.empty(items.embedding.shape, dtype=np.float32)
    for start in range(0, len(vectors), ITEMS_FUSED):
        rows = slice(start, start + ITEMS_FUSED)
        some = as_items(items.of(rows), maps)
        vectors[rows] = with_parts_fused(some, "mean" if attention == "user" else attention).embedding.numpy()
    return vectors


def moved(parts: Floats, delta: Floats | None, pairs: list[tuple[int, int]]) -> Floats:
    """Move parts as fine-tuning moved the common extractors.

    Parameters
    ----------
    parts : ndarray of shape (n, n_parts, width)
        As given; zeros where missing.
    delta : ndarray of shape (n_modalities, width, width) or None
        What was added to each extractor; None if they were not tuned.
    pairs : list of tuple of int
        Positions of the common and the specific part of each modality.

    Returns
    -------
    ndarray of shape (n, n_parts, width)
        See `modalsplit.nn.move_common`.
    """
    if delta is None:
        return parts
    moved: Floats = move_common(torch.as_tensor(parts), torch.as_tensor(delta), pairs).numpy()
    return moved


def _array(tensor: Tensor | None) -> Any:
    return None if tensor is None else tensor.detach().cpu().numpy().copy()


def _available(device: str) -> str:
    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device


def _default_components(n_parts: int, width: int, projection: bool) -> int:
    if not n_parts:
        return DEFAULT_COMPONENTS
    return min(width, DEFAULT_COMPONENTS) if projection else width


def _items_to_train(taken: sparse.csr_array) -> NDArray[np.intp]:
    """Choose the items that somebody took, or all if that leaves nobody an item to rank lower."""
    warm: NDArray[np.intp] = np.flatnonzero(counts_of_items(taken))
    counts = np.diff(taken.indptr)
    return warm if (counts[counts > 0] < len(warm)).any() else np.arange(taken.shape[1])


def _hold_out(
    taken: sparse.csr_array, fraction: float, rng: np.random.RandomState
) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Hold out a share of each user's interactions, rounded at random; users keep at least one."""
    counts = np.diff(taken.indptr)
    users = np.repeat(np.arange(len(counts)), counts)
    order = np.lexsort((rng.rand(len(users)), users))
    rank = np.arange(len(users)) - np.repeat(taken.indptr[:-1], counts)
    n_held = np.minimum(np.floor(counts * fraction + rng.rand(len(counts))), counts - 1)
    held = np.empty(len(users), dtype=bool)
    held[order] = rank < n_held[users]

    def pick(chosen: NDArray[np.bool_]) -> sparse.csr_array:
        at = (users[chosen], taken.indices[chosen])
        return sparse.csr_array((taken.data[chosen], at), shape=taken.shape)

    return pick(~held), pick(held)


def _check_held_out(held_out: sparse.csr_array, taken: sparse.csr_array, fraction: float) -> None:
    """Refuse to stop early by nothing: every epoch would look alike, and the first be the best."""
    if held_out.nnz:
        return
    n_users = np.count_nonzero(np.diff(taken.indptr))
    raise ValueError(
        f"early_stopping=True has nothing to watch: validation_fraction={fraction} of {taken.nnz} interactions of "
        f"{n_users} users holds out none. A user keeps at least one, and an item that nobody else took cannot be "
        "judged. Raise validation_fraction, or pass early_stopping=False."
    )
