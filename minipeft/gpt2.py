r"""GPT-2, forward and backward, and the four sites where a fine-tuning method acts (marked SITE).

    x = wte[ids] + wpe[positions]
    for each layer:   x = x + attn(ln_1(x));   x = x + mlp(ln_2(x))
    logits = ln_f(x) wte^T                                              (Radford et al. 2019)

Every forward has its backward directly beneath it. Nothing is stored on objects: a forward returns a
cache, its backward takes it. Tensors carry their checkpoint names ("h.0.attn.c_attn.weight").

Letters: N tokens of all sequences, packed; C model width; F MLP width; V vocabulary; L layers.
"""

from dataclasses import replace

import numpy as np

from .backend import like, xp_of
from .methods.base import add_dx, add_grads

# ------------------------------------------------------------------------------ layers, by their names


def linear_at(name, x, step):
    """The linear layer `name` with what the method does beside it.  x (N, I) -> (N, O)."""
    W, b = step.weights[f"{name}.weight"], step.weights[f"{name}.bias"]
    x, before = step.method.linear_input(name, x, step)  # SITE linear: what enters
    y, base = step.ops.linear(x, W, b, step.wants(name))
    y, after = step.method.linear(name, x, y, step)  # SITE linear: what leaves
    return y, (name, before, base, after)


def linear_at_backward(dy, cache, step):
    """dy (N, O) -> dx (N, I), None if nothing below needs it; gradients by name."""
    name, before, base, after = cache
    dy, dx_beside, grads = step.method.linear_backward(dy, after, step)
    dx, own = step.ops.linear_backward(dy, base)
    add_grads(grads, named(name, own))
    if dx is None:
        return None, grads
    dx, g = step.method.linear_input_backward(add_dx(dx, dx_beside), before, step)
    return dx if "x" in step.wants(f"{name}.input") else None, add_grads(grads, g)


def layer_norm_at(name, x, step):
    """The layer norm `name`.  x (N, C) -> (N, C)."""
    w, b = step.weights[f"{name}.weight"], step.weights[f"{name}.bias"]
    y, cache = step.ops.layer_norm(x, w, b, step.config.layer_norm_epsilon, step.wants(name))
    return y, (name, cache)


def layer_norm_at_backward(dy, cache, step):
    """dy (N, C) -> dx (N, C), None if nothing below needs it; gradients by name."""
    name, cache = cache
    dx, grads = step.ops.layer_norm_backward(dy, cache)
    return dx, named(name, grads)


def named(name, grads):
    """{"weight": g} -> {"h.0.ln_1.weight": g}."""
    return {f"{name}.{kind}": g for kind, g in grads.items()}


# -------------------------------------------------------------------------------------------- a block


def attn(x, layer, step):
    """What attention adds to the residual stream.  x (N, C) -> h (N, C)."""
    name, layout = f"h.{layer}.attn", step.layout
    a, norm = layer_norm_at(f"h.{layer}.ln_1", x, step)
    qkv, c_attn = linear_at(f"{name}.c_attn", a, step)  # (N, 3C)
    C = step.config.n_embd
    q, k, v = qkv[:, :C], qkv[:, C : 2 * C], qkv[:, 2 * C :]  # views (N, C)
    k, v, key_layout, kv = step.method.keys_values(layer, k, v, layout, a, step)  # SITE keys_values
    spans = key_layout.spans
    if step.kv_cache is not None:
        k, v, spans = step.kv_cache.append(layer, k, v, key_layout)
    H, wants = step.config.n_head, step.wants(f"{name}.attention")
    o, att = step.ops.attention(q, k, v, layout.spans, spans, H, step.p_drop, step.rng, wants)
    h, c_proj = linear_at(f"{name}.c_proj", o, step)
    h, drop = step.ops.dropout(h, step.p_drop, step.rng)
    h, site = step.method.sublayer(name, x, h, step)  # SITE sublayer
    return h, (norm, c_attn, kv, att, c_proj, drop, site)


def attn_backward(dh, cache, step):
    """dh (N, C) -> dx (N, C) by way of the sublayer, or None; gradients by name."""
    norm, c_attn, kv, att, c_proj, drop, site = cache
    dh, dx, grads = step.method.sublayer_backward(dh, site, step)
    dh = step.ops.dropout_backward(dh, drop)
    do, g = linear_at_backward(dh, c_proj, step)
    add_grads(grads, g)
    if do is None:
        return dx, grads  # nothing trains below
    dq, dk, dv = step.ops.attention_backward(do, att)
    dk, dv, da_kv, g = step.method.keys_values_backward(dk, dv, kv, step)
    add_grads(grads, g)
    dqkv = xp_of(dh).concatenate([dq, dk, dv], axis=1)  # (N, 3C)
    da, g = linear_at_backward(dqkv, c_attn, step)
    add_grads(grads, g)
    if da is None:
        return dx, grads
    dx_norm, g = layer_norm_at_backward(add_dx(da, da_kv), norm, step)
    return add_dx(dx, dx_norm), add_grads(grads, g)


def mlp(x, layer, step):
    """What the MLP adds to the residual stream.  x (N, C) -> h (N, C)."""
    name = f"h.{layer}.mlp"
    a, norm = layer_norm_at(f"h.{layer}.ln_2", x, step)
    u, c_fc = linear_at(f"{name}.c_fc", a, step)  # (N, F)
    g, act = step.ops.gelu(u, step.wants(f"{name}.gelu"))
    h, c_proj = linear_at(f"{name}.c_proj", g, step)  # (N, C)
    h, drop = step.ops.dropout(h, step.p_drop, step.rng)
    h, site = step.method.sublayer(name, x, h, step)  # SITE sublayer
    return h, (norm, c_fc, act, c_proj, drop, site)


def mlp_backward(dh, cache, step):
    """dh (N, C) -> dx (N, C) by way of the sublayer, or None; gradients by name."""
    norm, c_fc, act, c_proj, drop, site = cache
    dh, dx, grads = step.method.sublayer_backward(dh, site, step)
    dh = step.ops.dropout_backward(dh, drop)
    dg, g = linear_at_backward(dh, c_proj, step)
    add_grads(grads, g)
    if dg is None:
        return dx, grads  # nothing trains below
    du = step.ops.gelu_backward(dg, act)
    da, g = linear_at_backward(du, c_fc, step)
    add_grads(grads, g)
    if da is None:
        return dx, grads
    dx_norm, g = layer_norm_at_backward(da, norm, step)
    return add_dx(dx, dx_norm), add_grads(grads, g)


def block(x, layer, step):
    """One layer.  x (N, C) -> (N, C)."""
    h, attention = attn(x, layer, step)
    x = x + h
    h, mlp_cache = mlp(x, layer, step)
    return x + h, (attention, mlp_cache)


def block_backward(dx, cache, step):
    """dx (N, C) -> dx (N, C): the residual stream passes it on, each sublayer adds its own."""
    attention, mlp_cache = cache
    dx_mlp, grads = mlp_backward(dx, mlp_cache, step)
    dx = add_dx(dx, dx_mlp)
    dx_attn, g = attn_backward(dx, attention, step)
    return add_dx(dx, dx_attn), add_grads(grads, g)


# ------------------------------------------------------------------------------------------ the model


def embed(ids, layout, step):
    """ids (N,) -> x (N', C) and its layout: token embeddings, the method's rows, positions."""
    x, tokens = step.ops.embedding(ids, step.weights["wte.weight"], step.wants("wte"))
    x, layout, site = step.method.embed(x, layout, step)  # SITE embed
    where = like(x, layout.positions)
    p, positions = step.ops.embedding(where, step.weights["wpe.weight"], step.wants("wpe"))
    x, drop = step.ops.dropout(x + p, step.p_drop, step.rng)
    return x, layout, (tokens, site, positions, drop)


def embed_backward(dx, cache, step):
    """dx (N', C) -> gradients by name."""
    tokens, site, positions, drop = cache
    dx = step.ops.dropout_backward(dx, drop)
    grads = named("wpe", step.ops.embedding_backward(dx, positions))
    dx, g = step.method.embed_backward(dx, site, step)
    add_grads(grads, g)
    return add_grads(grads, named("wte", step.ops.embedding_backward(dx, tokens)))


def forward(ids, layout, step, block=block):
    """ids (N,) of the packed sequences -> the residual stream after the last block (N', C), its layout."""
    x, layout, cache = embed(ids, layout, step.with_dropout_rng(0))
    step, caches = replace(step, layout=layout), [cache]
    for layer in range(step.config.n_layer):
        x, cache = block(x, layer, step.with_dropout_rng(layer + 1))
        caches.append(cache)
    return x, layout, caches


def backward(dx, caches, step, collect, block_backward=block_backward):
    """dx (N', C); collect(gradients by name), block by block, down to the lowest where something trains."""
    for layer in reversed(range(step.config.n_layer)):
        if not step.backward_reaches(layer):
            return
        dx, g = block_backward(dx, caches.pop(), step)  # pop: a layer's activations go when they are used
        collect(g)
    if step.lowest_trained == 0:
        collect(embed_backward(dx, caches.pop(), step))


def loss_and_grads(batch, step, collect, head_loss=None, blocks=(block, block_backward)):
    """The SUM of the cross-entropy over the batch's labelled tokens, and their number.

    Sums, so that parts of a batch, on whatever core or machine, add up. The final norm and the head work
    on the rows that predict a labelled token, and on no other.

    head_loss: the head and its loss, forward and backward; None: `lm_loss`. blocks: the same of a block.

    collect(grads) is called with gradients by name as the backward pass comes to them (`Gradients.add`, say);
    a tensor that is used in two places has two, and the sum is its gradient.
    """
    lm_loss, lm_loss_backward = head_loss or (step.ops.lm_loss, step.ops.lm_loss_backward)
    block, block_backward = blocks
    x, layout, caches = forward(like(step.weights["wte.weight"], batch.ids), batch.layout, step, block)
    rows, labels = (like(x, a) for a in batch.targets(layout))
    a, norm = layer_norm_at("ln_f", x[rows], step)  # (M, C)
    head = step.config.head
    wants = step.wants("lm_head") & {"x"} | step.wants(head) & {"weight"}
    loss, cache = lm_loss(a, step.weights[f"{head}.weight"], labels, wants)

    da, own = lm_loss_backward(1, cache)
    collect(named(head, own))
    del cache, own  # the head's gradient is large, and has been handed over
    if da is not None:
        da, g = layer_norm_at_backward(da, norm, step)
        collect(g)
    if da is not None:
        dx = xp_of(x).zeros_like(x)
        dx[rows] = da  # each row predicts one token, so no row occurs twice
        backward(dx, caches, step, collect, block_backward)
    return loss, len(rows)


def predictions(batch, step):
    """What the head reads, of the rows that predict a labelled token (M, C), these tokens (M,), and the
    sequence that each is of (M,), on the host.

    For evaluation, and for teachers: it has no backward.
    """
    x, layout, _ = forward(like(step.weights["wte.weight"], batch.ids), batch.layout, step)
    rows, labels = batch.targets(layout)
    sequences = np.searchsorted(layout.first_rows, rows, side="right") - 1
    a, _ = layer_norm_at("ln_f", x[like(x, rows)], step)
    return a, like(x, labels), sequences


def logits(x, step):
    """x (M, C) after the last block -> (M, V)."""
    a, _ = layer_norm_at("ln_f", x, step)
    return step.ops.lm_logits(a, step.weights[f"{step.config.head}.weight"])
