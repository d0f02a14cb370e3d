"""Quantised weights: their codes are right, and what is computed with them is what the floats would give."""

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from every_method import CASES, MERGING
from folders import ROWS, write_model
from small import CONFIG, logits, scramble, small_batch, small_model, snapshot, texts

from minipeft import (
    GPT2,
    BitFit,
    DoRA,
    InputError,
    LoRA,
    PeftModel,
    PrefixTuning,
    Sparse,
    evaluate,
    gradcheck,
    ops,
    train,
)
from minipeft.app.cli import main
from minipeft.gradcheck import TOLERANCE, check_array
from minipeft.reports.compare import Plan
from minipeft.reports.tune_report.run_folder import read_run
from minipeft.speed import quantized as quantize
from minipeft.speed.quantized import NF4, Int8, dequantized, nf4_values
from minipeft.tasks import data_to_text

TINY = Path(__file__).parents[1] / "weights" / "tiny"
REFERENCE = Path(__file__).parent / "reference"
PAPER = [  # appendix E of QLoRA
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
    -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
    0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
    0.7229568362236023, 1.0,
]  # fmt: skip
KINDS = {"int8": Int8, "nf4": NF4}
SHAPES = ((12, 36), (64, 5), (130, 7), (320, 70))  # inputs that fill no block, one, two and a bit, five

each_kind = pytest.mark.parametrize("kind", KINDS)
each_shape = pytest.mark.parametrize("shape", SHAPES)
each_dtype = pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("float64", 1e-13)])


def weight(shape, dtype="float32", seed=0):
    """A random W, a column of zeros in it, and one that is large."""
    W = 0.02 * np.random.default_rng(seed).standard_normal(shape)
    W[:, 1], W[:, 2] = 0, 50 * W[:, 2]
    return W.astype(dtype)


# ------------------------------------------------------------------------------------------- codes and scales


@each_shape
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_int8_is_off_by_half_a_step_at_most(shape, dtype):
    W = weight(shape, dtype)
    step = np.abs(W).max(0) / 127  # of each column
    error = np.abs(dequantized(Int8(W)) - W)
    assert (error <= 0.5 * step * (1 + 1e-3)).all() and (error.max(0) > 0.4 * step)[3:5].all()


def test_int8_keeps_whole_numbers():
    W = np.random.default_rng(0).integers(-127, 128, (40, 6)).astype("float32")
    W[0] = 127
    assert np.array_equal(dequantized(Int8(W)), W)


def test_the_values_of_nf4_are_those_of_the_paper():
    assert len(set(PAPER)) == 16
    np.testing.assert_allclose(nf4_values(), PAPER, rtol=0, atol=2e-7)  # the digits that the paper rounds to


def slow_nf4(W):
    """NF4 with double quantisation, number by number, as QLoRA's section 3 says it. -> W again."""
    (I, O), again = W.shape, np.zeros(W.shape)
    blocks = [(j, i, W[i : i + 64, j]) for j in range(O) for i in range(0, I, 64)]
    absmax = [max(abs(w) for w in block.tolist()) for _, _, block in blocks]
    mean, scales = sum(absmax) / len(absmax), []
    for g in range(0, len(absmax), 256):
        group = [a - mean for a in absmax[g : g + 256]]
        step = max(abs(a) for a in group) / 127
        scales += [mean + round(a / step) * step for a in group]
    for (j, i, block), a, scale in zip(blocks, absmax, scales, strict=True):
        for k, w in enumerate(block.tolist()):
            value = min(PAPER, key=lambda v: abs(v - (w / a if a else 0)))
            again[i + k, j] = value * scale
    return again


@each_shape
def test_nf4_is_that_of_a_slow_program(shape):
    W = weight(shape)
    expected = slow_nf4(W)
    np.testing.assert_allclose(dequantized(NF4(W)), expected, rtol=0, atol=1e-6 * np.abs(W).max())


def test_nf4_is_that_of_bitsandbytes():
    """All codes alike. How it quantises the scales is another matter: neither may be off by more than 2 %."""
    true = np.load(REFERENCE / "quantized.npz")
    W = NF4(true["W"].astype("float32"))
    np.testing.assert_allclose(nf4_values(), true["nf4 values"], rtol=0, atol=2e-7)
    assert np.array_equal(W.codes.reshape(-1), true["nf4 codes"])
    absmax = true["nf4 absmax"]
    for scales in (W.scales().reshape(-1), true["double absmax"]):
        np.testing.assert_allclose(scales, absmax, rtol=0.02)
    ratio = np.repeat(W.scales().reshape(-1) / absmax, 64).reshape(64, 320).T  # what the scales alone change
    np.testing.assert_allclose(dequantized(W), ratio * true["nf4 weight"], rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("kind, bits", [("int8", 8 + 32 / 768), ("nf4", 4 + 8 / 64 + 32 / (64 * 256))])
def test_bits_of_a_weight(kind, bits):
    W = KINDS[kind](np.ones((768, 2304), "float32"))
    assert W.nbytes * 8 / W.size == pytest.approx(bits, rel=1e-3)
    assert (W.shape, W.size, W.ndim, W.dtype) == ((768, 2304), 768 * 2304, 2, np.float32)


# ------------------------------------------------------------------------------------------------ multiplying


@each_kind
@each_shape
@each_dtype
@pytest.mark.parametrize("block_bytes", [1, 3000, 1 << 21])
def test_products_are_those_of_the_dequantised_weight(
    kind, shape, dtype, tolerance, block_bytes, monkeypatch
):
    monkeypatch.setattr(quantize, "BLOCK_BYTES", block_bytes)
    rng, W = np.random.default_rng(1), KINDS[kind](weight(shape, dtype))
    plain = dequantized(W)
    assert (plain.shape, plain.dtype) == (shape, dtype) and plain.flags.c_contiguous
    x, dy = (rng.standard_normal((9, size)).astype(dtype) for size in shape)
    for product, expected in ((x @ W, x @ plain), (dy @ W.T, dy @ plain.T)):
        assert product.dtype == dtype
        np.testing.assert_allclose(product, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@each_kind
def test_the_gradient_of_the_linear_layer_is_its_derivative(kind):
    rng, W = np.random.default_rng(2), KINDS[kind](weight((130, 7), "float64"))
    x, b, dy = rng.standard_normal((4, 130)), rng.standard_normal(7), rng.standard_normal((4, 7))
    y, cache = ops.linear(x, W, b, {"x", "bias"})
    np.testing.assert_allclose(y, x @ dequantized(W) + b, rtol=0, atol=1e-12)
    dx, grads = ops.linear_backward(dy, cache)
    loss = lambda: (ops.linear(x, W, b)[0] * dy).sum()
    assert check_array(loss, x, dx, rng, elements=40) < TOLERANCE
    assert check_array(loss, b, grads["bias"], rng) < TOLERANCE


@each_kind
def test_a_whole_weight_of_floats_is_never_in_memory(kind, monkeypatch):
    monkeypatch.setattr(quantize, "BLOCK_BYTES", 1 << 17)
    W = KINDS[kind](np.ones((4096, 512), "float32"))  # 8 MB as floats
    x, dy = np.ones((4, 4096), "float32"), np.ones((4, 512), "float32")
    for product in (lambda: x @ W, lambda: dy @ W.T):
        tracemalloc.start()
        product()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1e6


# --------------------------------------------------------------------------------------------------- a model


def quantized_small(kind="nf4", dtype="float64"):
    return small_model(dtype).quantized(kind)


@each_kind
def test_only_the_linear_layers_of_the_blocks_are_quantised(kind):
    base = small_model()
    before = snapshot(base.weights)
    model = base.quantized(kind)
    changed = {name for name, W in model.weights.items() if W is not base.weights[name]}
    assert changed == {f"{name}.weight" for name in CONFIG.linear_layers()}
    assert all(type(model.weights[name]) is KINDS[kind] for name in changed)
    assert (model.quantization, base.quantization) == (kind, None)
    assert (model.num_parameters, model.dtype) == (base.num_parameters, base.dtype)
    assert snapshot(base.weights) == before
    np.testing.assert_allclose(logits(model), logits(model.dequantized()), rtol=0, atol=1e-12)
    assert model.dequantized().quantization is None


REFUSED = {  # they would train a quantised weight
    *(name for name in CASES if name.startswith(("full", "layerwise"))),
    "modules, of every kind", "sparse", "sparse, magnitude", "sparse, fisher", "sparse, high up",
    "lora and full", "layerwise and lora", "lora and modules", "lora and sparse", "sparse and lora",
    "sparse and ln_tuning", "dora and full", "dora and sparse", "vera and full", "ia3 and modules",
    "p-tuning and modules", "prefix and full",
}  # fmt: skip
WORKING = CASES.keys() - REFUSED
INT8 = {"lora", "dora", "lora, pissa", "bitfit", "adapter", "prefix_tuning"}  # the others are checked on NF4


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_method_that_would_train_a_quantised_weight_is_refused(name):
    with pytest.raises(
        InputError, match=r"^h\.\d\.\S+\.weight is nf4 and cannot train: take the base without"
    ):
        PeftModel(quantized_small(), CASES[name])


def test_fisher_information_is_not_taken_in_vain(monkeypatch):
    monkeypatch.setattr("minipeft.methods.select.importance.fisher_information", lambda *args: 1 / 0)
    with pytest.raises(InputError, match="cannot train"):
        PeftModel(quantized_small(), Sparse(importance="fisher", examples=[([1], [2])]))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(WORKING))
def test_gradients_on_a_quantised_base_are_the_derivatives_of_the_loss(name, monkeypatch):
    """Along one line, p + t d of all tensors at once: the loss is a function of the number t."""
    monkeypatch.setenv("MINIPEFT_THREADS", "1")
    peft, batch = PeftModel(quantized_small("int8" if name in INT8 else "nf4"), CASES[name]), small_batch()
    scramble(peft.trainable, scale=0.1)
    peft.method = peft.method.with_constants_held(peft.weights, peft.tensors)
    rng, t = np.random.default_rng(0), np.zeros(1)
    start = {key: p.copy() for key, p in peft.trainable.items()}
    line = {key: rng.standard_normal(p.shape) / p.size**0.5 for key, p in start.items()}

    def loss():
        for key, p in peft.trainable.items():
            p[...] = start[key] + t * line[key]
        return peft.loss(batch)

    slope = sum((g * line[key]).sum() for key, g in peft.loss_and_grads(batch)[1].items())
    assert check_array(loss, t, np.array([slope]), rng, elements=0) < TOLERANCE


@pytest.mark.slow
@each_kind
def test_every_tensors_gradient_is_right(kind):
    peft = PeftModel(quantized_small(kind), [LoRA(r=2), BitFit(("ln_2",))])
    errors = gradcheck(peft, small_batch(), elements=1)
    assert max(errors.values()) < TOLERANCE, max(errors, key=errors.get)


@each_kind
@pytest.mark.parametrize("name", ["lora, all linear layers", "dora", "ia3", "prefix_tuning", "bitfit"])
def test_loss_and_gradients_are_those_of_the_dequantised_base(kind, name, monkeypatch):
    """In several shards, too: each thread dequantises for itself."""
    base = quantized_small(kind)
    plain, results = PeftModel(base.dequantized(), CASES[name]), []
    scramble(plain.trainable, scale=0.1)
    for threads in (1, 3):
        monkeypatch.setenv("MINIPEFT_THREADS", str(threads))
        peft = PeftModel(base, CASES[name])
        scramble(peft.trainable, scale=0.1)
        results.append(peft.loss_and_grads(small_batch()))
    true_loss, true = plain.loss_and_grads(small_batch())
    for loss, grads in results:
        assert loss == pytest.approx(true_loss, rel=1e-12)
        for key, g in grads.items():
            np.testing.assert_allclose(g, true[key], rtol=0, atol=1e-11 * np.abs(true[key]).max())


@pytest.mark.parametrize("name", sorted(WORKING & MERGING))
def test_a_merged_model_has_floats_and_the_same_logits(name):
    peft = PeftModel(quantized_small(), CASES[name])
    scramble(peft.trainable, scale=0.1)
    merged = peft.merge_and_unload()
    assert type(merged) is GPT2 and merged.quantization is None
    np.testing.assert_allclose(logits(merged), logits(peft), rtol=0, atol=1e-10)


def test_a_merged_model_is_unmerged_to_the_dequantised_base():
    peft = PeftModel(quantized_small(), LoRA(r=2))
    scramble(peft.trainable)
    base = peft.unmerge(peft.merge_and_unload())
    np.testing.assert_allclose(logits(base), logits(peft.model), rtol=0, atol=1e-10)


@pytest.mark.parametrize("method", [DoRA(r=2), DoRA(r=2, init_lora_weights="pissa")], ids=["dora", "pissa"])
def test_dora_scales_nothing_at_first(method):
    """m is the length of the columns that there are: PiSSA's part taken out, the rest quantised again."""
    peft = PeftModel(quantized_small(), method)
    assert type(peft.weights["h.0.attn.c_attn.weight"]) is NF4
    g = [t for name, t in peft.step().tensors.items() if name.endswith("magnitude_vector")]
    assert len(g) == CONFIG.n_layer and all(np.allclose(one, 1, rtol=0, atol=1e-14) for one in g)


def test_generation_and_several_adapters_on_one_quantised_base():
    base = quantized_small()
    peft, plain = (PeftModel(model, LoRA(r=2), adapter_name="a") for model in (base, base.dequantized()))
    for model in (peft, plain):
        model.add_adapter("b", PrefixTuning(2))
        scramble(model.adapters["a"].trainable)
    for options in ({}, {"num_beams": 2}, {"do_sample": True, "seed": 3}):
        expected = plain.generate_ids(texts(), max_new_tokens=5, **options)
        assert peft.generate_ids(texts(), max_new_tokens=5, **options) == expected
    outputs = [model.mixed(["b", "a", "__base__"]).logits(texts()) for model in (peft, plain)]
    for ours, theirs in zip(*outputs, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-11)


def test_training_leaves_the_codes_alone_and_the_adapter_fits_any_base(tmp_path):
    pairs = [(ids[:2], ids[2:]) for ids in texts((6, 5, 7, 4))]
    base = quantized_small(dtype="float32")
    codes = {name: W.codes.tobytes() for name, W in base.weights.items() if isinstance(W, NF4)}
    peft = PeftModel(base, [LoRA(r=2, target_modules="all-linear"), BitFit()])
    history = train(peft, pairs, steps=20, learning_rate=2e-2, progress=False)
    assert history.steps[-1]["loss"] < 0.8 * history.steps[0]["loss"]
    assert codes == {name: W.codes.tobytes() for name, W in base.weights.items() if isinstance(W, NF4)}
    peft.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(base, tmp_path)
    np.testing.assert_array_equal(logits(again), logits(peft))
    assert snapshot(PeftModel.from_pretrained(small_model("float32"), tmp_path).trainable) == snapshot(
        peft.trainable
    )


def test_what_cannot_be_done_is_said(tmp_path):
    model = quantized_small()
    with pytest.raises(InputError, match="did you mean int8"):
        small_model().quantized("int4")
    with pytest.raises(InputError, match="is nf4 already"):
        model.quantized("int8")
    with pytest.raises(InputError, match=r"weights are nf4 .* model\.dequantized\(\)"):
        model.save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())
    model.dequantized().save_pretrained(tmp_path)
    saved = GPT2.from_pretrained(tmp_path, "float64")
    np.testing.assert_array_equal(logits(saved), logits(model.dequantized()))
    with pytest.raises(InputError, match="cannot train"):  # a whole model, read as what full fine-tuning gave
        PeftModel.from_pretrained(model, tmp_path)


# ------------------------------------------------------------------------------- a pre-trained model, on disk


@pytest.mark.parametrize("kind, off", [("int8", 0.005), ("nf4", 0.08)])
def test_the_embedded_model_loses_little(kind, off):
    model, rows = GPT2.from_pretrained(TINY), data_to_text.rows("validation", 40)
    loss = evaluate(PeftModel(model), rows)["loss"]
    assert evaluate(PeftModel(model.quantized(kind)), rows)["loss"] == pytest.approx(loss, rel=off)


def test_from_the_command_line(tmp_path, capsys):
    def call(*words):
        code = main([str(word) for word in (*words, "--json", "--quiet")])
        out = capsys.readouterr().out
        return code, json.loads(out)

    base, out, merged = tmp_path / "base", tmp_path / "out", tmp_path / "merged"
    write_model(base)
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    common = ["--model", base, "--quantize", "nf4"]
    data = ["--train", tmp_path / "rows.jsonl", "--eval", tmp_path / "rows.jsonl"]
    words = ["train", *common, "--set", "r=2", *data, "--steps", 2, "--out", out]
    code, result = call(*words)
    assert code == 0 and result["quantization"] == "nf4"
    evaluation = ["--data", tmp_path / "rows.jsonl"]
    code, again = call("evaluate", *common, "--adapter", out, *evaluation)
    assert code == 0
    code, plain = call("evaluate", "--model", base, "--adapter", out, *evaluation)
    assert plain["eval_loss"] != again["eval_loss"]
    assert call("merge", *common, "--adapter", out, "--out", merged)[0] == 0
    code, same = call("evaluate", "--model", merged, *evaluation)
    assert same["eval_loss"] == pytest.approx(again["eval_loss"], rel=1e-5)
    assert call("generate", *common, "--adapter", out, "name", "--max-new-tokens", 2)[0] == 0
    assert call("gradcheck", *common, "--elements", 0)[0] == 0
    assert read_run(out).peft.model.quantization == "nf4"
    code, error = call("train", *common, *data, "--method", "full")
    assert code == 2 and "cannot train" in error["error"]


def test_a_comparison_quantises_the_base_of_every_run(tmp_path):
    plan = Plan("weights/tiny", tmp_path, {"t": ("--task", "sentiment")}, ("lora",), base="int8")
    for name in ("lora", "lora_random", "few_shot"):
        words = plan.run("t", name).words
        assert words[words.index("--base") + 1] == "int8"
    plain = Plan("weights/tiny", tmp_path, {"t": ("--task", "sentiment")}, ("lora",))
    assert "--base" not in plain.run("t", "lora").words


# -------------------------------------------------------------------------------------------------- a device


@each_kind
def test_on_a_device_codes_loss_and_gradients_are_those_of_the_host(kind, cupy):
    host = small_model()
    device = GPT2(CONFIG, {name: cupy.asarray(W) for name, W in host.weights.items()})
    host, device = host.quantized(kind), device.quantized(kind)
    name = "h.1.mlp.c_fc.weight"
    assert type(device.weights[name].codes) is cupy.ndarray
    assert np.array_equal(device.weights[name].codes.get(), host.weights[name].codes)
    method = LoRA(r=2, target_modules="all-linear", init_lora_weights=False)
    (true_loss, true), (loss, grads) = (
        PeftModel(model, method).loss_and_grads(small_batch()) for model in (host, device)
    )
    assert float(loss) == pytest.approx(float(true_loss), rel=1e-12)
    for key, g in grads.items():
        np.testing.assert_allclose(g.get(), true[key], rtol=0, atol=1e-10 * np.abs(true[key]).max())
    merged = PeftModel(device, method).merge_and_unload()
    assert all(type(W) is cupy.ndarray for W in merged.weights.values())


@pytest.mark.parametrize("name", ["dora of pissa", "lora, pissa", "vera", "ia3"])
def test_methods_that_read_the_weights_work_on_a_device(name, cupy):
    model = GPT2(CONFIG, {name: cupy.asarray(W) for name, W in small_model().weights.items()})
    _, grads = PeftModel(model.quantized("nf4"), CASES[name]).loss_and_grads(small_batch())
    _, true = PeftModel(quantized_small(), CASES[name]).loss_and_grads(small_batch())
    for key, g in grads.items():
        np.testing.assert_allclose(g.get(), true[key], rtol=0, atol=1e-9 * np.abs(true[key]).max())
