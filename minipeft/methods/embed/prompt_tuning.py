r"""Prompt tuning: virtual tokens, learned as embeddings, in front of every text.

    x' = [E ; wte[ids]] + wpe[0, 1, 2, ...]        E (P, C) trains;  text (T, C) -> x' (P + T, C)

The virtual tokens pass through all layers as words do: they have positions 0 ... P-1, the text those from P
on. The first token of a text has something before it now, so its label counts.

Source: Lester et al. 2021, "The Power of Scale for Parameter-Efficient Prompt Tuning", section 2.
Defaults and names as in Hugging Face PEFT.
"""

from dataclasses import dataclass

import numpy as np

from ...backend import like, to_host
from ...errors import InputError, check_choice, counted
from ..about import About
from ..base import Method

INITS = ("RANDOM", "SAMPLE_VOCAB", "TEXT")


@dataclass
class PromptTuning(Method):
    """num_virtual_tokens: P, by which texts may be shorter than the model's n_positions.

    prompt_tuning_init: "RANDOM", normal with standard deviation 1 as in PEFT, which is far from the
    embeddings of words; "SAMPLE_VOCAB", those of words drawn at random; "TEXT", those of a text: the model
    then behaves as if it had read it. prompt_tuning_init_text: that text, or its token ids. A shorter text
    is repeated to fill P; a longer one is refused, where PEFT cuts it.

    GPT-2 small, P = 20: 15,360 parameters, 0.01 %.
    """

    about = About(
        "prompt_tuning", recipe=("num_virtual_tokens=20", "prompt_tuning_init=SAMPLE_VOCAB"),
        learning_rate=9e-1, section="soft_prompts", peft_type="PROMPT_TUNING",
        small={"num_virtual_tokens": 3},
    )  # fmt: skip

    num_virtual_tokens: int = 20
    prompt_tuning_init: str = "RANDOM"
    prompt_tuning_init_text: str | tuple[int, ...] | None = None

    table = "prompt_embeddings"  # the name of E

    def init(self, model, rng):
        """E. Raises InputError for a bad setting or a text that does not fit."""
        P, wte = self.num_virtual_tokens, model.weights["wte.weight"]
        check_num_virtual_tokens(P)
        check_choice("prompt_tuning_init", self.prompt_tuning_init, INITS)
        if (self.prompt_tuning_init == "TEXT") != (self.prompt_tuning_init_text is not None):
            raise InputError("prompt_tuning_init 'TEXT' and prompt_tuning_init_text need each other")
        if self.prompt_tuning_init == "RANDOM":
            return {self.table: rng.standard_normal((P, model.config.n_embd))}
        if self.prompt_tuning_init == "SAMPLE_VOCAB":
            ids = rng.integers(len(wte), size=P)
        else:
            ids = text_ids("prompt_tuning_init_text", self.prompt_tuning_init_text, model)
            if len(ids) > P:
                raise InputError(
                    f"prompt_tuning_init_text has {counted(len(ids), 'token')}, more than "
                    f"num_virtual_tokens {P}: shorten it, or take more virtual tokens"
                )
            ids = np.resize(ids, P)  # repeats them
        return {self.table: to_host(wte[like(wte, ids)])}

    def embed(self, x, layout, step):
        """x (N, C) -> [E ; x_s] for each of the S sequences (N + S P, C)."""
        y, longer = step.ops.prepend(step.tensors[self.table], x, layout)
        return y, longer, layout if step.grad_enabled else None

    def embed_backward(self, dx, cache, step):
        """forward: every sequence has the same E in front, so dE is the sum over sequences."""
        layout = cache
        dx, dE = step.ops.prepend_backward(dx, self.num_virtual_tokens, layout)
        return dx, {self.table: dE}


def check_num_virtual_tokens(P):
    """Raise InputError unless there is at least one virtual token."""
    if P < 1:
        raise InputError(f"num_virtual_tokens must be 1 or more, not {P}")


def text_ids(option, text, model):
    """The token ids of the text that the setting `option` gives. Raises InputError where it has none."""
    if isinstance(text, str):
        if model.tokenizer is None:
            raise InputError(f"the model has no tokenizer: give {option} as token ids")
        text = model.tokenizer.encode(text, add_special_tokens=False).ids
    ids, V = np.asarray(text, dtype=np.int64), model.config.vocab_size
    if len(ids) == 0:
        raise InputError(f"{option} is empty: it has no token to start from")
    if ids.min() < 0 or ids.max() >= V:
        raise InputError(f"a token id of {option} is not in 0 ... {V - 1}")
    return ids
