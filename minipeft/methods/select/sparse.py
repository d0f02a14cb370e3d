r"""Sparse fine-tuning: a few of the base's weights train, chosen once, wherever they lie.

    W[i] = W0[i] + v        W any parameter, flat; i (K,) int32, chosen; v (K,) trains, 0 at first

The choice is made among all weights of the model together, by their importance, so each W has a K of its own:

    "random"       none: all weights are equally likely. SHiRA's random mask (Bhardwaj et al. 2024)
    "magnitude"    |W0|: SHiRA's weight magnitude mask
    "fisher"       the Fisher information of W, see importance.py: the FISH mask (Sung et al. 2021, section 3)

Sources: Sung et al. 2021, "Training Neural Networks with Fixed Sparse Masks"; Bhardwaj et al. 2024, "Sparse
High Rank Adapters". Hugging Face PEFT has SHiRA for other models, but not for GPT-2.
"""

from dataclasses import InitVar, dataclass

import numpy as np

from ...data.batches import load_pairs
from ...errors import InputError
from ...settings import check_fields
from ...speed.quantized import dequantized
from ..about import About
from ..base import Method
from ..linear.targets import matches
from .importance import choose

EVERYTHING = ("wte", "wpe", "ln_1", "c_attn", "c_proj", "ln_2", "c_fc", "ln_f", "lm_head")


@dataclass
class Sparse(Method):
    """fraction: of the weights in `target_modules` that train. importance: see above.

    target_modules: the layers to choose from, by the rules of `targets`; no other method may train these.
    samples: "fisher" reads so many examples at most.

    Two more fields are no part of the configuration: examples, data as `train` takes it, for "fisher"; and
    chosen, {"h.0.ln_1.weight": i, ...}, the choice that a saved adapter holds: none is made then.

    The gradient of a whole W is formed, and K numbers of it are used: what is saved is the optimizer's
    state, and the file. GPT-2 small: 622,199 parameters, 0.5 %.
    """

    about = About(
        "sparse", recipe=("fraction=0.025", "importance=fisher", "samples=64"), learning_rate=5e-3,
        small={"fraction": 0.2},
    )  # fmt: skip

    fraction: float = 0.005
    importance: str = "random"
    target_modules: tuple[str, ...] | str = EVERYTHING
    samples: int = 256
    examples: InitVar[list | None] = None
    chosen: InitVar[dict | None] = None

    def __post_init__(self, examples, chosen):
        check_fields(self)
        self.examples, self.chosen = examples, chosen

    def use_training_data(self, data):
        """What training reads is what "fisher" reads."""
        self.examples = self.examples or data

    @classmethod
    def from_saved(cls, settings, tensors):
        """The choice is in the file, so that no data is needed."""
        end = "_indices"
        chosen = {name.removesuffix(end): i for name, i in tensors.items() if name.endswith(end)}
        own = cls(**settings)  # in a chain of several there are others' choices, too
        return cls(**settings, chosen={name: i for name, i in chosen.items() if own._targeted(name)})

    def trains_base(self, name, config):
        """The parameters to choose from: of these the model makes private copies, and forms gradients."""
        return self._targeted(name)

    def _targeted(self, name):
        place, _, kind = name.rpartition(".")
        of_the_base = place.partition(".")[0] in ("h", "wte", "wpe", "ln_f", "lm_head")  # no prompt encoder's
        return of_the_base and kind in ("weight", "bias") and matches(place, self.target_modules)

    def optimizer_changes(self, name):
        """True of v alone: not of i, nor W0[i], nor the private copies, which `start` writes."""
        return not self._targeted(name.removesuffix("_indices").removesuffix("_start"))

    def init(self, model, rng):
        """i, v = 0, and room for W0[i]. Raises InputError for a bad setting or a choice that does not fit."""
        tensors = {}
        for name, i in (self._choose(model, rng) if self.chosen is None else self.chosen).items():
            size = model.weights[name].size if name in model.weights and self._targeted(name) else 0
            in_order = i.ndim == 1 and len(i) > 0 and (i[1:] > i[:-1]).all()
            if not in_order or i[0] < 0 or i[-1] >= size:
                raise InputError(f"{name}: the chosen weights are not some of {size}, each once, in order")
            tensors |= {f"{name}_indices": i, f"{name}_values": np.zeros(len(i))}
            tensors |= {f"{name}_start": np.zeros(len(i))}
        return tensors

    def _choose(self, model, rng):
        names = [name for name in model.weights if self._targeted(name)]
        size = sum(model.weights[name].size for name in names)
        K = int(self.fraction * size)
        if not names:
            raise InputError(f"target_modules {self.target_modules!r} match no layer: see {EVERYTHING}")
        if not 1 <= K <= size:
            raise InputError(
                f"fraction must be above 0 and at most 1, and leave a weight: not {self.fraction}"
            )
        if self.samples < 1:
            raise InputError(f"samples must be 1 or more, not {self.samples}")
        pairs = None
        if self.importance == "fisher":
            if self.examples is None:
                raise InputError("importance 'fisher' needs examples: Sparse(examples=rows, ...)")
            pairs = load_pairs(self.examples, model, "drop")[0][: self.samples]
        return choose(model, names, K, self.importance, pairs, rng)

    def change_base(self, weights, tensors):
        """Nothing is taken out of the base; W0[i] is kept, for `start` to begin from."""
        for name, i in self._indices(tensors):
            tensors[f"{name}_start"][...] = dequantized(weights[name]).reshape(-1)[i]
        return {}

    def start(self, tensors, step):
        """W[i] = W0[i] + v: K numbers, written into a copy of W that the model made for that."""
        indices = dict(self._indices(tensors))
        for name, i in indices.items():
            step.weights[name].reshape(-1)[i] = tensors[f"{name}_start"] + tensors[f"{name}_values"]
        return tensors, indices

    def finish(self, dtensors, indices):
        """forward: W[i] = W0[i] + v, so dv = dW[i]."""
        return dtensors | {f"{name}_values": dtensors[name].reshape(-1)[i] for name, i in indices.items()}

    def merge(self, weights, tensors):
        """W[i] = W0[i] + v, in a copy of W."""
        merged = {name: weights[name].copy() for name, _ in self._indices(tensors)}
        for name, i in self._indices(tensors):
            merged[name].reshape(-1)[i] = tensors[f"{name}_start"] + tensors[f"{name}_values"]
        return merged

    def unmerge(self, weights, tensors):
        """W[i] - v: what there was before, to rounding."""
        unmerged = {name: weights[name].copy() for name, _ in self._indices(tensors)}
        for name, i in self._indices(tensors):
            unmerged[name].reshape(-1)[i] -= tensors[f"{name}_values"]
        return unmerged

    def _indices(self, tensors):
        for key, i in tensors.items():
            name = key.removesuffix("_indices")
            if name != key and self._targeted(name):
                yield name, i
