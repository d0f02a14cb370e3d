r"""What a forward pass shows: the share of attention on virtual tokens, and the edits of the residual stream.

The model has no switches for this. Two methods that change nothing stand in a chain with the run's own:

    Chain([Before, the run's method, After])

`After` sees q and k as attention will, and hands them to `ops.attention` itself, with values that are 1 at
virtual tokens and 0 elsewhere: what comes out is the share of attention that goes there,

    share = softmax(q k^T / sqrt(D)) [1, ..., 1, 0, ..., 0]^T
"""

from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np

from ...data.batches import batches
from ...gpt2 import forward
from ...methods import Chain, Method


@dataclass
class Measured:
    """Means over the text of all rows.

    share  (L, H): of the attention, what goes to virtual tokens;  even  the same if every key got as much
    edits  {place: (mean of |edit| / |stream without it| over the tokens edited, share of tokens edited)}
    """

    share: np.ndarray
    even: float
    edits: dict


class Before(Method):
    """Keeps what each sublayer gives before the run's methods edit it: they may do so in place."""

    def sublayer(self, name, x, h, step):
        """h (N, C) -> h."""
        self.h = h.copy()
        return h, None


class After(Method):
    """Adds up, over the batches, what the run's methods have done."""

    def __init__(self, before, config):
        self.before = before
        self.share, self.even, self.queries = np.zeros((config.n_layer, config.n_head)), 0.0, 0
        self.relative, self.edited, self.tokens = defaultdict(float), defaultdict(int), defaultdict(int)

    def embed(self, x, layout, step):
        """Counts the tokens of text: those whose attention is measured."""
        self.queries += len(layout.text_rows)
        return x, layout, None

    def linear(self, name, x, y, step):
        """Keeps q (N, C), the first third of what c_attn gives."""
        if name.endswith("attn.c_attn"):
            self.q = y[:, : step.config.n_embd]
        return y, None

    def keys_values(self, layer, k, v, keys, x, step):
        """The share of attention of each head that goes to virtual keys: prefixes, and rows of prompts."""
        H, text, ones = step.config.n_head, step.layout.text_rows, np.zeros_like(k)
        for (begin, _), virtual in zip(keys.spans, keys.virtual, strict=True):
            ones[begin : begin + virtual] = 1
        o, _ = step.ops.attention(
            self.q, k, ones, step.layout.spans, keys.spans, H
        )  # a head's D columns are equal
        self.share[layer] += o[text, :: o.shape[1] // H].sum(0, dtype="float64")
        if layer == 0:
            texts = np.subtract(step.layout.lengths, step.layout.virtual)
            for virtual, T in zip(keys.virtual, texts, strict=True):
                self.even += float((virtual / (virtual + np.arange(1, T + 1))).sum())
        return k, v, keys, None

    def sublayer(self, name, x, h, step):
        """|h' - h| / |x + h| of every row of text."""
        text = step.layout.text_rows
        edit = np.linalg.norm(h[text] - self.before.h[text], axis=1)  # (N,)
        stream = np.linalg.norm(x[text] + self.before.h[text], axis=1)
        self.relative[name] += float((edit / stream).sum(dtype="float64"))
        self.edited[name] += int((edit > 0).sum())
        self.tokens[name] += len(text)
        return h, None


def measure(peft, step, pairs, batch_size=16):
    """One forward pass of `peft` over the pairs of token ids. -> Measured. step: `peft.step()`."""
    before = Before()
    after = After(before, peft.config)
    probed = replace(step, method=Chain([before, peft.method, after]))
    for batch in batches(pairs, batch_size):
        forward(batch.ids, batch.layout, probed)
    edits = {
        name: (after.relative[name] / max(1, after.edited[name]), after.edited[name] / after.tokens[name])
        for name in after.relative
    }
    return Measured(after.share / after.queries, after.even / after.queries, edits)
