"""Products in bfloat16: both sides are rounded, sums are not, and what is kept stays float32.

On a GPU they are cuBLAS's. The stand-in for CuPy has cuBLAS's function over the host's memory, so that what
it is asked for, types, orders and distances, is tested by the numbers that come out.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys

import fake_cupy
import numpy as np
import pytest
from every_method import SMALL
from small import small_batch, small_model
from test_launches import ON_HOST, ROOT

from minipeft import GPT2, Full, InputError, LoRA, PeftModel, gradcheck, ops
from minipeft.app.cli import main
from minipeft.speed import cublas, fast, mixed_precision
from minipeft.speed.bfloat16 import BFloat16, floats, product, rounded
from minipeft.speed.quantized import Int8

RNG = np.random.default_rng(0)
METHODS = SMALL | {"full": Full(), "lora on all": LoRA(r=2, target_modules="all-linear")}


@pytest.fixture
def cublas_multiplies(cupy):
    """CuPy; the test is skipped where it is real and cuBLAS is not."""
    name = cupy is not fake_cupy and cupy.cuda.runtime.getDeviceProperties(0)["name"]
    if name == b"no device at all":
        pytest.skip("the driver on the host has no products of bfloat16")
    return cupy


def array(*shape):
    return RNG.standard_normal(shape, dtype="float32")


def r(a):
    """a rounded, in float64."""
    return floats(rounded(a)).astype("float64")


def close(a, true):
    return abs(a - true).max() <= 1e-5 * abs(true).max()


# ------------------------------------------------------------------------------------------------- products


def on_both(shape, turned, cupy):
    """A matrix on the host and on the device; turned: there it is the transpose of an array."""
    a = array(*shape)
    return a, cupy.asarray(np.ascontiguousarray(a.T)).T if turned else cupy.asarray(a)


@pytest.mark.parametrize("turned", [(False, False), (True, False), (False, True), (True, True)], ids=str)
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 2), (1, 8, 7), (9, 1, 4), (0, 3, 2)], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_product_on_a_gpu(cupy, request, dtype, shape, turned):
    """Of arrays as they lie and of transposes; in float32 the real CuPy on a host has the numbers, too."""
    if dtype == "bfloat16":
        request.getfixturevalue("cublas_multiplies")
    M, K, N = shape
    a, a_there = on_both((M, K), turned[0], cupy)
    b, b_there = on_both((K, N), turned[1], cupy)
    if dtype == "bfloat16":
        y, true = product(rounded(a_there), rounded(b_there)), r(a) @ r(b)
    else:
        y, true = cublas.product(a_there, b_there), a.astype("float64") @ b
    assert y.dtype == "float32" and y.shape == (M, N)
    assert not true.size or close(y.get(), true)


def test_a_product_of_every_other_row_and_column(cublas_multiplies):
    a, b = array(6, 8), array(10, 6)
    there = [rounded(cublas_multiplies.asarray(x)) for x in (a, b)]
    assert close(product(there[0][::2, ::2], there[1][1:5, ::3]).get(), r(a)[::2, ::2] @ r(b)[1:5, ::3])


# ----------------------------------------------------------------------------------------------- operations


@pytest.mark.parametrize("held", [lambda W: W, BFloat16], ids=["array", "bfloat16"])
def test_linear_and_its_backward_are_products_of_rounded_numbers(held):
    x, W, b, dy, wants = array(7, 5), array(5, 3), array(3), array(7, 3), frozenset({"x", "weight", "bias"})
    y, cache = mixed_precision.linear(x, held(W), b, wants)
    dx, grads = mixed_precision.linear_backward(dy, cache)
    for found, true in (
        (y, r(x) @ r(W) + b),
        (dx, r(dy) @ r(W).T),
        (grads["weight"], r(x).T @ r(dy)),
        (grads["bias"], dy.sum(0)),
    ):
        assert found.dtype == np.float32 and close(found, true)
    assert abs(y - (x @ W + b)).max() > 1e-3  # it was rounded


def test_the_head_and_its_loss_are_products_of_rounded_numbers(monkeypatch):
    monkeypatch.setattr(fast, "HEAD_ROWS", 3)
    x, W, labels, wants = array(8, 5), array(11, 5), RNG.integers(0, 11, 8), frozenset({"x", "weight"})
    loss, cache = mixed_precision.lm_loss(x, W, labels, wants)
    dx, grads = mixed_precision.lm_loss_backward(0.5, cache)
    z = r(x) @ r(W).T
    p = np.exp(ops.log_softmax(z))
    dz = (p - np.eye(11)[labels]).astype("float32")
    assert float(loss) == pytest.approx(-np.log(p[np.arange(8), labels]).sum(), rel=1e-6)
    assert close(dx, 0.5 * r(dz) @ r(W)) and not close(dx, 0.5 * dz @ W)
    assert close(grads["weight"], 0.5 * r(dz).T @ r(x)) and not close(grads["weight"], 0.5 * dz.T @ x)
    assert close(mixed_precision.lm_logits(x, W), z)
    logp, best = mixed_precision.lm_scores(x, W, labels)
    assert close(logp, np.log(p)[np.arange(8), labels]) and np.array_equal(best, z.argmax(1))


def test_a_weight_in_8_bits_is_multiplied_in_bfloat16_too():
    x, W = array(4, 6), Int8(array(6, 5))
    assert close(mixed_precision.linear(x, W, 0)[0], r(x) @ r(W.plain()))


# --------------------------------------------------------------------------------------------- whole models


def in_both(method, device_array=np.asarray):
    """Loss and gradients of the same model with float32's products, and with those of bfloat16."""
    base = small_model("float32")
    for kind in ("fast", "bfloat16"):
        weights = {name: device_array(W) for name, W in base.weights.items()}
        peft = PeftModel(GPT2(base.config, weights, ops=kind), method)
        rng = np.random.default_rng(1)
        for name in sorted(peft.trainable):
            p = peft.trainable[name]
            p += device_array((0.1 * rng.standard_normal(p.shape)).astype("float32"))
        loss, grads = peft.loss_and_grads(small_batch())
        assert {p.dtype for p in (*peft.trainable.values(), *grads.values())} == {np.dtype("float32")}
        yield float(loss), grads


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_gradient_is_that_of_float32_but_for_the_rounding(method):
    (loss, grads), (rounded_loss, rounded_grads) = in_both(method)
    assert 0 < abs(rounded_loss - loss) < 0.01 * loss
    assert grads.keys() == rounded_grads.keys()
    one, other = (np.concatenate([g[name].ravel() for name in sorted(g)]) for g in (grads, rounded_grads))
    assert 1e-4 < np.linalg.norm(one - other) / np.linalg.norm(one) < 0.03


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_on_a_gpu_it_is_what_it_is_on_the_host(method, cublas_multiplies):
    *_, (loss, grads) = in_both(method)
    *_, (there, grads_there) = in_both(method, cublas_multiplies.asarray)
    assert there == pytest.approx(loss, rel=1e-4)
    for name, grad in grads.items():
        assert np.linalg.norm(grads_there[name].get() - grad) <= 0.02 * np.linalg.norm(grad) + 1e-6, name


def test_generation_goes_by_it(cublas_multiplies):
    base = small_model("float32")
    there = {name: cublas_multiplies.asarray(W) for name, W in base.weights.items()}
    models = [GPT2(base.config, weights, ops="bfloat16") for weights in (base.weights, there)]
    one, other = (m.generate_ids([[1, 2], [3]], max_new_tokens=4, eos_token_id=[]) for m in models)
    assert one == other


# ------------------------------------------------------------------------------------------ how to ask for it


def test_float64_is_refused():
    model = small_model("float64")
    model.ops = "bfloat16"
    with pytest.raises(
        InputError, match=r"^products of float64 are not rounded to bfloat16: gradient checks"
    ):
        gradcheck(PeftModel(model, LoRA(r=2)), small_batch())


def test_the_command_line(capsys):
    losses = {}
    for kind in ("fast", "bfloat16"):
        assert main(["evaluate", "--ops", kind, "--json", "--quiet", "--task", "sentiment"]) == 0
        losses[kind] = json.loads(capsys.readouterr().out)["eval_loss"]
    assert 0 < abs(losses["bfloat16"] - losses["fast"]) < 0.02 * losses["fast"]
    assert main(["gradcheck", "--ops", "bfloat16"]) == 2
    assert capsys.readouterr().err.startswith("minipeft: products of float64 are not rounded to bfloat16")


PRODUCTS = """
import sys
sys.path.insert(0, sys.argv[1])
import realcupy
cupy = realcupy.load(execute=False)
from minipeft.speed.bfloat16 import product
a = cupy.ones((4, 4), "uint16")
product(a, a.T)
print(sorted(what for what in realcupy.counts() if what.startswith("cublas: GemmEx")))
"""


def test_the_real_cupy_asks_cublas_for_bfloat16():
    if not (ON_HOST.is_dir() and shutil.which("g++") and importlib.util.find_spec("cupy")):
        pytest.skip("needs CuPy, g++, and the driver that only counts")
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-c", PRODUCTS, ON_HOST]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['cublas: GemmEx type 14 compute 68']"
