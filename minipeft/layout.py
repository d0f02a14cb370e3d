"""Where the sequences of a packed batch begin and end.

Outside attention a batch is one plain matrix: the tokens of all its sequences, one after another,
without padding. A `Layout` says which rows belong together; the array itself does not know.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, groupby

import numpy as np


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

    def longer(self, P):
        """The same sequences, each with P virtual rows in front."""
        lengths, virtual = (tuple(n + P for n in each) for each in (self.lengths, self.virtual))
        return replace(self, lengths=lengths, virtual=virtual)


def pack_ids(sequences, adapters=None):
    """[ids, ...] -> the ids of all, one sequence after another (N,), and their layout."""
    ids = [np.asarray(s, dtype=np.int64) for s in sequences]
    return np.concatenate(ids), Layout.of([len(s) for s in ids], adapters)
