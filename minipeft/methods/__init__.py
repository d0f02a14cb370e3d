"""The fine-tuning methods, each in the folder of the site where it acts. Read base.py first.

A new method needs two lines here: its import, and its place in the list.
"""

from .about import METHODS, About, register
from .base import Method
from .chain import Chain
from .embed.p_tuning import PTuning
from .embed.prompt_tuning import PromptTuning
from .hybrid.mam import MAM
from .hybrid.unipelt import UniPELT
from .keys_values.prefix_tuning import PrefixTuning
from .linear.dora import DoRA
from .linear.ia3 import IA3
from .linear.loha import LoHa
from .linear.lora import LoRA
from .linear.lora_plus import LoRAPlus
from .linear.vera import VeRA
from .select.bitfit import BitFit
from .select.full import Full
from .select.layerwise import Layerwise
from .select.ln_tuning import LNTuning
from .select.modules import Modules
from .select.sparse import Sparse
from .sublayer.adapter import Adapter, Houlsby
from .sublayer.fusion import AdapterFusion
from .sublayer.loreft import LoReFT
from .sublayer.parallel_adapter import ParallelAdapter

for cls in (
    Full, BitFit, LNTuning, Layerwise, Modules, Sparse,
    PromptTuning, PTuning,
    PrefixTuning,
    LoRA, LoRAPlus, DoRA, IA3, VeRA, LoHa,
    Adapter, Houlsby, ParallelAdapter, AdapterFusion, LoReFT,
    MAM, UniPELT,
):  # fmt: skip
    register(cls)

__all__ = [
    "METHODS",
    "About",
    "Chain",
    "Method",
    "register",
    *sorted(cls.__name__ for cls in METHODS.values()),
]
