r"""GPT-2: configuration, block, model, and the four sites where a fine-tuning method acts (marked SITE).

    x = wte[ids] + wpe[positions]
    for each layer:   x = x + attn(ln_1(x));   x = x + mlp(ln_2(x))
    logits = ln_f(x) wte^T                                              (Radford et al. 2019)

Every forward has its backward directly beneath it. Nothing is stored on objects: a forward returns a
cache, its backward takes it. Tensors carry their checkpoint names ("h.0.attn.c_attn.weight").

Letters: N tokens of all sequences, packed; C model width; F MLP width; V vocabulary; L layers.
"""

from dataclasses import replace

import numpy as np

from . import ops
from .backend import like, xp_of
from .methods.base import add_dx, add_grads

# ------------------------------------------------------------------------------ layers, by their names


def linear(name, x, step):
    """The linear layer `name` with what the method does beside it.  x (N, I) -> (N, O)."""
    W, b = step.weights[f"{name}.weight"], step.weights[f"{name}.bias"]
    x, before = step.method.linear_input(name, x, step)  # SITE linear: what enters
    y, base = ops.linear(x, W, b, step.wants(name), step.reads(name))
    y, after = step.method.linear(name, x, y, step)  # SITE linear: what leaves
    return y, (name, before, base, after)


def linear_backward(dy, cache, step):
    """dy (N, O) -> dx (N, I), None if nothing below needs it; gradients by name."""
    name, before, base, after = cache
    dy, dx_beside, grads = step.method.linear_backward(dy, after, step)
    dx, own = ops.linear_backward(dy, base)
    add_grads(grads, named(name, own))
    if dx is None:
        return None, grads
    dx, g = step.method.linear_input_backward(add_dx(dx, dx_beside), before, step)
    return dx if "x" in step.wants(f"{name}.input") else None, grads | g


def layer_norm(name, x, step):
    """The layer norm `name`.  x (N, C) -> (N, C)."""
    w, b = step.weights[f"{name}.weight"], step.weights[f"{name}.bias"]
    y, cache = ops.layer_norm(x, w, b, step.config.layer_norm_epsilon, step.wants(name))
    return y, (name, cache)


def layer_norm_backward(dy, cache):
    """dy (N, C) -> dx (N, C), None if nothing below needs it; gradients by name."""
    name, cache = cache
    dx, grads = ops.layer_norm_backward(dy, cache)
    return dx, named(name, grads)


def named(name, grads):
    """{"weight": g} -> {"h.0.ln_1.weight": g}."""
    return {f"{name}.{kind}": g for kind, g in grads.items()}


# -------------------------------------------------------------------------------------------- a block


def attn(x, layer, step):
    """What attention adds to the residual stream.  x (N, C) -> h (N, C)."""
    name, layout = f"h.{layer}.attn", step.layout
    a, norm = layer_norm(f"h.{layer}.ln_1", x, step)
    qkv, c_attn = linear(f"{name}.c_attn", a, step)  # (N, 3C)
    C = step.config.n_embd
    q, k, v = qkv[:, :C], qkv[:, C : 2 * C], qkv[:, 2 * C :]  # views (N, C)
    k, v, keys, kv = step.method.keys_values(layer, k, v, layout, a, step)  # SITE keys_values
    k, v, spans = (k, v, keys.spans) if step.kv_cache is None else step.kv_cache.append(layer, k, v, keys)
    wants = step.wants(f"{name}.attention")
    o, att = ops.attention(q, k, v, layout.spans, spans, step.config.n_head, step.p_drop, step.rng, wants)
    h, c_proj = linear(f"{name}.c_proj", o, step)
    h, drop = ops.dropout(h, step.p_drop, step.rng)
    h, site = step.method.sublayer(name, x, h, step)  # SITE sublayer
    return h, (norm, c_attn, kv, att, c_proj, drop, site)


def attn_backward(dh, cache, step):
    """dh (N, C) -> dx (N, C) by way of the sublayer, or None; gradients by name."""
    norm, c_attn, kv, att, c_proj, drop, site = cache
    dh, dx, grads = step.method.sublayer_backward(dh, site, step)
    dh = ops.dropout_backward(dh, drop)
    do, g = linear_backward(dh, c_proj, step)
    grads |= g
    if do is None:
        return dx, grads  # nothing trains below
    dq, dk, dv = ops.attention_backward(do, att)
    dk, dv, da_kv, g = step.method.keys_values_backward(dk, dv, kv, step)
    add_grads(grads, g)
    dqkv = xp_of(dh).concatenate([dq, dk, dv], axis=1)  # (N, 3C)
    da, g = linear_backward(dqkv, c_attn, step)
    grads |= g
    if da is None:
        return dx, grads
    dx_norm, g = layer_norm_backward(add_dx(da, da_kv), norm)
    return add_dx(dx, dx_norm), grads | g


def mlp(x, layer, step):
    """What the MLP adds to the residual stream.  x (N, C) -> h (N, C)."""
    name = f"h.{layer}.mlp"
    a, norm = layer_norm(f"h.{layer}.ln_2", x, step)
    u, c_fc = linear(f"{name}.c_fc", a, step)  # (N, F)
    g, act = ops.gelu(u, step.wants(f"{name}.gelu"))
    h, c_proj = linear(f"{name}.c_proj", g, step)  # (N, C)
    h, drop = ops.dropout(h, step.p_drop, step.rng)
    h, site = step.method.sublayer(name, x, h, step)  # SITE sublayer
    return h, (norm, c_fc, act, c_proj, drop, site)


def mlp_backward(dh, cache, step):
    """dh (N, C) -> dx (N, C) by way of the sublayer, or None; gradients by name."""
    norm, c_fc, act, c_proj, drop, site = cache
    dh, dx, grads = step.method.sublayer_backward(dh, site, step)
    dh = ops.dropout_backward(dh, drop)
    dg, g = linear_backward(dh, c_proj, step)
    grads |= g
    if dg is None:
        return dx, grads  # nothing trains below
    du = ops.gelu_backward(dg, act)
    da, g = linear_backward(du, c_fc, step)
    grads |= g
    if da is None:
        return dx, grads
    dx_norm, g = layer_norm_backward(da, norm)
    return add_dx(dx, dx_norm), grads | g


def block(x, layer, step):
    """One layer.  x (N, C) -> (N, C)."""
    h, attention = attn(x, layer, step)
    x = x + h
    h, multilayer = mlp(x, layer, step)
    return x + h, (attention, multilayer)


def block_backward(dx, cache, step):
    """dx (N, C) -> dx (N, C): the residual stream passes it on, each sublayer adds its own."""
    attention, multilayer = cache
    dx_mlp, grads = mlp_backward(dx, multilayer, step)
    dx = add_dx(dx, dx_mlp)
    dx_attn, g = attn_backward(dx, attention, step)
    return add_dx(dx, dx_attn), add_grads(grads, g)


def checkpointed_block(x, layer, step):
    """`block`, keeping no more than it was given, and nothing at all if no backward comes down to it."""
    y, _ = block(x, layer, replace(step, learns=False))
    return y, (x, layer, step.layout) if step.lowest <= step.depth(f"h.{layer}.mlp") else None


def checkpointed_block_backward(dx, cache, step):
    """Runs the block again, dropout and all, for what its backward needs.  dx (N, C) -> dx (N, C)."""
    x, layer, layout = cache
    again = replace(step.drawing(layer + 1), layout=layout, again=True)
    return block_backward(dx, block(x, layer, again)[1], step)


# ------------------------------------------------------------------------------------------ the model


def embed(ids, layout, step):
    """ids (N,) -> x (N', C) and its layout: token embeddings, the method's rows, positions."""
    x, tokens = ops.embedding(ids, step.weights["wte.weight"], step.wants("wte"))
    x, layout, site = step.method.embed(x, layout, step)  # SITE embed
    where = like(x, layout.positions)
    p, positions = ops.embedding(where, step.weights["wpe.weight"], step.wants("wpe"))
    x, drop = ops.dropout(x + p, step.p_drop, step.rng)
    return x, layout, (tokens, site, positions, drop)


def embed_backward(dx, cache, step):
    """dx (N', C) -> gradients by name."""
    tokens, site, positions, drop = cache
    dx = ops.dropout_backward(dx, drop)
    grads = named("wpe", ops.embedding_backward(dx, positions))
    dx, g = step.method.embed_backward(dx, site, step)
    add_grads(grads, g)
    return add_grads(grads, named("wte", ops.embedding_backward(dx, tokens)))


def forward(ids, layout, step):
    """ids (N,) of the packed sequences -> the residual stream after the last block (N', C), its layout."""
    x, layout, cache = embed(ids, layout, step.drawing(0))
    step, caches = replace(step, layout=layout), [cache]
    for layer in range(step.config.n_layer):
        run = checkpointed_block if step.checkpointing else block
        x, cache = run(x, layer, step.drawing(layer + 1))
        caches.append(cache)
    return x, layout, caches


def backward(dx, caches, step, collect):
    """dx (N', C); collect(gradients by name), block by block, down to the lowest where something trains."""
    for layer in reversed(range(step.config.n_layer)):
        if step.lowest > step.depth(f"h.{layer}.mlp"):
            return
        run = checkpointed_block_backward if step.checkpointing else block_backward
        dx, g = run(dx, caches.pop(), step)  # pop: a layer's activations go when they are used
        collect(g)
    if step.lowest == 0:
        collect(embed_backward(dx, caches.pop(), step))


def loss_and_grads(batch, step, collect, loss_op=(ops.lm_loss, ops.lm_loss_backward)):
    """The SUM of the cross-entropy over the batch's labelled tokens, and their number.

    Sums, so that parts of a batch, on whatever core or machine, add up. The final norm and the head work
    on the rows that predict a labelled token, and on no other. loss_op: the head and its loss, forward and
    backward (distillation has one of its own).

    collect(grads) is called with gradients by name as the backward pass comes to them (`Gradients.add`, say);
    a tensor that is used in two places has two, and the sum is its gradient.
    """
    lm_loss, lm_loss_backward = loss_op
    x, layout, caches = forward(like(step.weights["wte.weight"], batch.ids), batch.layout, step)
    rows, labels = (like(x, a) for a in batch.targets(layout))
    a, norm = layer_norm("ln_f", x[rows], step)  # (M, C)
    head = step.config.head
    wants = step.wants("lm_head") & {"x"} | step.wants(head) & {"weight"}
    loss, cache = lm_loss(a, step.weights[f"{head}.weight"], labels, wants)

    da, own = lm_loss_backward(1, cache)
    collect(named(head, own))
    del cache, own  # the head's gradient is large, and has been handed over
    if da is not None:
        da, g = layer_norm_backward(da, norm)
        collect(g)
    if da is not None:
        dx = xp_of(x).zeros_like(x)
        dx[rows] = da  # each row predicts one token, so no row occurs twice
        backward(dx, caches, step, collect)
    return loss, len(rows)


def predictions(batch, step):
    """What the head reads, of the rows that predict a labelled token (M, C), these tokens (M,), and the
    sequence that each is of (M,), on the host.

    For evaluation, and for teachers: it has no backward.
    """
    x, layout, _ = forward(like(step.weights["wte.weight"], batch.ids), batch.layout, step)
    rows, labels = batch.targets(layout)
    sequences = np.searchsorted(layout.first_rows, rows, side="right") - 1
    a, _ = layer_norm("ln_f", x[like(x, rows)], step)
    return a, like(x, labels), sequences


def logits(x, step):
    """x (M, C) after the last block -> (M, V)."""
    a, _ = layer_norm("ln_f", x, step)
    return ops.times_transposed(a, step.weights[f"{step.config.head}.weight"])
