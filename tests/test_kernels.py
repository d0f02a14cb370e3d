"""A kernel gives what its NumPy twin gives. Needs the real CuPy: on the stand-in the twin is the kernel."""

import numpy as np
import pytest

from minipeft.speed import kernels

RNG = np.random.default_rng(0)


@pytest.fixture
def real(request, cupy):
    """CuPy; the test is skipped where it is the stand-in."""
    if request.config.getoption("--device") != "cuda":
        pytest.skip("compares kernels with their twins: run with --device cuda")
    return cupy


def normal(*shape):
    return RNG.standard_normal(shape)


def positive(*shape):
    return RNG.uniform(0.5, 2, shape)


LAST, KEY = np.array([[0, 1, 2], [2, 3, 4]])[:, None, :, None], np.arange(5)  # S 2, T 3, K 5
SCORES, ROWS = normal(2, 4, 3, 5), normal(6, 300)
IDS = np.array([3, 9, 3, 3, 0, 9, 9])
ARGUMENTS = {  # of each kernel; floats of the type that is tested, integers as they are
    "same_ids": (IDS, np.arange(7)),
    "add_same": (
        *(normal(7, 4), np.array([2, 5, 3, -1, -1, 6, -1])),
        *(np.array([1, 1, 0, 0, 1, 0, 0], dtype=bool)[:, None], IDS[:, None]),
        *(np.arange(7)[:, None], np.arange(4), normal(12, 4)),
    ),
    "upper_half": (RNG.integers(0, 2**32, 2000, dtype="uint32"),),
    "pick": (normal(7, 12), np.array([[3], [-1], [6]]), np.array([0, 11, 5])),
    "variance": (ROWS, ROWS.mean(1, keepdims=True)),
    "normed": (ROWS, normal(6, 1), positive(6, 1), normal(300), normal(300), 1e-5),
    "mean_g": (ROWS, normal(300)),
    "mean_g_centred": (ROWS, normal(300), normal(6, 300), normal(6, 1)),
    "normed_backward": (
        *(ROWS, normal(300), normal(6, 300), normal(6, 1), positive(6, 1)),
        *(normal(6, 1), normal(6, 1), 1e-5),
    ),
    "gelu": (np.linspace(-60, 60, 999),),
    "gelu_and_slope": (np.linspace(-60, 60, 999),),
    "top_seen": (SCORES, LAST, KEY, 0.7),
    "exp_seen": (SCORES, LAST, KEY, SCORES.max(3, keepdims=True), 0.7),
    "row_dot": (SCORES, normal(2, 4, 3, 5)),
    "softmax_backward": (SCORES, positive(2, 4, 3, 5), normal(2, 4, 3, 1), 0.7),
    "drop": (ROWS, RNG.random(ROWS.shape, dtype=np.float32), 0.3),
    "sum_exp": (ROWS, ROWS.max(1, keepdims=True)),
    "sum_losses": (normal(40), positive(40), normal(40)),
    "d_logits": (
        *(ROWS, ROWS.max(1, keepdims=True), positive(6, 1)),
        *(np.array([[0], [299], [5], [5], [7], [1]]), np.arange(300)),
    ),
    "sum_squares": (normal(1000),),
    "clip_factor": (positive(1), 3.0, 0.1),
    "adamw": (
        *(normal(50), positive(50), positive(50), 0.1, 0.9, 0.999, 0.5, 0.3, 1e-8, True),
        *(normal(50), normal(50), positive(50)),
    ),
}
IN_FLOAT64 = {"clip_factor"}
CHANGES = {"adamw": 3, "add_same": 1}  # so many of its arguments, the last ones


def test_every_kernel_is_tested():
    assert ARGUMENTS.keys() == kernels.TWINS.keys()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_kernel_gives_what_its_twin_gives(name, dtype, real):
    if name in IN_FLOAT64:
        dtype = "float64"
    given = [
        a.astype(dtype) if isinstance(a, np.ndarray) and a.dtype == np.float64 else a for a in ARGUMENTS[name]
    ]
    there = [real.asarray(a) if isinstance(a, np.ndarray) else a for a in given]
    true, found = kernels.TWINS[name](*given), getattr(kernels, name)(*there)
    if changed := CHANGES.get(name):
        true, found = given[-changed:], there[-changed:]
    true, found = (each if isinstance(each, tuple | list) else [each] for each in (true, found))
    tolerance = 1e-5 if dtype == "float32" else 1e-13
    for a, b in zip(true, found, strict=True):
        assert (b.shape, b.dtype) == (a.shape, a.dtype)
        assert np.abs(a - 1.0 * b.get()).max() <= tolerance * max(1, np.abs(a).max())  # of flags, too


@pytest.mark.parametrize("apply", [True, False])
def test_an_update_that_does_not_apply_changes_nothing(apply, cupy):
    p, m, v = (cupy.asarray(a) for a in ARGUMENTS["adamw"][-3:])
    before = [a.get() for a in (p, m, v)]
    kernels.adamw(cupy.ones(50), 1.0, 0.0, 0.1, 0.9, 0.999, 0.1, 0.03, 1e-8, cupy.asarray(apply), p, m, v)
    assert [np.array_equal(a.get(), b) for a, b in zip((p, m, v), before, strict=True)] == 3 * [not apply]
