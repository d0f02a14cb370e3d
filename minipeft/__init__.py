"""minipeft: parameter-efficient fine-tuning of GPT-2, forward and backward by hand in NumPy.

Where things are: gpt2.py is the model, methods/ what can be done to it, ops.py the derivatives.
"""

from .config import GPT2Config
from .data.batches import pack
from .distill import Distilled, student_of
from .errors import InputError
from .exercises import check
from .gradcheck import gradcheck
from .methods import *  # noqa: F403
from .methods import __all__ as _methods
from .model import GPT2
from .optim import AdamW
from .peft_model import PeftModel
from .train import evaluate, train
from .version import __version__ as __version__

__all__ = [
    "GPT2", "AdamW", "Distilled", "GPT2Config", "InputError", "PeftModel", "check", "evaluate", "gradcheck",
    "pack", "student_of", "train", *(name for name in _methods if name != "Chain"),
]  # fmt: skip
