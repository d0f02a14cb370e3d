"""What minipeft computes is what PyTorch, `transformers` and `peft` compute: the numbers in reference/.

reference/make_reference.py made them and says what each is. None of the three is needed here.
"""

import json
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import pytest
from reference.fingerprint import fingerprint, fingerprint_error

from minipeft import GPT2, AdamW, Full, LoRA, PeftModel, pack
from minipeft.files import read_json, read_safetensors
from minipeft.optim import clip_grads, learning_rate_at
from minipeft.train import Training

REFERENCE = Path(__file__).parent / "reference"
BATCHES = read_json(REFERENCE / "batches.json")
GENERATION = read_json(REFERENCE / "generation.json")
FORMS = sorted(path.name for path in (REFERENCE / "checkpoints").iterdir())
ADAPTERS = ("tiny-lora-c_attn", "tiny-lora-all")
DTYPES = {"float32": 1e-4, "float64": 1e-9}  # and how far logits may be from PyTorch's
EXACT = 1e-8  # how far, relatively, losses and gradients may be from PyTorch's, in float64

each_model = pytest.mark.parametrize("name", ["tiny", *ADAPTERS])
each_adapter = pytest.mark.parametrize("name", ADAPTERS)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)


def tiny(name, dtype="float64"):
    """The tiny GPT-2, all of it training ("tiny"), or with the adapter of a folder."""
    base = GPT2.from_pretrained(REFERENCE / "gpt2-tiny", dtype)
    return PeftModel(base, Full()) if name == "tiny" else PeftModel.from_pretrained(base, REFERENCE / name)


def packed_logits(model, pairs):
    """The logits of all tokens of a batch, (N, V)."""
    return np.concatenate(model.logits([prompt + completion for prompt, completion in pairs]))


def in_peft(name):
    """A tensor's name as `peft` writes it: "h.0.attn.c_attn.lora_A" is there under a longer one."""
    return f"base_model.model.transformer.{name}.weight" if ".lora_" in name else name


def as_in_peft(tensor, name):
    """A tensor as `peft` lays it out: LoRA's matrices are (out, in) there."""
    return tensor.T if ".lora_" in name else tensor


# -------------------------------------------------------------------------------- forward, backward, training


@each_model
@each_dtype
def test_logits_are_those_of_pytorch(name, dtype):
    true = np.load(REFERENCE / f"{name}.npz")["logits32" if dtype == "float32" else "logits"]
    logits = packed_logits(tiny(name, dtype), BATCHES[0])
    assert logits.dtype == dtype
    np.testing.assert_allclose(logits, true, rtol=0, atol=DTYPES[dtype])


@each_model
@pytest.mark.parametrize("threads", [1, 3])
def test_loss_and_every_gradient_are_those_of_pytorch(name, threads, monkeypatch):
    monkeypatch.setenv("MINIPEFT_THREADS", str(threads))  # into how many shards a batch is split
    true, peft, batch = np.load(REFERENCE / f"{name}.npz"), tiny(name), pack(BATCHES[0])
    loss, grads = peft.loss_and_grads(batch)
    assert loss == pytest.approx(float(true["loss"]), rel=EXACT)
    assert peft.loss(batch) == pytest.approx(float(true["loss"]), rel=EXACT)
    assert {f"grad {in_peft(tensor)}" for tensor in grads} == {key for key in true if key.startswith("grad ")}
    for tensor, g in grads.items():
        expected = true[f"grad {in_peft(tensor)}"]
        np.testing.assert_allclose(
            as_in_peft(g, tensor), expected, rtol=0, atol=EXACT * np.abs(expected).max()
        )


@each_model
def test_ten_training_steps_follow_pytorchs_curve(name):
    peft, optimizer, losses = tiny(name), AdamW(1e-3, weight_decay=0.01), []
    for pairs in islice(cycle(BATCHES), 10):
        loss, grads = peft.loss_and_grads(pack(pairs))
        clip_grads(grads, 1.0)
        optimizer.step(peft.trainable, grads)
        losses.append(loss)
    np.testing.assert_allclose(losses, np.load(REFERENCE / f"{name}.npz")["curve"], rtol=EXACT)


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_schedules_are_those_of_transformers_after_the_warm_up(schedule):
    """During it they differ: `transformers` begins with a step at rate 0; here every step counts."""
    true = np.load(REFERENCE / "schedules.npz")[schedule]
    settings = Training(learning_rate=1.0, warmup_steps=4, schedule=schedule)
    rates = [learning_rate_at(step, 20, settings) for step in range(20)]
    np.testing.assert_allclose(rates[4:], true[4:], rtol=1e-12, atol=1e-15)


# ------------------------------------------------------------------------------------------------------ files


@pytest.mark.parametrize("form", FORMS)
@each_dtype
def test_checkpoint_of_every_form_loads(form, dtype):
    """Sharded or whole, with and without "transformer.", tied or not, with old masks, in every float type."""
    model = GPT2.from_pretrained(REFERENCE / "checkpoints" / form, dtype)
    true = np.load(REFERENCE / "checkpoints.npz")[form]
    np.testing.assert_allclose(model.logits([range(20, 27)])[0], true, rtol=0, atol=DTYPES[dtype])


@each_adapter
def test_adapter_of_peft_merges_into_the_weights(name):
    merged = tiny(name).merge_and_unload()
    true = np.load(REFERENCE / f"{name}.npz")["merged"]
    np.testing.assert_allclose(packed_logits(merged, BATCHES[0]), true, rtol=0, atol=DTYPES["float64"])


@each_adapter
def test_adapter_of_peft_is_written_again_as_it_was(name, tmp_path):
    tiny(name, "float32").save_pretrained(tmp_path)
    ours, _ = read_safetensors(tmp_path / "adapter_model.safetensors")
    theirs, _ = read_safetensors(REFERENCE / name / "adapter_model.safetensors")
    assert ours.keys() == theirs.keys()
    for key in theirs:
        assert ours[key].dtype == theirs[key].dtype
        np.testing.assert_array_equal(ours[key], theirs[key])


@each_adapter
def test_adapter_configuration_of_peft_is_written_again_as_it_was(name, tmp_path):
    tiny(name).save_pretrained(tmp_path)
    ours, theirs = (read_json(folder / "adapter_config.json") for folder in (tmp_path, REFERENCE / name))
    for key in ours.keys() - {"base_model_name_or_path"}:
        assert ours[key] == theirs[key] or sorted(ours[key]) == sorted(theirs[key]), key  # targets are a set


# ------------------------------------------------------------------------------------------------- generation


@pytest.mark.parametrize("run", GENERATION["runs"], ids=lambda run: json.dumps(run["options"]))
def test_generation_gives_the_tokens_that_transformers_gives(run):
    model = GPT2.from_pretrained(REFERENCE / "gpt2-tiny", "float64")
    length = GENERATION["max_new_tokens"]
    outputs = model.generate_ids(GENERATION["prompts"], max_new_tokens=length, **run["options"])
    assert outputs == run["outputs"]


# ---------------------------------------------------------------------------------------- GPT-2 small's shape


@pytest.mark.parametrize("name", ["full", "lora"])
def test_gpt2_small_computes_what_pytorch_does(name, monkeypatch):
    """Parts of the logits, in float32 and float64; the loss; and of every gradient a fingerprint."""
    monkeypatch.setenv("MINIPEFT_THREADS", "1")  # one shard, one set of gradients: 3.6 GB instead of 4.6
    true = np.load(REFERENCE / "gpt2-small.npz")
    pairs = json.loads(str(true["pairs"]))
    columns = true["columns"]
    peft = small(name)
    sums = [w.sum(dtype=float) for w in peft.model.weights.values()]
    np.testing.assert_allclose(
        sums, true["weight sums"], rtol=1e-6
    )  # else NumPy draws other numbers than it did

    logits = packed_logits(peft, pairs)
    np.testing.assert_allclose(logits[:, columns], true[f"{name} logits32"], rtol=0, atol=DTYPES["float32"])
    peft = in_float64(peft)
    logits = packed_logits(peft, pairs)
    np.testing.assert_allclose(logits[:, columns], true[f"{name} logits"], rtol=0, atol=DTYPES["float64"])
    logsumexp = np.log(np.exp(logits).sum(1))
    np.testing.assert_allclose(logsumexp, true[f"{name} logsumexp"], rtol=0, atol=DTYPES["float64"])

    loss, grads = peft.loss_and_grads(pack(pairs))
    assert loss == pytest.approx(float(true[f"{name} loss"]), rel=EXACT)
    keys = {f"{name} grad {in_peft(tensor)}" for tensor in grads}
    assert keys == {key for key in true if key.startswith(f"{name} grad ")}
    for tensor, g in grads.items():
        print_of_g = fingerprint(in_peft(tensor), as_in_peft(g, tensor))
        assert fingerprint_error(print_of_g, true[f"{name} grad {in_peft(tensor)}"], g.size) < EXACT, tensor


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
