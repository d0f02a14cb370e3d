r"""MAM, mix and match: a prefix inside attention, and a parallel adapter beside the MLP.

    K' = [P_k ; K],  V' = [P_v ; V]      in attention: see `keys_values.prefix_tuning`
    h' = h + s f(x)                      at the MLP: see `sublayer.parallel_adapter`

Source: He et al. 2022, "Towards a Unified View of Parameter-Efficient Transfer Learning", section 4.6.
Defaults as in AdapterHub's `adapters`, but for one thing: there the text begins at position 0 behind a
prefix, too; here, as in Hugging Face PEFT, at P.
"""

from dataclasses import dataclass, field

from ...settings import check_fields
from ..about import About
from ..chain import Chain
from ..keys_values.prefix_tuning import PrefixTuning
from ..sublayer.parallel_adapter import ParallelAdapter


@dataclass
class MAM(Chain):
    """prefix_tuning, adapter: the two parts, which do not know of each other. Nothing joins them.

    GPT-2 small: 22,493,984 parameters, 18.1 %, of which 7,644,672 remain without the prefix's network.
    """

    about = About(
        "mam", learning_rate=7e-4, adapterhub=True,
        small={
            "prefix_tuning": PrefixTuning(3, True, 5), "adapter": ParallelAdapter(non_linearity="gelu_new")
        },
    )  # fmt: skip

    prefix_tuning: PrefixTuning = field(default_factory=lambda: PrefixTuning(30, True, 800))
    adapter: ParallelAdapter = field(default_factory=ParallelAdapter)

    def __post_init__(self):
        if isinstance(self.prefix_tuning, dict):  # as a file has it
            self.prefix_tuning = PrefixTuning(**self.prefix_tuning)
        if isinstance(self.adapter, dict):
            self.adapter = ParallelAdapter(**self.adapter)
        check_fields(self)
        super().__init__([self.prefix_tuning, self.adapter])
