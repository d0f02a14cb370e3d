r"""GPT-2: configuration, block, model, and the four sites where a fine-tuning method acts (marked SITE).

    x = wte[ids] + wpe[positions]
    for each layer:   x = x + attn(ln_1(x));   x = x + mlp(ln_2(x))
    logits = ln_f(x) wte^T                                              (Radford et al. 2019)

Every forward has its backward directly beneath it. Nothing is stored on objects: a forward returns a
cache, its backward takes it. Tensors carry their checkpoint names ("h.0.attn.c_attn.weight").

Letters: N tokens of all sequences, packed; C model width; F MLP width; V vocabulary; L layers.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from . import ops
from .backend import generator, like, xp_for, xp_of
from .errors import InputError
from .methods.base import Method, add_dx, add_grads
from .quantize import Quantized, dequantized, quantizer

# ------------------------------------------------------------------------------------- configuration


@dataclass
class GPT2Config:
    """The shape of a GPT-2, with the names and defaults of `config.json`. Defaults: GPT-2 small."""

    vocab_size: int = 50257
    n_positions: int = 1024
    n_embd: int = 768
    n_layer: int = 12
    n_head: int = 12
    n_inner: int | None = None  # width of the MLP; None: 4 n_embd
    layer_norm_epsilon: float = 1e-5
    tie_word_embeddings: bool = True
    eos_token_id: int | None = None  # ends a text; None: the last id of the vocabulary

    def __post_init__(self):
        for name in ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be 1 or more, not {getattr(self, name)}")
        if self.n_embd % self.n_head:
            raise InputError(f"n_embd {self.n_embd} cannot be divided among n_head {self.n_head} heads")
        self.n_inner = self.n_inner or 4 * self.n_embd
        if self.eos_token_id is None:
            self.eos_token_id = self.vocab_size - 1

    def shapes(self):
        """{checkpoint name: shape} of every parameter, in the order of the forward pass."""
        C, F = self.n_embd, self.n_inner
        shapes = {"wte.weight": (self.vocab_size, C), "wpe.weight": (self.n_positions, C)}
        for i in range(self.n_layer):
            block = {
                "ln_1.weight": (C,), "ln_1.bias": (C,),
                "attn.c_attn.weight": (C, 3 * C), "attn.c_attn.bias": (3 * C,),
                "attn.c_proj.weight": (C, C), "attn.c_proj.bias": (C,),
                "ln_2.weight": (C,), "ln_2.bias": (C,),
                "mlp.c_fc.weight": (C, F), "mlp.c_fc.bias": (F,),
                "mlp.c_proj.weight": (F, C), "mlp.c_proj.bias": (C,),
            }  # fmt: skip
            shapes |= {f"h.{i}.{name}": shape for name, shape in block.items()}
        shapes |= {"ln_f.weight": (C,), "ln_f.bias": (C,)}
        if not self.tie_word_embeddings:
            shapes["lm_head.weight"] = (self.vocab_size, C)
        return shapes

    def linear_layers(self):
        """{name: (in, out)} of the linear layers inside the blocks: what a method may act beside."""
        return {
            name.removesuffix(".weight"): shape
            for name, shape in self.shapes().items()
            if name.startswith("h.") and len(shape) == 2
        }

    @property
    def head(self):
        """The layer whose weight the language-model head multiplies by."""
        return "wte" if self.tie_word_embeddings else "lm_head"


SIZES = {  # the published checkpoints; each is GPT-2 small but for these
    "gpt2": {},
    "gpt2-medium": {"n_embd": 1024, "n_layer": 24, "n_head": 16},
    "gpt2-large": {"n_embd": 1280, "n_layer": 36, "n_head": 20},
    "gpt2-xl": {"n_embd": 1600, "n_layer": 48, "n_head": 25},
    "distilgpt2": {"n_layer": 6},
}

# ------------------------------------------------------------------------------- what trains, and where

PLACES = (  # what a token passes in one block, in this order
    "ln_1", "attn.c_attn.input", "attn.c_attn", "attn.keys_values", "attn.attention",
    "attn.c_proj.input", "attn.c_proj", "attn",
    "ln_2", "mlp.c_fc.input", "mlp.c_fc", "mlp.gelu",
    "mlp.c_proj.input", "mlp.c_proj", "mlp",
)  # fmt: skip


def depth(place, n_layer):
    """How far up the model a place lies: "wte" and all else before the blocks 0, "h.0.ln_1" 1, ...

    A place in the model is also the first part of the name of each tensor that acts there.
    """
    if place.startswith("h."):
        _, layer, inside = place.split(".", 2)
        return 1 + int(layer) * len(PLACES) + PLACES.index(inside)
    top = 1 + n_layer * len(PLACES)
    return {"ln_f": top, "lm_head": top + 1}.get(place, 0)


@dataclass
class Step:
    """What every layer shares during one forward and backward pass.

    weights  base parameters by checkpoint name       tensors  the method's, as its `start` left them
    trains   names of base parameters that train      kv_cache  only in generation
    p_drop   GPT-2's own dropout, at its three places
    seeds    of dropout, a list of integers; None: evaluation.    rng  of the part at work: see `drawing`
    learns   is a backward pass to follow? If not, nothing is kept for one
    checkpointing  is each block to keep its input alone, and to run again before its backward?
    again    is this such a second run? What leaves the block is known then: see `reads`
    layout   where each sequence's rows are; `forward` sets it once `embed` has put its rows in front
    """

    config: GPT2Config
    weights: dict
    method: Method = field(default_factory=Method)
    tensors: dict = field(default_factory=dict)
    trains: frozenset = frozenset()
    seeds: list | None = None
    rng: object = None
    p_drop: float = 0.0
    kv_cache: object = None
    learns: bool = False
    checkpointing: bool = False
    again: bool = False
    layout: object = None

    def __post_init__(self):
        if not self.learns:
            self.trains = frozenset()
        own = (name for name in self.tensors if self.method.trains(name))
        names = [*self.trains, *own] if self.learns else []
        places = (name.rpartition(".")[0] for name in names)
        self.lowest = min((self.depth(place) for place in places), default=float("inf"))

    def depth(self, place):
        """See `depth`."""
        return depth(place, self.config.n_layer)

    def drawing(self, part):
        """This step with a generator for `part` alone (0: embed, 1 ...: the blocks), from its beginning.

        So a block that runs again draws the same masks again, on NumPy and on CuPy.
        """
        if self.seeds is None:
            return self
        return replace(self, rng=generator([*self.seeds, part], self.weights["wte.weight"]))

    def wants(self, place):
        """The gradients that are needed at a layer: "weight", "bias", and "x" if anything below trains."""
        if not self.learns:
            return frozenset()
        wants = {kind for kind in ("weight", "bias") if f"{place}.{kind}" in self.trains}
        if self.lowest < self.depth(place):
            wants.add("x")
        return wants

    def reads(self, name):
        """Does anybody read what leaves the linear layer `name`?

        Not if it is a block's last and the block runs again, unless the method acts there or after it: that
        saves a third of the second run's multiplications.
        """
        if not self.again or not name.endswith("mlp.c_proj"):
            return True
        readers = (name, name.removesuffix(".c_proj"))
        return any(tensor.rpartition(".")[0] in readers for tensor in self.tensors)


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


# ------------------------------------------------------------------------------------- the model, to hold


class GPT2:
    """A GPT-2: its configuration, its parameters by checkpoint name, its tokenizer (or None).

    The arrays may be read-only: loading maps them from the file.
    """

    def __init__(self, config, weights, tokenizer=None, name=None):
        self.config, self.weights, self.tokenizer, self.name = config, weights, tokenizer, name

    @classmethod
    def random(cls, size="gpt2", seed=0, dtype="float32", device="cpu", tokenizer=None):
        """GPT-2's initialisation: N(0, 0.02), projections into the residual stream by 1/sqrt(2 L) less.

        size: a published name ("gpt2", "gpt2-medium", ...) or a GPT2Config.
        """
        config = size if isinstance(size, GPT2Config) else config_of_size(size)
        xp, rng = xp_for(device), np.random.default_rng(seed)
        weights = {}
        for name, shape in config.shapes().items():
            if len(shape) == 1:
                value = np.full(shape, float(name.endswith("weight")), dtype)  # norms 1, biases 0
            else:
                std = 0.02 / (2 * config.n_layer) ** 0.5 if "c_proj" in name else 0.02
                value = rng.standard_normal(shape, dtype="float32").astype(dtype, copy=False)
                value *= np.asarray(std, dtype)
            weights[name] = xp.asarray(value)
        return cls(config, weights, tokenizer)

    @classmethod
    def from_pretrained(cls, name, dtype="float32", device="cpu"):
        """Load a folder as on the Hugging Face hub, or a published size by name. See `files.load_gpt2`."""
        from .files import load_gpt2

        return load_gpt2(name, dtype, device)

    def save_pretrained(self, folder, dtype=None):
        """Write config.json, model.safetensors and tokenizer.json, as `transformers` loads them."""
        from .files import save_gpt2

        save_gpt2(self, folder, dtype)

    def quantized(self, kind):
        """This model with the linear layers' weights in fewer bits, "int8" or "nf4": see `quantize`.

        All else is shared with this one, which one may drop. Of arrays that are mapped from a file only one
        is in memory at a time. Raises InputError for another kind, and for a model that is quantised already.
        """
        from .files import unload

        if self.quantization:
            raise InputError(f"this model is {self.quantization} already: quantise the one it was made from")
        quantize, weights = quantizer(kind), dict(self.weights)
        for name in self.config.linear_layers():
            W = self.weights[f"{name}.weight"]
            weights[f"{name}.weight"] = quantize(W)
            unload(W)
        return GPT2(self.config, weights, self.tokenizer, self.name)

    def dequantized(self):
        """This model with plain arrays for all weights: a quantised one's as far as its codes tell."""
        weights = {name: dequantized(W) for name, W in self.weights.items()}
        return GPT2(self.config, weights, self.tokenizer, self.name)

    @property
    def quantization(self):
        """How the linear layers' weights are quantised: "int8", "nf4", or None."""
        kinds = (W.kind for W in self.weights.values() if isinstance(W, Quantized))
        return next(kinds, None)

    @property
    def dtype(self):
        """The floating-point type of the parameters."""
        return self.weights["wte.weight"].dtype

    @property
    def num_parameters(self):
        """All parameters; a tied head is not counted twice."""
        return sum(w.size for w in self.weights.values())

    num_virtual_tokens = 0

    def step(self, **fields):
        """What a forward pass needs: see `Step`."""
        return Step(self.config, self.weights, **fields)

    def logits(self, sequences):
        """[ids, ...] -> [(T, V), ...]: row t scores the token after ids[: t + 1]."""
        from .generate import logits

        return logits(self, sequences)

    def generate_ids(self, prompts, **options):
        """[ids, ...] -> [ids, ...]: see `minipeft.generate.generate_ids`."""
        from .generate import generate_ids

        return generate_ids(self, prompts, **options)

    def generate(self, prompt, **options):
        """Text (or a list of texts) -> its continuation(s): see `minipeft.generate.generate`."""
        from .generate import generate

        return generate(self, prompt, **options)


def config_of_size(name):
    """The configuration of a published size. Raises InputError for a name that is none."""
    if name not in SIZES:
        raise InputError(f"no published GPT-2 is called {name!r}: choose from {', '.join(SIZES)}")
    return GPT2Config(**SIZES[name])
