"""The fine-tuning methods, each in the folder of the site where it acts. Read base.py first."""

from .base import Method
from .chain import Chain
from .linear.lora import LoRA
from .select.full import Full

METHODS = {"full": Full, "lora": LoRA}  # by the names that the command line knows

__all__ = ["METHODS", "Chain", "Full", "LoRA", "Method"]
