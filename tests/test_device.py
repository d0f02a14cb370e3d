"""On a GPU everything comes out as on the host. Without one: nothing mixes host and device arrays.

CuPy is the stand-in of fake_cupy.py, or with `--device cuda` the real one.
"""

import sys
from dataclasses import replace

import numpy as np
import pytest
import small
from every_method import CASES, SMALL, VIRTUAL
from every_site import EverySite
from small import scramble, small_batch, small_model, texts

from minipeft import (
    GPT2,
    AdamW,
    Distilled,
    Full,
    InputError,
    LoRA,
    PeftModel,
    evaluate,
    gradcheck,
    ops,
    pack,
    train,
)
from minipeft.backend import Generator, computes_not, like, synchronize, to_host, xp_for, xp_of
from minipeft.cost.machine import gpu_memory
from minipeft.gradcheck import TOLERANCE
from minipeft.layout import Layout
from minipeft.optim import clip_grads
from minipeft.speed import gpu

CONFIG = replace(small.CONFIG, n_positions=64)  # room for the virtual tokens of any method
CASES = CASES | {"every site": EverySite()}
FEW = SMALL | {
    name: CASES[name] for name in ("lora and full", "every site")
}  # one of each, for what takes long
every_case = pytest.mark.parametrize("method", CASES.values(), ids=CASES)
few_cases = pytest.mark.parametrize("method", FEW.values(), ids=FEW)
PAIRS = [([1, 2, 3], [4, 5, 6]), ([7], [8, 9]), ([10, 11], [12]), ([5, 4], [3, 2, 1])]


def on_host(method):
    """A small model with the method, whose tensors are noisy, so that no gradient is zero."""
    peft = PeftModel(small_model(config=CONFIG), method)
    scramble(peft.trainable, scale=0.1)
    return peft


def moved(host, cupy):
    """The same model on the device."""
    base = GPT2(CONFIG, {name: cupy.asarray(weight) for name, weight in host.model.weights.items()})
    peft = PeftModel(base, host.method)
    for name, p in peft.trainable.items():
        p[...] = cupy.asarray(host.trainable[name])
    return peft


def both(method, cupy):
    host = on_host(method)
    return host, moved(host, cupy)


def assert_same(device, host, cupy, tolerance=1e-10):
    """Are the arrays of the device, by name, those of the host but for rounding?"""
    assert device.keys() == host.keys()
    for name, array in device.items():
        assert type(array) is cupy.ndarray, f"{name} left the device"
        assert (array.shape, array.dtype) == (host[name].shape, host[name].dtype), name
        error = np.abs(array.get() - host[name]).max(initial=0)
        assert error <= tolerance * max(np.abs(host[name]).max(initial=0), 1e-6), name


# --------------------------------------------------------------------------------------- learning


@every_case
def test_loss_and_gradients_are_those_of_the_host(method, cupy):
    host, device = both(method, cupy)
    true, true_grads = host.loss_and_grads(small_batch())
    loss, grads = device.loss_and_grads(small_batch())
    assert float(loss) == pytest.approx(float(true), rel=1e-12)
    assert_same(grads, true_grads, cupy)


def test_gradients_are_the_derivatives_of_the_loss(cupy):
    device = moved(on_host(LoRA(r=2, target_modules="all-linear")), cupy)
    errors = gradcheck(device, small_batch(), elements=1)
    assert max(errors.values()) < TOLERANCE, max(errors, key=errors.get)


@few_cases
def test_clipped_steps_of_adamw_are_those_of_the_host(method, cupy):
    host, device = both(method, cupy)
    norms = {"host": [], "device": []}
    for name, model in ("host", host), ("device", device):
        optimizer = AdamW(learning_rate=1e-2)
        for _ in range(2):
            _, grads = model.loss_and_grads(small_batch())
            norms[name].append(float(clip_grads(grads, max_norm=0.5)))
            optimizer.step(model.trainable, grads)
    assert norms["device"] == pytest.approx(norms["host"], rel=1e-10)
    assert_same(device.trainable, host.trainable, cupy, tolerance=1e-8)  # Adam divides rounding by rounding


def test_dropout_follows_its_seed(cupy):
    device = moved(on_host(LoRA(r=2, lora_dropout=0.3)), cupy)
    losses = [float(device.loss_and_grads(small_batch(), seed, 0.2)[0]) for seed in (1, 1, 2, None)]
    assert losses[0] == losses[1] and len(set(losses)) == 3


def test_training_is_that_on_the_host(cupy, tmp_path):
    """Three steps with accumulation and evaluation, and the best adapter kept, put back and written."""
    results = []
    for i, model in enumerate(both(LoRA(r=2), cupy)):
        settings = {"steps": 3, "batch_size": 2, "accumulation_steps": 2, "eval_every": 1}
        history = train(model, PAIRS, eval_data=PAIRS[:2], output_dir=tmp_path / str(i), **settings)
        results.append([row["loss"] for row in history.steps] + [row["eval_loss"] for row in history.evals])
        results[-1] += [evaluate(model, PAIRS)[key] for key in ("loss", "accuracy")]
    assert results[1] == pytest.approx(results[0], rel=1e-8)
    assert (tmp_path / "1" / "adapter_model.safetensors").is_file()


def test_a_step_waits_for_the_device_only_to_read_loss_and_norm_when_the_update_is_asked_for(
    stand_in, monkeypatch
):
    device, waits, get = moved(on_host(Full()), stand_in), [], stand_in.ndarray.get
    monkeypatch.setattr(stand_in.ndarray, "get", lambda array: waits.append(array) or get(array))
    train(device, PAIRS, steps=1, dropout=0.1)
    assert [array.shape for array in waits] == [(2,)]


def test_rows_in_front_are_those_of_the_host(cupy):
    x, rows, layout = np.arange(10.0).reshape(5, 2), np.ones((3, 2)), Layout.of((2, 3))
    y, longer = gpu.prepend(cupy.asarray(rows), cupy.asarray(x), layout)
    assert np.array_equal(y.get(), ops.prepend(rows, x, layout)[0])
    dx, back = gpu.prepend_backward(y, 3, layout)
    assert np.array_equal(back.get(), 2 * rows) and np.array_equal(dx.get(), x)
    assert np.array_equal(y[like(y, longer.text_rows)].get(), x)


# ------------------------------------------------------------------------------------- generation


@every_case
def test_logits_are_those_of_the_host(method, cupy):
    host, device = both(method, cupy)
    names = range(3)
    true, found = (dict(zip(names, model.logits(texts()), strict=True)) for model in (host, device))
    assert_same(found, true, cupy)


@pytest.mark.slow
@few_cases
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_cache": False},
        {"do_sample": True, "top_k": 20, "top_p": 0.9, "repetition_penalty": 1.2},
        {"num_beams": 3},
    ],
    ids=["greedy", "no cache", "sampling", "beams"],
)
def test_generation_is_that_of_the_host(method, options, cupy):
    host, device = both(method, cupy)
    true, found = (model.generate_ids(texts(), max_new_tokens=6, **options) for model in (host, device))
    assert found == true and any(found)


@pytest.mark.parametrize("method", VIRTUAL.values(), ids=VIRTUAL)
def test_generation_behind_virtual_tokens_is_that_of_the_host(method, cupy):
    host, device = both(method, cupy)
    assert device.generate_ids(texts(), max_new_tokens=3) == host.generate_ids(texts(), max_new_tokens=3)


# ------------------------------------------------------------------------------- making, merging, files


def test_a_random_model_is_that_of_the_host(cupy):
    assert_same(GPT2.random(CONFIG, device="cuda").weights, GPT2.random(CONFIG).weights, cupy, tolerance=0)


@pytest.mark.parametrize("method", [Full(), LoRA(r=2)], ids=["full", "lora"])
def test_merging_keeps_the_logits(method, cupy):
    device = moved(on_host(method), cupy)
    merged = device.merge_and_unload()
    assert_same({0: merged.logits(texts())[0]}, {0: device.logits(texts())[0].get()}, cupy)
    back = device.unmerge(merged) if isinstance(method, LoRA) else device
    assert_same(back.weights, {n: w.get() for n, w in device.weights.items()}, cupy)


def test_an_adapter_comes_back_from_its_file(cupy, tmp_path):
    device = moved(on_host(LoRA(r=2)), cupy)
    device.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(device.model, tmp_path)
    assert_same(loaded.tensors, {n: t.get() for n, t in device.tensors.items()}, cupy, tolerance=0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_model_comes_back_from_its_file(dtype, cupy, tmp_path):
    model = GPT2.random(CONFIG, dtype=dtype, device="cuda")
    model.save_pretrained(tmp_path)
    loaded = GPT2.from_pretrained(tmp_path, dtype=dtype, device="cuda")
    assert loaded.dtype == dtype
    assert_same(loaded.weights, {n: w.get() for n, w in model.weights.items()}, cupy, tolerance=0)


def test_a_fully_trained_model_comes_back_from_its_file(cupy, tmp_path):
    device = PeftModel(GPT2.random(CONFIG, device="cuda"), Full())
    for p in device.trainable.values():
        p += 0.1
    device.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(device.model, tmp_path)
    assert_same(loaded.trainable, {n: p.get() for n, p in device.trainable.items()}, cupy, tolerance=0)


# -------------------------------------------------------------------------------------- the backend


def test_the_array_says_which_module_is_its_own(cupy):
    array = xp_for("cuda").arange(3)
    assert xp_of(array) is cupy and xp_of(np.arange(3)) is np
    assert type(like(array, np.arange(3))) is cupy.ndarray and type(to_host(array)) is np.ndarray
    assert type(Generator([1, 2], array).random(3, dtype=np.float32)) is cupy.ndarray
    synchronize("cuda")
    synchronize("cpu")


def test_cuda_without_cupy_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(InputError, match=r"device 'cuda' needs CuPy: pip install 'minipeft\[gpu12\]'"):
        GPT2.random(CONFIG, device="cuda")


def test_cuda_without_a_gpu_says_so(cupy, monkeypatch):
    def no_device():
        raise cupy.cuda.runtime.CUDARuntimeError(100)

    monkeypatch.setattr(cupy.cuda.runtime, "getDeviceCount", no_device)
    with pytest.raises(InputError, match="device 'cuda' needs an NVIDIA GPU and its driver: "):
        GPT2.random(CONFIG, device="cuda")


@pytest.mark.parametrize("error", [ImportError("libcublas.so.12"), RuntimeError("no NVRTC\nin lib")])
def test_cuda_without_a_part_of_cupy_says_what_to_install(error, cupy, monkeypatch):
    def ones(shape, dtype):
        raise error

    computes_not.cache_clear()
    monkeypatch.setattr(cupy, "ones", ones)
    with pytest.raises(InputError, match=r"cannot compute \(.*(cublas.*|NVRTC)\); pip install .*gpu13"):
        GPT2.random(CONFIG, device="cuda")
    computes_not.cache_clear()


def test_the_memory_of_arrays_on_the_gpu_is_counted(cupy):
    if not hasattr(cupy.cuda, "MemoryHook"):
        pytest.skip("the stand-in for CuPy has no memory of its own: run with --device cuda")
    kept = cupy.zeros(1000, dtype="float32")
    with gpu_memory("cuda") as peak:
        before = peak()
        for _ in range(3):  # one at a time
            cupy.zeros(100_000, dtype="float32")
    assert kept.nbytes <= before and 400_000 <= peak() - before < 800_000


def test_no_gpu_memory_is_counted_on_a_cpu():
    with gpu_memory("cpu") as peak:
        assert peak() == 0


def test_an_unknown_device_is_refused():
    with pytest.raises(InputError, match="device 'tpu' is not known"):
        GPT2.random(CONFIG, device="tpu")


# -------------------------------------------------------------------------------------- the stand-in


def assign(to, key, value):
    to[key] = value


def add_in_place(a, b):
    a += b


MIXING = {  # d: on the device, h: on the host; both (3, 3). i: the rows 0 and 2, on the device
    "device + host": lambda xp, d, h, i: d + h,
    "host + device": lambda xp, d, h, i: h + d,
    "device * host, 0-d": lambda xp, d, h, i: d * np.array(2.0),
    "device @ host": lambda xp, d, h, i: d @ h,
    "host @ device": lambda xp, d, h, i: h @ d,
    "device == host": lambda xp, d, h, i: d == h,
    "device += host": lambda xp, d, h, i: add_in_place(d, h),
    "host += device": lambda xp, d, h, i: add_in_place(h, d),
    "host into device": lambda xp, d, h, i: assign(d, slice(0, 2), h[:2]),
    "device into host": lambda xp, d, h, i: assign(h, slice(0, 2), d[:2]),
    "a function of the host's": lambda xp, d, h, i: xp.exp(h),
    "where": lambda xp, d, h, i: xp.where(d > 0, d, h),
    "concatenate": lambda xp, d, h, i: xp.concatenate([d, h]),
    "out on the host": lambda xp, d, h, i: xp.exp(d, out=h),
    "out on the device": lambda xp, d, h, i: np.exp(h, out=d),
    "matmul out on the host": lambda xp, d, h, i: xp.matmul(d, d, out=h),
    "asarray": lambda xp, d, h, i: np.asarray(d),
    "device array as an index": lambda xp, d, h, i: h[i],
    "device number as an index": lambda xp, d, h, i: [1, 2][i[0]],
    "split on the device": lambda xp, d, h, i: xp.split(d, i),
}
STRICTER = {  # than CuPy
    "a reduction of the host's": lambda xp, d, h, i: xp.sum(h),
    "host array as an index": lambda xp, d, h, i: d[np.array([0, 2])],
    "assignment at a host index": lambda xp, d, h, i: assign(d, np.array([0, 2]), 0),
    "host array through an index": lambda xp, d, h, i: assign(d, i, h[:2]),
    "host array added at an index": lambda xp, d, h, i: xp.add.at(d, i, h[:2]),
    "NumPy's function": lambda xp, d, h, i: np.concatenate([d, d]),
}
LACKING = {
    "argmax as NumPy's": lambda xp, d, h, i: d.argmax(1, None, True, 0, 0),
    "astype(like=)": lambda xp, d, h, i: d.astype("float32", device="cpu"),
    "concatenate of dtype and more": lambda xp, d, h, i: xp.concatenate([d, d], subok=True),
    "where=": lambda xp, d, h, i: xp.sum(d, where=d > 0),
    "initial=": lambda xp, d, h, i: d.max(initial=0),
    "setflags": lambda xp, d, h, i: d.setflags(write=False),
    "normal": lambda xp, d, h, i: xp.random.default_rng(0).normal(),
}


def operands(xp):
    h = np.arange(9.0).reshape(3, 3)
    return xp, xp.asarray(h), h, xp.asarray([0, 2])


@pytest.mark.parametrize("mix", MIXING.values(), ids=MIXING)
def test_host_and_device_do_not_mix(mix, cupy):
    with pytest.raises((TypeError, ValueError, IndexError)):
        mix(*operands(cupy))


@pytest.mark.parametrize("use", [*STRICTER.values(), *LACKING.values()], ids=[*STRICTER, *LACKING])
def test_the_stand_in_refuses(use, stand_in):
    with pytest.raises((TypeError, AttributeError)):
        use(*operands(stand_in))


def test_numbers_go_with_everything(cupy):
    _, d, h, i = operands(cupy)
    for two in (2, 2.0, np.float64(2)):
        assert np.array_equal((d * two).get(), h * 2) and np.array_equal((two * d).get(), h * 2)
    assert np.array_equal(d[[0, 2]].get(), h[[0, 2]]) and np.array_equal(d[i, 1].get(), h[[0, 2], 1])
    assert float(d.sum()) == 36 and int(i[1]) == 2 and bool(d[0, 1] == 1)
    d[i, 1] -= 1
    d[1] = 0
    assert d.tolist() == [[0, 0, 2], [0, 0, 0], [6, 6, 8]]


def test_what_is_moved_is_a_copy(cupy):
    _, d, h, _ = operands(cupy)
    d += 1
    back = d.get()
    back += 1
    assert h[0, 0] == 0 and float(d[0, 0]) == 1


WAYS_IN = {  # for token ids
    "logits": lambda model, peft, ids, batch: model.logits([ids]),
    "logits under an adapter": lambda model, peft, ids, batch: peft.logits([ids]),
    "keys and values": lambda model, peft, ids, batch: model.keys_and_values(ids),
    "generation": lambda model, peft, ids, batch: peft.generate_ids([ids], max_new_tokens=1),
    "beams": lambda model, peft, ids, batch: peft.generate_ids([ids], max_new_tokens=1, num_beams=2),
    "a mixed batch": lambda model, peft, ids, batch: peft.mixed(["default"]).logits([ids]),
    "loss": lambda model, peft, ids, batch: peft.loss(batch),
    "gradients": lambda model, peft, ids, batch: peft.loss_and_grads(batch),
    "gradients of the base": lambda model, peft, ids, batch: model.grad_sums(batch, ["wte.weight"]),
    "scores": lambda model, peft, ids, batch: peft.scores(batch),
    "attention to virtual tokens": lambda model, peft, ids, batch: peft.attention_to_virtual_tokens(batch),
    "a student": lambda model, peft, ids, batch: Distilled(peft, model).loss_and_grads(batch),
    "evaluation": lambda model, peft, ids, batch: evaluate(peft, [(ids[:1], ids[1:])]),
    "training": lambda model, peft, ids, batch: train(peft, [(ids[:1], ids[1:])], steps=1, progress=False),
}


@pytest.mark.parametrize("wrong", [CONFIG.vocab_size, -1])
@pytest.mark.parametrize("way", WAYS_IN.values(), ids=WAYS_IN)
def test_no_token_out_of_range_reaches_a_gpu(way, wrong, cupy):
    """CuPy wraps an index round in silence where NumPy raises."""
    model = GPT2.random(CONFIG, device="cuda")
    peft = PeftModel(model, LoRA(r=2))
    with pytest.raises(InputError, match="token"):
        way(model, peft, [1, wrong, 2], pack([([1], [wrong, 2])]))
