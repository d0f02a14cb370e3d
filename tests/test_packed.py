"""Packed weights: products are those of the arrays, W comes back, and what trains beside them is right.

What needs MKL is skipped where it is not installed; bfloat16 without MKL is always tested.
"""

import json
import os
from functools import lru_cache
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest
from every_method import CASES, MERGING
from folders import ROWS, write_model
from small import CONFIG, logits, scramble, small_batch, small_model, snapshot, texts
from threadpoolctl import threadpool_info

from minipeft import (
    GPT2,
    BitFit,
    DoRA,
    Full,
    InputError,
    LoRA,
    PeftModel,
    PrefixTuning,
    evaluate,
    gradcheck,
    train,
)
from minipeft.app.cli import main
from minipeft.files.content import content_of
from minipeft.model import load_model
from minipeft.reports.tune_report.run_folder import read_run
from minipeft.speed import mkl, packed
from minipeft.speed.bfloat16 import BFloat16, floats, rounded
from minipeft.speed.packed import Packed, PackedBFloat16
from minipeft.speed.parallel import limit_blas, limited, map_shards
from minipeft.speed.quantized import Held, dequantized
from minipeft.tasks import data_to_text

TINY = Path(__file__).parents[1] / "weights" / "tiny"
SHAPES = ((12, 36), (64, 5), (130, 7), (320, 70))

with_mkl = pytest.mark.skipif(mkl.library() is None, reason="needs MKL: pip install 'minipeft[mkl]'")
FORMS = {  # a kind, and whether MKL multiplies
    "float32, mkl": Packed,
    "bfloat16, mkl": PackedBFloat16,
    "bfloat16": BFloat16,
}
each_form = pytest.mark.parametrize(
    "form", [pytest.param(form, marks=with_mkl if "mkl" in form else ()) for form in FORMS]
)
each_packing = pytest.mark.parametrize("form", ["float32, mkl", "bfloat16, mkl"])


@pytest.fixture
def no_mkl(monkeypatch):
    """As where MKL is not installed."""
    monkeypatch.setattr(mkl, "library", lru_cache(lambda: None))
    packed.say_what_is_missing.cache_clear()


def weight(shape, seed=0):
    return 0.02 * np.random.default_rng(seed).standard_normal(shape, dtype="float32")


def in_form(model, form, monkeypatch):
    """The model packed in this form, whatever this processor is."""
    with monkeypatch.context() as processor:
        processor.setattr(mkl, "processor_multiplies_bfloat16", lambda: "mkl" in form)
        return model.packed(form.split(",")[0])


def small_packed(form, monkeypatch):
    """The small model in float32, and the same packed."""
    base = small_model("float32")
    return base, in_form(base, form, monkeypatch)


# ---------------------------------------------------------------------------------------------- bfloat16


def test_rounding_is_to_the_nearest_and_of_two_to_the_even_one():
    a = np.random.default_rng(0).standard_normal(2000, dtype="float32") * 10.0 ** np.arange(-10, 10, 0.01)
    a = np.concatenate([a, [1 + 2**-8, 1 + 3 * 2**-8, -1 - 2**-8, 0, -0.0]]).astype("float32")
    below = (a.view("uint32") & 0xFFFF0000).view("float32")  # nearer to zero
    above = ((a.view("uint32") & 0xFFFF0000) + 0x10000).view("float32")
    down, up = abs(a.astype("float64") - below), abs(above - a.astype("float64"))
    even = (below.view("uint32") >> 16) % 2 == 0
    expected = np.where((down < up) | ((down == up) & even), below, above)
    assert np.array_equal(floats(rounded(a)).view("uint32"), expected.astype("float32").view("uint32"))
    assert np.array_equal(rounded(floats(rounded(a))), rounded(a))  # what is bfloat16 stays as it is


def test_what_is_no_number_stays_none():
    a = np.array([np.inf, -np.inf, np.nan, -np.nan, 3.4e38], "float32")
    with np.errstate(all="ignore"):
        assert np.array_equal(floats(rounded(a)), [np.inf, -np.inf, np.nan, np.nan, np.inf], equal_nan=True)
    all_nan = np.array([0x7FFFFFFF, 0x7FFF8000, 0xFFFFFFFF, 0x7F800001], "uint32")  # the first is a GPU's
    assert np.isnan(floats(rounded(all_nan.view("float32")))).all()


# ---------------------------------------------------------------------------------------------- multiplying


@each_form
@pytest.mark.parametrize("shape", SHAPES)
def test_products_are_those_of_the_array(form, shape):
    """No further off than the roundings of W and x allow: 2^-8 each of the product of absolute values."""
    rng, W = np.random.default_rng(1), weight(shape)
    allowed = {"float32, mkl": 1e-6, "bfloat16, mkl": 2.01 * 2**-8, "bfloat16": 1.01 * 2**-8}[form]
    held = FORMS[form](W)
    for rows in (0, 1, 2, 8, 100):
        x, dy = (rng.standard_normal((rows, size), dtype="float32") for size in shape)
        for product, a, b in ((x @ held, x, W), (dy @ held.T, dy, W.T)):
            assert product.dtype == np.float32 and product.shape == (rows, b.shape[1])
            exact = a.astype("float64") @ b
            assert (abs(product - exact) <= allowed * (abs(a) @ abs(b)) + 1e-12).all()


@each_form
def test_products_of_slices_and_transposes_are_right(form):
    rng, W = np.random.default_rng(2), weight((12, 36))
    held, x = FORMS[form](W), rng.standard_normal((24, 20), dtype="float32")
    for view in (x[::2, 4:16], x.T[:, 6:18]):
        assert np.array_equal(view @ held, view.copy() @ held)


@with_mkl
def test_what_mkl_computes_in_bfloat16_is_exact_for_whole_numbers():
    rng = np.random.default_rng(3)
    x, W = (rng.integers(-8, 9, shape).astype("float32") for shape in ((40, 130), (130, 50)))
    held = PackedBFloat16(W)
    assert np.array_equal(x @ held, x @ W) and np.array_equal((x @ W) @ held.T, floats(rounded(x @ W)) @ W.T)


@each_form
def test_the_weight_comes_back(form):
    W = weight((130, 70))
    expected = W if "float32" in form else floats(rounded(W))
    x, dy = np.ones((2, 130), "float32"), np.ones((2, 70), "float32")
    for products in ((), ("x W",), ("dy W^T",), ("dy W^T", "x W"), ("x W", "dy W^T")):
        held = FORMS[form](W)
        for product in products:
            x @ held if product == "x W" else dy @ held.T
        assert np.array_equal(held.plain(), expected) and held.plain().flags.c_contiguous
        assert (held.shape, held.size, held.ndim, held.dtype, len(held)) == (W.shape, W.size, 2, W.dtype, 130)


@with_mkl
@each_packing
def test_there_are_packings_alone_of_what_is_not_looked_up(form):
    W, bits = weight((130, 70)), 4 if "float32" in form else 2
    tables = [PackedBFloat16(W, lookup=True)] if form == "bfloat16, mkl" else []
    for held, stays in [(FORMS[form](W), 0), *((table, 1) for table in tables)]:
        assert held.nbytes == W.size * bits  # nothing is packed before it is asked for
        np.ones((2, 130), "float32") @ held
        assert held.nbytes == (1 + stays) * W.size * bits
        np.ones((2, 70), "float32") @ held.T
        assert held.nbytes == (2 + stays) * W.size * bits
        assert (held.W is not None) == stays


@pytest.mark.parametrize("form", [pytest.param("bfloat16, mkl", marks=with_mkl), "bfloat16"])
def test_rows_are_looked_up_exactly(form):
    W, ids = weight((61, 12)), np.array([3, 3, 60, 0])
    table = PackedBFloat16(W, lookup=True) if "mkl" in form else BFloat16(W)
    np.ones((2, 12), "float32") @ table.T
    assert np.array_equal(table[ids], floats(rounded(W))[ids])


@with_mkl
def test_threads_that_come_at_the_same_time_pack_once(monkeypatch):
    library, packs = mkl.library(), []
    counted = lambda W, transposed: packs.append(transposed) or mkl.MKL.pack(library, W, transposed)
    monkeypatch.setattr(library, "pack", counted, raising=False)
    W, x, results = weight((300, 500)), np.ones((8, 300), "float32"), []
    held = Packed(W)
    threads = [Thread(target=lambda: results.append(x @ held)) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert packs == [False] and all(np.array_equal(y, results[0]) for y in results)


@with_mkl
def test_a_shard_has_one_thread_of_mkl_and_what_is_alone_has_more(monkeypatch):
    monkeypatch.setenv("MINIPEFT_THREADS", "2")
    small_model("float32").packed()
    threads = lambda _: mkl.library().lib.MKL_Get_Max_Threads()
    assert map_shards(threads, range(2)) == [1, 1]
    assert map_shards(threads, range(1)) == [min(2, os.cpu_count())]


def test_of_two_calls_at_once_the_last_to_go_leaves_blas_as_it_was(two_blas_threads):
    """The first to come is the first to go: what the second found is not what is to stay."""
    second_is_in, first_is_out = Event(), Event()

    def second():
        map_shards(lambda shard: second_is_in.set() or first_is_out.wait(10), range(2))

    other = Thread(target=second)
    map_shards(lambda shard: shard or other.start() or second_is_in.wait(10), range(2))
    first_is_out.set()
    other.join()
    assert blas_threads() == {2}


def test_a_limit_of_the_command_line_leaves_other_threads_theirs(two_blas_threads):
    """`minipeft serve` generates in a thread of its own."""
    limit_blas()
    seen = []
    other = Thread(target=lambda: seen.extend(map_shards(lambda _: blas_threads(), range(2))))
    other.start()
    other.join()
    assert seen == [{1}, {1}] and blas_threads() == {2}


@pytest.fixture
def two_blas_threads(monkeypatch):
    """BLAS has two threads, and so has `map_shards`."""
    monkeypatch.setenv("MINIPEFT_THREADS", "2")
    put_back = limited(2)
    yield
    put_back()


def blas_threads():
    """The numbers of threads of the BLAS libraries there are, MKL's aside: that is each thread's own."""
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    return {pool["num_threads"] for pool in pools if pool["internal_api"] != "mkl"}


# ------------------------------------------------------------------------------------- finding the library


def test_without_mkl_it_is_said_once(no_mkl, capsys, monkeypatch):
    base = small_model("float32")
    monkeypatch.setattr(mkl, "processor_multiplies_bfloat16", lambda: True)
    for _ in range(2):
        assert all(W is base.weights[name] for name, W in base.packed("float32").weights.items())
        assert type(base.packed("bfloat16").weights["h.0.mlp.c_fc.weight"]) is BFloat16
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and all("pip install 'minipeft[mkl]'" in line for line in said)


def test_a_processor_without_bfloat16_needs_no_mkl_for_it(capsys, monkeypatch):
    monkeypatch.setattr(mkl, "processor_multiplies_bfloat16", lambda: False)
    monkeypatch.setattr(mkl, "library", lambda: 1 / 0)
    assert type(small_model("float32").packed("bfloat16").weights["wte.weight"]) is BFloat16
    assert not capsys.readouterr().err


@pytest.mark.parametrize("flag, has", [("amx_bf16", True), ("avx512_bf16", True), ("avx2", False)])
def test_what_the_processor_has_is_read(flag, has, monkeypatch):
    text = f"processor : 0\nflags : fpu sse {flag} fsrm\nbugs : none\n"
    monkeypatch.setattr(Path, "read_text", lambda self, **_: text)
    assert mkl.processor_multiplies_bfloat16.__wrapped__() is has


def test_on_another_machine_it_is_not_looked_for(monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    assert mkl.find() is None


@with_mkl
@pytest.mark.parametrize("what, value", [("multiplies", lambda self: False), ("OLDEST", 9999)])
def test_a_library_that_is_old_or_wrong_is_not_used(what, value, monkeypatch):
    monkeypatch.setattr(mkl if what == "OLDEST" else mkl.MKL, what, value)
    assert mkl.library.__wrapped__() is None


def test_a_file_that_is_no_library_is_not_used(tmp_path, monkeypatch):
    (tmp_path / "libmkl_rt.so.2").write_text("no library")
    monkeypatch.setattr(mkl, "find", lambda: tmp_path / "libmkl_rt.so.2")
    assert mkl.library.__wrapped__() is None


# --------------------------------------------------------------------------------------------------- a model


@each_form
def test_what_multiplies_is_packed_and_nothing_else(form, monkeypatch):
    base, model = small_packed(form, monkeypatch)
    before = snapshot(base.weights)
    changed = {name for name, W in model.weights.items() if W is not base.weights[name]}
    table = [] if "float32" in form else ["wte"]  # in float32 it stays an array: its rows are looked up
    assert changed == {f"{name}.weight" for name in (*CONFIG.linear_layers(), *table)}
    assert all(type(model.weights[name]) is FORMS[form] for name in changed)
    assert (model.num_parameters, model.dtype) == (base.num_parameters, base.dtype)
    assert model.quantization == (None if "float32" in form else "bfloat16")
    np.testing.assert_allclose(logits(model), logits(base), rtol=0, atol=5e-6 if "float32" in form else 0.05)
    assert snapshot(base.weights) == before
    again = model.dequantized()
    if "float32" in form:
        assert all(np.array_equal(again.weights[name], W) for name, W in base.weights.items())
    assert again.quantization is None and not any(isinstance(W, Held) for W in again.weights.values())


@each_form
def test_a_head_of_its_own_is_packed_and_wte_is_not(form, monkeypatch):
    base = small_model("float32").untied()
    model = in_form(base, form, monkeypatch)
    assert type(model.weights["lm_head.weight"]) is FORMS[form]
    assert model.weights["wte.weight"] is base.weights["wte.weight"]
    np.testing.assert_allclose(logits(model), logits(model.dequantized()), rtol=0, atol=0.05)


@each_form
@pytest.mark.parametrize("name", sorted(CASES))
def test_loss_and_gradients_of_every_method_are_those_of_the_plain_base(form, name, monkeypatch):
    """To rounding: that of float32, and of x and dy to bfloat16 where MKL multiplies in it."""
    monkeypatch.setenv("MINIPEFT_THREADS", "2")
    _, model = small_packed(form, monkeypatch)
    results = []
    for base in (model, model.dequantized()):
        peft = PeftModel(base, CASES[name])
        scramble(peft.trainable, scale=0.1)
        results.append(peft.loss_and_grads(small_batch()))
        assert all(type(p) is np.ndarray for p in peft.trainable.values())  # what trains is never packed
    (loss, grads), (true_loss, true) = results
    coarse = form == "bfloat16, mkl" or (form == "bfloat16" and "pissa" in name)  # W - s A B is rounded again
    loss_off, grad_off = (2e-2, 0.2) if coarse else (2e-6, 1e-3)
    if name == "sparse, fisher" and coarse:  # its choice is by gradients: another rounding, another weight
        return
    assert loss == pytest.approx(float(true_loss), rel=loss_off)
    assert grads.keys() == true.keys()
    scale = max(np.abs(g).max() for g in true.values())  # a gradient that is 0 but for rounding has none
    for key, g in grads.items():
        assert np.abs(g - true[key]).max() <= grad_off * max(np.abs(true[key]).max(), 1e-2 * scale), key


@pytest.mark.parametrize("form", [pytest.param("float32, mkl", marks=with_mkl), "bfloat16"])
@pytest.mark.parametrize("name", sorted(MERGING))
def test_a_merged_model_is_that_of_the_plain_base(form, name, monkeypatch):
    if form == "bfloat16" and "pissa" in name:
        return  # W - s A B was rounded again
    _, model = small_packed(form, monkeypatch)
    peft, plain = (PeftModel(base, CASES[name]) for base in (model, model.dequantized()))
    scramble(peft.trainable, scale=0.1), scramble(plain.trainable, scale=0.1)
    merged = peft.merge_and_unload()
    assert not any(isinstance(W, Held) for W in merged.weights.values())
    assert snapshot(merged.weights) == snapshot(plain.merge_and_unload().weights)


@with_mkl
def test_generation_and_several_adapters_on_one_packed_base():
    base = small_model("float32")
    peft, plain = (PeftModel(model, LoRA(r=2), adapter_name="a") for model in (base.packed(), base))
    for model in (peft, plain):
        model.add_adapter("b", PrefixTuning(2))
        scramble(model.adapters["a"].trainable)
    for options in ({}, {"num_beams": 2}, {"use_cache": False}):
        expected = plain.generate_ids(texts(), max_new_tokens=5, **options)
        assert peft.generate_ids(texts(), max_new_tokens=5, **options) == expected
    outputs = [model.mixed(["b", "a", "__base__"]).logits(texts()) for model in (peft, plain)]
    for ours, theirs in zip(*outputs, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)


@with_mkl
def test_generating_needs_one_packing_of_each_weight():
    model = small_model("float32").packed()
    model.generate_ids(texts(), max_new_tokens=3)
    assert {len(W.packings) for W in model.weights.values() if isinstance(W, Held)} == {1}


@each_form
def test_training_leaves_the_base_alone(form, monkeypatch, tmp_path):
    pairs = [(ids[:2], ids[2:]) for ids in texts((6, 5, 7, 4))]
    _, model = small_packed(form, monkeypatch)
    held = {name: W for name, W in model.weights.items() if isinstance(W, Held)}
    before = snapshot({name: W.plain() for name, W in held.items()})
    fingerprint = content_of(model.weights)
    for i, methods in enumerate(([LoRA(r=2, target_modules="all-linear"), BitFit()], [Full()])):
        peft = PeftModel(model, methods)
        history = train(peft, pairs, steps=20, learning_rate=(2e-2, 5e-3)[i], progress=False)
        assert history.steps[-1]["loss"] < 0.8 * history.steps[0]["loss"]
        assert snapshot({name: W.plain() for name, W in held.items()}) == before
        assert content_of(model.weights) == fingerprint
        peft.save_pretrained(tmp_path / str(i))
        again = PeftModel.from_pretrained(model, tmp_path / str(i))
        np.testing.assert_array_equal(logits(again), logits(peft))


@each_form
def test_what_pissa_leaves_of_a_weight_is_held_as_the_weight_was(form, monkeypatch):
    _, model = small_packed(form, monkeypatch)
    peft = PeftModel(model, DoRA(r=2, init_lora_weights="pissa"))
    assert type(peft.weights["h.0.attn.c_attn.weight"]) is FORMS[form]
    np.testing.assert_allclose(logits(peft), logits(model), rtol=0, atol=0.05)


@each_form
def test_what_cannot_be_done_is_said(form, monkeypatch, tmp_path):
    base, model = small_packed(form, monkeypatch)
    kind = form.split(",")[0]
    with pytest.raises(InputError, match="did you mean bfloat16"):
        base.packed("bfloat61")
    with pytest.raises(InputError, match=f"base of float64 is not packed as {kind}: gradient checks need"):
        small_model("float64").packed(kind)
    for again in (lambda: model.packed(kind), lambda: model.quantized("nf4")):
        with pytest.raises(InputError, match=f"this model is {kind} already"):
            again()
    with pytest.raises(InputError, match="this model is int8 already"):
        base.quantized("int8").packed(kind)
    if kind == "float32":
        model.save_pretrained(tmp_path)
        assert snapshot(GPT2.from_pretrained(tmp_path).weights) == snapshot(base.weights)
        return
    with pytest.raises(InputError, match=r"weights are bfloat16 .* model\.dequantized\(\)"):
        model.save_pretrained(tmp_path)


def test_gradients_are_not_checked_on_a_packed_base(no_mkl):
    peft = PeftModel(small_model("float32").packed("bfloat16"), LoRA(r=2))
    with pytest.raises(InputError, match="float64"):
        gradcheck(peft, small_batch())


# ------------------------------------------------------------------------------- a pre-trained model, on disk


@each_form
def test_the_embedded_model_loses_next_to_nothing(form, monkeypatch):
    """In 30 steps the losses of three methods stay together, and so do their gradients at the start."""
    model, rows = GPT2.from_pretrained(TINY), data_to_text.rows("train", 200)
    held = in_form(model, form, monkeypatch)
    off = 1e-4 if "float32" in form else 1e-2
    texts = data_to_text.rows("validation", 40)
    alone = [evaluate(PeftModel(base), texts)["loss"] for base in (held, model)]
    assert alone[0] == pytest.approx(alone[1], rel=off)
    for method in (LoRA(r=4, target_modules="all-linear"), PrefixTuning(4), BitFit()):
        ours, theirs = (
            train(PeftModel(base, method), rows, steps=30, learning_rate=5e-3, progress=False).steps
            for base in (held, model)
        )
        losses = [np.array([step["loss"] for step in steps]) for steps in (ours, theirs)]
        np.testing.assert_allclose(losses[0][:3], losses[1][:3], rtol=off)
        np.testing.assert_allclose(losses[0][-10:].mean(), losses[1][-10:].mean(), rtol=3 * off)


def test_from_the_command_line(tmp_path, capsys):
    def call(*words):
        code = main([str(word) for word in (*words, "--json", "--quiet")])
        out = capsys.readouterr().out
        return code, json.loads(out)

    base, out, merged = tmp_path / "base", tmp_path / "out", tmp_path / "merged"
    write_model(base)
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    data, rows = ["--train", tmp_path / "rows.jsonl"], ["--data", tmp_path / "rows.jsonl"]
    data += ["--eval", tmp_path / "rows.jsonl"]
    common = ["--model", base, "--base", "bfloat16"]
    code, result = call("train", *common, "--set", "r=2", *data, "--steps", 2, "--out", out)
    assert code == 0 and result["quantization"] == "bfloat16"
    code, again = call("evaluate", *common, "--adapter", out, *rows)
    assert code == 0
    code, plain = call("evaluate", "--model", base, "--adapter", out, *rows)
    assert plain["eval_loss"] != again["eval_loss"]
    code, same = call("evaluate", "--model", base, "--base", "float32", "--adapter", out, *rows)
    assert same["eval_loss"] == pytest.approx(plain["eval_loss"], rel=1e-5)
    assert call("merge", *common, "--adapter", out, "--out", merged)[0] == 0
    code, same = call("evaluate", "--model", merged, *rows)
    assert same["eval_loss"] == pytest.approx(again["eval_loss"], rel=1e-2)
    assert call("generate", *common, "--adapter", out, "name", "--max-new-tokens", 2)[0] == 0
    assert read_run(out).peft.model.quantization == "bfloat16"
    assert call("train", *common, *data, "--method", "full", "--steps", 1, "--out", tmp_path / "full")[0] == 0
    code, error = call("gradcheck", *common, "--elements", 0)
    assert code == 2 and "gradient checks need" in error["error"]
    code, error = call("evaluate", *common, "--quantize", "int8", *rows)
    assert code == 2 and "--quantize" in error["error"] and "--base" in error["error"]
    assert load_model(str(base), base="int8").quantization == "int8"
    both = [call("evaluate", "--model", base, word, "int8", *rows)[1] for word in ("--base", "--quantize")]
    assert both[0]["eval_loss"] == both[1]["eval_loss"]


# -------------------------------------------------------------------------------------------------- a device


def test_on_a_device_bfloat16_is_that_of_the_host(cupy, no_mkl):
    host = small_model("float32")
    device = GPT2(CONFIG, {name: cupy.asarray(W) for name, W in host.weights.items()})
    assert all(W is device.weights[name] for name, W in device.packed("float32").weights.items())
    host, device = host.packed("bfloat16"), device.packed("bfloat16")
    codes = device.weights["wte.weight"].codes
    assert type(codes) is cupy.ndarray and np.array_equal(codes.get(), host.weights["wte.weight"].codes)
    method = LoRA(r=2, target_modules="all-linear", init_lora_weights=False)
    (true_loss, true), (loss, grads) = (
        PeftModel(model, method).loss_and_grads(small_batch()) for model in (host, device)
    )
    assert float(loss) == pytest.approx(float(true_loss), rel=1e-5)
    for key, g in grads.items():
        np.testing.assert_allclose(g.get(), true[key], rtol=0, atol=1e-4 * np.abs(true[key]).max())
    assert all(type(W) is cupy.ndarray for W in device.dequantized().weights.values())
    assert type(dequantized(device.weights["wte.weight"])) is cupy.ndarray
