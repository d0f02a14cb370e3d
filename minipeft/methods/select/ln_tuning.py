"""LN-tuning: the weights and biases of the layer norms train, and nothing else."""

from dataclasses import dataclass

from ...errors import InputError
from ..about import About
from ..linear.targets import matches
from .selection import Selection


@dataclass
class LNTuning(Selection):
    r"""$y = \hat x\,w + b$: w (C,) and b (C,) train, $\hat x$ (N, C) is the normalised row.

    target_modules: which layer norms, by the rules of `targets`: a list of names or ends of names, or a
    regular expression. Hugging Face PEFT copies whatever layer is named, here it must be a layer norm.

    GPT-2 small: 38,400 parameters, 0.03 %.

    Source: Zhao et al. 2024, "Tuning LayerNorm in Attention: Towards Efficient Multi-Modal LLM Finetuning".
    Defaults and names as in Hugging Face PEFT.
    """

    about = About("ln_tuning", learning_rate=4e-2, peft_type="LN_TUNING")

    target_modules: tuple[str, ...] | str = ("ln_1", "ln_2", "ln_f")

    def init(self, model, rng):
        """No tensors of its own. Raises InputError where no layer norm is named."""
        whole = isinstance(self.target_modules, str)
        for target in [self.target_modules] if whole else self.target_modules or [""]:
            each = LNTuning(target if whole else (target,))
            if any(each.trains_base(name, model.config) for name in model.weights):
                continue
            raise InputError(
                f"target_modules: {target!r} matches no layer norm: there are ln_1 and ln_2, "
                f"in h.0 ... h.{model.config.n_layer - 1}, and ln_f"
            )
        return {}

    def trains_base(self, name, config):
        """Weight and bias of the layer norms that are targets."""
        place = name.rpartition(".")[0]  # "h.0.ln_1"
        is_norm = place.rpartition(".")[2].startswith("ln_")
        return is_norm and matches(place, self.target_modules)
