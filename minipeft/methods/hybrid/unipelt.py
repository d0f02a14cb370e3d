r"""UniPELT: a prefix, LoRA and an adapter in every layer, each behind a gate that reads its input.

    K' = [g P_k ; K],  V' = [g P_v ; V]     g = sigma(u w + c), u the input of attention at the first token
    q' = q + g (u A) B, and v' so           g of each token, u (N, C) the input of c_attn;  no alpha / r
    h' = h + g f(x + h)                     g of each token, u = x + h, as in `sublayer.adapter`
                                            w (C,), c (1,): a gate in each layer for each of the four

Source: Mao et al. 2022, "UniPELT: A Unified Framework for Parameter-Efficient Language Model Tuning", section
3.2; its parts (in `gated`) and defaults as in AdapterHub's `adapters`.

A difference on purpose: there every gate is the mean of sigma over all tokens of a text. In a causal model
that shows each token the ones to come, which are not there yet when it generates: it would not be the model
that was trained. So here a gate is each token's own; the prefix, which all tokens share, reads the first one,
which all may see. On a text of one token the two agree. And text begins at position P behind a prefix.
"""

from dataclasses import dataclass, field

from ...errors import InputError
from ...settings import check_fields
from ..about import About
from ..chain import Chain
from ..keys_values.prefix_tuning import PrefixTuning
from ..sublayer.adapter import Adapter, Houlsby
from .gated import GatedAdapter, GatedLoRA, GatedPrefix


@dataclass
class UniPELT(Chain):
    """prefix_tuning, adapter: their settings (dropout and learned scaling are not for this adapter).
    r: the rank of LoRA.

    GPT-2 small: 11,083,376 parameters, 8.9 %.
    """

    about = About(
        "unipelt", learning_rate=6e-3, adapterhub=True,
        small={
            "prefix_tuning": PrefixTuning(2, True, 5), "r": 2,
            "adapter": Adapter(reduction_factor=4, non_linearity="gelu_new"),
        },
    )  # fmt: skip

    prefix_tuning: PrefixTuning = field(default_factory=lambda: PrefixTuning(10, True, 512))
    adapter: Adapter = field(default_factory=Adapter)
    r: int = 8

    def __post_init__(self):
        if isinstance(self.prefix_tuning, dict):  # as a file has it
            self.prefix_tuning = PrefixTuning(**self.prefix_tuning)
        if isinstance(self.adapter, dict):
            self.adapter = Adapter(**self.adapter)
        check_fields(self)
        if type(self.adapter) not in (Adapter, Houlsby):
            raise InputError(f"UniPELT's adapter follows a sublayer: not {type(self.adapter).__name__}")
        prefix, adapter = GatedPrefix(**vars(self.prefix_tuning)), GatedAdapter(**vars(self.adapter))
        super().__init__([prefix, GatedLoRA(self.r), adapter])
