"""Step: what the layers share in one forward and backward; what trains, and where the backward stops."""

from dataclasses import dataclass, field, replace
from types import ModuleType

from . import ops
from .backend import Generator
from .config import GPT2Config
from .errors import InputError
from .methods.base import Method

PLACES = (  # what a token passes in one block, in this order
    "ln_1", "attn.c_attn.input", "attn.c_attn", "attn.keys_values", "attn.attention",
    "attn.c_proj.input", "attn.c_proj", "attn",
    "ln_2", "mlp.c_fc.input", "mlp.c_fc", "mlp.gelu",
    "mlp.c_proj.input", "mlp.c_proj", "mlp",
)  # fmt: skip


def depth(place, n_layer):
    """How far up the model a place lies: "wte" and all else before the blocks 0, "h.0.ln_1" 1, ...

    A place in the model is also the first part of the name of each tensor that acts there. Raises InputError
    for a place in a block that there is not.
    """
    if place.startswith("h."):
        _, layer, inside = [*place.split(".", 2), "", ""][:3]
        if inside not in PLACES or layer not in map(str, range(n_layer)):
            raise InputError(
                f"{place!r} is no place in the model, so no tensor can act there: "
                f"there are h.0 ... h.{n_layer - 1}, and in each {', '.join(PLACES)}"
            )
        return 1 + int(layer) * len(PLACES) + PLACES.index(inside)
    top = 1 + n_layer * len(PLACES)
    return {"ln_f": top, "lm_head": top + 1}.get(place, 0)


@dataclass
class Step:
    """What every layer shares during one forward and backward pass.

    ops             the operations: the module `ops`, plain, or `speed.fast`, or another with the same names
    weights         the base's parameters by checkpoint name
    method, tensors the method, and its tensors as its `start` left them
    trains          names of the base parameters that need a gradient
    grad_enabled    does a backward pass follow? If not, no layer keeps anything for one
    p_drop          the probability of GPT-2's own dropout, at its three places
    dropout_seeds   a list of integers; None: no dropout, as in evaluation.    rng: see `with_dropout_rng`
    kv_cache        keys and values of the tokens before these, only in generation
    layout          where each sequence's rows are; `gpt2.forward` sets it, once `embed` has put rows in front
    """

    config: GPT2Config
    weights: dict
    method: Method = field(default_factory=Method)
    ops: ModuleType = ops
    tensors: dict = field(default_factory=dict)
    trains: frozenset = frozenset()
    grad_enabled: bool = False
    p_drop: float = 0.0
    dropout_seeds: list | None = None
    rng: object = None
    kv_cache: object = None
    layout: object = None

    def __post_init__(self):
        if not self.grad_enabled:
            self.trains = frozenset()
        own = (name for name in self.tensors if self.method.optimizer_changes(name))
        names = [*self.trains, *own] if self.grad_enabled else []
        places = (name.rpartition(".")[0] for name in names)
        self.lowest_trained = min((self.depth(place) for place in places), default=float("inf"))

    def depth(self, place):
        """See `depth`."""
        return depth(place, self.config.n_layer)

    def wants(self, place):
        """WHAT IS FORMED: the gradients needed at a layer, of "weight", "bias" and "x", its input.

        Those of weights that train; that of x if anything that lies lower trains. No other is ever formed.
        """
        if not self.grad_enabled:
            return frozenset()
        wants = {kind for kind in ("weight", "bias") if f"{place}.{kind}" in self.trains}
        if self.lowest_trained < self.depth(place):
            wants.add("x")
        return wants

    def backward_reaches(self, layer):
        """WHERE THE BACKWARD STOPS: does it enter this block? Yes, if something trains in it or below it."""
        return self.lowest_trained <= self.depth(f"h.{layer}.mlp")

    def with_dropout_rng(self, part):
        """This step with a random generator for one part alone (0: embed, 1, 2, ...: the blocks).

        A block that runs twice begins with the same generator twice, and draws the same masks.
        """
        if self.dropout_seeds is None:
            return self
        return replace(self, rng=Generator([*self.dropout_seeds, part], self.weights["wte.weight"]))
