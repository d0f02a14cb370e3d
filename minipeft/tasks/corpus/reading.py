"""Documents as token ids, and which of them count in the loss.

At first every token of a text counts: a model that learns to write learns to look back no later, and writing
is learnt fast. Later fewer and fewer texts count in full, in the end one of four, so that the model still
writes; the others count where they are marked. One document in ten is no text: see pieces.py.
"""

from random import Random

import numpy as np

from ...data.batches import Batch
from ...layout import pack_ids
from . import document
from .difficulty import hardness
from .marks import read_marks
from .pieces import pieces

PIECES, IN_FULL = 1 / 10, 1 / 4
WRITING = 150_000  # documents until the share of texts that count in full has come down to IN_FULL


def read(seed, n, tokenizer, config):
    """Document number n -> its ids, and for each whether it counts.

    The end token is the last of them, unless the document is too long for the model, and cut.
    """
    rng = Random(f"reading {seed} {n}")
    if rng.random() < PIECES:
        return pieces(rng, hardness(rng, 4 * n), config)  # they get hard four times as fast as texts
    ids, counts = marked_ids(document(seed, n), tokenizer, config)
    in_full = 1 - (1 - IN_FULL) * min(1.0, n / WRITING)
    return ids, [True] * len(ids) if rng.random() < in_full else counts


def marked_ids(marked, tokenizer, config):
    """A document with marks -> its ids, cut to the model's positions, and for each whether it counts.

    A token counts where one of its characters is marked.
    """
    text, flags = read_marks(marked)
    encoded = tokenizer.encode(text)
    counts = [any(flags[begin:end]) for begin, end in encoded.offsets]
    room = config.n_positions
    return [*encoded.ids, config.eos_token_id][:room], [*counts, True][:room]


def packed(documents):
    """[(ids, counts), ...] -> a Batch."""
    ids, layout = pack_ids([ids for ids, _ in documents])
    return Batch(ids, layout, np.array([c for _, counts in documents for c in counts], dtype=bool))
