"""The embedded model: it loads, it is what its README says, and it is worth having as a frozen base."""

import json
from pathlib import Path

import pytest

from minipeft import GPT2, Full, LoRA, PeftModel, evaluate, train
from minipeft.app.pretrain import held_out_loss
from minipeft.tasks import data_to_text
from minipeft.tasks.corpus.probes import probe

TINY = Path(__file__).parents[1] / "weights" / "tiny"


@pytest.fixture(scope="module")
def tiny():
    return GPT2.from_pretrained(TINY)


def test_it_is_small_and_in_the_ordinary_format():
    files = {p.name: p.stat().st_size for p in TINY.iterdir()}
    assert files.keys() == {"config.json", "model.safetensors", "tokenizer.json", "training.json"}
    assert sum(files.values()) < 16e6
    assert json.loads((TINY / "config.json").read_text())["model_type"] == "gpt2"


@pytest.fixture(scope="module")
def last_point():
    return json.loads((TINY / "training.json").read_text())["curve"][-1]


def test_its_loss_on_held_out_text_is_what_was_measured_in_training(tiny, last_point):
    measured = {name: last_point[name] for name in ("eval_loss", "eval_marked")}
    assert held_out_loss(PeftModel(tiny)) == pytest.approx(measured, abs=2e-3)  # float16 since


def test_it_binds_turns_tables_round_and_looks_up(tiny):
    found = probe(PeftModel(tiny, Full()))
    assert found["binding"] > 0.95 and found["right"]["people"] > 0.95
    assert found["right"]["tables"] > 0.9 and found["right"]["opinions"] > 0.9
    assert found["induction"][0] > 0.9 and found["previous"][0] > 0.9


def test_lora_on_it_beats_lora_on_the_same_model_with_random_weights_by_far(tiny):
    rows, held_out = data_to_text.rows("train", 400), data_to_text.rows("validation", 40)
    random = GPT2.random(tiny.config, tokenizer=tiny.tokenizer)
    loss = {}
    for name, base in (("tiny", tiny), ("random", random)):
        peft = PeftModel(base, LoRA(r=8, lora_alpha=16, target_modules="all-linear"))
        train(peft, rows, steps=40, batch_size=8, learning_rate=5e-3, warmup_steps=5, progress=False)
        loss[name] = evaluate(peft, held_out)["loss"]
    assert loss["tiny"] < 2.0 and loss["random"] > loss["tiny"] + 3, loss
