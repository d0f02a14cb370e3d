"""Checkpointing: the same numbers, bit for bit, from a block's input alone."""

import tracemalloc
from dataclasses import fields, replace

import numpy as np
import pytest
from every_method import CASES
from small import CONFIG, count_products, small_batch, small_model, snapshot
from test_device import moved, on_host

from minipeft import GPT2, Full, GPT2Config, InputError, LoRA, PeftModel, gpt2, pack, train
from minipeft.app.cli import parser
from minipeft.app.commands import given_settings
from minipeft.backend import to_host
from minipeft.distill import Distilled
from minipeft.reports.compare.plan import Plan
from minipeft.reports.compare.sweep import read_sweep
from minipeft.speed.checkpointing import checkpointed_block


def with_dropout(method):
    """The method, or each of a chain, with dropout of its own where it has one."""
    if isinstance(method, list):
        return [with_dropout(m) for m in method]
    own = {f.name: 0.3 for f in fields(method) if f.name.endswith("dropout")}
    return replace(method, **own) if own else method


def both_ways(peft, batch, **options):
    """The loss and the gradients, as bytes, without checkpointing and with it."""
    results = []
    for checkpointing in (False, True):
        loss, grads = peft.loss_and_grads(batch, checkpointing=checkpointing, **options)
        results.append((float(loss), snapshot({name: to_host(g) for name, g in grads.items()})))
    return results


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_loss_and_gradients_are_the_same_bit_for_bit(name, monkeypatch):
    """In two threads, with GPT-2's dropout and the method's own."""
    monkeypatch.setenv("MINIPEFT_THREADS", "2")
    peft = PeftModel(small_model("float32"), with_dropout(CASES[name]))
    one, other = both_ways(peft, small_batch(), seed=5, dropout=0.2)
    assert one == other


def test_in_one_thread_and_without_dropout_too(monkeypatch):
    monkeypatch.setenv("MINIPEFT_THREADS", "1")
    for options in ({}, {"seed": 5, "dropout": 0.2}):
        one, other = both_ways(PeftModel(small_model(), LoRA(r=2)), small_batch(), **options)
        assert one == other


@pytest.mark.parametrize("method", [LoRA(r=2, lora_dropout=0.3), Full()], ids=type)
def test_on_a_gpu_too(method, cupy):
    peft = moved(on_host(method), cupy)
    one, other = both_ways(peft, small_batch(), seed=5, dropout=0.2)
    assert one == other


def test_the_masks_of_blocks_and_shards_are_not_the_same():
    """Generators from seeds that differ in a zero at the end alone would draw the same numbers."""
    step = PeftModel(small_model()).step()
    seeds = [[7, shard] for shard in (0, 1)] + [[8, 0]]
    parts = [
        replace(step, dropout_seeds=s).with_dropout_rng(part)
        for s in seeds
        for part in range(CONFIG.n_layer + 1)
    ]
    assert len({part.rng.random() for part in parts}) == len(parts)


def test_a_student_learns_the_same():
    peft = Distilled(PeftModel(small_model(), LoRA(r=2)), PeftModel(small_model(seed=3)))
    one, other = both_ways(peft, small_batch(), seed=5, dropout=0.2)
    assert one == other


def test_training_with_it_ends_at_the_same_weights():
    ends = []
    for checkpointing in (False, True):
        peft = PeftModel(small_model("float32"), LoRA(r=2, lora_dropout=0.1))
        pairs = [([1, 2, 3], [4, 5]), ([6], [7, 8, 9])] * 3
        train(peft, pairs, steps=4, dropout=0.1, checkpointing=checkpointing, progress=False)
        ends.append(snapshot(peft.trainable))
    assert ends[0] == ends[1]


# ------------------------------------------------------------------------------------------ what it saves


def test_each_block_keeps_its_input_alone_and_those_below_what_trains_nothing():
    peft, batch = PeftModel(small_model(), LoRA(r=2, target_modules=("h.1.mlp.c_proj",))), small_batch()
    _, _, caches = gpt2.forward(batch.ids, batch.layout, peft.step(grad_enabled=True), checkpointed_block)
    _, below, *kept = caches
    assert below is None and len(kept) == 2
    assert all(x.shape == (len(batch.ids), CONFIG.n_embd) for x, *_ in kept)


def test_no_block_runs_again_below_what_trains(monkeypatch):
    runs = []
    block = gpt2.block
    monkeypatch.setattr(gpt2, "block", lambda x, layer, step: runs.append(layer) or block(x, layer, step))
    monkeypatch.setenv("MINIPEFT_THREADS", "1")
    peft = PeftModel(small_model(), LoRA(r=2, target_modules=("h.1.mlp.c_proj",)))
    peft.loss_and_grads(small_batch(), checkpointing=True)
    assert runs == [0, 1, 2, 2, 1]
    formed = count_products(monkeypatch)
    PeftModel(small_model(), LoRA(r=2)).loss_and_grads(small_batch(), checkpointing=True)
    assert formed["weight"] == formed["bias"] == 0


@pytest.mark.parametrize("method", [LoRA(r=4), Full()], ids=type)
def test_the_activations_fall_to_about_one_block_and_the_inputs(method, monkeypatch):
    """What L more layers add to the peak: without it a block's activations each, with it one input each."""
    monkeypatch.setenv("MINIPEFT_THREADS", "1")
    N, C = 8 * 32, 64
    rng = np.random.default_rng(0)
    batch = pack([([], rng.integers(0, 100, 32).tolist()) for _ in range(8)])

    def peak(layers, checkpointing):
        model = GPT2.random(GPT2Config(vocab_size=100, n_positions=32, n_embd=C, n_layer=layers, n_head=4))
        peft = PeftModel(model, method)
        peft.loss_and_grads(batch, checkpointing=checkpointing)
        tracemalloc.start()
        _, grads = peft.loss_and_grads(batch, checkpointing=checkpointing)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak - sum(g.nbytes for g in grads.values())

    more = {way: (peak(6, way) - peak(2, way)) / (4 * N * C * 4) for way in (False, True)}
    assert more[True] < 1.1 and more[False] > 7


# ------------------------------------------------------------------------------------ the command line


@pytest.mark.parametrize("command", ["train", "compare"])
def test_it_is_an_option(command):
    for words, settings in ([], {}), (["--checkpointing"], {"checkpointing": True}):
        assert given_settings(parser().parse_args([command, *words])) == settings


def test_a_comparison_hands_it_on_to_its_runs():
    for settings, given in ({}, False), ({"checkpointing": False}, False), ({"checkpointing": True}, True):
        plan = Plan("m", "out", {"sentiment": ()}, ("lora",), settings=settings)
        words = plan.run("sentiment", "lora").words
        assert ("--checkpointing" in words) == given
        assert parser().parse_args(words).checkpointing is (True if given else None)


def test_there_is_nothing_to_sweep():
    with pytest.raises(InputError, match="neither training nor a method compared here has 'checkpointing'"):
        read_sweep(["checkpointing=true,false"], ["lora"])
