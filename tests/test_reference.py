"""What minipeft computes is what PyTorch, `transformers` and `peft` compute: the numbers in reference/.

reference/make_reference.py made them and says what each is. None of the three is needed here.
"""

import json

import numpy as np
import pytest
from against import (
    EXACT,
    LOGITS,
    REFERENCE,
    assert_same_logits,
    assert_same_loss_and_gradients,
    assert_ten_steps_follow,
    base,
    each_dtype,
    each_number_of_threads,
    packed_logits,
    stored,
)
from reference.fingerprint import fingerprint, fingerprint_error

from minipeft import GPT2, Full, LoRA, PeftModel, pack
from minipeft.files.json_files import read_json
from minipeft.optim import learning_rate_at
from minipeft.train import Training

GENERATION = read_json(REFERENCE / "generation.json")
FORMS = sorted(path.name for path in (REFERENCE / "checkpoints").iterdir())
ADAPTERS = ("tiny-lora-c_attn", "tiny-lora-all")
each_model = pytest.mark.parametrize("name", ["tiny", *ADAPTERS])
each_adapter = pytest.mark.parametrize("name", ADAPTERS)


def tiny(name, dtype="float64"):
    """The tiny GPT-2, all of it training ("tiny"), or with the adapter of a folder."""
    model = base(dtype)
    return PeftModel(model, Full()) if name == "tiny" else PeftModel.from_pretrained(model, REFERENCE / name)


def in_peft(name, tensor):
    """LoRA's matrices have longer names in `peft`, and are (out, in)."""
    return (f"base_model.model.transformer.{name}.weight", tensor.T) if ".lora_" in name else (name, tensor)


# -------------------------------------------------------------------------------- forward, backward, training


@each_model
@each_dtype
def test_logits_are_those_of_pytorch(name, dtype):
    logits = packed_logits(tiny(name, dtype))
    assert logits.dtype == dtype
    assert_same_logits(logits, stored(name)["logits32" if dtype == "float32" else "logits"])


@each_model
@each_number_of_threads
def test_loss_and_every_gradient_are_those_of_pytorch(name, threads, monkeypatch):
    monkeypatch.setenv("MINIPEFT_THREADS", str(threads))
    assert_same_loss_and_gradients(tiny(name), stored(name), in_peft)


@each_model
def test_ten_training_steps_follow_pytorchs_curve(name):
    assert_ten_steps_follow(stored(name)["curve"], tiny(name))


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_schedules_are_those_of_transformers_after_the_warm_up(schedule):
    """During it they differ: `transformers` begins with a step at rate 0; here every step counts."""
    true = stored("schedules")[schedule]
    settings = Training(learning_rate=1.0, warmup_steps=4, schedule=schedule)
    rates = [learning_rate_at(step, 20, settings) for step in range(20)]
    np.testing.assert_allclose(rates[4:], true[4:], rtol=1e-12, atol=1e-15)


# ------------------------------------------------------------------------------------------------------ files


@pytest.mark.parametrize("form", FORMS)
@each_dtype
def test_checkpoint_of_every_form_loads(form, dtype):
    """Sharded or whole, with and without "transformer.", tied or not, with old masks, in every float type."""
    model = GPT2.from_pretrained(REFERENCE / "checkpoints" / form, dtype)
    assert_same_logits(model.logits([range(20, 27)])[0], stored("checkpoints")[form])


@each_adapter
def test_adapter_of_peft_merges_into_the_weights(name):
    assert_same_logits(packed_logits(tiny(name).merge_and_unload()), stored(name)["merged"])


# ------------------------------------------------------------------------------------------------- generation


@pytest.mark.parametrize("run", GENERATION["runs"], ids=lambda run: json.dumps(run["options"]))
def test_generation_gives_the_tokens_that_transformers_gives(run):
    length = GENERATION["max_new_tokens"]
    outputs = base().generate_ids(GENERATION["prompts"], max_new_tokens=length, **run["options"])
    assert outputs == run["outputs"]


# ---------------------------------------------------------------------------------------- GPT-2 small's shape


@pytest.mark.parametrize("name", ["full", "lora"])
def test_gpt2_small_computes_what_pytorch_does(name, monkeypatch):
    """Parts of the logits, in float32 and float64; the loss; and of every gradient a fingerprint."""
    monkeypatch.setenv("MINIPEFT_THREADS", "1")  # one shard, one set of gradients: 3.6 GB instead of 4.6
    true = stored("gpt2-small")
    pairs = json.loads(str(true["pairs"]))
    columns = true["columns"]
    peft = small(name)
    sums = [w.sum(dtype=float) for w in peft.model.weights.values()]
    np.testing.assert_allclose(
        sums, true["weight sums"], rtol=1e-6
    )  # else NumPy draws other numbers than it did

    logits = packed_logits(peft, pairs)
    assert_same_logits(logits[:, columns], true[f"{name} logits32"])
    peft = in_float64(peft)
    logits = packed_logits(peft, pairs)
    assert_same_logits(logits[:, columns], true[f"{name} logits"])
    logsumexp = np.log(np.exp(logits).sum(1))
    np.testing.assert_allclose(logsumexp, true[f"{name} logsumexp"], rtol=0, atol=LOGITS["float64"])

    loss, grads = peft.loss_and_grads(pack(pairs))
    assert loss == pytest.approx(float(true[f"{name} loss"]), rel=EXACT)
    grads = dict(in_peft(tensor, g) for tensor, g in grads.items())
    assert {f"{name} grad {key}" for key in grads} == {key for key in true if key.startswith(f"{name} grad ")}
    for key, g in grads.items():
        error = fingerprint_error(fingerprint(key, g), true[f"{name} grad {key}"], g.size)
        assert error < EXACT, key


def small(name):
    """GPT-2 small, random, all of it training ("full") or LoRA, its B not zero ("lora"); float32."""
    model = GPT2.random("gpt2", seed=0)
    if name == "full":
        return PeftModel(model, Full())
    method = LoRA(r=8, lora_alpha=16, target_modules=("attn.c_attn",), init_lora_weights=False)
    return PeftModel(model, method, seed=1)


def in_float64(peft):
    """The same model with the same numbers, in float64."""
    weights = {name: w.astype("float64") for name, w in peft.model.weights.items()}
    double = PeftModel(GPT2(peft.config, weights), peft.method)
    for name, tensor in peft.tensors.items():
        double.tensors[name][...] = tensor
    return double
