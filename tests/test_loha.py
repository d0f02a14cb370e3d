"""LoHa beside what PEFT's own LoHa layer computes: output, every gradient, the merged weight."""

from types import SimpleNamespace

import numpy as np
import pytest
from against import stored
from small import small_model

from minipeft import InputError, LoHa, PeftModel
from minipeft.files.tensors import read_safetensors
from minipeft.methods.linear.loha import FACTORS
from minipeft.step import Step

EXACT = {"rtol": 0, "atol": 1e-12}


@pytest.fixture
def true():
    return stored("loha")


@pytest.fixture
def here(true):
    """The method and a step with PEFT's factors beside one layer, above something that trains."""
    tensors = {f"h.0.mlp.c_fc.{key}": true[key] for key in FACTORS}
    step = SimpleNamespace(tensors=tensors, grad_enabled=True, rng=None, wants=lambda name: {"x"})
    return LoHa(r=3, alpha=float(true["alpha"]), target_modules=("c_fc",)), step


def test_output_and_gradients_are_those_of_peft(true, here):
    method, step = here
    W, b = true["weight"].T, true["bias"]  # (I, O) here
    y, cache = method.linear("h.0.mlp.c_fc", true["x"], true["x"] @ W + b, step)
    np.testing.assert_allclose(y, true["y"], **EXACT)
    dy, dx, grads = method.linear_backward(true["dy"], cache, step)
    np.testing.assert_allclose(dx + dy @ W.T, true["dx"], **EXACT)
    for key in FACTORS:
        np.testing.assert_allclose(grads[f"h.0.mlp.c_fc.{key}"], true[f"grad {key}"], **EXACT)


def test_the_merged_weight_is_that_of_peft(true, here):
    method, step = here
    merged = method.merge({"h.0.mlp.c_fc.weight": true["weight"].T}, step.tensors)
    np.testing.assert_allclose(merged["h.0.mlp.c_fc.weight"], true["merged"].T, **EXACT)


def test_the_rank_of_the_change_goes_up_to_the_square_of_r():
    method = LoHa(r=3, init_weights=False)
    tensors = method.init(small_model(), np.random.default_rng(0))
    dW, _, _ = method.update("h.1.attn.c_attn", tensors)
    assert dW.shape == (12, 36) and np.linalg.matrix_rank(dW) == 9


def test_a_layer_without_its_change_in_this_step_gives_zeros_and_is_rescaled_by_nothing(here):
    method, step = here
    method.module_dropout = 0.5
    x, y = np.ones((2, 6)), np.zeros((2, 5))
    step.rng = SimpleNamespace(random=lambda: 0.4)  # below: the layer goes without
    out, cache = method.linear("h.0.mlp.c_fc", x, y.copy(), step)
    assert not out.any()
    _, dx, grads = method.linear_backward(np.ones((2, 5)), cache, step)
    assert dx is None and grads.keys() == step.tensors.keys() and not any(g.any() for g in grads.values())
    step.rng = SimpleNamespace(random=lambda: 0.6)
    with_change, _ = method.linear("h.0.mlp.c_fc", x, y.copy(), step)
    step.rng = None
    np.testing.assert_array_equal(with_change, method.linear("h.0.mlp.c_fc", x, y.copy(), step)[0])


def test_the_file_has_pefts_names_and_shapes(tmp_path):
    PeftModel(small_model(), LoHa(r=2, target_modules=("c_fc",))).save_pretrained(tmp_path)
    tensors, _ = read_safetensors(tmp_path / "adapter_model.safetensors")
    shapes = {key.rpartition(".")[2]: t.shape for key, t in tensors.items() if key.startswith("h.1.")}
    assert shapes == dict(zip(FACTORS, ((20, 2), (2, 12), (20, 2), (2, 12)), strict=True))


def test_bad_settings_are_refused():
    for settings, message in (
        ({"r": 0}, "rank r must be 1 or more, not 0 at h.0.attn.c_attn"),
        ({"module_dropout": 1.0}, "module_dropout must be at least 0 and below 1"),
        ({"target_modules": ("magic",)}, "match no linear layer"),
    ):
        with pytest.raises(InputError, match=message):
            LoHa(**settings).init(small_model(), np.random.default_rng(0))


def test_nothing_is_kept_for_a_backward_that_does_not_follow(here):
    method, _ = here
    step = Step(small_model().config, {}, method, tensors=here[1].tensors)
    _, cache = method.linear("h.0.mlp.c_fc", np.ones((2, 6)), np.zeros((2, 5)), step)
    assert cache is None
