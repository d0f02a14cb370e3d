r"""Operations of ops.py for arrays on a GPU: the same names and arguments; `step.ops` chooses.

To ask a GPU for something takes longer than for it to do it, unless a batch is large: so these ask seldom.
Attention has no loop over sequences (padded.py), and what is elementwise, or a sum over rows, is one kernel
(kernels.py). docs/gpu.md counts the launches. All others are the plain ones.

Everything here runs on NumPy's arrays, too, and is tested there against its plain twin.
"""

from functools import lru_cache

import numpy as np

from ..backend import xp_of
from ..ops import embedding, linear, linear_backward, lm_logits  # noqa: F401 - as they are
from . import kernels
from .fast import in_chunks, lm_scores  # noqa: F401 - some rows of logits at a time, as on a CPU
from .padded import (  # noqa: F401 - attention, and the dropout in it
    attention,
    attention_backward,
    attention_weights,
    dropout,
    dropout_backward,
)


def layer_norm(x, w, b, eps, wants=frozenset()):
    """See `ops.layer_norm`. x is kept in place of xhat, which the kernels of the backward form on the way."""
    mu = x.mean(1, keepdims=True)  # (N, 1)
    var = kernels.variance(x, mu)  # (N, 1)
    y = kernels.normed(x, mu, var, w, b, eps)
    return y, (x if wants & {"x", "weight"} else None, mu, var, w, eps, wants)


def layer_norm_backward(dy, cache):
    """See `ops.layer_norm_backward`."""
    x, mu, var, w, eps, wants = cache
    dx, grads = None, {}
    if "weight" in wants:
        grads["weight"] = (dy * kernels.normed(x, mu, var, 1, 0, eps)).sum(0)  # (C,)
    if "bias" in wants:
        grads["bias"] = dy.sum(0)  # (C,)
    if "x" in wants:
        means = kernels.mean_g(dy, w), kernels.mean_g_centred(dy, w, x, mu)
        dx = kernels.normed_backward(dy, w, x, mu, var, *means, eps)
    return dx, grads


def gelu(u, wants=frozenset()):
    """See `ops.gelu`. The cache is the slope dy/du, as in `fast.gelu`."""
    return kernels.gelu_and_slope(u) if "x" in wants else (kernels.gelu(u), None)


def gelu_backward(dy, cache):
    r"""$du = dy \cdot dy/du$."""
    slope = cache
    return dy * slope


def lm_loss(x, W, labels, wants=frozenset()):
    """See `ops.lm_loss`; rows go through in chunks."""
    return _lm_loss(x, labels, W=W, wants=wants)


def lm_loss_of(x, labels, W, wants=frozenset()):
    """Of a chunk. The loss is the end of the network, so dz is formed here at once."""
    xp, z = xp_of(x), x @ W.T  # (M, V)
    top = z.max(1, keepdims=True)  # (M, 1)
    total = kernels.sum_exp(z, top)  # (M, 1)
    at_label = kernels.pick(z, xp.arange(len(x)), labels)  # (M,)
    loss = kernels.sum_losses(top[:, 0], total[:, 0], at_label)[0]
    if not wants:
        return loss, None
    dz = kernels.d_logits(z, top, total, labels[:, None], xp.arange(z.shape[1]))  # (M, V)
    return loss, (x, W, dz, wants)


def lm_loss_of_backward(dloss, cache):
    """See `ops.lm_loss_backward`."""
    x, W, dz, wants = cache
    dz = dz if dloss == 1 else dloss * dz
    return dz @ W if "x" in wants else None, {"weight": dz.T @ x} if "weight" in wants else {}


_lm_loss, lm_loss_backward = in_chunks(lm_loss_of, lm_loss_of_backward)


def embedding_backward(dy, cache):
    """See `ops.embedding_backward`. A token's rows are added up in their order; a GPU's `add.at` has none."""
    ids, table, wants = cache
    if "weight" not in wants:
        return {}
    xp = xp_of(dy)
    n, total = xp.arange(len(ids)), xp.zeros(table.shape, table.dtype)
    first, following = kernels.same_ids(ids, n)
    col = xp.arange(dy.shape[1])
    kernels.add_same(dy, following, first[:, None], ids[:, None], n[:, None], col, total)
    return {"weight": total}


def prepend(rows, x, layout):
    """See `ops.prepend`. One indexing, for any number of sequences."""
    if not layout.fresh:
        return x, layout
    where, _, _ = in_front(xp_of(x), layout.lengths, len(rows))
    return xp_of(x).concatenate([rows, x])[where], layout.longer(len(rows))


def prepend_backward(dx, P, layout):
    """See `ops.prepend_backward`."""
    _, front, text = in_front(xp_of(dx), layout.lengths, P)
    return dx[text], dx[front].sum(0)


@lru_cache(maxsize=8)  # for all layers of a step the same: they are moved to the device once
def in_front(xp, lengths, P):
    """P rows in front of each sequence. -> which row of [rows ; x] stands where (N + S P,), where the rows in
    front stand (S, P), and where the text does (N,)."""
    sequence = np.repeat(np.arange(len(lengths)), lengths)  # (N,)
    text = np.arange(sum(lengths)) + P * (sequence + 1)
    begins = np.cumsum([0, *lengths[:-1]]) + P * np.arange(len(lengths))  # (S,)
    front = begins[:, None] + np.arange(P)
    where = np.empty(front.size + len(text), dtype=np.int64)
    where[front], where[text] = np.arange(P), P + np.arange(len(text))
    return tuple(map(xp.asarray, (where, front, text)))
