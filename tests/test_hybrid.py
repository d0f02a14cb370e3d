"""Several methods that were made to go together: what joins them, and what AdapterHub's library computes."""

from dataclasses import asdict

import numpy as np
import pytest
from against import (
    assert_same_logits,
    assert_same_loss_and_gradients,
    assert_ten_steps_follow,
    base,
    packed_logits,
    stored,
)
from every_method import CASES
from small import logits, scramble, small_batch, small_model

from minipeft import InputError, PeftModel, gradcheck
from minipeft.methods import Chain, Method
from minipeft.methods.hybrid.mam import MAM
from minipeft.methods.hybrid.unipelt import UniPELT
from minipeft.methods.keys_values.prefix_tuning import PrefixTuning
from minipeft.methods.sublayer.adapter import Adapter
from minipeft.methods.sublayer.parallel_adapter import ParallelAdapter


def test_mam_is_its_two_parts_and_nothing_else():
    mam = CASES["mam"]
    parts = PeftModel(small_model(), [mam.prefix_tuning, mam.adapter])
    assert np.array_equal(logits(PeftModel(small_model(), mam)), logits(parts))
    assert MAM(**asdict(mam)) == mam


def test_unipelt_without_gates_is_its_parts():
    """All gates wide open: sigma(40) is 1."""
    method = CASES["unipelt"]
    uni = PeftModel(small_model(), method)
    scramble(uni.tensors)
    for name, t in uni.tensors.items():
        if name.endswith("gate"):
            t[...] = 0
        if name.endswith("gate_bias"):
            t[...] = 40
        if name.endswith("_B"):
            t[...] = 0
    parts = PeftModel(small_model(), [method.prefix_tuning, method.adapter])
    for name, t in parts.tensors.items():
        t[...] = uni.tensors[name]
    np.testing.assert_allclose(logits(uni), logits(parts), rtol=0, atol=1e-12)
    assert UniPELT(**asdict(method)) == method


def test_the_gradient_check_of_a_chain_sees_what_joins_its_parts():
    class Halved(Chain):
        """A wrong backward of its own, around its parts'."""

        def sublayer_backward(self, dh, caches, step):
            return super().sublayer_backward(0.5 * dh, caches, step)

    peft = PeftModel(small_model(), Halved([PrefixTuning(2), Adapter(reduction_factor=4)]))
    assert max(gradcheck(peft, small_batch(), elements=1).values()) > 0.1


@pytest.mark.parametrize(
    "method, message",
    [
        (MAM(PrefixTuning(0)), "num_virtual_tokens"),
        (MAM(PrefixTuning(2), ParallelAdapter(reduction_factor=0)), "reduction_factor must be 0.001 or more"),
        (MAM(), "30 virtual tokens leave no room"),
        (UniPELT(PrefixTuning(2), r=0), "rank r must be 1 or more, not 0"),
        (UniPELT(PrefixTuning(2), Adapter(dropout=0.1)), "UniPELT's adapter has no dropout"),
        (lambda: UniPELT(adapter=ParallelAdapter()), "UniPELT's adapter follows a sublayer: not ParallelAd"),
    ],
)
def test_bad_settings_are_refused(method, message):
    with pytest.raises(InputError, match=message):
        PeftModel(small_model(), method if isinstance(method, Method) else method())


# ------------------------------------------------------------------------ what AdapterHub's library computes

PREFIX = "h.0.attn.prefix_tuning.pool.prefix_tunings.x.self_prefix."  # the one pool, as layer 0 knows it
ENCODER = {  # name here: key there
    "prefix_encoder.embedding": PREFIX + "wte.weight",
    "prefix_encoder.transform.0.weight": PREFIX + "control_trans.0.weight",
    "prefix_encoder.transform.0.bias": PREFIX + "control_trans.0.bias",
    "prefix_encoder.transform.2.weight": PREFIX + "control_trans.2.weight",
    "prefix_encoder.transform.2.bias": PREFIX + "control_trans.2.bias",
}
PARTS = {
    "down": "adapter_down.0.weight", "down_bias": "adapter_down.0.bias", "up": "adapter_up.weight",
    "up_bias": "adapter_up.bias",
}  # fmt: skip


def in_adapters(name, tensor):
    """ "h.1.mlp.parallel_down" -> "h.1.output_adapters.adapters.x.adapter_down.0.weight", (out, in) there."""
    if name in ENCODER:  # whose embedding is a table there, too
        return ENCODER[name], tensor if name.endswith("embedding") else tensor.T
    place, part = name.split(".mlp.parallel_")
    return f"{place}.output_adapters.adapters.x.{PARTS[part]}", tensor.T


def test_mam_is_the_librarys():
    method = MAM(PrefixTuning(4, True, 12), ParallelAdapter(reduction_factor=8))
    peft, true = PeftModel(base(), method), stored("tiny-mam")
    for name, tensor in peft.tensors.items():
        key, as_there = in_adapters(name, tensor)  # a view, through which `tensor` is written
        as_there[...] = true[f"is {key}"]
    assert_same_logits(packed_logits(peft), true["logits"])
    assert_same_loss_and_gradients(peft, true, in_adapters)
    assert_ten_steps_follow(true["curve"], peft)


def test_unipelt_is_the_librarys_on_texts_of_one_token():
    method = UniPELT(PrefixTuning(4, True, 12), Adapter(reduction_factor=8), r=2)
    peft, true = PeftModel(base(), method), stored("tiny-unipelt")
    is_ = lambda key: true[f"is {key}"]
    for name, tensor in peft.tensors.items():
        layer, _, own = name.rpartition(".")
        if name in ENCODER:
            key, as_there = in_adapters(name, tensor)
            as_there[...] = is_(key)
        elif ".gated_" in name:  # those of q and v lie one above the other
            part = {"A": "lora_A", "B": "lora_B", "gate": "gate.weight", "gate_bias": "gate.bias"}
            both = is_(f"{layer}.loras.x.{part[own[8:]]}")
            half = len(both) // 2
            tensor[...] = (both[:half] if "_q_" in own else both[half:]).reshape(tensor.T.shape).T
        elif own.startswith("gate"):
            place = f"{layer.removesuffix('.keys_values')}.prefix_tuning.prefix_gates.x"
            tensor[...] = is_(f"{place}.{'bias' if own.endswith('bias') else 'weight'}").ravel()
        else:
            part = PARTS | {"gate": "gate.weight", "gate_bias": "gate.bias"}
            place = f"{layer.removesuffix('.mlp')}.output_adapters.adapters.x"
            tensor[...] = is_(f"{place}.{part[own.removeprefix('adapter_')]}").reshape(tensor.T.shape).T
    assert_same_logits(np.concatenate(peft.logits([[i] for i in range(5)])), true["logits"])
