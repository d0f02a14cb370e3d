r"""Operations of ops.py that can be had faster on a CPU: the same names and arguments; `step.ops` chooses.

Each is tested against its plain twin in float64, and each has won more than it costs to read it: what it
brought, on GPT-2 small, is in docs/performance.md. All others are the plain ones. (Layer norm, and attention
in training, in place and in blocks of rows brought nothing: they are plain.)
"""

import numpy as np

from .. import ops
from ..backend import xp_of
from ..ops import (  # noqa: F401 - as they are
    GELU_A,
    GELU_K,
    attention_backward,
    attention_weights,
    dropout,
    dropout_backward,
    embedding,
    embedding_backward,
    layer_norm,
    layer_norm_backward,
    linear_backward,
    prepend,
    prepend_backward,
)

FEW_ROWS, FEW_BYTES = 3, 1 << 21  # see `few_rows`
HEAD_ROWS = 512  # rows of logits that exist at a time: enough for BLAS to run at full rate

# --------------------------------------------------------------------------- one query for each sequence


def attention(q, k, v, q_spans, k_spans, H, p_drop=0.0, rng=None, wants=frozenset()):
    """See `ops.attention`. A decode step has one query for each sequence of a KV cache: one product for all.

    The keys are read where they lie in the cache, up to the end of the longest sequence.
    """
    (S, C), room = q.shape, len(k) // len(q)  # rows of the cache for each sequence
    begins, ends = [c for c, _ in k_spans], [d - c for c, d in k_spans]
    n, D = max(ends), C // H
    one_query_each = len(q_spans) == S and begins == [s * room for s in range(S)] and len(k) == S * room
    if wants or not one_query_each or 2 * sum(ends) < S * n:  # of very different lengths: one by one
        return ops.attention(q, k, v, q_spans, k_spans, H, p_drop, rng, wants)
    blocks_k, blocks_v = (each.reshape(S, room, H, D)[:, :n] for each in (k, v))  # (S, n, H, D)
    s = q.reshape(S, H, 1, D) @ blocks_k.transpose(0, 2, 3, 1) * D**-0.5  # (S, H, 1, n)
    if min(ends) < n:  # past the end of a sequence its room is empty, and nobody sees it
        s += np.where(np.arange(n) < np.array(ends)[:, None], 0, -np.inf).astype(s.dtype)[:, None, None]
    return (ops.softmax(s) @ blocks_v.transpose(0, 2, 1, 3)).reshape(S, C), None


# ----------------------------------------------------------------------- a few rows times a large matrix


def row_blocks(a, size):
    """Slices over the rows of an array, each block of rows `size` bytes at most."""
    n, step = len(a), max(1, size // max(1, a[:1].nbytes))
    return [slice(i, min(i + step, n)) for i in range(0, n, step)]


def linear(x, W, b, wants=frozenset()):
    """See `ops.linear`. A few rows, as in a decode step, go by `few_rows_times`."""
    if not few_rows(x, W):
        return ops.linear(x, W, b, wants)
    return few_rows_times(x, W) + b, (x if "weight" in wants else None, W, wants)


def few_rows(x, W):
    """Are these the few rows of a decode step, and W a large matrix?

    BLAS first copies W into an order of its own, which pays when many rows share the copy. For a few rows
    the copy is most of the work, and it is faster to multiply row by row (matrix-vector products read W
    where it lies), with a block of W at a time, so that it comes from memory once for all rows.
    """
    return type(W) is np.ndarray and 1 < len(x) <= FEW_ROWS and W.nbytes > FEW_BYTES


def few_rows_times(x, W):
    """x W, row by row.  x (N, I), W (I, O) -> (N, O)."""
    y = np.zeros((len(x), W.shape[1]), x.dtype)
    for r in row_blocks(W, FEW_BYTES):
        y += np.matmul(x[:, None, r], W[r])[:, 0]  # (N, 1, I') (I', O): N vectors times one block of W
    return y


def lm_logits(x, W):
    """See `ops.lm_logits`. A few rows go one by one, as in `linear`."""
    if not few_rows(x, W):
        return x @ W.T
    z = np.empty((len(x), len(W)), x.dtype)
    for r in row_blocks(W, FEW_BYTES):
        z[:, r] = np.matmul(x[:, None], W[r].T)[:, 0]  # (N, 1, C) (C, V')
    return z


# --------------------------------------------------------------------------------------------- gelu


def gelu(u, wants=frozenset()):
    r"""See `ops.gelu`: the same number in fewer steps, since $\tfrac12 (1 + \tanh(z)) = \sigma(2 z)$.

    $y = u\,s$,  $s = \sigma(w) = 1/(1 + e^{-w})$,  $w = 2 k\,(u + a u^3)$

    The cache is the slope dy/du, not u: it takes less room than u and s, is cheap while s is at hand, and
    leaves one multiplication to the backward:  $dy/du = s + y\,(1 - s)\,w'$,  $w' = 2 k\,(1 + 3 a u^2)$
    """
    square = u * u
    with np.errstate(over="ignore"):  # e^-w may be inf: s is 0 then, as it should be
        s = square * (-2 * GELU_K * GELU_A)
        s -= 2 * GELU_K
        s *= u  # -w
        np.exp(s, out=s)
        s += 1
        np.divide(1, s, out=s)
    y = u * s
    if "x" not in wants:
        return y, None
    square *= 6 * GELU_K * GELU_A
    square += 2 * GELU_K  # w'
    square *= y
    slope = 1 - s
    slope *= square
    slope += s
    return y, slope


def gelu_backward(dy, cache):
    r"""$du = dy \cdot dy/du$."""
    slope = cache
    return dy * slope


# ------------------------------------------------------------------- the head, some rows at a time


def in_chunks(loss, loss_backward):
    r"""A loss at the head and its backward -> the same in chunks of rows: logits (M, V) never exist.

    The loss is the end of the network, so its gradient can be formed while a chunk's softmax is at hand; the
    backward only scales it. See `ops.in_chunks` for the arguments.
    """

    def chunked(x, *rows, wants=frozenset(), **shared):
        total, dx, dW = None, xp_of(x).empty_like(x) if "x" in wants else None, None
        for i in range(
            0, max(1, len(x)), HEAD_ROWS
        ):  # without rows, one empty chunk: its gradients are zeros
            part = slice(i, i + HEAD_ROWS)
            some, cache = loss(x[part], *(a[part] for a in rows), wants=wants, **shared)
            total = some if total is None else total + some
            if not wants:
                continue
            dx_part, own = loss_backward(1, cache)
            if dx is not None:
                dx[part] = dx_part
            if "weight" in wants:
                if dW is None:
                    dW = own["weight"]
                else:
                    dW += own["weight"]
        return total, (dx, dW)

    def chunked_backward(dloss, cache):
        dx, dW = cache
        grads = {} if dW is None else {"weight": dW if dloss == 1 else dW * dloss}
        return dx if dx is None or dloss == 1 else dx * dloss, grads

    return chunked, chunked_backward


_lm_loss, lm_loss_backward = in_chunks(
    lambda x, labels, W, wants: ops.lm_loss(x, W, labels, wants), ops.lm_loss_backward
)


def lm_loss(x, W, labels, wants=frozenset()):
    """See `ops.lm_loss`; rows go through in chunks."""
    return _lm_loss(x, labels, W=W, wants=wants)


def lm_scores(x, W, labels):
    """See `ops.lm_scores`; rows go through in chunks."""
    starts = range(0, len(x), HEAD_ROWS)
    parts = [ops.lm_scores(x[i : i + HEAD_ROWS], W, labels[i : i + HEAD_ROWS]) for i in starts]
    logprob, best = zip(*parts, strict=True) if parts else ([x[:, 0]], [labels])
    return xp_of(x).concatenate(logprob), xp_of(x).concatenate(best)
