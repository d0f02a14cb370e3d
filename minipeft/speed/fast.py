r"""The operations of ops.py made fast on a CPU: the same names, arguments and results; `step.ops` chooses.

What is here is tested against its plain twin in float64, and each has won more than it costs to read it: what
a version brought, on GPT-2 small, is in docs/performance.md. What is as fast in its plain form is taken over.
"""

import numpy as np

from .. import ops
from ..ops import (  # noqa: F401 - what is as fast as it can be in its plain form
    GELU_A,
    GELU_K,
    dropout,
    dropout_backward,
    embedding,
    embedding_backward,
    heads,
    linear_backward,
)

L2_BYTES = 1 << 19  # elementwise chains work through blocks of rows of this size: they stay in the L2 cache
FEW_ROWS, FEW_BYTES = 8, 1 << 21  # see `few_rows`; BLAS's threads share a block: this is for two of them
HEAD_ROWS = 512  # rows of logits that exist at a time: enough for BLAS to run at full rate


def row_blocks(x, size=None):
    """Slices over the rows of x, each block `size` bytes at most (None: L2_BYTES)."""
    n = len(x)
    step = max(1, (size or L2_BYTES) // max(1, x[:1].nbytes))
    return [slice(i, min(i + step, n)) for i in range(0, n, step)]


def linear(x, W, b, wants=frozenset()):
    """See `ops.linear`. A few rows go by `few_rows_times`; the bias is added in place."""
    y = few_rows_times(x, W) if few_rows(x, W) else x @ W  # (N, O)
    y += b
    return y, (x if "weight" in wants else None, W, wants)


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


def layer_norm(x, w, b, eps, wants=frozenset()):
    r"""$y = \hat x\,w + b$, $\hat x = (x - \mu)/\sqrt{\sigma^2 + \epsilon}$ over each row.

    x (N, C), w and b (C,) -> y (N, C); $\sigma^2$ is the biased variance (Ba et al. 2016, eq. 3-4).
    """
    y, xhat, rstd = np.empty_like(x), np.empty_like(x), np.empty_like(x[:, :1])
    for r in row_blocks(x):
        centred = np.subtract(x[r], x[r].mean(1, keepdims=True), out=xhat[r])
        var = np.square(centred, out=y[r]).mean(1, keepdims=True)
        rstd[r] = 1 / np.sqrt(var + eps)
        centred *= rstd[r]  # now it is xhat
        np.multiply(centred, w, out=y[r])
        y[r] += b
    keep_xhat = wants & {"x", "weight"}
    return y, (xhat if keep_xhat else None, rstd, w, wants)


def layer_norm_backward(dy, cache):
    r"""$dx = \frac{1}{\sigma}\,(g - \bar g - \hat x\,\overline{g \hat x})$, $g = dy\,w$; bars: row means."""
    xhat, rstd, w, wants = cache
    dx, grads = None, {}
    if "weight" in wants:
        grads["weight"] = (dy * xhat).sum(0)  # (C,)
    if "bias" in wants:
        grads["bias"] = dy.sum(0)  # (C,)
    if "x" in wants:
        dx = np.empty_like(dy)
        for r in row_blocks(dy):
            g = np.multiply(dy[r], w, out=dx[r])
            along = (g * xhat[r]).mean(1, keepdims=True)  # the part of g along xhat, which the norm removes
            g -= g.mean(1, keepdims=True)
            g -= xhat[r] * along
            g *= rstd[r]
    return dx, grads


def gelu(u, wants=frozenset()):
    r"""GPT-2's form, $y = \tfrac12 u\,(1 + \tanh(k\,(u + a u^3)))$ (Hendrycks & Gimpel 2016), written as

    $y = u\,s$,  $s = \sigma(w) = 1/(1 + e^{-w})$,  $w = 2 k\,(u + a u^3)$:  the same number, in fewer steps.

    u (N, F) -> y (N, F). The cache is the slope dy/du, not u: it takes the same room, is cheap while s
    is at hand, and leaves one multiplication to the backward.

    $dy/du = s + y\,(1 - s)\,w'$,  $w' = 2 k\,(1 + 3 a u^2)$
    """
    y = np.empty_like(u)
    slope = np.empty_like(u) if "x" in wants else None
    with np.errstate(over="ignore"):  # e^-w may be inf: s is 0 then, as it should be
        for r in row_blocks(u):
            x = u[r]
            square = x * x
            s = square * (-2 * GELU_K * GELU_A)
            s -= 2 * GELU_K
            s *= x  # -w
            np.exp(s, out=s)
            s += 1
            np.divide(1, s, out=s)
            np.multiply(x, s, out=y[r])
            if slope is not None:
                square *= 6 * GELU_K * GELU_A
                square += 2 * GELU_K  # w'
                square *= y[r]
                d = np.subtract(1, s, out=slope[r])
                d *= square
                d += s
    return y, slope


def gelu_backward(dy, cache):
    r"""$du = dy \cdot dy/du$."""
    slope = cache
    return dy * slope


def attention(q, k, v, q_spans, k_spans, H, p_drop=0.0, rng=None, wants=frozenset()):
    r"""Causal multi-head attention within each sequence: $o = \mathrm{softmax}(q k^T/\sqrt D + mask)\,v$.

    q (N, C); k, v (N', C); q_spans, k_spans: the (begin, end) rows of each sequence -> o (N, C).

    A sequence may have more keys than queries, whatever the extra ones are (a prefix, a KV cache): they
    come first, and every query sees them. Query i sees key j where j <= i + (keys - queries).
    p_drop: the probability of dropping an attention weight, drawn from rng. (Vaswani et al. 2017, eq. 1)
    """
    scale = (q.shape[1] // H) ** -0.5
    longest = max(b - a for a, b in q_spans)
    future = np.triu(np.full((longest, longest), -np.inf, dtype=q.dtype), 1)  # 0 where j <= i
    o, kept = np.empty_like(q), []
    for (a, b), (c, d) in zip(q_spans, k_spans, strict=True):
        T, extra = b - a, (d - c) - (b - a)
        p = heads(q[a:b] * scale, H) @ heads(k[c:d], H).transpose(0, 2, 1)  # (H, T, extra + T)
        if T > 1:
            p[:, :, extra:] += future[:T, :T]
        p -= p.max(2, keepdims=True)
        np.exp(p, out=p)
        p /= p.sum(2, keepdims=True)
        dropped, mask = dropout(p, p_drop, rng)
        heads(o[a:b], H)[...] = dropped @ heads(v[c:d], H)  # (H, T, D)
        if "x" in wants:
            kept.append((p, mask))
    return o, (q, k, v, q_spans, k_spans, H, kept) if "x" in wants else None


def attention_backward(do, cache):
    r"""do (N, C) -> dq (N, C), dk, dv (N', C).

    forward: $o = p\,v$, so $dv = p^T do$ and $dp = do\,v^T$;
    softmax: $ds = p\,(dp - \sum_j dp_j\,p_j)$;
    forward: $s = q k^T/\sqrt D$, so $dq = ds\,k/\sqrt D$ and $dk = ds^T q/\sqrt D$.
    """
    q, k, v, q_spans, k_spans, H, kept = cache
    scale = (q.shape[1] // H) ** -0.5
    dq, dk, dv = np.empty_like(q), np.empty_like(k), np.empty_like(v)
    for (a, b), (c, d), (p, mask) in zip(q_spans, k_spans, kept, strict=True):
        dos = heads(do[a:b], H)  # (H, T, D)
        ds = dos @ heads(v[c:d], H).transpose(0, 2, 1)  # dp (H, T, extra + T)
        dropped = p
        if mask is not None:
            dropped, ds = p * mask, ds * mask
        heads(dv[c:d], H)[...] = dropped.transpose(0, 2, 1) @ dos
        ds -= (ds * p).sum(2, keepdims=True)
        ds *= p
        ds *= scale
        heads(dq[a:b], H)[...] = ds @ heads(k[c:d], H)
        heads(dk[c:d], H)[...] = ds.transpose(0, 2, 1) @ heads(q[a:b], H)
    return dq, dk, dv


def in_chunks(loss, loss_backward):
    r"""A loss at the head and its backward -> the same in chunks of rows: logits (M, V) never exist.

    The loss is the end of the network, so its gradient can be formed while a chunk's softmax is at hand; the
    backward only scales it. See `ops.in_chunks` for the arguments.
    """

    def chunked(x, *rows, wants=frozenset(), **shared):
        total, dx, dW = 0.0, np.empty_like(x) if "x" in wants else None, None
        for i in range(0, len(x), HEAD_ROWS):
            part = slice(i, i + HEAD_ROWS)
            some, cache = loss(x[part], *(a[part] for a in rows), wants=wants, **shared)
            total = total + some
            if not wants:
                continue
            dx_part, own = loss_backward(1, cache)
            if dx is not None:
                dx[part] = dx_part
            if "weight" in wants:
                dW = own["weight"] if dW is None else np.add(dW, own["weight"], out=dW)
        return np.asarray(total), (dx, dW)

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
    return np.concatenate(logprob), np.concatenate(best)
