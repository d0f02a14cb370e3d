"""BitFit: every bias of the base trains, and nothing else."""

from dataclasses import dataclass

from ...errors import InputError
from ..about import About
from ..linear.targets import matches
from .selection import Selection


@dataclass
class BitFit(Selection):
    r"""$b \leftarrow b - \eta\,\nabla_b \ell$ for every bias b: (O,) in a linear layer, (C,) in a layer norm.

    A linear layer's gradient is $db = \sum_n dy_n$: there is no x in it. So no layer keeps its input for
    the weights' sake, and there are no matrix products but those that carry dy down.

    target_modules: None, every bias; or the layers whose biases train, by the rules of `targets`. In a chain
    behind LoRA it is PEFT's bias="all", and with LoRA's own targets bias="lora_only".

    GPT-2 small: 102,144 parameters, 0.08 %.

    Source: Ben Zaken et al. 2022, "BitFit: Simple Parameter-efficient Fine-tuning for Transformer-based
    Masked Language-models", section 3. It wants a higher learning rate than full fine-tuning.
    """

    about = About("bitfit", learning_rate=6e-2)

    target_modules: tuple[str, ...] | str | None = None

    def init(self, model, rng):
        """No tensors of its own. Raises InputError where no layer with a bias is named."""
        if not any(self.trains_base(name, model.config) for name in model.weights):
            raise InputError(f"target_modules {self.target_modules!r} match no layer that has a bias")
        return {}

    def trains_base(self, name, config):
        """The biases, of the layers that are named if any are."""
        layer, _, kind = name.rpartition(".")
        return kind == "bias" and (self.target_modules is None or matches(layer, self.target_modules))
