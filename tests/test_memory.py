"""The prediction of `info --memory` beside what tracemalloc measures of real training."""

import json
import tracemalloc
from functools import cache

import numpy as np
import pytest
from every_method import SMALL

from minipeft import (
    GPT2,
    Adapter,
    GPT2Config,
    InputError,
    LoRA,
    PeftModel,
    PrefixTuning,
    PromptTuning,
    pack,
    train,
)
from minipeft.app.cli import main
from minipeft.app.info import shape_of, training_memory
from minipeft.cost.memory import hollow, largest_batch, nbytes, predict, uniform_batch

CONFIG = GPT2Config(vocab_size=5000, n_positions=80, n_embd=256, n_layer=4, n_head=4)
METHODS = {
    "full": SMALL["full"],
    "lora": LoRA(r=8),
    "prefix_tuning": PrefixTuning(10),
    "prompt_tuning": PromptTuning(10),
    "ia3": SMALL["ia3"],
    "bitfit": SMALL["bitfit"],
    "adapter": Adapter(),
}


def pairs_of(lengths, vocab_size=CONFIG.vocab_size):
    """The second half of each is labelled."""
    rng = np.random.default_rng(0)
    texts = [rng.integers(0, vocab_size, n).tolist() for n in lengths]
    return [(ids[: len(ids) // 2], ids[len(ids) // 2 :]) for ids in texts]


PAIRS = pairs_of(np.random.default_rng(1).integers(20, 61, 8))


@cache
def model():
    model = GPT2.random(CONFIG)
    train(PeftModel(model, LoRA()), PAIRS, steps=1, progress=False)  # what is imported or made once
    return model


def measured(method, **settings):
    """The bytes at the peak of real training: everything but the base is traced.

    Over several steps: in one of them two threads are likely to do their largest at the same time.
    """
    base = nbytes(model().weights)
    tracemalloc.start()
    train(PeftModel(model(), method), PAIRS, steps=4, eval_every=1, progress=False, **settings)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return base + peak


@pytest.mark.parametrize("checkpointing", [False, True], ids=["", "checkpointing"])
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("threads", ["1", "2"])
def test_the_prediction_is_within_ten_percent(threads, name, checkpointing, monkeypatch):
    """In one thread nearly exact; threads do not all reach their peaks at once."""
    monkeypatch.setenv("MINIPEFT_THREADS", threads)
    predicted = predict(CONFIG, METHODS[name], pack(PAIRS), checkpointing=checkpointing)
    true = measured(METHODS[name], checkpointing=checkpointing)
    assert predicted["total"] == pytest.approx(true, rel=0.03 if threads == "1" else 0.1)


def test_with_dropout_too(monkeypatch):
    monkeypatch.setenv("MINIPEFT_THREADS", "1")
    method = LoRA(r=8, lora_dropout=0.1)
    predicted = predict(CONFIG, method, pack(PAIRS), dropout=0.1)
    assert predicted["total"] == pytest.approx(measured(method, dropout=0.1), rel=0.03)
    assert predicted["total"] > 1.05 * predict(CONFIG, METHODS["lora"], pack(PAIRS))["total"]


@pytest.mark.parametrize("name", SMALL)
def test_every_method_can_be_predicted_and_its_parameters_are_exact(name):
    config = GPT2Config(vocab_size=300, n_positions=80, n_embd=48, n_layer=3, n_head=4)
    result = predict(config, SMALL[name], uniform_batch(4, 12))
    peft = PeftModel(GPT2.random(config), SMALL[name])
    assert result["trainable"] == peft.num_trainable
    beside = nbytes(peft.tensors) + nbytes(peft.selected)
    assert result["parts"]["parameters"]["in_all"] == nbytes(peft.model.weights) + beside
    assert result["parts"]["optimiser state"]["in_all"] == 2 * nbytes(peft.trainable)


def test_layers_that_differ_are_rehearsed_each():
    """LoRA high up: the blocks below it keep nothing."""
    high = LoRA(r=8, target_modules=("h.3.mlp.c_fc",))
    activations = lambda method: predict(CONFIG, method, pack(PAIRS))["parts"]["activations"]["in_all"]
    assert activations(high) < 0.3 * activations(LoRA(r=8))


def test_checkpointing_leaves_the_inputs_of_the_blocks(monkeypatch):
    monkeypatch.setenv("MINIPEFT_THREADS", "1")
    batch = pack(PAIRS)
    kept = predict(CONFIG, METHODS["full"], batch, checkpointing=True)["parts"]["activations"]["in_all"]
    inputs = CONFIG.n_layer * len(batch.ids) * CONFIG.n_embd * 4
    assert inputs <= kept < 1.3 * inputs  # and what `embed` keeps


def test_a_large_model_is_not_made():
    tracemalloc.start()
    config, tokenizer = shape_of("gpt2-xl")
    model = hollow(config)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert tokenizer is None and model.num_parameters == 1_557_611_200
    assert peak < 0.5e9  # of zeros, which are no memory before they are written to


def test_the_batch():
    batch = uniform_batch(3, 10, 4)
    assert len(batch) == 3 and len(batch.ids) == 30 and batch.labelled.sum() == 12
    assert len(largest_batch(pairs_of((5, 6, 20, 21, 7)), 2).ids) == 41
    with pytest.raises(InputError, match="1 sequence or more"):
        uniform_batch(0, 10)


# -------------------------------------------------------------------------------------- the command


def test_the_command(capsys, tmp_path):
    command = "info --memory --method lora --set r=4 --batch 4 --length 30"
    assert main(command.split()) == 0
    text = capsys.readouterr().out
    assert "weights/tiny: 12,288 numbers train" in text and "4 sequences, 120 tokens" in text
    assert main([*command.split(), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    parts = result["parts_mb"].values()
    assert sum(part["at_peak"] for part in parts) == pytest.approx(result["total_mb"])
    assert main([*command.split(), "--checkpointing", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["total_mb"] < result["total_mb"]

    file = tmp_path / "rows.jsonl"
    file.write_text('{"prompt": "name : Aromi ||", "completion": " a pub"}\n' * 3)
    assert main([*command.split(), "--data", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sequences"] == 3


def test_a_published_name_needs_no_download():
    result = training_memory("random:distilgpt2", LoRA(r=8), 2, 8)
    assert result["parts_mb"]["parameters"]["in_all"] == pytest.approx(4 * 82.06, rel=0.01)


@pytest.mark.parametrize("base", ["int8", "nf4", "bfloat16"])
def test_a_base_in_another_form_is_counted_as_it_is_held(base):
    plain, held = (predict(CONFIG, LoRA(r=2), pack(PAIRS), base=form)["parts"] for form in (None, base))
    weights = model().weights
    saved = nbytes(weights) - nbytes(model().held(base).weights)
    assert plain["parameters"]["in_all"] - held["parameters"]["in_all"] == saved > 0
    assert plain["optimiser state"] == held["optimiser state"]


def test_weights_in_few_bits_cannot_train_and_a_base_that_is_given_up_is_not_counted():
    with pytest.raises(InputError, match="nf4 and cannot train"):
        predict(CONFIG, METHODS["full"], pack(PAIRS), base="nf4")
    kept, gone = (
        predict(CONFIG, METHODS["full"], pack(PAIRS), base_given_up=give_up)["parts"]["parameters"]["in_all"]
        for give_up in (False, True)
    )
    assert kept == 2 * gone == 2 * nbytes(model().weights)
