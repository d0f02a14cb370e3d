"""AdamW, learning-rate schedules, clipping."""

import math
from itertools import chain

import numpy as np

from .backend import xp_of
from .errors import check_choice
from .settings import check_range
from .speed import flat
from .speed.fast import row_blocks
from .speed.parallel import map_shards, num_shards

BLOCK_BYTES = 1 << 19  # an update works through blocks of this size: they stay in the L2 cache
THREADED_BYTES = 1 << 24  # with fewer bytes than this to change, waking threads takes longer than it saves


class AdamW:
    r"""Adam with decoupled weight decay (Loshchilov & Hutter 2019, algorithm 2), as PyTorch computes it.

    $m = \beta_1 m + (1-\beta_1) g$,  $v = \beta_2 v + (1-\beta_2) g^2$,
    $p = p - \eta\,\lambda\,p - \eta\,\frac{m / (1-\beta_1^t)}{\sqrt{v / (1-\beta_2^t)} + \epsilon}$

    The decay $\lambda$ acts on matrices alone: biases, layer norms and other vectors do not decay.
    lr_scale(name) is a factor on the rate of one tensor.
    Raises SettingError for a negative rate, eps or decay, and a beta that is not in 0 <= beta < 1.
    """

    def __init__(self, learning_rate=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01, lr_scale=None):
        for name, number in (("learning_rate", learning_rate), ("eps", eps), ("weight_decay", weight_decay)):
            check_range(name, number, least=0)
        for beta in betas:
            check_range("betas", beta, least=0, below=1)
        self.lr_scale = lr_scale or (lambda name: 1.0)
        self.learning_rate, self.betas, self.eps, self.weight_decay = learning_rate, betas, eps, weight_decay
        self.t, self.m, self.v = 0, {}, {}
        self.factors = None  # see `speed.flat`

    def step(self, params, grads, apply=True):
        """Change every array of `params` that has a gradient in `grads`, in place. Both {name: array}.

        apply: False changes none. On a GPU it may be an array, so that nobody waits to know: see `take_back`.
        """
        self.t += 1
        self._make_state(grads)
        if on_gpu(grads):
            flat.adamw_step(self, params, grads, apply)
        elif apply:
            self._step(params, grads)

    def take_back(self):
        """The last step was one that did not apply: it does not count."""
        self.t -= 1

    def decay_of(self, p):
        r"""$\lambda$ of the array p."""
        return self.weight_decay if p.ndim > 1 else 0.0

    def _make_state(self, grads):
        """m and v of all that has none yet: zeros."""
        zeros = lambda: {name: xp_of(g).zeros_like(g) for name, g in grads.items()}
        if not self.m.keys() >= grads.keys():
            self.m, self.v = (flat.joined(zeros() | state) for state in (self.m, self.v))

    def _step(self, params, grads):
        def update(name, r):
            arrays = (a[name][r] for a in (params, grads, self.m, self.v))
            self._update(*arrays, self.learning_rate * self.lr_scale(name), self.decay_of(params[name]))

        for_blocks(update, grads)

    def _update(self, p, g, m, v, rate, decay):
        xp, (b1, b2) = xp_of(p), self.betas
        m *= b1
        m += (1 - b1) * g
        v *= b2
        square = g * g
        square *= 1 - b2
        v += square
        p *= 1 - rate * decay
        root = xp.sqrt(v)
        root *= 1 / math.sqrt(1 - b2**self.t)
        root += self.eps
        xp.divide(m, root, out=root)
        root *= rate / (1 - b1**self.t)
        p -= root


def clip_grads(grads, max_norm, count=1):
    """Gradients that are sums over `count` tokens become means, and their global norm max_norm at most.

    In place. max_norm 0: the norm stays as it is. -> the norm of the means, before it is made smaller; on a
    GPU a 0-d array, which nobody waits for here.

    The scale is max_norm / (norm + 1e-6), as in PyTorch.
    """
    if on_gpu(grads):
        return flat.clip_grads(grads, max_norm, count)

    def square(name, r):
        g = grads[name][r]
        return (g * g).sum(dtype="float64")

    norm = math.sqrt(float(sum(for_blocks(square, grads)))) / count
    divide(grads, count * (norm + 1e-6) / max_norm if norm > max_norm > 0 else count)
    return norm


def divide(grads, number):
    """All gradients by a number, in place."""

    def divide_block(name, r):
        grads[name][r] /= number

    for_blocks(divide_block, grads)


def on_gpu(arrays):
    """Are the arrays of {name: array} on a GPU?"""
    return xp_of(next(iter(arrays.values()))) is not np


def for_blocks(f, arrays):
    """[f(name, rows), ...] for {name: array}: blocks of rows that fit the L2 cache, dealt out to threads."""
    blocks = [(name, r) for name, a in arrays.items() for r in blocks_of(a)]
    much = sum(a.nbytes for a in arrays.values()) > THREADED_BYTES
    n = num_shards(next(iter(arrays.values()))) if much else 1
    parts = map_shards(lambda part: [f(*block) for block in part], [blocks[i::n] for i in range(n)])
    return list(chain(*parts))


def blocks_of(array):
    """Slices over the rows of an array, each BLOCK_BYTES at most; on a GPU one for all."""
    return row_blocks(array, BLOCK_BYTES) if xp_of(array) is np else [slice(None)]


def linear_schedule(t):
    """From 1 down to 0 in a straight line; t runs from 0 to 1."""
    return 1 - t


def cosine_schedule(t):
    """From 1 down to 0 along half a cosine."""
    return 0.5 * (1 + math.cos(math.pi * t))


def constant_schedule(t):
    """Always 1."""
    return 1.0


SCHEDULES = {"linear": linear_schedule, "cosine": cosine_schedule, "constant": constant_schedule}


def schedule_called(name):
    """The schedule of that name. Raises InputError with the names there are."""
    check_choice("schedule", name, SCHEDULES)
    return SCHEDULES[name]


def learning_rate_at(step, steps, settings):
    """The rate of step 0 ... steps - 1: up to its peak in a line over the warm-up, then the schedule.

    settings: with learning_rate, warmup_steps and schedule, as `train.Training` has them.
    """
    peak, warmup = settings.learning_rate, settings.warmup_steps
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    return peak * schedule_called(settings.schedule)((step - warmup) / max(1, steps - warmup))
