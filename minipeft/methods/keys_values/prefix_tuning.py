r"""Prefix tuning: keys and values, learned, in front of those of the text, in every layer.

    K' = [P_k ; K],   V' = [P_v ; V]        P_k, P_v (P, C) train, a pair for each layer;  K, V (T, C)

The text attends to them as to words before it: its positions begin at P. They attend to nothing and go
through no layer. A prefix of zeros is not the identity: keys of zero have score 0, and take their share
P / (P + sum exp(s)) of every query's attention.

All pairs lie side by side in one table (P, 2 L C): layer 0's keys, its values, layer 1's keys, ... The table
trains itself (which is P-tuning v2), or a network makes it once per step, and only it is kept after training:

    table = tanh(E W_0 + b_0) W_2 + b_2     E (P, C) trains, and so does the network

Source: Li & Liang 2021, "Prefix-Tuning", sections 4.2-4.3; Liu et al. 2022, "P-Tuning v2". Defaults, names
and the table's columns as in Hugging Face PEFT; the network's matrices are the transposes of PEFT's.
"""

from dataclasses import dataclass

import numpy as np

from ...backend import to_host, xp_of
from ...errors import InputError, counted
from ..about import About
from ..base import Method
from ..embed.mlp import init_mlp, mlp, mlp_backward
from ..embed.prompt_tuning import check_num_virtual_tokens, text_ids

TABLE, OWN = "prefix_embeddings", "prefix_encoder."  # names of the flat table, and of what it comes from
KINDS = ("prefix_key", "prefix_value")  # P_k and P_v, in the order of the table's columns


@dataclass
class PrefixTuning(Method):
    """num_virtual_tokens: P. prefix_projection: does the table come from a network?

    encoder_hidden_size: the network's inner width; None: the model's.

    init_weights: None, normal with standard deviation 1 (the table, or E); "zero", a table of zeros.
    init_text: start from the keys and values of the first P tokens of this text (or of these token ids):
    the model then behaves exactly as if it had read them.

    GPT-2 small, P = 20: 368,640 parameters, 0.30 %; with the projection 14,780,160, of which 368,640 remain.
    """

    about = About(
        "prefix_tuning", learning_rate=1e-1, peft_type="PREFIX_TUNING", small={"num_virtual_tokens": 3}
    )

    num_virtual_tokens: int = 20
    prefix_projection: bool = False
    encoder_hidden_size: int | None = None
    init_weights: str | None = None
    init_text: str | tuple[int, ...] | None = None

    def init(self, model, rng):
        """The table, or E and the network. Raises InputError for a bad setting or too short a text."""
        P, L, C = self.num_virtual_tokens, model.config.n_layer, model.config.n_embd
        H = C if self.encoder_hidden_size is None else self.encoder_hidden_size
        check_num_virtual_tokens(P)
        if H < 1:
            raise InputError(f"encoder_hidden_size must be 1 or more, not {H}")
        if self.init_weights not in (None, "zero"):
            raise InputError(f"init_weights must be None or 'zero', not {self.init_weights!r}")
        if self.init_text is not None:
            if self.prefix_projection or self.init_weights:
                raise InputError("init_text goes with neither prefix_projection nor init_weights")
            return {TABLE: keys_and_values(text_ids("init_text", self.init_text, model), P, model)}
        if not self.prefix_projection:
            table = rng.standard_normal((P, 2 * L * C))
            return {TABLE: 0 * table if self.init_weights else table}
        tensors = {OWN + "embedding": rng.standard_normal((P, C))}
        tensors |= init_mlp(OWN + "transform", (C, H, 2 * L * C), rng)
        if self.init_weights:
            for last in ("transform.2.weight", "transform.2.bias"):
                tensors[OWN + last][...] = 0
        return tensors

    def encode(self, tensors):
        """The table (P, 2 L C)."""
        if not self.prefix_projection:
            return tensors[TABLE], None
        return mlp(OWN + "transform", tensors[OWN + "embedding"], tensors, "tanh")

    def encode_backward(self, dtable, cache):
        """dtable (P, 2 L C) -> gradients by name."""
        if cache is None:
            return {TABLE: dtable}
        dE, grads = mlp_backward(dtable, cache)
        return {OWN + "embedding": dE} | grads

    def start(self, tensors, step):
        """The table -> P_k and P_v of each layer, views (P, C), by names that say where they act."""
        table, cache = self.encode(tensors)
        names = [f"h.{i}.attn.keys_values.{k}" for i in range(step.config.n_layer) for k in KINDS]
        pairs = dict(zip(names, xp_of(table).split(table, len(names), axis=1), strict=True))
        others = {name: t for name, t in tensors.items() if name != TABLE and not name.startswith(OWN)}
        return others | pairs, (names, cache)

    def finish(self, dtensors, cache):
        """dP_k and dP_v of each layer -> dtable -> gradients of what trains."""
        names, encoder = cache
        dpairs = [dtensors[name] for name in names]
        others = {name: d for name, d in dtensors.items() if name not in names}
        return others | self.encode_backward(xp_of(dpairs[0]).concatenate(dpairs, axis=1), encoder)

    def embed(self, x, layout, step):
        """Nothing but positions: the text begins at P, unless a KV cache has its beginning already."""
        return x, layout.shifted(self.num_virtual_tokens) if layout.fresh else layout, None

    embed_backward = Method.embed_backward  # x is as it was, and so is its gradient

    def keys_values(self, layer, k, v, key_layout, x, step):
        """k, v (N, C) -> [P_k ; k_s], [P_v ; v_s] for each of the S sequences (N + S P, C)."""
        name = f"h.{layer}.attn.keys_values"
        longer_k, longer = step.ops.prepend(step.tensors[f"{name}.prefix_key"], k, key_layout)
        longer_v, _ = step.ops.prepend(step.tensors[f"{name}.prefix_value"], v, key_layout)
        return longer_k, longer_v, longer, (name, key_layout) if step.grad_enabled else None

    def keys_values_backward(self, dk, dv, cache, step):
        """forward: every sequence has the same P_k, P_v in front, so theirs are sums over sequences."""
        name, key_layout = cache
        dk, dP_k = step.ops.prepend_backward(dk, self.num_virtual_tokens, key_layout)
        dv, dP_v = step.ops.prepend_backward(dv, self.num_virtual_tokens, key_layout)
        return dk, dv, None, {f"{name}.prefix_key": dP_k, f"{name}.prefix_value": dP_v}

    def without_encoder(self, tensors):
        """What remains after training: the flat method, and its table, under which the model is the same."""
        table, _ = self.encode(tensors)
        return PrefixTuning(self.num_virtual_tokens), {TABLE: table.copy()}


def keys_and_values(ids, P, model):
    """The KV cache after the first P tokens of a text, as a table (P, 2 L C): that is all a prefix is."""
    if len(ids) < P:
        raise InputError(f"init_text has {counted(len(ids), 'token')}, fewer than num_virtual_tokens {P}")
    return np.concatenate([to_host(a) for pair in model.keys_and_values(ids[:P]) for a in pair], axis=1)
