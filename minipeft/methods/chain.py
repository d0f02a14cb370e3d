"""Several methods on one model. A hybrid is a chain plus what joins its parts."""

import reprlib
from copy import copy
from dataclasses import fields
from math import prod

from ..errors import InputError
from .about import default_of
from .base import Method, add_dx, add_grads
from .keys_values.prefix_tuning import PrefixTuning
from .linear.dora import DoRA


class Chain(Method):
    """Several methods on one model: applied in their order at every site, and in reverse going back.

    An empty chain is the frozen model itself.
    """

    def __init__(self, methods):
        parts = ([*m.methods] if type(m) is Chain else [m] for m in methods)  # a chain in a chain is one
        self.methods = [part for each in parts for part in each]

    def __repr__(self):
        return f"Chain({self.methods})"

    @property
    def num_virtual_tokens(self):
        """Each part takes its positions in front of what the others took."""
        return sum(m.num_virtual_tokens for m in self.methods)

    def trains_base(self, name, config):
        """Trains what any part trains."""
        return any(m.trains_base(name, config) for m in self.methods)

    def init(self, model, rng):
        """The tensors of all parts.

        Raises InputError where two want the same one, for two prefixes, and for a DoRA behind another method
        beside the same layer: what it scales would not be what is merged.
        """
        if sum(isinstance(part, PrefixTuning) for part in self.leaves()) > 1:
            raise InputError(
                "two prefixes in one chain: take one prefix, with as many virtual tokens as both"
            )
        tensors = {}
        for m in self.methods:
            own = m.init(model, rng)
            if twice := tensors.keys() & own.keys():
                raise InputError(f"two methods of the chain act by the same tensor {min(twice)!r}")
            targets = {*m.checked_targets(model.config)} if isinstance(m, DoRA) else set()
            if beside := targets & acts_beside_the_weight(tensors):
                raise InputError(
                    f"{min(beside)}: DoRA comes before what else acts beside a layer: put it first"
                )
            tensors |= own
        for name in model.weights:
            if (
                len({m.optimizer_changes(name) for m in self.methods if m.trains_base(name, model.config)})
                > 1
            ):
                raise InputError(f"a method of the chain trains {name!r}, another needs it for itself")
        return tensors

    def leaves(self):
        """The parts, and in place of a part that is a chain itself (MAM, UniPELT) its own."""
        return [leaf for m in self.methods for leaf in (m.leaves() if isinstance(m, Chain) else [m])]

    def use_training_data(self, data):
        """Every part gets it."""
        for m in self.methods:
            m.use_training_data(data)

    def change_base(self, weights, tensors):
        """Every part in turn, each on what the one before left; last those that train weights of the base.

        These keep what the weights are (Sparse), and so must come after what takes something out (PiSSA).
        """
        rebased = {}
        for m in sorted(self.methods, key=trains_the_base):
            rebased |= m.change_base(weights | rebased, tensors)
        return rebased

    def optimizer_changes(self, name):
        """What no part keeps from the optimizer."""
        return all(m.optimizer_changes(name) for m in self.methods)

    def lr_scale(self, name, config):
        """The parts' factors multiply; a part that does not know `name` says 1."""
        return prod(m.lr_scale(name, config) for m in self.methods)

    def start(self, tensors, step):
        """Each part replaces its own tensors and passes the others through.

        First the parts that train weights of the base: another part may read what they write (DoRA's norm).
        """
        caches = []
        for m in self._base_first():
            tensors, cache = m.start(tensors, step)
            caches.append(cache)
        return tensors, caches

    def finish(self, dtensors, caches):
        """`start`, backwards."""
        for m, cache in zip(reversed(self._base_first()), reversed(caches), strict=True):
            dtensors = m.finish(dtensors, cache)
        return dtensors

    def with_constants_held(self, weights, tensors):
        """This chain, every part of it held."""
        held = copy(self)
        held.methods = [m.with_constants_held(weights, tensors) for m in self.methods]
        return held

    def embed(self, x, layout, step):
        """x -> every part in turn; a later part puts its rows in front of an earlier one's."""
        caches = []
        for m in self.methods:
            x, layout, cache = m.embed(x, layout, step)
            caches.append(cache)
        return x, layout, caches

    def embed_backward(self, dx, caches, step):
        """`embed`, backwards."""
        grads = {}
        for m, cache in self._reversed(caches):
            dx, g = m.embed_backward(dx, cache, step)
            add_grads(grads, g)
        return dx, grads

    def linear_input(self, name, x, step):
        """x -> every part in turn."""
        caches = []
        for m in self.methods:
            x, cache = m.linear_input(name, x, step)
            caches.append(cache)
        return x, caches

    def linear_input_backward(self, dx, caches, step):
        """`linear_input`, backwards."""
        grads = {}
        for m, cache in self._reversed(caches):
            dx, g = m.linear_input_backward(dx, cache, step)
            add_grads(grads, g)
        return dx, grads

    def linear(self, name, x, y, step):
        """y -> every part in turn; all read the same x."""
        caches = []
        for m in self.methods:
            y, cache = m.linear(name, x, y, step)
            caches.append(cache)
        return y, caches

    def linear_backward(self, dy, caches, step):
        """`linear`, backwards; the parts' own ways to x add up."""
        dx, grads = None, {}
        for m, cache in self._reversed(caches):
            dy, dx_m, g = m.linear_backward(dy, cache, step)
            dx = add_dx(dx, dx_m)
            add_grads(grads, g)
        return dy, dx, grads

    def keys_values(self, layer, k, v, key_layout, x, step):
        """k, v -> every part in turn."""
        caches = []
        for m in self.methods:
            k, v, key_layout, cache = m.keys_values(layer, k, v, key_layout, x, step)
            caches.append(cache)
        return k, v, key_layout, caches

    def keys_values_backward(self, dk, dv, caches, step):
        """`keys_values`, backwards."""
        dx, grads = None, {}
        for m, cache in self._reversed(caches):
            dk, dv, dx_m, g = m.keys_values_backward(dk, dv, cache, step)
            dx = add_dx(dx, dx_m)
            add_grads(grads, g)
        return dk, dv, dx, grads

    def sublayer(self, name, x, h, step):
        """h -> every part in turn; all read the same x."""
        caches = []
        for m in self.methods:
            h, cache = m.sublayer(name, x, h, step)
            caches.append(cache)
        return h, caches

    def sublayer_backward(self, dh, caches, step):
        """`sublayer`, backwards."""
        dx, grads = None, {}
        for m, cache in self._reversed(caches):
            dh, dx_m, g = m.sublayer_backward(dh, cache, step)
            dx = add_dx(dx, dx_m)
            add_grads(grads, g)
        return dh, dx, grads

    def merge(self, weights, tensors):
        """Every part in turn, each on what the one before left.

        First the parts that train weights of the base: what the others add to a weight is added to theirs.
        """
        merged = {}
        for m in self._base_first():
            merged |= m.merge(weights | merged, tensors)
        return merged

    def unmerge(self, weights, tensors):
        """`merge`, backwards."""
        unmerged = {}
        for m in reversed(self._base_first()):
            unmerged |= m.unmerge(weights | unmerged, tensors)
        return unmerged

    def _base_first(self):
        return sorted(self.methods, key=trains_the_base, reverse=True)

    def _reversed(self, caches):
        return zip(reversed(self.methods), reversed(caches), strict=True)


def in_short(method):
    """ "LoRA(r=2)": the method with the settings that are not its defaults; of a chain, each part."""
    if type(method) is Chain:
        return " and ".join(map(in_short, method.methods)) or "no method"
    own = {f.name: (f, getattr(method, f.name)) for f in fields(method) if f.init}
    given = [f"{k}={reprlib.repr(value)}" for k, (f, value) in own.items() if repr(value) != default_of(f)]
    return f"{type(method).__name__}({', '.join(given)})"


def trains_the_base(method):
    """May it train weights of the base?"""
    return type(method).trains_base is not Method.trains_base


def acts_beside_the_weight(tensors):
    """The linear layers at which these tensors act, but not in their weight or bias."""
    split = [name.rpartition(".") for name in tensors]
    return {
        place.removesuffix(".input") for place, _, kind in split if not kind.startswith(("weight", "bias"))
    }
