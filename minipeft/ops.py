r"""The operations of a transformer, each as a pair: `f` and, right under it, `f_backward`.

    y, cache = f(x, ...)                 the cache holds what the backward needs, and no more
    dx, grads = f_backward(dy, cache)    gradients are returned; the caller adds them up

`wants` says which gradients somebody asked for: a set of "x" (of the input), "weight", "bias". What
nobody wants is not formed, and an input that only served it is not kept.

Letters: N tokens, C model width, H heads, D = C/H, F MLP width, V vocabulary, M labelled rows.
Nothing here writes into an array that it was given.
"""

import numpy as np

from .backend import xp_of
from .speed.quantized import Quantized, quantized_times, quantized_times_transposed

L2_BYTES = 1 << 19  # elementwise chains work through blocks of rows of this size: they stay in the L2 cache
FEW_ROWS, FEW_BYTES = 8, 1 << 21  # see `few_rows`; BLAS's threads share a block: this is for two of them
HEAD_ROWS = 512  # rows of logits that exist at a time: enough for BLAS to run at full rate


def row_blocks(x, size=None):
    """Slices over the rows of x, each block `size` bytes at most (None: L2_BYTES); on a GPU one for all."""
    n = len(x)
    step = max(1, (size or L2_BYTES) // max(1, x[:1].nbytes)) if xp_of(x) is np else max(1, n)
    return [slice(i, min(i + step, n)) for i in range(0, n, step)]


# ------------------------------------------------------------------------------------------- linear


def linear(x, W, b, wants=frozenset(), reads=True):
    r"""$y = x W + b$.  x (N, I), W (I, O), b (O,) -> y (N, O).  W as GPT-2 stores it: (in, out).

    reads: False where the cache alone is wanted. Then y is NaN: whoever reads it all the same will see.
    """
    if reads:
        y = times(x, W)  # (N, O)
        y += b
    else:
        y = xp_of(x).full((len(x), len(b)), np.nan, dtype=x.dtype)
    return y, (x if "weight" in wants else None, W, wants)  # x serves dW alone


def linear_backward(dy, cache):
    r"""$dx = dy\,W^T$, $dW = x^T dy$, $db = \sum_n dy_n$; each only if wanted, dx else None."""
    x, W, wants = cache
    dx = times_transposed(dy, W) if "x" in wants else None  # (N, I)
    grads = {}
    if "weight" in wants:
        grads["weight"] = x.T @ dy  # (I, O)
    if "bias" in wants:
        grads["bias"] = dy.sum(0)  # (O,)
    return dx, grads


def times(x, W):
    """x W.  x (N, I), W (I, O), a plain array or quantised -> (N, O)."""
    if isinstance(W, Quantized):
        return quantized_times(x, W)
    if not few_rows(x, W):
        return x @ W
    y = np.zeros((len(x), W.shape[1]), x.dtype)
    for r in row_blocks(W, FEW_BYTES):
        y += np.matmul(x[:, None, r], W[r])[:, 0]  # (N, 1, I') (I', O): N vectors times one block of W
    return y


def times_transposed(dy, W):
    """forward: x W; its dx = dy W^T.  dy (N, O) -> (N, I).  The language-model head is one, too."""
    if isinstance(W, Quantized):
        return quantized_times_transposed(dy, W)
    if not few_rows(dy, W):
        return dy @ W.T
    dx = np.empty((len(dy), len(W)), dy.dtype)
    for r in row_blocks(W, FEW_BYTES):
        dx[:, r] = np.matmul(dy[:, None], W[r].T)[:, 0]  # (N, 1, O) (O, I')
    return dx


def few_rows(x, W):
    """Are these the few rows of a decode step, and W a large matrix?

    BLAS first copies W into an order of its own, which pays when many rows share the copy. For a few rows
    the copy is most of the work, and it is faster to multiply row by row (matrix-vector products read W
    where it lies), with a block of W at a time, so that it comes from memory once for all rows.
    """
    return xp_of(x) is np and 1 < len(x) <= FEW_ROWS and W.nbytes > FEW_BYTES


# --------------------------------------------------------------------------------------- layer norm


def layer_norm(x, w, b, eps, wants=frozenset()):
    r"""$y = \hat x\,w + b$, $\hat x = (x - \mu)/\sqrt{\sigma^2 + \epsilon}$ over each row.

    x (N, C), w and b (C,) -> y (N, C); $\sigma^2$ is the biased variance (Ba et al. 2016, eq. 3-4).
    """
    xp = xp_of(x)
    y, xhat, rstd = xp.empty_like(x), xp.empty_like(x), xp.empty_like(x[:, :1])
    for r in row_blocks(x):
        centred = xp.subtract(x[r], x[r].mean(1, keepdims=True), out=xhat[r])
        var = xp.square(centred, out=y[r]).mean(1, keepdims=True)
        rstd[r] = 1 / xp.sqrt(var + eps)
        centred *= rstd[r]  # now it is xhat
        xp.multiply(centred, w, out=y[r])
        y[r] += b
    keep_xhat = wants & {"x", "weight"}
    return y, (xhat if keep_xhat else None, rstd, w, wants)


def layer_norm_backward(dy, cache):
    r"""$dx = \frac{1}{\sigma}\,(g - \bar g - \hat x\,\overline{g \hat x})$, $g = dy\,w$; bars: row means."""
    xhat, rstd, w, wants = cache
    xp, dx, grads = xp_of(dy), None, {}
    if "weight" in wants:
        grads["weight"] = (dy * xhat).sum(0)  # (C,)
    if "bias" in wants:
        grads["bias"] = dy.sum(0)  # (C,)
    if "x" in wants:
        dx = xp.empty_like(dy)
        for r in row_blocks(dy):
            g = xp.multiply(dy[r], w, out=dx[r])
            along = (g * xhat[r]).mean(1, keepdims=True)  # the part of g along xhat, which the norm removes
            g -= g.mean(1, keepdims=True)
            g -= xhat[r] * along
            g *= rstd[r]
    return dx, grads


# --------------------------------------------------------------------------------------------- gelu

GELU_K, GELU_A = 0.7978845608028654, 0.044715  # sqrt(2/pi), and Hendrycks & Gimpel's cubic term


def gelu(u, wants=frozenset()):
    r"""GPT-2's form, $y = \tfrac12 u\,(1 + \tanh(k\,(u + a u^3)))$ (Hendrycks & Gimpel 2016), written as

    $y = u\,s$,  $s = \sigma(w) = 1/(1 + e^{-w})$,  $w = 2 k\,(u + a u^3)$:  the same number, in fewer steps.

    u (N, F) -> y (N, F). The cache is the slope dy/du, not u: it takes the same room, is cheap while s
    is at hand, and leaves one multiplication to the backward.

    $dy/du = s + y\,(1 - s)\,w'$,  $w' = 2 k\,(1 + 3 a u^2)$
    """
    xp = xp_of(u)
    y = xp.empty_like(u)
    slope = xp.empty_like(u) if "x" in wants else None
    with np.errstate(over="ignore"):  # e^-w may be inf: s is 0 then, as it should be
        for r in row_blocks(u):
            x = u[r]
            square = x * x
            s = square * (-2 * GELU_K * GELU_A)
            s -= 2 * GELU_K
            s *= x  # -w
            xp.exp(s, out=s)
            s += 1
            xp.divide(1, s, out=s)
            xp.multiply(x, s, out=y[r])
            if slope is not None:
                square *= 6 * GELU_K * GELU_A
                square += 2 * GELU_K  # w'
                square *= y[r]
                d = xp.subtract(1, s, out=slope[r])
                d *= square
                d += s
    return y, slope


def gelu_backward(dy, cache):
    r"""$du = dy \cdot dy/du$."""
    slope = cache
    return dy * slope


# ---------------------------------------------------------------------------------------- attention


def heads(x, H):
    """(T, C) -> (H, T, D): a view, no copy. Head h owns columns h D ... (h+1) D."""
    T, C = x.shape
    return x.reshape(T, H, C // H).transpose(1, 0, 2)


def attention(q, k, v, q_spans, k_spans, H, p_drop=0.0, rng=None, wants=frozenset()):
    r"""Causal multi-head attention within each sequence: $o = \mathrm{softmax}(q k^T/\sqrt D + mask)\,v$.

    q (N, C); k, v (N', C); q_spans, k_spans: the (begin, end) rows of each sequence -> o (N, C).

    A sequence may have more keys than queries, whatever the extra ones are (a prefix, a KV cache): they
    come first, and every query sees them. Query i sees key j where j <= i + (keys - queries).
    p_drop: the probability of dropping an attention weight, drawn from rng. (Vaswani et al. 2017, eq. 1)
    """
    xp = xp_of(q)
    scale = (q.shape[1] // H) ** -0.5
    longest = max(b - a for a, b in q_spans)
    future = xp.triu(xp.full((longest, longest), -xp.inf, dtype=q.dtype), 1)  # 0 where j <= i
    o, kept = xp.empty_like(q), []
    for (a, b), (c, d) in zip(q_spans, k_spans, strict=True):
        T, extra = b - a, (d - c) - (b - a)
        p = heads(q[a:b] * scale, H) @ heads(k[c:d], H).transpose(0, 2, 1)  # (H, T, extra + T)
        if T > 1:
            p[:, :, extra:] += future[:T, :T]
        p -= p.max(2, keepdims=True)
        xp.exp(p, out=p)
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
    xp = xp_of(do)
    scale = (q.shape[1] // H) ** -0.5
    dq, dk, dv = xp.empty_like(q), xp.empty_like(k), xp.empty_like(v)
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


# ------------------------------------------------------------------------------------------ dropout


def dropout(x, p, rng):
    r"""$y = x\,m$, m = 0 with probability p, else 1/(1-p) (Srivastava et al. 2014).

    The cache is the mask m. With rng None (evaluation) or p = 0, y is x itself and m is None.
    """
    if rng is None or p == 0:
        return x, None
    mask = (rng.random(x.shape, dtype=np.float32) >= p).astype(x.dtype)
    mask /= 1 - p
    return x * mask, mask


def dropout_backward(dy, mask):
    r"""$dx = dy\,m$."""
    return dy if mask is None else dy * mask


# ---------------------------------------------------------------------------------------- embedding


def embedding(ids, table, wants=frozenset()):
    """y_n = table[ids_n].  ids (N,) integers, table (V, C) -> y (N, C)."""
    return table[ids], (ids, table, wants)


def embedding_backward(dy, cache):
    """dtable[v] = the sum of dy_n over the rows n with ids_n = v: a token seen twice gets both."""
    ids, table, wants = cache
    grads = {}
    if "weight" in wants:
        xp = xp_of(dy)
        grads["weight"] = xp.zeros(table.shape, table.dtype)  # no memory where nothing is written to
        xp.add.at(grads["weight"], ids, dy)
    return grads


# --------------------------------------------------------------------------- language-model head and loss


def lm_loss(x, W, labels, wants=frozenset()):
    r"""The head and its cross-entropy in one: $\ell = -\sum_m \log \mathrm{softmax}(x_m W^T)_{labels_m}$.

    x (M, C): the rows that have a label; W (V, C); labels (M,) -> the SUM over rows, a 0-d array.

    Logits of shape (M, V) never exist: rows go through in chunks. The loss is the end of the network, so
    its gradient is known while a chunk's softmax is at hand ($dz = softmax(z) - onehot$); it is formed
    here, and the backward only scales it.
    """
    xp = xp_of(x)
    loss = xp.zeros((), dtype=np.float64)
    dx = xp.empty_like(x) if "x" in wants else None
    dW = None
    for i in range(0, len(x), HEAD_ROWS):
        chunk, target = x[i : i + HEAD_ROWS], labels[i : i + HEAD_ROWS]
        z = chunk @ W.T  # (n, V)
        for r in row_blocks(z):
            y, zr = target[r], z[r]
            rows = xp.arange(len(zr))
            zr -= zr.max(1, keepdims=True)
            at_label = zr[rows, y]
            xp.exp(zr, out=zr)
            total = zr.sum(1, keepdims=True)
            loss += (xp.log(total[:, 0]) - at_label).sum(dtype=np.float64)
            if wants:
                zr /= total  # softmax
                zr[rows, y] -= 1  # dz
        if dx is not None:
            xp.matmul(z, W, out=dx[i : i + HEAD_ROWS])
        if "weight" in wants:
            dW = z.T @ chunk if dW is None else xp.add(dW, z.T @ chunk, out=dW)
    return loss, (dx, dW)


def lm_loss_backward(dloss, cache):
    """dloss, a number -> dx (M, C), or None if not wanted, and the gradient of W (V, C)."""
    dx, dW = cache
    grads = {} if dW is None else {"weight": dW if dloss == 1 else dW * dloss}
    return dx if dx is None or dloss == 1 else dx * dloss, grads


def lm_scores(x, W, labels):
    """The labels' log-probabilities and the likeliest tokens.  x (M, C), W (V, C), labels (M,) -> (M,), (M,).

    For evaluation: it has no backward. See `lm_loss` for training.
    """
    xp = xp_of(x)
    logprob, best = xp.empty(len(x), dtype=x.dtype), xp.empty(len(x), dtype=np.int64)
    for i in range(0, len(x), HEAD_ROWS):
        z = x[i : i + HEAD_ROWS] @ W.T  # (n, V)
        for r in row_blocks(z):
            at = slice(i + r.start, i + r.stop)
            zr, y = z[r], labels[at]
            best[at] = zr.argmax(1)
            zr -= zr.max(1, keepdims=True)
            logprob[at] = zr[xp.arange(len(zr)), y] - xp.log(xp.exp(zr).sum(1))
    return logprob, best
