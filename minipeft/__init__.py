"""minipeft: parameter-efficient fine-tuning of GPT-2, forward and backward by hand in NumPy.

Where things are: gpt2.py is the model, methods/ what can be done to it, ops.py the derivatives.
"""

from .config import GPT2Config
from .data.batches import pack
from .distill import Distilled, student_of
from .errors import InputError
from .gradcheck import gradcheck
from .methods import (
    IA3,
    MAM,
    METHODS,
    Adapter,
    AdapterFusion,
    BitFit,
    DoRA,
    Full,
    Houlsby,
    Layerwise,
    LNTuning,
    LoRA,
    LoRAPlus,
    LoReFT,
    Method,
    Modules,
    ParallelAdapter,
    PrefixTuning,
    PromptTuning,
    PTuning,
    Sparse,
    UniPELT,
    VeRA,
)
from .model import GPT2
from .optim import AdamW
from .peft_model import PeftModel
from .train import evaluate, train
from .version import __version__ as __version__

__all__ = [
    "GPT2", "IA3", "MAM", "METHODS", "AdamW", "Adapter", "AdapterFusion", "BitFit", "Distilled", "DoRA",
    "Full", "GPT2Config", "Houlsby", "InputError", "LNTuning", "Layerwise", "LoRA", "LoRAPlus", "LoReFT",
    "Method", "Modules", "PTuning", "ParallelAdapter", "PeftModel", "PrefixTuning", "PromptTuning", "Sparse",
    "UniPELT", "VeRA", "evaluate", "gradcheck", "pack", "student_of", "train",
]  # fmt: skip
