"""Where the sequences of a packed batch begin and end, and putting rows in front of each of them.

Outside attention a batch is one plain matrix: the tokens of all its sequences, one after another,
without padding. A `Layout` says which rows belong together; the array itself does not know.
"""

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import accumulate, groupby

import numpy as np

from .backend import xp_of


@dataclass(frozen=True)
class Layout:
    """The sequences of one packed matrix (N, C).

    lengths   rows of each sequence, in their order; they add up to N
    starts    the position (of `wpe`) of each sequence's first row
    virtual   rows at the front of each sequence that are not text (prompt tuning puts them there)
    fresh     True: the sequences begin here. False: they continue what a KV cache holds.
    adapters  in a mixed batch, the number of each sequence's adapter; those of one stand together
    """

    lengths: tuple[int, ...]
    starts: tuple[int, ...]
    virtual: tuple[int, ...]
    fresh: bool = True
    adapters: tuple[int, ...] | None = None

    @classmethod
    def of(cls, lengths, adapters=None):
        """Text alone: sequences of these lengths, from position 0, nothing in front."""
        zeros = (0,) * len(lengths)
        return cls(tuple(lengths), zeros, zeros, adapters=adapters)

    @classmethod
    def joined(cls, layouts):
        """The sequences of several layouts, one after another."""
        fields = ("lengths", "starts", "virtual", "adapters")
        joined = {field: sum((getattr(each, field) for each in layouts), ()) for field in fields}
        return cls(**joined, fresh=layouts[0].fresh)

    @cached_property
    def spans(self):
        """(begin, end) of each sequence's rows."""
        ends = tuple(accumulate(self.lengths))
        return tuple((end - n, end) for n, end in zip(self.lengths, ends, strict=True))

    @cached_property
    def positions(self):
        """The position of every row, (N,)."""
        return np.concatenate([np.arange(s, s + n) for s, n in zip(self.starts, self.lengths, strict=True)])

    @cached_property
    def text_rows(self):
        """The rows that hold text, in order: all but the virtual ones."""
        return np.concatenate(
            [np.arange(a + p, b) for (a, b), p in zip(self.spans, self.virtual, strict=True)]
        )

    @cached_property
    def first_rows(self):
        """The first row of each sequence, (S,)."""
        return np.array([a for a, _ in self.spans])

    @cached_property
    def parts(self):
        """Of a mixed batch: (adapter, the slice of its rows, the layout of its sequences), one by one."""
        parts, end = [], 0
        for adapter, run in groupby(range(len(self.lengths)), lambda s: self.adapters[s]):
            first, *others = run
            of = slice(first, first + 1 + len(others))
            own = [getattr(self, field)[of] for field in ("lengths", "starts", "virtual")]
            begin, end = end, end + sum(own[0])
            parts.append((adapter, slice(begin, end), Layout(*own, self.fresh, self.adapters[of])))
        return parts

    def shifted(self, P):
        """The same rows, P positions later: what a prefix of P keys does to the text behind it."""
        return replace(self, starts=tuple(s + P for s in self.starts))


def prepend(rows, x, layout):
    r"""Put the same rows in front of every sequence: $x'_s = [\,rows\,; x_s\,]$.

    rows (P, C), x (N, C) -> x' (N + S P, C) and its layout. Sequences that continue a KV cache have
    their rows already and are left alone.
    """
    if not layout.fresh:
        return x, layout
    P = len(rows)
    where, _, _ = in_front(xp_of(x), layout.lengths, P)
    return xp_of(x).concatenate([rows, x])[where], replace(
        layout,
        lengths=tuple(n + P for n in layout.lengths),
        virtual=tuple(v + P for v in layout.virtual),
    )


def prepend_backward(dx, P, layout):
    """dx (N + S P, C) -> drows (P, C), summed over the sequences that shared the rows; dx (N, C).

    layout: of the rows before `prepend`.
    """
    _, front, text = in_front(xp_of(dx), layout.lengths, P)
    return dx[front].sum(0), dx[text]


@lru_cache(maxsize=8)  # for all layers of a step the same: on a GPU they are moved there once
def in_front(xp, lengths, P):
    """P rows in front of each sequence. -> which row of [rows ; x] stands where (N + S P,), where the rows in
    front stand (S, P), and where the text does (N,)."""
    sequence = np.repeat(np.arange(len(lengths)), lengths)  # (N,)
    text = np.arange(sum(lengths)) + P * (sequence + 1)
    begins = np.cumsum([0, *lengths[:-1]]) + P * np.arange(len(lengths))  # (S,)
    front = begins[:, None] + np.arange(P)
    where = np.empty(front.size + len(text), dtype=np.int64)
    where[front], where[text] = np.arange(P), P + np.arange(len(text))
    return tuple(map(xp.asarray, (where, front, text)))


def pack_ids(sequences, adapters=None):
    """[ids, ...] -> the ids of all, one sequence after another (N,), and their layout."""
    ids = [np.asarray(s, dtype=np.int64) for s in sequences]
    return np.concatenate(ids), Layout.of([len(s) for s in ids], adapters)
