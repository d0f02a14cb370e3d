"""What a training step costs: multiplications counted one by one, bytes by tracemalloc. Neither is noisy."""

import tracemalloc
from functools import cache

import numpy as np
import pytest
from every_method import SMALL

from minipeft import GPT2, AdamW, GPT2Config, PeftModel, pack

CONFIG = GPT2Config(vocab_size=300, n_positions=80, n_embd=48, n_layer=4, n_head=4)


class Counted(np.ndarray):
    """An array that counts the multiplications of every matrix product that it takes part in."""

    multiplications = 0

    def __array_ufunc__(self, ufunc, how, *inputs, out=None, **options):
        plain = [a.view(np.ndarray) if isinstance(a, Counted) else a for a in inputs]
        if out is not None:
            options["out"] = tuple(a.view(np.ndarray) if isinstance(a, Counted) else a for a in out)
        result = getattr(ufunc, how)(*plain, **options)
        if ufunc is np.matmul:
            Counted.multiplications += result.size * plain[0].shape[-1]
        return result.view(Counted) if isinstance(result, np.ndarray) else result


Counted.__module__ = "numpy"  # by which the package knows whose array it is


def batch(tokens=32):
    rng = np.random.default_rng(0)
    return pack([tuple(rng.integers(0, 300, (2, tokens // 2)).tolist()) for _ in range(6)])


@cache
def multiplications(name, checkpointing=False):
    """Of one forward and backward."""
    model = GPT2.random(CONFIG)
    model.weights = {name: w.view(Counted) for name, w in model.weights.items()}
    peft = PeftModel(model, SMALL[name])
    Counted.multiplications = 0
    peft.loss_and_grads(batch(), checkpointing=checkpointing)
    return Counted.multiplications


@cache
def peak_bytes(name):
    """What fine-tuning takes beside the model: copies, activations, gradients, the optimizer's state."""
    model, optimizer = GPT2.random(CONFIG), AdamW()
    tracemalloc.start()
    peft = PeftModel(model, SMALL[name])
    for _ in range(2):
        _, grads = peft.loss_and_grads(batch())
        optimizer.step(peft.trainable, grads)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv("MINIPEFT_THREADS", "1")


def test_the_multiplications_of_full_fine_tuning_are_all_counted():
    """Of each weight three: forward, dx and dW. Of attention six: scores, output, and two more of each."""
    N, labelled, C, L, V = 6 * 32, 6 * 16, 48, 4, 300
    weights, head = 3 * N * 12 * C * C * L, 3 * labelled * C * V
    attention = L * 6 * 6 * 32 * 32 * C
    assert multiplications("full") == weights + head + attention


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SMALL if name != "full"])
def test_every_methods_step_is_cheaper_than_full_fine_tuning(name):
    if name != "sparse":  # it forms every dW, and uses a few numbers of each
        assert multiplications(name) < 0.95 * multiplications("full")
    assert peak_bytes(name) < 0.95 * peak_bytes("full")


@pytest.mark.parametrize("name", ["full", "lora", "prefix_tuning", "ia3", "bitfit"])
def test_checkpointing_costs_a_forward_of_the_blocks_at_most(name):
    """Where no weight's gradient is formed, the forward is half of a step; the head runs once."""
    assert multiplications(name) < multiplications(name, checkpointing=True) < 1.5 * multiplications(name)


def test_a_mixed_batch_costs_little_more_than_a_batch_of_one_adapter():
    """The products with the weights of the base are shared by all rows; only the small ones differ."""
    model = GPT2.random(CONFIG)
    model.weights = {name: w.view(Counted) for name, w in model.weights.items()}
    names = ("lora", "ia3", "adapter", "prefix_tuning")
    peft = PeftModel(model, SMALL["lora"], adapter_name="lora")
    for name in names[1:]:
        peft.add_adapter(name, SMALL[name])
    sequences = np.random.default_rng(0).integers(0, 300, (8, 32)).tolist()
    costs = {}
    for asked in (("lora",) * 8, names * 2):
        Counted.multiplications = 0
        peft.mixed(asked).logits(sequences)
        costs[asked] = Counted.multiplications
    alone, mixed = costs.values()
    assert mixed < 1.1 * alone
