"""Exercise 19, a method of one's own: gradients, what stays frozen, training, an adapter's file."""

import inspect
import os
import tempfile
from contextlib import contextmanager

import numpy as np

from ..config import GPT2Config
from ..data.batches import pack
from ..errors import InputError
from ..gradcheck import gradcheck
from ..methods import METHODS, Modules, register
from ..methods.base import Method
from ..model import GPT2
from ..optim import AdamW
from ..peft_model import PeftModel
from .exercise import Exercise
from .running import Told, explained, read_only

OWN = Exercise(
    "19_your_own_method", "A method of your own", 3, 40, ("10",), "docs/add-a-method.md", ("Mine",),
    inputs="", outputs="", sizes=lambda rng: {}, calls=lambda v: iter(()), reference=lambda v: {},
    hints=(
        "Begin small: one vector beside one kind of layer, as ColumnScale in docs/add-a-method.md.",
        "In linear_backward go through the lines of linear from the last to the first. x may go two ways.",
        "linear: (N, O), cache.   linear_backward: dy (N, O), dx (N, I) or None, {full name: its gradient}.",
    ),
)  # fmt: skip
EXERCISES = (OWN,)

STEPS, RATE = 30, 3e-2
TOLERANCE = (
    1e-6  # a wrong gradient is off by far more; the loss of a whole model rounds by 1e-7 of a small one
)


def look_at_own(functions):
    """Lines on a class `Mine` that is right in all. Raises Told."""
    Mine = functions.Mine
    if not (isinstance(Mine, type) and issubclass(Mine, Method)):
        raise Told("Mine should be a class, with minipeft.Method as its base.")
    known = dict(METHODS)
    try:
        with one_thread():
            return looked_at(register(Mine))
    except NotImplementedError as error:
        name = inspect.getinnerframes(error.__traceback__)[-1].function
        raise Told(f"Mine.{name} is still to be written.") from error
    except InputError as error:
        raise Told(str(error)) from error
    except Told:
        raise
    except Exception as error:
        raise Told(*explained(error, None, None)) from error
    finally:  # it was a method among the others for as long as this took
        METHODS.clear()
        METHODS.update(known)


@contextmanager
def one_thread():
    """Inside, one thread computes all rows: what is kept on self would else be read in any order."""
    before = os.environ.get("MINIPEFT_THREADS")
    os.environ["MINIPEFT_THREADS"] = "1"
    try:
        yield
    finally:
        del os.environ["MINIPEFT_THREADS"]
        if before is not None:
            os.environ["MINIPEFT_THREADS"] = before


def looked_at(Mine):
    """The same, with the exceptions as they come."""
    config = GPT2Config(vocab_size=30, n_positions=32, n_embd=12, n_layer=2, n_head=2)
    model = GPT2.random(config, dtype="float64")
    batch = pack([([1, 2, 3], [4, 5, 2]), ([6], [7, 8, 9, 3])])
    frozen = {name: w.copy() for name, w in model.weights.items()}
    peft = PeftModel(model, Mine())
    keep_what_comes(peft.method)
    if not peft.trainable:
        raise Told("nothing trains.", f"What does {'optimizer_changes' if peft.tensors else 'init'} return?")
    again = PeftModel(model, Mine()).tensors
    if any(not np.array_equal(t, again[name]) for name, t in peft.tensors.items()):
        raise Told("two models of one seed begin differently.", "Is it the rng of `init` that draws?")
    count = sum(p.size for p in peft.trainable.values())
    begins = float(peft.loss(batch))
    unchanged = bool(np.isclose(begins, PeftModel(model, Method()).loss(batch), rtol=1e-12))
    by_its_cache(peft, batch)
    errors = gradcheck(peft, batch, elements=3)
    worst = max(errors, key=errors.get)
    if not errors[worst] < TOLERANCE:
        others = sum(error < TOLERANCE for error in errors.values())
        raise Told(
            f"{worst}: the derivative by differences is another: relative error {errors[worst]:.2g}; "
            f"{others} of {len(errors)} tensors agree.",
            below_the_top(config, {name: error < TOLERANCE for name, error in errors.items()})
            or "By which lines of `linear` does this tensor reach y?",
        )
    if frozen_beside := [name for name in frozen if not peft.method.optimizer_changes(name)]:
        raise Told(
            f"optimizer_changes says False of {frozen_beside[0]}, which is not yours.",
            "What becomes of another method in a chain with yours?",
        )
    silent = [name for name in peft.trainable if not moves(peft, name, batch)]
    if silent:
        raise Told(f"{silent[0]} has no effect on the loss, whatever it holds.", "Is it in the path?")
    below = gradcheck(passes_on(peft, model), batch, elements=3)
    if not max(below.values()) < TOLERANCE:
        raise Told(
            "the gradients of your tensors are right, and of what trains below your layers wrong.",
            "Which dy and which dx do you return?",
        )
    looks_back_alone(peft)
    in_float32(Mine, config, batch)
    optimizer = AdamW(RATE, weight_decay=0.0)
    for _ in range(STEPS):
        optimizer.step(peft.trainable, peft.loss_and_grads(batch)[1])
    ends = float(peft.loss(batch))
    if changed := [name for name, w in frozen.items() if not np.array_equal(w, model.weights[name])]:
        raise Told(f"{changed[0]}, of the frozen model, has changed.", "Which line writes into it?")
    if not ends < begins:
        raise Told(f"{STEPS} steps of training took the loss from {begins:.3f} to {ends:.3f}.", "Which sign?")
    same_from_file(peft, model, batch, ends)
    return [
        f"right: the gradients of {len(errors)} tensors (worst error {errors[worst]:.0e}), frozen "
        f"weights, file.",
        f"{count:,} numbers train; at the start the model is {'unchanged' if unchanged else 'changed'}; "
        f"the loss went from {begins:.3f} to {ends:.3f} in {STEPS} steps.",
    ]


def passes_on(peft, model):
    """The same method and tensors, with the token embeddings training below them."""
    both = PeftModel(model, [peft.method, Modules(("wte",))])
    for name, tensor in peft.tensors.items():
        both.tensors[name][...] = tensor
    return both


def looks_back_alone(peft):
    """Raise Told where an output depends on a later token, or on another sequence of the batch."""
    one, other = [1, 2, 3, 4, 5], [6, 7, 8]
    with scrambled(peft):
        together, alone = peft.logits([one, other]), [peft.logits([ids])[0] for ids in (one, other)]
        changed = peft.logits([[*one[:-1], 9]])[0]
    if not np.allclose(changed[:-1], alone[0][:-1], rtol=1e-9, atol=1e-9):
        raise Told("an output changes with a token that comes after it.", "Which rows does `linear` mix?")
    if not all(np.allclose(a, b, rtol=1e-9, atol=1e-9) for a, b in zip(together, alone, strict=True)):
        raise Told("an output changes with the other texts of its batch.", "Which rows does `linear` mix?")


def in_float32(Mine, config, batch):
    """Raise Told where a model in float32 has gradients in another type."""
    _, grads = PeftModel(GPT2.random(config), Mine()).loss_and_grads(batch)
    if wide := [f"{name} is {g.dtype}" for name, g in grads.items() if g.dtype != np.float32]:
        raise Told(f"in a float32 model the gradient of {wide[0]}.", "Which array or number is float64?")


def by_its_cache(peft, batch):
    """Raise Told where a gradient changes when `linear` is called on other numbers before its backward."""
    linear, rng = peft.method.linear, np.random.default_rng(0)

    def and_again(name, x, y, step):
        answer = linear(name, x, y, step)
        linear(name, rng.standard_normal(x.shape), rng.standard_normal(y.shape), step)
        return answer

    with scrambled(peft):
        _, alone = peft.loss_and_grads(batch)
        peft.method.linear = and_again
        _, grads = peft.loss_and_grads(batch)
        peft.method.linear = linear
    for name, g in grads.items():
        if not np.allclose(g, alone[name], rtol=1e-9, atol=1e-12):
            raise Told(
                f"{name}: another gradient when `linear` is called on other inputs before `linear_backward`.",
                "What is kept on self or in a global, in the place of the cache?",
            )


def keep_what_comes(method):
    """From now on x comes to `linear` read-only, and dy to its backward: others read them, too."""
    linear, linear_backward = method.linear, method.linear_backward
    method.linear = lambda name, x, y, step: linear(name, read_only(x), y, step)
    method.linear_backward = lambda dy, cache, step: linear_backward(read_only(dy), cache, step)


def below_the_top(config, agrees):
    """What to ask where the tensors of the last layer agree and all others fail; None elsewhere.

    A gradient reaches a layer through what the layers above it return. agrees: {tensor: does it?}
    """
    layers = {}
    for tensor, ok in agrees.items():
        at = [k for k, name in enumerate(config.linear_layers()) if tensor.startswith(f"{name}.")]
        layers.setdefault(at[0] if at else None, []).append(ok)
    if len(layers) < 2 or None in layers:
        return None
    top = layers.pop(max(layers))
    if not all(top) or any(map(any, layers.values())):
        return None
    return (
        "The top layer agrees, those below do not: so the tensor's own gradient is right. "
        "Which dy and which dx do you return?"
    )


def moves(peft, name, batch):
    """Does the loss change when this tensor does, whatever the others hold?"""
    with scrambled(peft) as rng:
        before = float(peft.loss(batch))
        peft.trainable[name][...] += 0.3 * rng.standard_normal(peft.trainable[name].shape)
        return float(peft.loss(batch)) != before


@contextmanager
def scrambled(peft):
    """Inside, noise is on all that trains. -> the generator that drew it."""
    kept = {name: p.copy() for name, p in peft.trainable.items()}
    rng = np.random.default_rng(0)
    for p in peft.trainable.values():
        p += 0.3 * rng.standard_normal(p.shape)
    yield rng
    for name, p in peft.trainable.items():
        p[...] = kept[name]


def same_from_file(peft, model, batch, loss):
    """Raise Told unless the saved adapter, read again, has the same loss."""
    with tempfile.TemporaryDirectory() as folder:
        peft.save_pretrained(folder)
        again = PeftModel.from_pretrained(model, folder)
    if not np.isclose(float(again.loss(batch)), loss, rtol=1e-5):
        raise Told(f"saved and read again, the loss is {float(again.loss(batch)):.5f}, not {loss:.5f}.",
                   "What does a method hold that is in no tensor and no field?")  # fmt: skip
