"""A small GPT-2 with nothing trivial in it, and a batch for it: what most tests work on."""

from collections import Counter

import numpy as np

from minipeft import GPT2, GPT2Config, pack
from minipeft.speed import fast

CONFIG = GPT2Config(vocab_size=61, n_positions=24, n_embd=12, n_layer=3, n_head=3, n_inner=20)


def small_model(dtype="float64", config=CONFIG, seed=0):
    """Biases and norms are no zeros and ones here, and all arrays are read-only, as if mapped from a file."""
    model, rng = GPT2.random(config, seed=seed, dtype=dtype), np.random.default_rng(seed + 1)
    for weight in model.weights.values():
        weight += 0.1 * rng.standard_normal(weight.shape).astype(dtype)
        weight.setflags(write=False)
    return model


def small_batch(vocab_size=CONFIG.vocab_size, seed=0, shapes=((3, 4), (0, 6), (2, 1), (5, 7))):
    """Sequences of different lengths, with and without a prompt."""
    rng = np.random.default_rng(seed)
    return pack([(rng.integers(0, vocab_size, p), rng.integers(0, vocab_size, c)) for p, c in shapes])


def texts(lengths=(5, 1, 8), vocab_size=CONFIG.vocab_size, seed=0):
    """Lists of token ids of these lengths."""
    rng = np.random.default_rng(seed)
    return [rng.integers(0, vocab_size, n).tolist() for n in lengths]


def logits(model, sequences=None):
    """The logits of all tokens of some texts, (N, V)."""
    return np.concatenate(model.logits(sequences or texts()))


def snapshot(arrays):
    """{name: bytes} to compare bit for bit."""
    return {name: a.tobytes() for name, a in arrays.items()}


def scramble(arrays, seed=0, scale=0.3):
    """Add noise in place."""
    rng = np.random.default_rng(seed)
    for a in arrays.values():
        a += (scale * rng.standard_normal(a.shape)).astype(a.dtype)


def count_products(monkeypatch):
    """A running count of what the backward of linear layers forms: gradients of "x", "weight" and "bias"."""
    formed, backward = Counter(), fast.linear_backward

    def counted(dy, cache):
        dx, grads = backward(dy, cache)
        formed.update((["x"] if dx is not None else []) + list(grads))
        return dx, grads

    monkeypatch.setattr(fast, "linear_backward", counted)
    monkeypatch.setenv("MINIPEFT_THREADS", "1")  # each shard would form them again
    return formed
