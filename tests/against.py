"""What other libraries compute with the tiny GPT-2, as reference/ has it, against what comes out here.

A file of tests knows how a library names and lays out a tensor: `theirs(name, tensor)` gives both.
"""

from itertools import cycle, islice
from pathlib import Path

import numpy as np
import pytest

from minipeft import GPT2, AdamW, pack
from minipeft.files.json_files import read_json
from minipeft.optim import clip_grads

REFERENCE = Path(__file__).parent / "reference"
BATCHES = read_json(REFERENCE / "batches.json")
LOGITS = {"float32": 1e-4, "float64": 1e-9}  # how far logits may be from the library's
EXACT = 1e-8  # how far, relatively, losses and gradients may be, in float64

each_dtype = pytest.mark.parametrize("dtype", LOGITS)
each_number_of_threads = pytest.mark.parametrize("threads", [1, 3])  # a batch is split into as many shards


def base(dtype="float64"):
    """The tiny GPT-2 of all references."""
    return GPT2.from_pretrained(REFERENCE / "gpt2-tiny", dtype)


def stored(name):
    """{key: array} of a reference."""
    return dict(np.load(REFERENCE / f"{name}.npz"))


def packed_logits(model, pairs=BATCHES[0]):
    """The logits of all tokens of a batch, (N, V)."""
    return np.concatenate(model.logits([prompt + completion for prompt, completion in pairs]))


def assert_same_logits(logits, expected):
    np.testing.assert_allclose(logits, expected, rtol=0, atol=LOGITS[str(logits.dtype)])


def the_same(name, tensor):
    """PyTorch's, which has parameters as they are here."""
    return name, tensor


def assert_same_loss_and_gradients(model, true, theirs=the_same, rounding=0.0):
    """Of the first batch: the loss, with gradients and without; all gradients that the library has, no other.

    rounding: a gradient smaller than this is zero but for rounding, and compared with this.
    """
    batch = pack(BATCHES[0])
    loss, grads = model.loss_and_grads(batch)
    assert loss == pytest.approx(float(true["loss"]), rel=EXACT)
    assert model.loss(batch) == pytest.approx(float(true["loss"]), rel=EXACT)
    assert_same_gradients(grads, true, theirs, rounding)


def assert_same_gradients(grads, true, theirs=the_same, rounding=0.0):
    grads = dict(theirs(name, g) for name, g in grads.items())
    expected = {key.removeprefix("grad "): g for key, g in true.items() if key.startswith("grad ")}
    assert grads.keys() == expected.keys()
    for key, g in grads.items():
        size = max(np.abs(expected[key]).max(), rounding)
        np.testing.assert_allclose(g, expected[key], rtol=0, atol=EXACT * size, err_msg=key)


def assert_ten_steps_follow(curve, model):
    """The losses of ten steps over the batches, in turn: gradients clipped, AdamW."""
    scale = lambda name: model.method.lr_scale(name, model.config)
    optimizer, losses = AdamW(1e-3, weight_decay=0.01, lr_scale=scale), []
    for pairs in islice(cycle(BATCHES), 10):
        loss, grads = model.loss_and_grads(pack(pairs))
        clip_grads(grads, 1.0)
        optimizer.step(model.trainable, grads)
        losses.append(loss)
    np.testing.assert_allclose(losses, curve, rtol=EXACT)
