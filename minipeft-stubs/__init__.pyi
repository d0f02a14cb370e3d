"""The types of what `import minipeft` gives, for editors and type checkers; the docstrings are in the code.

The code itself is without them, so that a line holds the formula alone. tests/test_typed.py compares the two.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from os import PathLike
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from .config import GPT2Config as GPT2Config
from .data.batches import Batch
from .errors import InputError as InputError
from .methods import IA3 as IA3
from .methods import MAM as MAM
from .methods import METHODS as METHODS
from .methods import About as About
from .methods import Adapter as Adapter
from .methods import AdapterFusion as AdapterFusion
from .methods import BitFit as BitFit
from .methods import DoRA as DoRA
from .methods import Full as Full
from .methods import Houlsby as Houlsby
from .methods import Layerwise as Layerwise
from .methods import LNTuning as LNTuning
from .methods import LoHa as LoHa
from .methods import LoRA as LoRA
from .methods import LoRAPlus as LoRAPlus
from .methods import LoReFT as LoReFT
from .methods import Method as Method
from .methods import Modules as Modules
from .methods import ParallelAdapter as ParallelAdapter
from .methods import PrefixTuning as PrefixTuning
from .methods import PromptTuning as PromptTuning
from .methods import PTuning as PTuning
from .methods import Sparse as Sparse
from .methods import UniPELT as UniPELT
from .methods import VeRA as VeRA
from .mixed_model import MixedModel
from .train import History

Array = NDArray[Any]  # of NumPy, or of CuPy on a GPU
Arrays = Mapping[str, Array]
Path = str | PathLike[str]
Ids = Sequence[int] | NDArray[np.integer[Any]]
Methods = Method | Sequence[Method]
OnLong = Literal["refuse", "cut", "drop", "split"]
Ops = Literal["fast", "plain"]
Data = Path | Sequence[Mapping[str, str]] | Sequence[tuple[Ids, Ids]]

__version__: str

class GPT2:
    config: GPT2Config
    weights: dict[str, Array]
    tokenizer: Tokenizer | None
    name: str | None
    num_virtual_tokens: int
    def __init__(
        self,
        config: GPT2Config,
        weights: dict[str, Array],
        tokenizer: Tokenizer | None = None,
        name: str | None = None,
        ops: Ops = "fast",
        beside: dict[str, str] | None = None,
    ) -> None: ...
    def with_weights(self, weights: dict[str, Array], config: GPT2Config | None = None) -> GPT2: ...
    @classmethod
    def random(
        cls,
        size: str | GPT2Config = "gpt2",
        seed: int = 0,
        dtype: str = "float32",
        device: str = "cpu",
        tokenizer: Tokenizer | None = None,
        ops: Ops = "fast",
        std: float = 0.02,
    ) -> GPT2: ...
    @classmethod
    def from_pretrained(
        cls, name: Path, dtype: str = "float32", device: str = "cpu", ops: Ops = "fast",
        base: Literal["float32", "bfloat16", "int8", "nf4"] | None = None,
    ) -> GPT2: ...  # fmt: skip
    def save_pretrained(self, folder: Path, dtype: str | None = None) -> None: ...
    def quantized(self, kind: Literal["int8", "nf4"]) -> GPT2: ...
    def packed(self, kind: Literal["float32", "bfloat16"] = "float32") -> GPT2: ...
    def held(self, base: Literal["float32", "bfloat16", "int8", "nf4"] | None) -> GPT2: ...
    def dequantized(self) -> GPT2: ...
    def untied(self) -> GPT2: ...
    @property
    def quantization(self) -> str | None: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def num_parameters(self) -> int: ...
    def step(self, **fields: Any) -> Any: ...
    def grad_sums(self, batch: Batch, names: Iterable[str]) -> dict[str, Array]: ...
    def keys_and_values(self, ids: Ids) -> list[tuple[Array, Array]]: ...
    def logits(self, sequences: Sequence[Ids]) -> list[Array]: ...
    def generate_ids(self, prompts: Sequence[Ids], **options: Any) -> list[list[int]]: ...
    def generate(self, prompt: str | Sequence[str], **options: Any) -> Any: ...

class PeftModel:
    model: GPT2
    config: GPT2Config
    tokenizer: Tokenizer | None
    active_adapter: str
    method: Method
    tensors: dict[str, Array]
    selected: dict[str, Array]
    weights: dict[str, Array]
    trainable: dict[str, Array]
    def __init__(
        self, model: GPT2, methods: Methods = (), seed: int = 0, adapter_name: str = "default"
    ) -> None: ...
    def add_adapter(self, adapter_name: str, methods: Methods, seed: int = 0) -> None: ...
    def load_adapter(self, folder: Path, adapter_name: str) -> None: ...
    def add_weighted_adapter(
        self,
        adapters: Sequence[str],
        weights: Sequence[float],
        adapter_name: str,
        combination_type: str = "svd",
        svd_rank: int | None = None,
        *,
        density: float | None = None,
        majority_sign_method: Literal["total", "frequency"] = "total",
        seed: int = 0,
    ) -> None: ...
    def set_adapter(self, adapter_name: str) -> None: ...
    def delete_adapter(self, adapter_name: str) -> None: ...
    def disable_adapter(self) -> AbstractContextManager[None]: ...
    def adapter(self, adapter_name: str) -> Any: ...
    def mixed(self, adapter_names: Sequence[str]) -> MixedModel: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def num_virtual_tokens(self) -> int: ...
    @property
    def num_trainable(self) -> int: ...
    @property
    def num_parameters(self) -> int: ...
    @property
    def num_shards(self) -> int: ...
    def identity(self) -> dict[str, Any]: ...
    def print_trainable_parameters(self) -> None: ...
    def step(self, **fields: Any) -> Any: ...
    def loss_and_grads(
        self, batch: Batch, seed: int | None = None, dropout: float = 0.0, checkpointing: bool = False
    ) -> tuple[float, dict[str, Array]]: ...
    def loss_and_grad_sums(
        self,
        batch: Batch,
        seed: int | None = None,
        dropout: float = 0.0,
        checkpointing: bool = False,
        first_shard: int = 0,
    ) -> tuple[float, int, dict[str, Array]]: ...
    def shard_loss_and_grads(self, shard: Batch, step: Any, collect: Any, blocks: Any) -> Any: ...
    def scores(self, batch: Batch) -> tuple[NDArray[np.floating[Any]], NDArray[np.bool_]]: ...
    def scores_in(
        self, step: Any, batch: Batch, numbers: Sequence[int] | None = None
    ) -> tuple[NDArray[np.floating[Any]], NDArray[np.bool_]]: ...
    def attention_to_virtual_tokens(self, batch: Batch) -> NDArray[np.floating[Any]]: ...
    def loss(self, batch: Batch) -> float: ...
    def check_batch(self, batch: Batch) -> None: ...
    def logits(self, sequences: Sequence[Ids]) -> list[Array]: ...
    def generate_ids(self, prompts: Sequence[Ids], **options: Any) -> list[list[int]]: ...
    def generate(self, prompt: str | Sequence[str], **options: Any) -> Any: ...
    def save_pretrained(self, folder: Path) -> None: ...
    @classmethod
    def from_pretrained(
        cls, model: GPT2, folder: Path, adapter_name: str = "default", is_trainable: bool = True
    ) -> PeftModel: ...
    def give_up_base(self) -> None: ...
    def merge_and_unload(self) -> GPT2: ...
    def unmerge(self, merged: GPT2) -> GPT2: ...

class Distilled(PeftModel):
    teacher: PeftModel
    def __init__(
        self, student: PeftModel, teacher: GPT2 | PeftModel, temperature: float = 2.0, weight: float = 0.5
    ) -> None: ...

class AdamW:
    learning_rate: float
    betas: tuple[float, float]
    eps: float
    weight_decay: float
    def __init__(
        self,
        learning_rate: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        lr_scale: Callable[[str], float] | None = None,
    ) -> None: ...
    def step(self, params: Arrays, grads: Arrays, apply: Any = True) -> None: ...
    def take_back(self) -> None: ...
    def decay_of(self, p: Any) -> float: ...

def register(cls: type[Method]) -> type[Method]: ...
def check(exercise: str, *functions: Callable[..., Any]) -> bool: ...
def student_of(teacher: GPT2, n_layer: int) -> GPT2: ...
def pack(pairs: Sequence[tuple[Ids, Ids]]) -> Batch: ...
def train(
    model: PeftModel,
    data: Data,
    eval_data: Data | None = None,
    output_dir: Path | None = None,
    progress: bool = True,
    resume: bool = False,
    **settings: Any,
) -> History: ...
def evaluate(
    model: PeftModel, data: Data, batch_size: int = 16, on_long: OnLong = "refuse", ranks: Any = None
) -> dict[str, float]: ...
def gradcheck(
    model: PeftModel,
    batch: Batch,
    elements: int | None = 4,
    scramble: float = 0.1,
    seed: int = 0,
    progress: Callable[[list[str]], Iterator[str]] | None = None,
) -> dict[str, float]: ...
