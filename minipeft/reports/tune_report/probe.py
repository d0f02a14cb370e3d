r"""What a forward pass shows: the share of attention on virtual tokens, and the edits of the residual stream.

The shares are `PeftModel.attention_to_virtual_tokens`. Edits are seen by a chain around the run's method,
which hands on what each sublayer gave before the method and after it.
"""

from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np

from ...data.batches import batches
from ...gpt2 import forward
from ...methods import Chain


@dataclass
class Measured:
    """Means over the text of all rows.

    share  (L, H): of the attention, what goes to virtual tokens;  even  the same if every key got as much
    edits  {place: (mean of |edit| / |stream without it| over the tokens edited, share of tokens edited)}
    """

    share: np.ndarray
    even: float
    edits: dict


class Watched(Chain):
    """A method, of which record(name, x, before, after) hears what it does to each sublayer's output.

    x (N, C) the residual stream before the sublayer; before, after (N, C): its output; rows of text alone.
    """

    def __init__(self, method, record):
        super().__init__([method])
        self.record = record

    def sublayer(self, name, x, h, step):
        """h (N, C) -> what the method makes of it."""
        before, text = h.copy(), step.layout.text_rows  # a method may change h in place
        h, caches = super().sublayer(name, x, h, step)
        self.record(name, x[text], before[text], h[text])
        return h, caches


def measure(peft, step, pairs, batch_size=16):
    """Forward passes of `peft` over the pairs of token ids. -> Measured. step: `peft.step()`."""
    share, even, tokens = 0.0, 0.0, 0
    relative, edited, seen = defaultdict(float), defaultdict(int), defaultdict(int)

    def record(name, x, before, after):
        edit = np.linalg.norm(after - before, axis=1)  # (N,)
        relative[name] += float((edit / np.linalg.norm(x + before, axis=1)).sum(dtype="float64"))
        edited[name] += int((edit > 0).sum())
        seen[name] += len(edit)

    watched = replace(step, method=Watched(peft.method, record))
    P = peft.num_virtual_tokens
    for batch in batches(pairs, batch_size):
        forward(batch.ids, batch.layout, watched)
        share = share + len(batch.ids) * peft.attention_to_virtual_tokens(batch)
        even += sum(float((P / (P + np.arange(1, T + 1))).sum()) for T in batch.layout.lengths)
        tokens += len(batch.ids)
    edits = {name: (relative[name] / max(1, edited[name]), edited[name] / seen[name]) for name in relative}
    return Measured(share / tokens, even / tokens, edits)
