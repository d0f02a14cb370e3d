"""Step: what the layers share in one forward and backward; what trains, and where the backward stops."""

from dataclasses import dataclass, field, replace

from .backend import generator
from .config import GPT2Config
from .methods.base import Method

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
