"""The methods after a sublayer: what is particular to them, and what AdapterHub's library computes."""

import numpy as np
import pytest
from against import (
    REFERENCE,
    assert_same_logits,
    assert_same_loss_and_gradients,
    assert_ten_steps_follow,
    base,
    packed_logits,
    stored,
)
from every_method import fused
from every_site import EverySite
from small import logits, scramble, small_batch, small_model, texts

from minipeft import GPT2, GPT2Config, InputError, LoRA, PeftModel, train
from minipeft.files.tensors import read_safetensors
from minipeft.gradcheck import TOLERANCE, check_array
from minipeft.methods.sublayer.activations import ACTIVATIONS, activation_backward
from minipeft.methods.sublayer.adapter import Adapter, Houlsby
from minipeft.methods.sublayer.fusion import AdapterFusion
from minipeft.methods.sublayer.loreft import LoReFT
from minipeft.methods.sublayer.parallel_adapter import ParallelAdapter
from minipeft.methods.sublayer.reflections import reflect

# ------------------------------------------------------------------------------------------- activations


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_backward_is_the_derivative(name):
    rng = np.random.default_rng(0)
    z, weight = rng.standard_normal((4, 5)), rng.standard_normal((4, 5))
    _, slope = ACTIVATIONS[name](z)
    dz = activation_backward(weight, slope)
    assert check_array(lambda: (ACTIVATIONS[name](z)[0] * weight).sum(), z, dz, rng) < TOLERANCE


# -------------------------------------------------------------------------- what every method promises


def test_an_adapter_whose_up_matrix_is_zero_changes_nothing():
    model = small_model()
    assert np.array_equal(logits(PeftModel(model, Adapter(init_weights="mam_adapter"))), logits(model))


@pytest.mark.parametrize(
    "method, message",
    [
        (Adapter(reduction_factor=0), "reduction_factor must be 0.001 or more, not 0"),
        (Adapter(reduction_factor={"0": 2}), 'needs a "default"'),
        (Adapter(reduction_factor={0: 2, "default": 4}), "has its numbers as words"),
        (Adapter(non_linearity="softmax"), "non_linearity 'softmax' is not known: .* relu, "),
        (Adapter(scaling="big"), "scaling must be a number, 'learned' or 'channel', not 'big'"),
        (Adapter(init_weights="zero"), "init_weights 'zero' is not known: choose from bert, "),
        (Adapter(dropout=1.0), "dropout must be at least 0 and below 1, not 1.0"),
        (Adapter(leave_out=(3,)), "leave_out: there is no layer 3, only 0 ... 2"),
        (Adapter(output_adapter=False), "leave no place for an adapter"),
        (ParallelAdapter(reduction_factor=-1), "reduction_factor must be 0.001 or more, not -1"),
        (AdapterFusion(), "AdapterFusion needs trained adapters"),
        (AdapterFusion({"a": ParallelAdapter()}), "AdapterFusion: 'a' does not follow a sublayer"),
        (AdapterFusion({"a": Adapter(), "b": Houlsby()}), "the adapters must agree in mh_adapter"),
        (LoReFT(r=0), r"rank r must be at least 1 and below n_embd \(12\), not 0"),
        (LoReFT(r=12), "rank r must be at least 1 and below"),
        (LoReFT(prefix_positions=0), "prefix_positions and suffix_positions must be 0 or more"),
        (LoReFT(layers=(3,)), r"layers must be 'all' or some of 0 ... 2, not \(3,\)"),
        (LoReFT(layers="some"), "layers must be 'all' or some of 0 ... 2, not 'some'"),
        (LoReFT(dropout=1), "dropout must be at least 0 and below 1"),
        (LoReFT(non_linearity="step"), "non_linearity 'step' is not known"),
        ([Adapter(), Houlsby()], "same tensor 'h.0.mlp.adapter_down'"),
    ],
)
def test_bad_settings_are_refused(method, message):
    with pytest.raises(InputError, match=message):
        PeftModel(small_model(), method)


# -------------------------------------------------------------------------------------- AdapterFusion, LoReFT


def test_fusion_of_one_adapter_is_that_adapter():
    """With V = 1: the softmax over one is 1, whatever Q and W are."""
    one = PeftModel(small_model(), Adapter(reduction_factor=3))
    scramble(one.trainable)
    fusion = PeftModel(small_model(), AdapterFusion.of({"one": one}))
    for name, t in fusion.trainable.items():
        t[...] = np.eye(len(t)) if name.endswith("value") else 1.0
    np.testing.assert_allclose(logits(fusion), logits(one), rtol=0, atol=1e-12)


def test_fusion_takes_only_adapters_on_a_model_of_its_shape():
    with pytest.raises(InputError, match="the model 'a' has no Adapter"):
        AdapterFusion.of({"a": PeftModel(small_model(), LoRA(r=2))})
    other = GPT2.random(GPT2Config(vocab_size=61, n_positions=24, n_embd=24, n_layer=3, n_head=3))
    with pytest.raises(InputError, match="trained on a model of another shape"):
        PeftModel(other, fused())


def test_lorefts_subspace_stays_orthonormal():
    peft, ids = PeftModel(small_model(), LoReFT(r=3)), small_batch(shapes=((0, 6),)).ids.tolist()
    start = peft.step().tensors
    train(peft, [([], ids)], steps=10, batch_size=1, learning_rate=0.1, progress=False)
    for name, Q in peft.step().tensors.items():
        if name.endswith("_subspace"):
            np.testing.assert_allclose(Q.T @ Q, np.eye(3), rtol=0, atol=1e-12)
            assert np.abs(Q - start[name]).max() > 0.01


@pytest.mark.parametrize("together", [[], [LoRA(r=1)], [EverySite()]], ids=["alone", "lora", "rows in front"])
def test_loreft_edits_the_first_and_last_tokens_of_each_text(together, monkeypatch):
    """Not the rows that other methods put in front, nor, with a KV cache, the first of what is new."""
    edited, rows = [], LoReFT.rows

    def spy(self, step):
        found = rows(self, step)
        edited.append([{end: sorted(at) for end, at in found.items()}, step.layout])
        return found

    monkeypatch.setattr(LoReFT, "rows", spy)
    monkeypatch.setenv("MINIPEFT_THREADS", "1")  # all texts in one batch
    method = LoReFT(prefix_positions=3, suffix_positions=2, layers=(1,))
    peft = PeftModel(small_model(), [method, *together])
    P = 2 if together and isinstance(together[0], EverySite) else 0  # rows in front of each text
    peft.logits(texts((5, 1, 4)))
    first, last = edited[0][0]["first"], edited[0][0]["last"]
    assert first == [P, P + 1, P + 2, 3 * P + 6, 3 * P + 7]
    assert last == [P + 3, P + 4, 2 * P + 5, 3 * P + 8, 3 * P + 9]
    edited.clear()
    method.suffix_positions = 0
    peft.generate_ids(texts((5, 1)), max_new_tokens=4)
    assert [e[0]["first"] for e in edited] == [[P, P + 1, P + 2, 2 * P + 5], [1], [1], []]


# ------------------------------------------------------------------------ what AdapterHub's library computes

REFERENCES = {  # see reference/make_adapters.py
    "tiny-seq_bn": Adapter(reduction_factor=4),
    "tiny-double_seq_bn": Houlsby(reduction_factor=4, scaling="channel"),
    "tiny-par_bn": ParallelAdapter(),
    "tiny-par_bn-learned": ParallelAdapter(reduction_factor=8, scaling="learned", non_linearity="gelu"),
    "tiny-loreft": LoReFT(r=3, suffix_positions=2),
    "tiny-direft": LoReFT(
        r=2,
        layers=(1,),
        suffix_positions=1,
        tied_weights=True,
        orthogonality=False,
        subtract_projection=False,
    ),
    "tiny-fusion": AdapterFusion(
        {"food": Adapter(reduction_factor=4), "people": Adapter(reduction_factor=8)}
    ),
}
PARTS = {  # end of a name here: end of its key there
    "_down": "adapter_down.0.weight", "_down_bias": "adapter_down.0.bias", "_up": "adapter_up.weight",
    "_up_bias": "adapter_up.bias", "_scaling": "scaling",
    "_query": "query.weight", "_query_bias": "query.bias", "_key": "key.weight", "_key_bias": "key.bias",
    "_value": "value.weight", "_source": "learned_source.weight", "_source_bias": "learned_source.bias",
    "_subspace": "projection.weight", "_reflections": "projection.parametrizations.weight.original",
}  # fmt: skip
UNITS = {"adapter": "x", "parallel": "x", "fused_food": "food", "fused_people": "people"}
each_reference = pytest.mark.parametrize("name", REFERENCES)


def in_adapters(name, tensor):
    """ "h.3.mlp.adapter_down" -> "h.3.output_adapters.adapters.x.adapter_down.0.weight", (out, in) there."""
    h, layer, kind, own = name.split(".")
    unit, end = next((own.removesuffix(end), end) for end in PARTS if own.endswith(end))
    if unit.startswith("reft"):
        place = f"reft_layer.refts.x.units.{1 if unit == 'reft_last' else 0}"
    else:
        place = {"attn": "attention_adapters", "mlp": "output_adapters"}[kind]
        place += ".adapter_fusion_layer.food,people" if unit == "fusion" else f".adapters.{UNITS[unit]}"
    return f"{h}.{layer}.{place}.{PARTS[end]}", tensor.T


def reference(name):
    """The tiny GPT-2 with the library's adapter, and the library's numbers."""
    peft, true = PeftModel(base(), REFERENCES[name]), stored(name)
    files = {}
    for path in (REFERENCE / name).rglob("*.safetensors"):
        files |= read_safetensors(path)[0]
    for own, tensor in peft.tensors.items():
        key, as_there = in_adapters(own.replace("_base", "_source"), tensor)  # a view
        if own.endswith("_base"):
            unit = key.removesuffix(".learned_source.weight")
            tensor[...] = reflect(true[f"base {unit}"].astype("float64"), np.eye(len(tensor)))
            files.pop(f"transformer.{unit}.projection.parametrizations.weight.0.base")
        else:
            as_there[...] = files.pop(f"transformer.{key}")
    assert not files
    return peft, true


@each_reference
def test_logits_loss_and_gradients_are_the_librarys(name):
    peft, true = reference(name)
    assert_same_logits(packed_logits(peft), true["logits"])
    rounding = 1e-6 if name == "tiny-fusion" else 0  # the gradient of fusion's key bias is zero
    assert_same_loss_and_gradients(peft, true, in_adapters, rounding)


@each_reference
def test_ten_training_steps_follow_the_librarys_curve(name):
    peft, true = reference(name)
    assert_ten_steps_follow(true["curve"], peft)
