"""The batches that both sides train on: lists of (prompt ids, completion ids).

    e2e                 rows of the data in a fixed random order, as users feed them: much padding
    grouped             rows of like length together: little padding
    8x64 4x128 1x512    sequences x tokens, random ids, every position labelled: no padding

They are made once; both sides are handed the same ids.
"""

import numpy as np

from minipeft.data.batches import encode_rows
from minipeft.data.rows import read_rows

OF_ROWS = ("e2e", "grouped")
DENSE = {"8x64": (8, 64), "4x128": (4, 128), "1x512": (1, 512)}
KINDS = (*OF_ROWS, *DENSE)
SIZE = 8  # rows in a batch
GROUP = 50  # batches whose rows are sorted by length together; as many as `transformers` takes


def batches_of(kind, number, model, data=None):
    """So many batches of that kind, for the model's vocabulary and positions. data: a file of rows.

    Raises InputError where the data cannot be read, or a row does not fit.
    """
    rng = np.random.default_rng(0)
    if kind in DENSE:
        ids = rng.integers(0, model.config.vocab_size, (number, *DENSE[kind])).tolist()
        return [[([], sequence) for sequence in batch] for batch in ids]
    pairs, _ = encode_rows(read_rows(data), model)
    if kind == "e2e":
        pairs = [pairs[i] for i in np.resize(rng.permutation(len(pairs)), number * SIZE)]
        return [pairs[i : i + SIZE] for i in range(0, len(pairs), SIZE)]
    drawn = np.resize(rng.permutation(len(pairs)), max(number, GROUP) * SIZE)
    group = sorted((pairs[i] for i in drawn), key=lambda pair: len(pair[0]) + len(pair[1]))
    return [group[i * SIZE : (i + 1) * SIZE] for i in rng.permutation(len(group) // SIZE)[:number]]


def prompts_of(number, model, data):
    """The prompts of so many rows of the data, in a fixed random order, as ids."""
    pairs, _ = encode_rows(read_rows(data), model)
    return [pairs[i][0] for i in np.random.default_rng(0).permutation(len(pairs))[:number]]
