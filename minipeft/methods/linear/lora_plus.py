r"""LoRA+: LoRA whose B learns faster than its A.

    A <- A - eta  dA',    B <- B - lambda eta  dB'        dA', dB': what AdamW makes of the gradients

Why: with B = 0 and A of entries ~ 1/sqrt(I), one rate for both moves the features too little in a wide
model; lambda well above 1 moves them as it should be.

Source: Hayou et al. 2024, "LoRA+: Efficient Low Rank Adaptation of Large Models", algorithm 1.
In Hugging Face PEFT it is no configuration but an optimizer: `create_loraplus_optimizer`.
"""

from dataclasses import dataclass, replace

from ...errors import InputError
from .lora import LoRA


@dataclass
class LoRAPlus(LoRA):
    """loraplus_lr_ratio: lambda, how much faster B learns; the paper advises 16. All else is LoRA's.

    The learning rate given to the training is A's: often about half of LoRA's own.

    GPT-2 small, r = 8 on c_attn: 294,912 parameters, 0.24 %.
    """

    about = replace(
        LoRA.about, name="lora_plus", recipe=(*LoRA.about.recipe, "loraplus_lr_ratio=4"), learning_rate=3e-3,
        small={"r": 2},
    )  # fmt: skip

    loraplus_lr_ratio: float = 16.0

    def init(self, model, rng):
        """As LoRA. Raises InputError, too, for a ratio that is not above 0."""
        if not self.loraplus_lr_ratio > 0:
            raise InputError(f"loraplus_lr_ratio must be above 0, not {self.loraplus_lr_ratio}")
        return super().init(model, rng)

    def lr_scale(self, name, config):
        """lambda for B."""
        layer = name.removesuffix(".lora_B")
        return self.loraplus_lr_ratio if layer != name and self.acts_on(layer) else 1.0
