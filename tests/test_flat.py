"""The optimiser of a GPU, on NumPy's arrays: joined or not, it gives what `optim` gives."""

from copy import deepcopy

import numpy as np
import pytest

from minipeft import AdamW, optim
from minipeft.speed import flat
from minipeft.speed.flat import Flat

RNG = np.random.default_rng(0)
SHAPES = {"b": (3,), "a": (4, 5), "c": (2, 2)}
START = {name: RNG.standard_normal(shape) for name, shape in SHAPES.items()}
SUMS = [{name: RNG.standard_normal(shape) for name, shape in SHAPES.items()} for _ in range(3)]


def optimizer():
    return AdamW(0.1, weight_decay=0.3, lr_scale=lambda name: 2.0 if name == "c" else 1.0)


def trained(params, kind, on_gpu, monkeypatch):
    """The norms and the parameters of three steps. kind: of the gradients, dict or Flat."""
    monkeypatch.setattr(optim, "on_gpu", lambda arrays: on_gpu)
    monkeypatch.setattr(flat, "joined", kind)
    adamw, norms = optimizer(), []
    for sums in deepcopy(SUMS):
        grads = kind(sums)
        norms.append(float(optim.clip_grads(grads, 0.5, count=3)))
        adamw.step(params, grads)
    return norms, params


@pytest.mark.parametrize("kind", [dict, Flat])
@pytest.mark.parametrize("own", [dict, Flat])
def test_three_clipped_steps_are_those_of_optim(own, kind, monkeypatch):
    norms, params = trained(deepcopy(START), dict, False, monkeypatch)
    found_norms, found = trained(own(START), kind, True, monkeypatch)
    assert np.allclose(found_norms, norms, rtol=1e-13)
    for name in SHAPES:
        assert np.allclose(found[name], params[name], rtol=1e-12, atol=1e-12)


def test_a_norm_of_zero_clips_nothing():
    grads = Flat({"a": np.array([3.0, 4.0]), "b": np.array([12.0])})
    assert flat.clip_grads(grads, 0.0, count=2) == 6.5
    assert np.array_equal(grads["a"], [1.5, 2.0]) and np.array_equal(grads["b"], [6.0])


def test_what_does_not_lie_in_order_is_clipped_too():
    grads = {"a": np.array([[3.0, 0.0], [4.0, 0.0]]).T}
    flat.clip_grads(grads, 0.0, count=2)
    assert np.array_equal(grads["a"], [[1.5, 2.0], [0.0, 0.0]])


def test_the_arrays_are_views_of_one_vector():
    joined = Flat(START)
    assert list(joined) == ["a", "b", "c"] and joined.vector().shape == (27,)
    joined.vector()[...] = 7
    assert all((a == 7).all() and a.shape == SHAPES[name] for name, a in joined.items())
    assert START["a"][0, 0] != 7


def test_an_array_in_the_place_of_another_ends_the_vector():
    joined = Flat(START)
    joined["a"] = joined["a"].copy()
    assert joined.vector() is None
    other = Flat(START)
    del other["b"]
    assert other.vector() is None


def test_arrays_on_the_host_are_not_joined(cupy):
    assert flat.joined(START) is START and flat.joined({}) == {}
    there = {name: cupy.asarray(a) for name, a in START.items()}
    assert isinstance(flat.joined(there), Flat)


def test_many_bytes_are_not_joined(cupy, monkeypatch):
    there = {name: cupy.asarray(a) for name, a in START.items()}
    monkeypatch.setattr(flat, "MOST_BYTES", 8)
    assert flat.joined(there) is there
