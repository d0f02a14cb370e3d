r"""Attention over all sequences at once, for a GPU: as many operations for 64 sequences as for one.

The rows of the sequences are gathered into blocks (S, H, T, D), as long as the longest sequence; past the end
of a sequence there are zeros. What a zero query finds nobody reads, and no zero key is seen by a real query:
query t of a sequence sees key j where j <= t + (keys - queries), as in `ops.attention`.

Letters: S sequences, H heads, T queries and K keys of the longest sequence, D = C/H.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..backend import xp_of
from . import kernels
from .kernels import pick


class Padding(NamedTuple):
    """Where the rows of packed sequences stand in blocks, and the way back. All are arrays of integers.

    rows_q, rows_k  of each place in a block, the row that stands there; -1: none   (S, 1, T, 1), (S, 1, K, 1)
    cols            of each place in a block, its column of the packed matrix       (H, 1, D)
    back_q, back_k  of each row and head, its row among the S H T of a block        (N, H, 1)
    within          the columns of a block                                          (D,)
    last, key       the last key that a query sees, and the numbers of the keys     (S, 1, T, 1), (K,)
    """

    rows_q: object
    rows_k: object
    cols: object
    back_q: object
    back_k: object
    within: object
    last: object
    key: object


@lru_cache(maxsize=4)  # for the layers of a step, and for their backward, it is the same
def padding(xp, q_spans, k_spans, H, D):
    """The `Padding` of sequences whose (begin, end) rows are these, for arrays of the module xp."""
    rows_q, back_q = places(q_spans, H)
    rows_k, back_k = places(k_spans, H)
    extra = np.array([(d - c) - (b - a) for (a, b), (c, d) in zip(q_spans, k_spans, strict=True)])
    T, K = rows_q.shape[2], rows_k.shape[2]
    last = extra[:, None, None, None] + np.arange(T)[:, None]  # (S, 1, T, 1)
    cols = np.arange(H * D).reshape(H, 1, D)
    return Padding(*moved(xp, (rows_q, rows_k, cols, back_q, back_k, np.arange(D), last, np.arange(K))))


def places(spans, H):
    """Of one side: the row at each place of a block (S, 1, T, 1), and the place of each row (N, H, 1)."""
    begins, ends = np.array(spans).T  # (S,) each
    t = np.arange((ends - begins).max())
    real = t < (ends - begins)[:, None]  # (S, T)
    rows = np.where(real, begins[:, None] + t, -1)
    s, at = np.nonzero(real)
    back = np.full((ends.max(), H), -1)  # -1: a row of no sequence, as a KV cache has
    back[rows[s, at]] = (s[:, None] * H + np.arange(H)) * len(t) + at[:, None]
    return rows[:, None, :, None], back[:, :, None]


def moved(xp, arrays):
    """These arrays of integers where xp has its own: in one transfer, for each costs as much as a launch."""
    ends = np.cumsum([a.size for a in arrays])
    parts = xp.split(xp.asarray(np.concatenate([a.ravel() for a in arrays])), ends[:-1])
    return [part.reshape(a.shape) for part, a in zip(parts, arrays, strict=True)]


def attention(q, k, v, q_spans, k_spans, H, p_drop=0.0, rng=None, wants=frozenset()):
    """See `ops.attention`. Blocks of q, k and v are not kept: the backward gathers them again."""
    D = q.shape[1] // H
    pad, scale = padding(xp_of(q), tuple(q_spans), tuple(k_spans), H, D), D**-0.5
    s = pick(q, pad.rows_q, pad.cols) @ pick(k, pad.rows_k, pad.cols).swapaxes(2, 3)  # (S, H, T, K)
    p = kernels.exp_seen(s, pad.last, pad.key, kernels.top_seen(s, pad.last, pad.key, scale), scale)
    p /= p.sum(3, keepdims=True)
    dropped, drop = dropout(p, p_drop, rng)
    o = unpadded(dropped @ pick(v, pad.rows_k, pad.cols), pad.back_q, pad)
    return o, (q, k, v, pad, q_spans, k_spans, p, drop) if "x" in wants else None


def attention_backward(do, cache):
    """See `ops.attention_backward`: the same steps, of all sequences at once."""
    q, k, v, pad, _, _, p, drop = cache
    dos = pick(do, pad.rows_q, pad.cols)  # (S, H, T, D)
    dropped = p if drop is None else p * drop
    dv = unpadded(dropped.swapaxes(2, 3) @ dos, pad.back_k, pad)
    dp = dropout_backward(dos @ pick(v, pad.rows_k, pad.cols).swapaxes(2, 3), drop)  # (S, H, T, K)
    ds = kernels.softmax_backward(dp, p, kernels.row_dot(dp, p), len(pad.within) ** -0.5)
    dq = unpadded(ds @ pick(k, pad.rows_k, pad.cols), pad.back_q, pad)
    dk = unpadded(ds.swapaxes(2, 3) @ pick(q, pad.rows_q, pad.cols), pad.back_k, pad)
    return dq, dk, dv


def unpadded(block, back, pad):
    """A block (S, H, T, D) -> its rows, packed again (N, C)."""
    return pick(block.reshape(-1, block.shape[3]), back, pad.within).reshape(len(back), -1)


def attention_weights(cache):
    """See `ops.attention_weights`."""
    *_, q_spans, k_spans, p, _ = cache
    spans = zip(p, q_spans, k_spans, strict=True)
    return [each[:, : b - a, : d - c] for each, (a, b), (c, d) in spans]


def dropout(x, p, rng):
    """See `ops.dropout`: mask and product in one kernel."""
    if rng is None or p == 0:
        return x, None
    return kernels.drop(x, rng.random(x.shape, dtype=np.float32), p)


def dropout_backward(dy, mask):
    """See `ops.dropout_backward`."""
    return dy if mask is None else dy * mask
