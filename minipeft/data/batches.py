"""Text to batches: rows -> token ids -> packed batches. What a row is, and how files hold them: rows.py."""

from collections.abc import Iterable
from dataclasses import dataclass
from io import IOBase
from pathlib import Path

import numpy as np

from ..config import check_sequences
from ..errors import InputError, SettingError, check_choice
from ..layout import Layout, pack_ids
from .rows import normal_row, read_rows

ON_LONG = ("refuse", "cut", "drop", "split")  # what `encode_rows` may do with a row that is too long


@dataclass
class Batch:
    """Packed sequences: ids (N,), where they begin and end, and which tokens count in the loss (N,)."""

    ids: np.ndarray
    layout: Layout
    labelled: np.ndarray

    def __len__(self):
        return len(self.layout.lengths)

    @property
    def sequences(self):
        """[ids (T,), ...]: those of each sequence."""
        return [self.ids[begin:end] for begin, end in self.layout.spans]

    def targets(self, layout):
        """The rows of `layout` that predict a labelled token, and these tokens, (M,) each.

        Row r predicts row r + 1. Nothing predicts the first row of a sequence: a labelled first token
        counts only where a method put rows in front of it.
        """
        rows = layout.text_rows  # where each token lies in `layout`
        predicted = self.labelled & ~np.isin(rows, layout.first_rows)
        return rows[predicted] - 1, self.ids[predicted]

    def split(self, n):
        """At most n batches with the same sequences, their numbers of tokens as equal as can be."""
        return [self.take(part) for part in self.parts(n)]

    def parts(self, n):
        """The sequences of each batch of `split`, by number, in order."""
        lengths = self.layout.lengths
        parts = [[] for _ in range(min(n, len(lengths)))]
        for s in sorted(range(len(lengths)), key=lambda s: -lengths[s]):
            min(parts, key=lambda part: sum(lengths[i] for i in part)).append(s)
        return [sorted(part) for part in parts]

    def share(self, rank, size):
        """The part of one of `size` ranks; None where there is no sequence left for it."""
        if size == 1:
            return self
        parts = self.parts(size)
        return self.take(parts[rank]) if rank < len(parts) else None

    def take(self, sequences):
        """The batch of these sequences alone."""
        rows = np.concatenate([np.arange(*self.layout.spans[s]) for s in sequences])
        adapters = self.layout.adapters and tuple(self.layout.adapters[s] for s in sequences)
        layout = Layout.of([self.layout.lengths[s] for s in sequences], adapters)
        return Batch(self.ids[rows], layout, self.labelled[rows])


def pack(pairs):
    """[(prompt ids, completion ids), ...] -> a Batch; the loss counts on the completions."""
    if not pairs:
        raise InputError("a batch needs at least one sequence")
    ids, layout = pack_ids([[*prompt, *completion] for prompt, completion in pairs])
    labelled = [flag for p, c in pairs for flag in [False] * len(p) + [True] * len(c)]
    return Batch(ids, layout, np.array(labelled, dtype=bool))


# ------------------------------------------------------------------------------------------- encoding


def encode_rows(rows, model, on_long="refuse"):
    """Rows -> [(prompt ids, completion ids), ...] with the end token, and how many were too long.

    on_long, for rows with more tokens than the model has positions (less a method's virtual tokens):
    "refuse" raises InputError; "cut" shortens them, the prompt from its front, then the completion from
    its end; "drop" leaves them out; "split" makes several rows of a text, and cuts the others.
    """
    check_choice("on_long", on_long, ON_LONG)
    if model.tokenizer is None:
        raise InputError(
            "the model has no tokenizer: put tokenizer.json (or vocab.json, merges.txt) beside it"
        )
    room = model.config.n_positions - model.num_virtual_tokens
    begins = model.tokenizer.encode_batch([row.get("text", row.get("prompt", "")) for row in rows])
    goes_on = [row.get("completion", "") for row in rows]  # no token of a beginning stands in front of it
    completions = model.tokenizer.encode_batch(goes_on, add_special_tokens=False)
    pairs, long = [], 0
    for i, (row, begin, c) in enumerate(zip(rows, begins, completions, strict=True)):
        prompt, completion = ([], begin.ids) if "text" in row else (begin.ids, c.ids)
        completion = [*completion, model.config.end_token()]
        if len(prompt) + len(completion) > room:
            long += 1
            if on_long == "refuse":
                ways = "cut or drop" if prompt else "split, cut or drop"
                raise SettingError(
                    "on_long",
                    f"row {i + 1}: {len(prompt)} + {len(completion)} tokens; the model has room for {room}: "
                    f"choose {{}} {ways}, or shorten it",
                )
            if on_long == "drop":
                continue
            if on_long == "split" and not prompt:
                pieces = -(-len(completion) // room)
                pairs += [([], piece.tolist()) for piece in np.array_split(completion, pieces)]
                continue
            completion = completion[: room - 1] if prompt else completion[:room]
            prompt = prompt[-(room - len(completion)) :] if prompt else prompt
        pairs.append((prompt, completion))
    if not pairs:
        raise InputError(f"no row fits the model's {room} positions")
    check_pairs(pairs, model)
    return pairs, long


def check_pairs(pairs, model):
    """Raise InputError where a pair is empty, does not fit the model, or has an id that it does not know."""
    check_sequences(
        [[*prompt, *completion] for prompt, completion in pairs], model.config, model.num_virtual_tokens
    )


def load_pairs(data, model, on_long="refuse"):
    """A file of rows, a list of rows, or a list of (prompt ids, completion ids) -> such pairs, checked."""
    if isinstance(data, str | Path):
        data = read_rows(data)
    if not isinstance(data, Iterable) or isinstance(data, IOBase | dict):
        raise InputError(f"the data: want a file's path, or a list of rows, not {type(data).__name__}")
    data = list(data)
    if not data:
        raise InputError("the data is empty")
    if isinstance(data[0], dict):
        return encode_rows([normal_row(row, f"row {i}") for i, row in enumerate(data, 1)], model, on_long)
    for i, row in enumerate(data, 1):
        if not (isinstance(row, tuple | list) and len(row) == 2 and all(map(is_ids, row))):
            raise InputError(f"row {i}: want a dict, or two lists of token ids, not {row!r}")
    check_pairs(data, model)
    return data, 0


def is_ids(part):
    """May this be the token ids of a prompt, or of a completion?"""
    return isinstance(part, tuple | list | np.ndarray)


def batches(pairs, batch_size, rng=None, skip=0):
    """Batches of the pairs, in the order of `orders`."""
    for numbers in orders(len(pairs), batch_size, rng, skip):
        yield pack([pairs[j] for j in numbers])


def orders(n, batch_size, rng=None, skip=0):
    """Which of n sequences are in each batch: in order; with `rng`, without end, each epoch in a new order.

    skip: so many batches are left out, as if they had been read: what follows is the same.
    """
    while True:
        order = np.arange(n) if rng is None else rng.permutation(n)
        for i in range(0, n, batch_size):
            if skip:
                skip -= 1
                continue
            yield order[i : i + batch_size]
        if rng is None:
            return
