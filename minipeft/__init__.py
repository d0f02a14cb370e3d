"""minipeft: parameter-efficient fine-tuning of GPT-2, forward and backward by hand in NumPy.

Where things are: gpt2.py is the model, methods/ what can be done to it, ops.py the derivatives.
"""

__version__ = "0.1.0"

from .data import pack
from .errors import InputError
from .gpt2 import GPT2, GPT2Config
from .gradcheck import gradcheck
from .methods import METHODS, Full, LoRA, Method
from .optim import AdamW
from .peft_model import PeftModel
from .train import evaluate, train

__all__ = [
    "GPT2", "METHODS", "AdamW", "Full", "GPT2Config", "InputError", "LoRA", "Method", "PeftModel",
    "evaluate", "gradcheck", "pack", "train",
]  # fmt: skip
