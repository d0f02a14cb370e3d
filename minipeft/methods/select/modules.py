"""Whole modules of the base train, whichever are named: layer norms, linear layers, embeddings, blocks."""

from dataclasses import dataclass

from ...errors import InputError
from ..about import About
from ..linear.targets import matches
from .selection import Selection


@dataclass
class Modules(Selection):
    r"""$\theta \leftarrow \theta - \eta \nabla_\theta \ell$ for all $\theta$ in the modules named.

    target_modules: names or ends of names after a dot, by the rules of `targets`: "ln_f", "mlp.c_proj",
    "wte", "h.11", "lm_head" (where it is not tied). A module that holds others brings them along.

    It is mostly for a chain: [LoRA(), Modules(("ln_f",))] is PEFT's LoRA with modules_to_save=["ln_f"]. What
    another method acts beside, like LoRA's targets, can train here too, but PEFT's files cannot say that.

    GPT-2 small: 1,536 parameters in ln_f, 38,597,376 in wte.
    """

    about = About("modules", compared=False)  # it is there for chains

    target_modules: tuple[str, ...] | str = ("ln_f",)

    def init(self, model, rng):
        """No tensors of its own. Raises InputError for a name that no module has."""
        listed = [self.target_modules] if isinstance(self.target_modules, str) else self.target_modules
        for target in listed or [""]:
            each = Modules(target if isinstance(self.target_modules, str) else (target,))
            if target == "all-linear" or not any(
                each.trains_base(name, model.config) for name in model.weights
            ):
                last = model.config.n_layer - 1
                raise InputError(
                    f"target_modules: {target!r} is no module: there are wte, wpe, h.0 ... h.{last}, ln_f"
                    f"{'' if model.config.tie_word_embeddings else ', lm_head'}, and in each h "
                    "ln_1, attn, attn.c_attn, attn.c_proj, ln_2, mlp, mlp.c_fc, mlp.c_proj"
                )
        return {}

    def trains_base(self, name, config):
        """All parameters in the modules named: "h.0.mlp.c_fc.weight" is in h.0.mlp.c_fc, h.0.mlp and h.0."""
        parts = name.split(".")
        around = (".".join(parts[:n]) for n in range(1, len(parts)))
        return any(matches(module, self.target_modules) for module in around)
