"""What training will take in memory, part by part, without the model: `minipeft info --memory`.

Three parts last as long as training does:

    parameters        the base, the copies of what trains in it, the method's own
    optimiser state   AdamW's m and v
    best so far       a copy of what trains: `train` gives back the best, not the last

Activations and gradients come and go. The forward piles up, block by block, what the backward will need; the
backward takes it away again, and leaves gradients, one set for all threads. On top of either lies the work of
whatever is running. So memory is highest in one of five places, and a `Rehearsal` goes through them all:

    the top block, forward or backward   all activations are there
    the head                             all activations, and the logits of up to 512 rows
    the bottom block, backward           all gradients, which may be more than the activations
    the embedding, backward              all gradients, and that of wte once more in each thread
    clipping                             all gradients

What one block keeps and works with is weighed, not listed: the block itself is rehearsed, once for each kind
of block that the model has, on zeros of the right shape. So the account holds for every method and for
whatever the operations keep, and a model of 48 layers costs the time and the memory of two.

Not counted: Python and its libraries (some 60 MB), the data, the buffers inside BLAS; an evaluation, which
reads 16 rows at a time whatever the batch; the second set of gradients that accumulated steps keep.
"""

import tracemalloc
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from .. import gpt2
from ..config import check_sequences
from ..data.batches import batches, pack
from ..errors import InputError
from ..methods import Chain, Method
from ..model import GPT2
from ..speed.bases import into_form
from ..speed.checkpointing import CHECKPOINTED
from ..speed.parallel import num_threads
from ..speed.quantized import check_can_train
from ..step import PLACES


@dataclass
class Moment:
    """A moment at which memory may be highest: where, and the bytes of what comes and goes."""

    where: str
    activations: int
    gradients: int
    work: int

    @property
    def total(self):
        """All of it."""
        return self.activations + self.gradients + self.work


@dataclass
class Rehearsed:
    """A block's bytes: `kept` for its backward, the most on the way `up` and `down`, and its `gradients`."""

    kept: int
    up: int
    down: int
    gradients: int


def predict(
    config, method, batch, dropout=0.0, checkpointing=False, dtype="float32", tokenizer=None, base=None,
    base_given_up=False,
):  # fmt: skip
    """The bytes that `minipeft.train` takes on a CPU where it takes most; `batch`: its largest.

    base: the form of the base, as `GPT2.held` takes it. base_given_up: see `PeftModel.give_up_base`.
    -> {"parts": {part: {"in_all": bytes, "at_peak": bytes}}, "total": bytes at the peak, "where" that is, and
    how many "trainable" numbers, "sequences", "tokens", "labelled" ones and "threads" there are}.
    Raises InputError where the method or the batch does not fit a model of that shape.
    """
    plain = hollow(config, dtype, tokenizer)
    model = in_form(plain, base)
    method = method if isinstance(method, Method) else Chain(method)
    check_sequences(batch.sequences, config, method.num_virtual_tokens)
    with np.errstate(all="ignore"), tracing():  # zeros: where a method divides by a norm, NaN does as well
        own = method.init(model, np.random.default_rng(0))
        tensors = {name: np.asarray(a, a.dtype if a.dtype.kind in "iu" else dtype) for name, a in own.items()}
        rebased = method.change_base(model.weights, tensors)
        selected = {name: w for name, w in plain.weights.items() if method.trains_base(name, config)}
        check_can_train(model.weights, selected)
        step = model.with_weights(model.weights | rebased | selected).step(
            method=method, tensors=tensors, trains=frozenset(selected), grad_enabled=True, p_drop=dropout,
            dropout_seeds=[0],
        )  # fmt: skip
        (started, _), once, _ = measured(lambda: method.start(tensors, step))
        step = replace(step, tensors=started)
        blocks = CHECKPOINTED if checkpointing else (gpt2.block, gpt2.block_backward)
        threads = [Rehearsal(blocks).run(shard, step) for shard in batch.split(num_threads())]

    trainable = [a for name, a in (tensors | selected).items() if method.optimizer_changes(name)]
    trains = sum(a.nbytes for a in trainable)
    parameters = sum(map(nbytes, (model.weights, tensors, rebased | selected)))
    if base_given_up:
        parameters -= nbytes({name: model.weights[name] for name in selected})
    gradients = max(each[-1].gradients for each in threads)
    peak = max(together(threads), Moment("clipping", 0, gradients, 0), key=lambda moment: moment.total)
    activations = sum(max(moment.activations for moment in each) for each in threads)
    parts = {
        "parameters": (parameters, parameters),
        "gradients": (gradients, peak.gradients),
        "optimiser state": (2 * trains, 2 * trains),
        "best so far": (trains, trains),
        "activations": (activations, peak.activations),
        "work": (peak.work + once, peak.work + once),
    }
    return {
        "parts": {part: {"in_all": a, "at_peak": b} for part, (a, b) in parts.items()},
        "total": sum(at_peak for _, at_peak in parts.values()),
        "where": peak.where,
        "trainable": sum(a.size for a in trainable),
        "sequences": len(batch),
        "tokens": len(batch.ids),
        "labelled": int(batch.labelled.sum()),
        "threads": len(threads),
    }


def together(threads):
    """The moment of all threads' moments, lists of them, at which they take most, taken to come at once."""
    share = lambda moment: moment.activations + moment.work + moment.gradients / len(threads)
    top = [max(each, key=share) for each in threads]
    activations, work = sum(m.activations for m in top), sum(m.work for m in top)
    return Moment(top[0].where, activations, max(m.gradients for m in top), work)


class Rehearsal:
    """The forward and backward of training, with each kind of block run once, on zeros, and then pretended.

    `gpt2.loss_and_grads` itself is what runs; handed to it are a `block`, a `block_backward`, a `head_loss`
    and a `collect` that weigh. What is pretended is counted in `activations` and `gradients`; all else is
    really there, and tracemalloc sees it.
    """

    def __init__(self, blocks):
        self.block, self.block_backward = blocks
        self.kinds, self.moments, self.names = {}, [], set()
        self.activations = self.gradients = 0

    def run(self, shard, step):
        """One thread's step. -> its moments; the last one has all its gradients."""
        self.before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        blocks = self.pretended_block, self.pretended_block_backward
        gpt2.loss_and_grads(
            shard, step, self.collect, (self.head_loss(step), step.ops.lm_loss_backward), blocks
        )
        self.note("the embedding, backward")
        self.note("after the backward")
        return self.moments

    def note(self, where):
        """A moment, with the most that there was since the last one."""
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        self.moments.append(Moment(where, self.activations, self.gradients, peak - self.before))

    def note_block(self, where, work):
        """A moment inside a block that takes `work` beside what is there."""
        tracemalloc.reset_peak()  # a rehearsal is no part of the run
        now, _ = tracemalloc.get_traced_memory()
        self.moments.append(Moment(where, self.activations, self.gradients, now - self.before + work))

    def pretended_block(self, x, layer, step):
        """x (N, C) -> as many numbers, and a cache that is counted, not kept."""
        self.note("the embedding" if layer == 0 else f"below block {layer}, forward")
        kind = kind_of(layer, step)
        if kind not in self.kinds:
            self.kinds[kind] = self.rehearse(x.shape, layer, step)
        weighed = self.kinds[kind]
        self.activations += weighed.kept
        self.note_block(f"block {layer}, forward", weighed.up - weighed.kept - x.nbytes)  # `up` has x, too
        return np.empty_like(x), (layer, weighed)

    def pretended_block_backward(self, dx, cache, step):
        """dx (N, C) -> as many numbers; the gradients are counted."""
        layer, weighed = cache
        self.note(f"above block {layer}, backward")
        self.note_block(f"block {layer}, backward", weighed.down)
        self.activations -= weighed.kept
        self.gradients += weighed.gradients
        return np.empty_like(dx), {}

    def rehearse(self, shape, layer, step):
        """Run a block forward and backward, on zeros, and weigh it."""
        x = lambda: np.zeros(shape, step.weights["wte.weight"].dtype)
        (y, cache), left, up = measured(lambda: self.block(x(), layer, step))
        down = gradients = 0
        if step.backward_reaches(layer):
            (_, grads), _, down = measured(lambda: self.block_backward(y, cache, step))
            gradients = nbytes(grads)
        return Rehearsed(left - y.nbytes, up, down, gradients)  # what is left has x, too, where it is kept

    def head_loss(self, step):
        """`lm_loss`, noting the moment."""

        def lm_loss(*args):
            result = step.ops.lm_loss(*args)
            self.note("the head")
            return result

        return lm_loss

    def collect(self, grads):
        """Count what the real parts of the run hand over: of a tied wte one, although it comes twice."""
        self.gradients += nbytes({name: g for name, g in grads.items() if name not in self.names})
        self.names |= grads.keys()


def kind_of(layer, step):
    """Layers for which this is the same take the same memory: what is wanted there, and what acts there."""
    start = f"h.{layer}."
    wants = tuple(frozenset(step.wants(start + place)) for place in PLACES)
    acts = ((name.removeprefix(start), a.shape) for name, a in step.tensors.items() if name.startswith(start))
    return wants, frozenset(acts)


def hollow(config, dtype="float32", tokenizer=None):
    """A model that takes next to no room: zeros, which are no memory until written to, one array a shape."""
    arrays = {shape: np.zeros(shape, dtype) for shape in set(config.shapes().values())}
    return GPT2(config, {name: arrays[shape] for name, shape in config.shapes().items()}, tokenizer)


def in_form(model, base):
    """A hollow model with its base in this form: each shape is brought into it once."""
    if base is None:
        return model
    make = into_form(base, model.config, model.weights["wte.weight"])
    made = {}  # {(shape, is it the head's?): weight}
    for name, W in model.weights.items():
        key = W.shape, name == f"{model.config.head}.weight"
        made[name] = made[key] = made[key] if key in made else make(name, W)
    return model.with_weights({name: made[name] for name in model.weights})


def uniform_batch(sequences, length, labelled=None):
    """So many sequences of one length, the last `labelled` tokens of each with a label (None: all)."""
    labelled = length if labelled is None else labelled
    if sequences < 1 or length < 2 or not 1 <= labelled <= length:
        raise InputError("want 1 sequence or more, of 2 tokens or more, of which 1 or more are labelled")
    return pack([([0] * (length - labelled), [0] * labelled)] * sequences)


def largest_batch(pairs, batch_size):
    """Of one pass over the pairs of token ids, in their order, the batch with most tokens."""
    return max(batches(pairs, batch_size), key=lambda batch: len(batch.ids))


def nbytes(arrays):
    """The bytes of a dict of arrays."""
    return sum(a.nbytes for a in arrays.values())


@contextmanager
def tracing():
    """In here tracemalloc counts: NumPy tells it of every array."""
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


def measured(f):
    """f() -> its result, the bytes that it left behind, and the most that there were on the way."""
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    result = f()
    after, peak = tracemalloc.get_traced_memory()
    return result, after - before, peak - before
