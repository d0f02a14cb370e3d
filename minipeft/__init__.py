"""minipeft: parameter-efficient fine-tuning of GPT-2, forward and backward by hand in NumPy.

Where things are: gpt2.py is the model, methods/ what can be done to it, ops.py the derivatives.
"""

__version__ = "0.1.0"

from .data import pack
from .distill import Distilled, student_of
from .errors import InputError
from .gpt2 import GPT2, GPT2Config
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
from .optim import AdamW
from .peft_model import PeftModel
from .train import evaluate, train

__all__ = [
    "GPT2", "IA3", "MAM", "METHODS", "AdamW", "Adapter", "AdapterFusion", "BitFit", "Distilled", "DoRA",
    "Full", "GPT2Config", "Houlsby", "InputError", "LNTuning", "Layerwise", "LoRA", "LoRAPlus", "LoReFT",
    "Method", "Modules", "PTuning", "ParallelAdapter", "PeftModel", "PrefixTuning", "PromptTuning", "Sparse",
    "UniPELT", "VeRA", "evaluate", "gradcheck", "pack", "student_of", "train",
]  # fmt: skip
