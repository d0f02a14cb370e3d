r"""LoReFT: the output of a layer, at some positions of the text, is edited in a subspace of R dimensions.

    y' = y + (act(y W + b) - y Q) Q^T     y (n, C): the rows to edit of x + h, the residual stream after the
    h' = y' - x                           MLP;  W, Q (C, R), b (R,) train;  Q^T Q = 1;  act: none, by default

Source: Wu et al. 2024, "ReFT: Representation Finetuning for Language Models", eq. 2, whose R is Q^T. Defaults
and names as in AdapterHub's `adapters`; as there, `dropout` falls on all of y'.

Q stays orthonormal because it is made of reflections, as in PyTorch's `orthogonal`, which AdapterHub uses:
    Q = -B H_1 ... H_R E      E (C, R): the unit matrix's first columns;  H_i: see `reflections`
What trains is V, the matrix of the H_i. B (C, C), a frozen rotation, is where Q starts: with V zero,
-H_1 ... H_R E = E. AdapterHub keeps it whole in its files, and so it is here.
"""

from dataclasses import dataclass

import numpy as np

from ...backend import like, xp_of
from ...errors import InputError
from ..about import About
from ..base import Method
from .activations import ACTIVATIONS, activation_backward, check_activation
from .reflections import random_reflections, reflect, reflect_backward


@dataclass
class LoReFT(Method):
    """layers: "all", or their numbers. prefix_positions, suffix_positions: how many tokens at the beginning
    and at the end of every text are edited; a token in both counts to the end. r: R. orthogonality: False,
    Q is any matrix ("NoReFT"). tied_weights: the same W, b, Q at both ends. subtract_projection: False,
    without "- y Q" ("DiReFT"). non_linearity: act, see `activations`. dropout: on all of y'.

    The end is that of the text at hand, as in AdapterHub: in training that of the completion; in generation
    that of the prompt, and a new token is edited only where it is among the first prefix_positions. Without a
    KV cache every new token makes a new text, and the end moves with it.

    GPT-2 small: 18,444 parameters, 0.01 %; AdapterHub has as many again, for an end without positions.
    """

    about = About(
        "loreft", recipe=("r=8", "prefix_positions=200", "dropout=0"), learning_rate=6e-3, section="edits",
        adapterhub=True,
    )  # fmt: skip

    layers: tuple[int, ...] | str = "all"
    prefix_positions: int = 3
    suffix_positions: int = 0
    r: int = 1
    orthogonality: bool = True
    tied_weights: bool = False
    subtract_projection: bool = True
    dropout: float = 0.05
    non_linearity: str | None = None

    def init(self, model, rng):
        """W, b uniform in +-1/sqrt(C), Q a random subspace. Raises InputError for a bad setting."""
        C, L = model.config.n_embd, model.config.n_layer
        if not 1 <= self.r < C:
            raise InputError(f"LoReFT's rank r must be at least 1 and below n_embd ({C}), not {self.r}")
        if min(self.prefix_positions, self.suffix_positions) < 0 or not self.units():
            raise InputError(
                "prefix_positions and suffix_positions must be 0 or more, and one of them above 0"
            )
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout must be at least 0 and below 1, not {self.dropout}")
        layers = range(L) if self.layers == "all" else self.layers
        if isinstance(layers, str) or not layers or not set(layers) <= set(range(L)):
            raise InputError(f"layers must be 'all' or some of 0 ... {L - 1}, not {self.layers!r}")
        check_activation(self.non_linearity)
        tensors = {}
        for unit in [f"h.{i}.mlp.{unit}" for i in layers for unit in self.units()]:
            draw = lambda *shape: rng.uniform(-(C**-0.5), C**-0.5, shape)
            tensors |= {f"{unit}_source": draw(C, self.r), f"{unit}_source_bias": draw(self.r)}
            if self.orthogonality:
                tensors[f"{unit}_base"] = reflect(random_reflections(C, self.r, rng), np.eye(C))
                tensors[f"{unit}_reflections"] = np.zeros((C, self.r))
            else:
                tensors[f"{unit}_subspace"] = draw(C, self.r)
        return tensors

    def units(self):
        """{name: which rows it edits}: each has W, b, Q of its own."""
        if self.tied_weights and self.prefix_positions + self.suffix_positions > 0:
            return {"reft": ("first", "last")}
        ends = {"reft_first": self.prefix_positions, "reft_last": self.suffix_positions}
        return {unit: (unit.removeprefix("reft_"),) for unit, n in ends.items() if n > 0}

    def edits(self, name):
        """Is the unit `name`, "h.3.mlp.reft_first", one of this method's? In a chain there may be others'."""
        place, _, unit = name.rpartition(".")
        _, layer, sublayer = place.split(".")
        wanted = self.layers == "all" or int(layer) in self.layers
        return sublayer == "mlp" and wanted and unit in self.units()

    def optimizer_changes(self, name):
        """All but B, where Q starts."""
        return not (".reft" in name and name.endswith("_base"))

    def start(self, tensors, step):
        """Q of every unit, from its reflections."""
        made = {}
        for name, V in tensors.items():
            if name.endswith("_reflections") and self.edits(name.removesuffix("_reflections")):
                E = -xp_of(V).eye(*V.shape, dtype=V.dtype)
                inner = reflect(V, E)  # (C, R)
                B = tensors[name.replace("_reflections", "_base")]
                made[name.replace("_reflections", "_subspace")] = (B @ inner, name, V, B, inner)
        return tensors | {name: cache[0] for name, cache in made.items()}, made

    def finish(self, dtensors, made):
        """forward: Q = B inner, inner = -H_1 ... H_R E."""
        turned = {name: g for name, g in dtensors.items() if name not in made}
        for subspace, (_, name, V, B, inner) in made.items():
            turned[name] = reflect_backward(B.T @ dtensors[subspace], V, inner)
        return turned

    def rows(self, step):
        """{"first": ..., "last": ...}: the rows of the tokens to edit."""
        first, last, layout = [], [], step.layout
        for (a, b), at, virtual in zip(layout.spans, layout.starts, layout.virtual, strict=True):
            a += virtual
            before = 0 if layout.fresh else at - step.method.num_virtual_tokens  # tokens in the KV cache
            end = max(a, b - self.suffix_positions) if layout.fresh else b
            first.extend(range(a, min(end, a + max(0, self.prefix_positions - before))))
            last.extend(range(end, b))
        return {"first": np.array(first, dtype=int), "last": np.array(last, dtype=int)}

    def sublayer(self, name, x, h, step):
        """x, h (N, C) -> h', edited in some rows."""
        caches = []
        for unit, ends in self.units().items():
            if not self.edits(f"{name}.{unit}"):
                return h, None
            parts = ("source", "source_bias", "subspace")
            W, b, Q = (step.tensors[f"{name}.{unit}_{part}"] for part in parts)
            rows = self.rows(step)
            rows = like(h, np.concatenate([rows[end] for end in ends]))
            y = x[rows] + h[rows]  # (n, C)
            s, slope = ACTIVATIONS[self.non_linearity](y @ W + b)  # (n, R)
            if self.subtract_projection:
                s = s - y @ Q
            new, mask = step.ops.dropout(y + s @ Q.T, self.dropout, step.rng)
            h[rows] = new - x[rows]
            caches.append((f"{name}.{unit}", rows, y, s, slope, W, Q, mask))
        return h, caches if step.grad_enabled else None

    def sublayer_backward(self, dh, cache, step):
        """forward: h' = y' - x, y' = y + s Q^T, s = act(y W + b) - y Q, y = x + h; in the rows edited."""
        if cache is None:
            return dh, None, {}
        grads = {}
        dh_new, dx = dh.copy(), xp_of(dh).zeros_like(dh)
        for unit, rows, y, s, slope, W, Q, mask in cache:
            dnew = step.ops.dropout_backward(dh[rows], mask)  # (n, C)
            ds = dnew @ Q  # (n, R)
            dQ = dnew.T @ s  # (C, R)
            dz = activation_backward(ds, slope)
            dy = dnew + dz @ W.T
            if self.subtract_projection:
                dQ -= y.T @ ds
                dy -= ds @ Q.T
            grads |= {f"{unit}_source": y.T @ dz, f"{unit}_source_bias": dz.sum(0), f"{unit}_subspace": dQ}
            dh_new[rows] = dy
            dx[rows] = dy - dh[rows]
        return dh_new, dx, grads
