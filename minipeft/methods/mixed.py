"""Several adapters on one batch: each acts on its own sequences, and the base runs once for all of them.

The sequences of one adapter stand together, so its rows of a packed matrix are a slice: nothing is copied to
hand them over. The matmuls of the base see all rows at once; only the adapters' own, which are small, differ.

    y = x W + b          all rows
    y[rows of a] = method_a(x[rows of a], y[rows of a])

For generation and evaluation: a mixed batch has no backward.
"""

from dataclasses import replace

from ..backend import xp_of
from ..layout import Layout
from .base import Method


class Mixed(Method):
    """steps: of each adapter, by its number in the layout, the `Step` with its method and tensors."""

    def __init__(self, steps):
        self.steps = steps

    @property
    def num_virtual_tokens(self):
        """The most that any of them takes."""
        return max(step.method.num_virtual_tokens for step in self.steps)

    def parts(self, layout):
        """(method, its step, the slice of its rows), one adapter after another."""
        for adapter, rows, own_layout in layout.parts:
            step = replace(self.steps[adapter], layout=own_layout)
            yield step.method, step, rows

    def embed(self, x, layout, step):
        """x (N, C) -> x' (N', C): each adapter puts rows of its own in front of its sequences."""
        longer, layouts = [], []
        for method, own, rows in self.parts(layout):
            x_own, layout_own, _ = method.embed(x[rows], own.layout, own)
            longer.append(x_own)
            layouts.append(layout_own)
        return xp_of(x).concatenate(longer), Layout.joined(layouts), None

    def linear_input(self, name, x, step):
        """x (N, I) -> x' (N, I); what an adapter leaves alone stays in place."""
        changed = {}
        for method, own, rows in self.parts(step.layout):
            before = x[rows]
            after, _ = method.linear_input(name, before, own)
            if after is not before:
                changed[rows.start, rows.stop] = after
        if changed:
            x = x.copy()  # the residual stream, or what the linear layer before gave: not ours to write to
        for (begin, end), after in changed.items():
            x[begin:end] = after
        return x, None

    def linear(self, name, x, y, step):
        """x (N, I), y (N, O) -> y', in place."""
        for method, own, rows in self.parts(step.layout):
            before = y[rows]
            after, _ = method.linear(name, x[rows], before, own)
            if after is not before:  # else it has changed it in place, or left it alone
                y[rows] = after
        return y, None

    def keys_values(self, layer, k, v, key_layout, x, step):
        """k, v (N, C) -> k', v' (N', C): a prefix comes in front of its adapter's sequences alone."""
        longer = []
        for method, own, rows in self.parts(step.layout):
            longer.append(method.keys_values(layer, k[rows], v[rows], own.layout, x[rows], own)[:3])
        ks, vs, layouts = zip(*longer, strict=True)
        xp = xp_of(k)
        return xp.concatenate(ks), xp.concatenate(vs), Layout.joined(layouts), None

    def sublayer(self, name, x, h, step):
        """x, h (N, C) -> h', in place."""
        for method, own, rows in self.parts(step.layout):
            before = h[rows]
            after, _ = method.sublayer(name, x[rows], before, own)
            if after is not before:
                h[rows] = after
        return h, None
