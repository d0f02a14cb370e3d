"""The fine-tuning methods, each in the folder of the site where it acts. Read base.py first."""

from .base import Method
from .chain import Chain
from .embed.p_tuning import PTuning
from .embed.prompt_tuning import PromptTuning
from .hybrid.mam import MAM
from .hybrid.unipelt import UniPELT
from .keys_values.prefix_tuning import PrefixTuning
from .linear.dora import DoRA
from .linear.ia3 import IA3
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

METHODS = {  # by the names that the command line and adapter files know
    "full": Full,
    "bitfit": BitFit,
    "ln_tuning": LNTuning,
    "layerwise": Layerwise,
    "modules": Modules,
    "sparse": Sparse,
    "prompt_tuning": PromptTuning,
    "p_tuning": PTuning,
    "prefix_tuning": PrefixTuning,
    "lora": LoRA,
    "lora_plus": LoRAPlus,
    "dora": DoRA,
    "ia3": IA3,
    "vera": VeRA,
    "adapter": Adapter,
    "houlsby": Houlsby,
    "parallel_adapter": ParallelAdapter,
    "fusion": AdapterFusion,
    "loreft": LoReFT,
    "mam": MAM,
    "unipelt": UniPELT,
}

__all__ = ["METHODS", "Chain", "Method", *sorted(cls.__name__ for cls in METHODS.values())]
