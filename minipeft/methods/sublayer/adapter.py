r"""Bottleneck adapters: a small MLP behind a sublayer.

    h' = h + f(x + h)       Pfeiffer, after the MLP                  x (N, C) the residual stream before the
    h' = h + f(h)           Houlsby, after attention and the MLP     sublayer, h (N, C) what it adds
    f(u) = s (act(u D + d) U + e)        D (C, R), d (R,);  U (R, C), e (C,);  R = C / reduction_factor

Sources: Houlsby et al. 2019, "Parameter-Efficient Transfer Learning for NLP", section 2.1; Pfeiffer et al.
2021, "AdapterFusion", section 4.1, and 2020, "AdapterHub". Written for encoders, where a layer norm follows;
here as AdapterHub's `adapters` has them on GPT-2, names and defaults too: no layer norm is in them.
"""

from dataclasses import dataclass, field, replace

from ...errors import InputError
from ..about import About
from ..base import Method
from .bottleneck import bottleneck, bottleneck_backward, bottleneck_width, check_bottleneck, init_bottleneck


@dataclass
class Adapter(Method):
    """Pfeiffer's adapter ("seq_bn").

    mh_adapter, output_adapter: after attention? after the MLP? reduction_factor: C / R, a number, or one by
    layer: {"0": 8, "default": 16}. non_linearity: see `activations`. original_ln_before: does the adapter
    read x + h? False: h alone. scaling: s; "learned", one number, or "channel", one for each column, from 1.
    init_weights: "bert", N(0, 0.02), which changes the output a little; "mam_adapter", U zero: not at all;
    "houlsby", N(0, 0.01) cut off at 0.02. leave_out: layers without one. dropout: on f.

    GPT-2 small: 894,528 parameters, 0.72 %.
    """

    about = About(
        "adapter", recipe=("reduction_factor=8",), learning_rate=6e-3, section="edits", adapterhub=True,
        factors=(("_down",), ("_up",)), small={"reduction_factor": 4},
    )  # fmt: skip

    mh_adapter: bool = False
    output_adapter: bool = True
    reduction_factor: float | dict[str, float] = 16
    non_linearity: str | None = "relu"
    original_ln_before: bool = True
    scaling: float | str = 1.0
    init_weights: str = "bert"
    leave_out: tuple[int, ...] = field(default_factory=tuple)
    dropout: float = 0.0

    label = "adapter"  # in the names of the tensors: "h.3.mlp.adapter_down"

    def init(self, model, rng):
        """The parts of f at every place. Raises InputError for a bad setting."""
        check_bottleneck(self)
        layers, C = range(model.config.n_layer), model.config.n_embd
        if unknown := set(self.leave_out) - set(layers):
            raise InputError(f"leave_out: there is no layer {min(unknown)}, only 0 ... {len(layers) - 1}")
        places = [p for i in layers for p in (f"h.{i}.attn", f"h.{i}.mlp") if self.acts_at(p)]
        if not places:
            raise InputError("mh_adapter, output_adapter and leave_out leave no place for an adapter")
        tensors = {}
        for place in places:
            R = bottleneck_width(C, int(place.split(".")[1]), self.reduction_factor)
            parts = init_bottleneck(C, R, self.init_weights, self.scaling, rng)
            tensors |= {f"{place}.{self.label}_{part}": value for part, value in parts.items()}
        return tensors

    def acts_at(self, name):
        """Is there an adapter after the sublayer `name`, "h.3.attn" or "h.3.mlp"?"""
        _, layer, kind = name.split(".")
        wanted = self.mh_adapter if kind == "attn" else self.output_adapter
        return wanted and int(layer) not in self.leave_out

    def parts_at(self, name, tensors):
        """The tensors of the sublayer `name`, by the names of their parts."""
        start = f"{name}.{self.label}_"
        return {key.removeprefix(start): t for key, t in tensors.items() if key.startswith(start)}

    def sublayer(self, name, x, h, step):
        """x, h (N, C) -> h + f(x + h), or h + f(h)."""
        if not self.acts_at(name):
            return h, None
        u = x + h if self.original_ln_before else h
        f, inner = bottleneck(u, self.parts_at(name, step.tensors), self.non_linearity, self.scaling)
        f, mask = step.ops.dropout(f, self.dropout, step.rng)
        f += h  # not h += f: u may be h
        return f, (name, inner, mask) if step.grad_enabled else None

    def sublayer_backward(self, dh, cache, step):
        """forward: h' = h + f(u), u = x + h or h."""
        if cache is None:
            return dh, None, {}
        name, inner, mask = cache
        du, parts = bottleneck_backward(step.ops.dropout_backward(dh, mask), inner, {"x", "weight"})
        grads = {f"{name}.{self.label}_{part}": g for part, g in parts.items()}
        return dh + du, du if self.original_ln_before else None, grads


@dataclass
class Houlsby(Adapter):
    """Houlsby's adapter ("double_seq_bn"): the same with other defaults.

    GPT-2 small: 1,789,056 parameters, 1.44 %.
    """

    about = replace(
        Adapter.about,
        name="houlsby",
        recipe=("reduction_factor=16",),
        learning_rate=1e-2,
        small={"reduction_factor": 3},
    )

    mh_adapter: bool = True
    non_linearity: str | None = "swish"
    original_ln_before: bool = False
