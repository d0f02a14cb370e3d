"""The shape of a GPT-2: sizes, and the names and shapes of its parameters."""

from dataclasses import dataclass

import numpy as np

from .errors import InputError, choose_from
from .settings import check_fields, check_range

SIZE = {"least": 1, "below": 2**31}  # an index of it fits an int32
RANGES = {
    "vocab_size": SIZE, "n_positions": SIZE, "n_embd": SIZE, "n_head": SIZE, "n_inner": SIZE,
    "n_layer": {"least": 1, "below": 1000}, "layer_norm_epsilon": {"above": 0, "below": 1},
}  # fmt: skip


@dataclass
class GPT2Config:
    """The shape of a GPT-2, with the names and defaults of `config.json`. Defaults: GPT-2 small."""

    vocab_size: int = 50257
    n_positions: int = 1024
    n_embd: int = 768
    n_layer: int = 12
    n_head: int = 12
    n_inner: int | None = None  # width of the MLP; None: 4 n_embd
    layer_norm_epsilon: float = 1e-5
    tie_word_embeddings: bool = True
    eos_token_id: int | None = None  # ends a text; None: the last id of the vocabulary
    bos_token_id: int | None = None  # for other software, as the next; None: the same
    pad_token_id: int | None = None

    def __post_init__(self):
        check_fields(self)
        for name, limits in RANGES.items():
            if getattr(self, name) is not None:
                check_range(name, getattr(self, name), **limits)
        if self.n_embd % self.n_head:
            raise InputError(f"n_embd {self.n_embd} cannot be divided among n_head {self.n_head} heads")
        self.n_inner = self.n_inner or 4 * self.n_embd
        if self.eos_token_id is None:
            self.eos_token_id = self.vocab_size - 1
        if self.bos_token_id is None:
            self.bos_token_id = self.eos_token_id

    def end_token(self):
        """eos_token_id. Raises InputError where the vocabulary has no such token."""
        if not 0 <= self.eos_token_id < self.vocab_size:
            raise InputError(
                f"the model's eos_token_id is {self.eos_token_id}, and its vocabulary has "
                f"{self.vocab_size:,} tokens: set the id of the token that ends a text in config.json"
            )
        return self.eos_token_id

    def shapes(self):
        """{checkpoint name: shape} of every parameter, in the order of the forward pass."""
        C, F = self.n_embd, self.n_inner
        shapes = {"wte.weight": (self.vocab_size, C), "wpe.weight": (self.n_positions, C)}
        for i in range(self.n_layer):
            block = {
                "ln_1.weight": (C,), "ln_1.bias": (C,),
                "attn.c_attn.weight": (C, 3 * C), "attn.c_attn.bias": (3 * C,),
                "attn.c_proj.weight": (C, C), "attn.c_proj.bias": (C,),
                "ln_2.weight": (C,), "ln_2.bias": (C,),
                "mlp.c_fc.weight": (C, F), "mlp.c_fc.bias": (F,),
                "mlp.c_proj.weight": (F, C), "mlp.c_proj.bias": (C,),
            }  # fmt: skip
            shapes |= {f"h.{i}.{name}": shape for name, shape in block.items()}
        shapes |= {"ln_f.weight": (C,), "ln_f.bias": (C,)}
        if not self.tie_word_embeddings:
            shapes["lm_head.weight"] = (self.vocab_size, C)
        return shapes

    def linear_layers(self):
        """{name: (in, out)} of the linear layers inside the blocks: what a method may act beside."""
        return {
            name.removesuffix(".weight"): shape
            for name, shape in self.shapes().items()
            if name.startswith("h.") and len(shape) == 2
        }

    @property
    def head(self):
        """The layer whose weight the language-model head multiplies by."""
        return "wte" if self.tie_word_embeddings else "lm_head"


SIZES = {  # the published checkpoints; each is GPT-2 small but for these
    "gpt2": {},
    "gpt2-medium": {"n_embd": 1024, "n_layer": 24, "n_head": 16},
    "gpt2-large": {"n_embd": 1280, "n_layer": 36, "n_head": 20},
    "gpt2-xl": {"n_embd": 1600, "n_layer": 48, "n_head": 25},
    "distilgpt2": {"n_layer": 6},
}


def repository(size):
    """The name of a published size on the Hugging Face hub."""
    return f"distilbert/{size}" if size == "distilgpt2" else f"openai-community/{size}"


def published(name):
    """The size that is called so, "gpt2" or "openai-community/gpt2", or None."""
    size = str(name).rpartition("/")[2]
    return size if size in SIZES and str(name) in (size, repository(size)) else None


def config_of_size(name):
    """The configuration of a published size. Raises InputError for an unknown name."""
    if published(name) is None:
        raise InputError(f"no published GPT-2 is called {name!r}: {choose_from(name, SIZES)}")
    return GPT2Config(**SIZES[published(name)])


def check_sequences(sequences, config, virtual=0, to_come=0):
    """Raise InputError for the first sequence that is empty, too long, or not of token ids that there are.

    virtual: rows that a method puts in front of each;  to_come: tokens that are to be generated.
    """
    for i, ids in enumerate(sequences):
        ids = np.asarray(ids)
        if ids.size == 0:
            raise InputError(f"sequence {i} is empty: a model needs at least one token")
        if ids.ndim != 1 or ids.dtype.kind not in "iu":
            raise InputError(f"sequence {i}: want a list of token ids, whole numbers, not {ids.tolist()!r}")
        if ids.min() < 0 or ids.max() >= config.vocab_size:
            unknown = ids[(ids < 0) | (ids >= config.vocab_size)][0]
            raise InputError(f"sequence {i}: token id {unknown} is not in 0 ... {config.vocab_size - 1}")
        if virtual + len(ids) + to_come > config.n_positions:
            parts = f"{virtual} virtual + {len(ids)} tokens" + (f" + {to_come} to come" if to_come else "")
            raise InputError(f"sequence {i}: {parts} do not fit the model's {config.n_positions} positions")
