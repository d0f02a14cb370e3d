"""Where the shards of a batch add up their gradients, while their backward passes still run."""

from collections import deque
from threading import Lock


class Gradients:
    """Gradients by name: one array for each, whatever the number of shards that add to it.

    A shard hands over what it has as it goes down the model, and keeps nothing.
    """

    def __init__(self, shards=1):
        self.shards, self.sums = shards, {}

    def add(self, grads, shard=0):
        """{name: array}, which are no longer the caller's: some will be written to."""
        for name, g in grads.items():
            self.sums.setdefault(name, OrderedSum(self.shards)).add(g, shard)

    def totals(self):
        """{name: the sum over all shards}, when all are done; in the names' order, for threads have none."""
        return {name: self.sums[name].total() for name in sorted(self.sums)}


class OrderedSum:
    """A sum in an order of its own, whichever thread is first: what comes early waits for its turn.

    The turns go round: every shard's first array, in the shards' order, then every shard's second (a tied
    wte has two, of the head and of the embedding). Additions round: another order, another last bit.
    """

    def __init__(self, shards):
        self.early = [deque() for _ in range(shards)]
        self.sum, self.turn, self.lock = None, 0, Lock()

    def add(self, g, shard):
        """One more array of this shard; adds all whose turn has come."""
        self.early[shard].append(g)
        with self.lock:
            while self.early[self.turn]:
                self._take(self.early[self.turn].popleft())
                self.turn = (self.turn + 1) % len(self.early)

    def total(self):
        """The sum, also of what still waits because another shard had nothing to add."""
        for waiting in self.early:
            while waiting:
                self._take(waiting.popleft())
        return self.sum

    def _take(self, g):
        if self.sum is None:
            self.sum = g
        else:
            self.sum += g
