"""Compiled loops over interactions, each on one thread.

Importing this module imports Numba; the first call compiles, or reads what was compiled before, from the folder beside this
file, or from Numba's own where that one cannot be written.
"""

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

# Sums may be taken in any order, so that they fit vector instructions; infinities and NaN keep their meaning.
FAST = {"reassoc", "contract", "nsz"}
BPR, LOGISTIC, SOFTMAX = range(3)


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function when it is first called.

    Parameters
    ----------
    function : callable
        Of arrays and numbers.

    Returns
    -------
    callable
        Compiled for each combination of types that it is called with.
    """
    try:
        return numba.njit(function, cache=True, fastmath=FAST, nogil=True, error_model="numpy")
    except RuntimeError:  # no folder can be written: compile in each process anew
        return numba.njit(function, fastmath=FAST, nogil=True, error_model="numpy")


@compiled
def draw(chosen, bounds, items, n_items, chance, users, row, lists):  # type: ignore[no-untyped-def]
    """Look up some interactions, in ascending order, and draw negatives as `TakenItems.draw_negatives` does.

    Fills `users`, distinct, `row`, each interaction's place in them, and `lists`: its item and its negatives. Returns how
    many users there are.
    """
    n_users, user = 0, -1
    for p in range(len(chosen)):
        place = chosen[p]
        if user < 0 or place >= bounds[user + 1]:
            low, high = user + 1, len(bounds) - 1
            while low < high:
                middle = (low + high) // 2
                if bounds[middle + 1] <= place:
                    low = middle + 1
                else:
                    high = middle
            user = low
            users[n_users] = user
            n_users += 1
        row[p] = n_users - 1
        lists[p, 0] = items[place]
        start = bounds[user]
        most = bounds[user + 1] - start
        left = n_items - most
        for k in range(chance.shape[1]):
            r = min(np.int64(chance[p, k] * left), left - 1)
            low, high = 0, most
            while low < high:
                middle = (low + high) // 2
                if items[start + middle] - middle <= r:
                    low = middle + 1
                else:
                    high = middle
            lists[p, k + 1] = r + low
    return n_users


@compiled
def number(lists, place_of, distinct):  # type: ignore[no-untyped-def]
    """List the distinct items in `distinct`, replace items by their place there, and return how many there are.

    `place_of` holds -1 for each item, before and after.
    """
    n = 0
    flat = lists.reshape(-1)
    if len(flat) * 10 < len(place_of):
        for q in range(len(flat)):
            if place_of[flat[q]] < 0:
                place_of[flat[q]] = n
                distinct[n] = flat[q]
                n += 1
    else:  # ascending, so that tables are read from one end to the other
        for q in range(len(flat)):
            place_of[flat[q]] = 0
        for i in range(len(place_of)):
            if place_of[i] == 0:
                place_of[i] = n
                distinct[n] = i
                n += 1
    for q in range(len(flat)):
        flat[q] = place_of[flat[q]]
    for j in range(n):
        place_of[distinct[j]] = -1
    return n


@compiled
def dot(a, b):  # type: ignore[no-untyped-def]
    """Multiply two vectors."""
    total = a.dtype.type(0)
    for d in range(len(a)):
        total += a[d] * b[d]
    return total


@compiled
def add(x, a, out):  # type: ignore[no-untyped-def]
    """Add x times a vector."""
    for d in range(len(a)):
        out[d] += x * a[d]


@compiled
def adam(values, first, second, gradient, step):  # type: ignore[no-untyped-def]
    """Move a row; `step` holds what `adam_step` computes."""
    for d in range(len(values)):
        m = step[2] * first[d] + step[3] * gradient[d]
        v = step[4] * second[d] + step[5] * gradient[d] * gradient[d]
        first[d] = m
        second[d] = v
        values[d] -= step[0] * m / (math.sqrt(v) * step[1] + step[6])


@compiled
def share(agreement, there):  # type: ignore[no-untyped-def]
    """Put attention in place of agreement, as `modalsplit.nn.attend` does."""
    highest, total = -np.inf, 0.0
    for k in range(len(there)):
        if there[k]:
            highest = max(highest, float(agreement[k]))
    for k in range(len(there)):
        agreement[k] = math.exp(agreement[k] - highest) if there[k] else 0.0
        total += agreement[k]
    for k in range(len(there)):
        if there[k]:
            agreement[k] /= total


@compiled
def with_parts(query, part, there, moves, j, signs, factor, out):  # type: ignore[no-untyped-def]
    """Multiply the parts of item `j` with a query, and by a factor."""
    for k in range(len(there)):
        out[k] = dot(query, part[k]) if there[k] else factor.dtype.type(0)
    for s in range(len(moves)):
        moved = dot(query, moves[s, j])
        for k in range(len(there)):
            out[k] += signs[s, k] * moved
    for k in range(len(there)):
        out[k] *= factor[k]


@compiled
def fuse(embedding, parts, present, rows, factor, scale, moves, signs, weights, fused):  # type: ignore[no-untyped-def]
    """Fuse the items of some rows, as `modalsplit.nn._fused.attend_and_fuse` does: fills `weights` and `fused`."""
    for j in range(len(rows)):
        part, there, w, out = parts[rows[j]], present[rows[j]], weights[j], fused[j]
        out[:] = embedding[rows[j]]
        with_parts(out, part, there, moves, j, signs, factor, w)
        share(w, there)
        for k in range(len(there)):
            if there[k]:
                add(w[k] * scale[k], part[k], out)
        for s in range(len(moves)):
            direct = scale.dtype.type(0)
            for k in range(len(there)):
                direct += w[k] * scale[k] * signs[s, k]
            add(direct, moves[s, j], out)


@compiled
def slopes(loss, scores):  # type: ignore[no-untyped-def]
    """Compare the first score with the others: return the loss, and put its derivatives in place of the scores."""
    n = len(scores) - 1
    value = 0.0
    if loss == SOFTMAX:
        highest, total = float(scores.max()), 0.0
        for k in range(n + 1):
            total += math.exp(scores[k] - highest)
        value = math.log(total) + highest - scores[0]
        for k in range(n + 1):
            scores[k] = math.exp(scores[k] - highest) / total
        scores[0] -= 1
        return value
    positive = float(scores[0])
    base = positive if loss == BPR else 0.0
    own = 0.0
    for k in range(1, n + 1):
        x = scores[k] - base
        small = math.exp(-abs(x))
        value += (max(x, 0.0) + math.log1p(small)) / n
        slope = (1.0 if x > 0 else small) / (1.0 + small) / n
        scores[k] = slope
        own -= slope
    if loss == LOGISTIC:
        small = math.exp(-abs(positive))
        value += max(-positive, 0.0) + math.log1p(small)
        own = -(small if positive > 0 else 1.0) / (1.0 + small)
    scores[0] = own
    return value


@compiled
def rank(loss, l2, user, users, row, lists, fused, bias, of_items, of_bias, scratch, scores):  # type: ignore[no-untyped-def]
    """Compare each interaction's item with its negatives, and move the users.

    Fills `of_items` and `of_bias`: gradients of fused items and of biases. Returns the loss. Interactions are in the order
    of their users, so that a user is read, and moved, once.
    """
    table, first, second, step = user
    zero, one = table.dtype.type(0), table.dtype.type(1)
    n_pairs, n_list = lists.shape
    each, of_user, of_item = one / n_pairs, table.dtype.type(l2 / len(users)), table.dtype.type(l2 / len(fused))
    value, size_of_users, size_of_items = 0.0, 0.0, 0.0
    for j in range(len(fused)):
        of_bias[j] = zero
        of_items[j] = zero
        if l2:
            size_of_items += dot(fused[j], fused[j])
            add(2 * of_item, fused[j], of_items[j])
    p = 0
    for r in range(len(users)):
        u = table[users[r]]
        scratch[:] = zero
        if l2:
            size_of_users += dot(u, u)
            add(2 * of_user, u, scratch)
        while p < n_pairs and row[p] == r:
            for k in range(n_list):
                scores[k] = dot(u, fused[lists[p, k]]) + bias[lists[p, k]]
            value += slopes(loss, scores)
            for k in range(n_list):
                j, slope = lists[p, k], scores[k] * each
                item, of = fused[j], of_items[j]
                of_bias[j] += slope
                for d in range(len(u)):
                    scratch[d] += slope * item[d]
                    of[d] += slope * u[d]
            p += 1
        adam(u, first[users[r]], second[users[r]], scratch, step)
    return value / n_pairs + l2 * (size_of_users / len(users) + size_of_items / len(fused))


@compiled
def move(item, parts, present, rows, factor, scale, moves, signs, weights, of_items, scratch, through):  # type: ignore[no-untyped-def]
    """Move the embeddings of some items, by the gradients of what they were fused to.

    Puts the gradients of `moves` in their place.
    """
    embedding, first, second, step = item
    zero = embedding.dtype.type(0)
    for j in range(len(rows)):
        i, w, of = rows[j], weights[j], of_items[j]
        e, part = embedding[i], parts[i]
        with_parts(of, part, present[i], moves, j, signs, scale, through)
        # Through the softmax, whose Jacobian is diag(a) - a a'; a missing part has a = 0.
        mean = dot(w, through)
        scratch[:] = of
        for k in range(len(w)):
            through[k] = w[k] * (through[k] - mean) * factor[k]
            add(through[k], part[k], scratch)
        for s in range(len(moves)):
            direct, by_attention = zero, zero
            for k in range(len(w)):
                direct += w[k] * scale[k] * signs[s, k]
                by_attention += through[k] * signs[s, k]
            of_move = moves[s, j]
            for d in range(len(e)):
                moved = of_move[d]
                of_move[d] = direct * of[d] + by_attention * e[d]
                scratch[d] += by_attention * moved
        adam(e, first[i], second[i], scratch, step)


@compiled
def move_bias(item, rows, of_bias):  # type: ignore[no-untyped-def]
    """Move the biases of some items: tables of one column."""
    bias, first, second, step = item
    for j in range(len(rows)):
        i = rows[j]
        adam(bias[i], first[i], second[i], of_bias[j : j + 1], step)
