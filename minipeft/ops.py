r"""The operations of a transformer, as their formulas: `f`, and right under it its `f_backward`, if any.

    y, cache = f(x, ...)                 the cache holds what the backward needs, and no more
    dx, grads = f_backward(dy, cache)    gradients of what f was given, {name: gradient} for its weights;
                                         the caller adds them up

`wants` says which gradients somebody asked for: a set of "x" (of the input), "weight", "bias". What
nobody wants is not formed, and an input that only served it is not kept.

Letters: N tokens, C model width, H heads, D = C/H, F MLP width, V vocabulary, M labelled rows.
Nothing here writes into an array that it was given. Where the same can be had faster, speed/fast.py and
speed/gpu.py have it, under the same names, tested against these; `step.ops` says which of them is at work.
"""

import numpy as np

from .backend import xp_of

# ------------------------------------------------------------------------------------------- linear


def linear(x, W, b, wants=frozenset()):
    r"""$y = x W + b$.  x (N, I), W (I, O), b (O,) -> y (N, O).  W as GPT-2 stores it: (in, out)."""
    y = x @ W + b  # (N, O)
    return y, (x if "weight" in wants else None, W, wants)  # x serves dW alone


def linear_backward(dy, cache):
    r"""$dx = dy\,W^T$, $dW = x^T dy$, $db = \sum_n dy_n$; each only if wanted, dx else None."""
    x, W, wants = cache
    dx = dy @ W.T if "x" in wants else None  # (N, I)
    grads = {}
    if "weight" in wants:
        grads["weight"] = x.T @ dy  # (I, O)
    if "bias" in wants:
        grads["bias"] = dy.sum(0)  # (O,)
    return dx, grads


# --------------------------------------------------------------------------------------- layer norm


def layer_norm(x, w, b, eps, wants=frozenset()):
    r"""$y = \hat x\,w + b$, $\hat x = (x - \mu)/\sqrt{\sigma^2 + \epsilon}$ over each row.

    x (N, C), w and b (C,) -> y (N, C); $\sigma^2$ is the biased variance (Ba et al. 2016, eq. 3-4).
    """
    xp = xp_of(x)
    centred = x - x.mean(1, keepdims=True)  # (N, C)
    rstd = 1 / xp.sqrt((centred * centred).mean(1, keepdims=True) + eps)  # (N, 1)
    xhat = centred * rstd  # (N, C)
    return xhat * w + b, (xhat if wants & {"x", "weight"} else None, rstd, w, wants)


def layer_norm_backward(dy, cache):
    r"""$dx = r\,(g - \bar g - \hat x\,\overline{g \hat x})$, $g = dy\,w$, $r = 1/\sqrt{\sigma^2 + \epsilon}$.

    Bars are means over each row.
    """
    xhat, rstd, w, wants = cache
    dx, grads = None, {}
    if "weight" in wants:
        grads["weight"] = (dy * xhat).sum(0)  # (C,)
    if "bias" in wants:
        grads["bias"] = dy.sum(0)  # (C,)
    if "x" in wants:
        g = dy * w  # (N, C)
        along = (g * xhat).mean(1, keepdims=True)  # the part of g along xhat, which the norm takes out
        dx = rstd * (g - g.mean(1, keepdims=True) - xhat * along)
    return dx, grads


# --------------------------------------------------------------------------------------------- gelu

GELU_K, GELU_A = 0.7978845608028654, 0.044715  # sqrt(2/pi), and Hendrycks & Gimpel's cubic term


def gelu(u, wants=frozenset()):
    r"""GPT-2's form: $y = \tfrac12 u\,(1 + t)$, $t = \tanh(k\,(u + a u^3))$  (Hendrycks & Gimpel 2016).

    u (N, F) -> y (N, F).
    """
    t = xp_of(u).tanh(GELU_K * (u + GELU_A * u * u * u))
    return 0.5 * u * (1 + t), (u, t) if "x" in wants else None


def gelu_backward(dy, cache):
    r"""$du = dy\,(\tfrac12 (1 + t) + \tfrac12 u\,(1 - t^2)\,k\,(1 + 3 a u^2))$;  $\tanh' = 1 - \tanh^2$."""
    u, t = cache
    return dy * (0.5 * (1 + t) + 0.5 * u * (1 - t * t) * GELU_K * (1 + 3 * GELU_A * u * u))


# ---------------------------------------------------------------------------------------- attention


def heads(x, H):
    """(T, C) -> (H, T, D): a view, no copy. Head h owns columns h D ... (h+1) D."""
    T, C = x.shape
    return x.reshape(T, H, C // H).transpose(1, 0, 2)


def softmax(z):
    r"""$p_i = e^{z_i} / \sum_j e^{z_j}$ over the last axis; the largest z is taken off first: no overflow."""
    e = xp_of(z).exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def attention(q, k, v, q_spans, k_spans, H, p_drop=0.0, rng=None, wants=frozenset()):
    r"""Causal multi-head attention within each sequence: $o = \mathrm{softmax}(q k^T/\sqrt D + mask)\,v$.

    q (N, C); k, v (N', C); q_spans, k_spans: the (begin, end) rows of each sequence -> o (N, C).

    A sequence may have more keys than queries, whatever the extra ones are (a prefix, a KV cache): they
    come first, and every query sees them. Query i sees key j where j <= i + (keys - queries).
    p_drop: the probability of dropping an attention weight, drawn from rng. (Vaswani et al. 2017, eq. 1)
    """
    xp, kept = xp_of(q), []
    o, scale = xp.empty_like(q), (q.shape[1] // H) ** -0.5
    for (a, b), (c, d) in zip(q_spans, k_spans, strict=True):
        T, extra = b - a, (d - c) - (b - a)
        s = heads(q[a:b], H) @ heads(k[c:d], H).transpose(0, 2, 1) * scale  # (H, T, extra + T)
        if T > 1:  # a single query sees every key
            s += xp.triu(xp.full((T, extra + T), -xp.inf, dtype=q.dtype), 1 + extra)  # 0 where i sees j
        p = softmax(s)
        dropped, drop = dropout(p, p_drop, rng)
        heads(o[a:b], H)[...] = dropped @ heads(v[c:d], H)  # (H, T, D)
        if "x" in wants:
            kept.append((p, drop))
    return o, (q, k, v, q_spans, k_spans, H, kept) if "x" in wants else None


def attention_backward(do, cache):
    r"""do (N, C) -> dq (N, C), dk, dv (N', C).

    forward: $o = (p\,m)\,v$, m dropout's mask (1 without), so $dv = (p\,m)^T do$ and $dp = (do\,v^T)\,m$;
    softmax: $ds = p\,(dp - \sum_j dp_j\,p_j)$;
    forward: $s = q k^T/\sqrt D$, so $dq = ds\,k/\sqrt D$ and $dk = ds^T q/\sqrt D$.
    """
    q, k, v, q_spans, k_spans, H, kept = cache
    xp, scale = xp_of(do), (q.shape[1] // H) ** -0.5
    dq, dk, dv = xp.empty_like(q), xp.empty_like(k), xp.empty_like(v)
    for (a, b), (c, d), (p, drop) in zip(q_spans, k_spans, kept, strict=True):
        dos = heads(do[a:b], H)  # (H, T, D)
        dropped = p if drop is None else p * drop
        heads(dv[c:d], H)[...] = dropped.transpose(0, 2, 1) @ dos
        dp = dropout_backward(dos @ heads(v[c:d], H).transpose(0, 2, 1), drop)  # (H, T, extra + T)
        ds = p * (dp - (dp * p).sum(2, keepdims=True)) * scale
        heads(dq[a:b], H)[...] = ds @ heads(k[c:d], H)
        heads(dk[c:d], H)[...] = ds.transpose(0, 2, 1) @ heads(q[a:b], H)
    return dq, dk, dv


def attention_weights(cache):
    """[p (H, T, keys), ...]: of each sequence, how much each query looks at each key. From what is kept."""
    *_, kept = cache
    return [p for p, _ in kept]


# ------------------------------------------------------------------------------------------ dropout


def dropout(x, p, rng):
    r"""$y = x\,m$, m = 0 with probability p, else 1/(1-p) (Srivastava et al. 2014).

    The cache is the mask m. With rng None (evaluation) or p = 0, y is x itself and m is None.
    """
    if rng is None or p == 0:
        return x, None
    mask = (rng.random(x.shape, dtype=np.float32) >= p).astype(x.dtype) / (1 - p)
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


# ---------------------------------------------------------------- the same rows in front of every sequence


def prepend(rows, x, layout):
    r"""Put the same rows in front of every sequence: $x'_s = [\,rows\,; x_s\,]$  (Lester et al. 2021, §2).

    rows (P, C), x (N, C), layout: of x -> x' (N + S P, C), and its layout. Sequences that continue a KV cache
    have their rows already and are left alone.
    """
    if not layout.fresh:
        return x, layout
    pieces = [piece for a, b in layout.spans for piece in (rows, x[a:b])]
    return xp_of(x).concatenate(pieces), layout.longer(len(rows))


def prepend_backward(dx, P, layout):
    """dx (N + S P, C) -> dx of the text (N, C), drows (P, C): the sum over the sequences, which share them.

    layout: of the rows before `prepend`.
    """
    spans = layout.longer(P).spans
    drows = sum(dx[a : a + P] for a, _ in spans)  # (P, C)
    return xp_of(dx).concatenate([dx[a + P : b] for a, b in spans]), drows


# --------------------------------------------------------------------------- language-model head and loss


def log_softmax(z):
    r"""$\log p_i = z_i - \log \sum_j e^{z_j}$ over the last axis; the largest z is taken off first."""
    xp, z = xp_of(z), z - z.max(-1, keepdims=True)
    return z - xp.log(xp.exp(z).sum(-1, keepdims=True))


def lm_logits(x, W):
    """The head: $z = x W^T$.  x (M, C), W (V, C) -> (M, V), a score for every token. It has no backward."""
    return x @ W.T


def lm_loss(x, W, labels, wants=frozenset()):
    r"""The head and its loss: $\ell = \sum_m (\log \sum_v e^{z_{mv}} - z_{m,labels_m})$, $z = x W^T$.

    That is minus the log-probability of the labels. x (M, C): the rows that have a label; W (V, C); labels
    (M,) -> the SUM over rows, a 0-d array.
    """
    xp, at_label = xp_of(x), (xp_of(x).arange(len(x)), labels)
    z = x @ W.T  # (M, V)
    z = z - z.max(1, keepdims=True)  # the loss is the same, and e^z cannot overflow
    e = xp.exp(z)
    total = e.sum(1, keepdims=True)  # (M, 1)
    loss = (xp.log(total[:, 0]) - z[at_label]).sum(dtype=np.float64)
    return loss, (x, W, e / total, at_label, wants) if wants else None


def lm_loss_backward(dloss, cache):
    r"""dloss, a number -> dx (M, C), or None if not wanted, and the gradient of W (V, C).

    forward: $z = x W^T$; of the loss $dz = p - onehot(labels)$, $p = \mathrm{softmax}(z)$.
    """
    if cache is None:
        return None, {}
    x, W, p, at_label, wants = cache
    dz = dloss * p  # (M, V)
    dz[at_label] -= dloss
    return dz @ W if "x" in wants else None, {"weight": dz.T @ x} if "weight" in wants else {}


def in_chunks(loss, loss_backward):
    """A loss at the head and its backward, for as many rows as there are: here, all of them at once.

    `speed.fast` takes some rows at a time. Positional arguments of the loss are arrays with a row for each
    label, the first one x; keywords are the same for all rows.
    """
    return loss, loss_backward


def lm_scores(x, W, labels):
    """The labels' log-probabilities and the likeliest tokens.  x (M, C), W (V, C), labels (M,) -> (M,), (M,).

    For evaluation: it has no backward. See `lm_loss` for training.
    """
    logp = log_softmax(x @ W.T)  # (M, V)
    return logp[xp_of(x).arange(len(x)), labels], logp.argmax(1)
