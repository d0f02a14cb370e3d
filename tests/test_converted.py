"""Parts of `peft`'s files that no method here has, read as others: reference/make_converted.py wrote them."""

import shutil

import numpy as np
import pytest
from against import LOGITS, REFERENCE, assert_same_logits, base, packed_logits, stored

from minipeft import InputError, PeftModel
from minipeft.files.json_files import read_json, write_json
from minipeft.files.tensors import read_safetensors, write_safetensors

EXPECTED = stored("converted")
CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"


@pytest.mark.parametrize("dtype", LOGITS)
@pytest.mark.parametrize("name", EXPECTED)
def test_logits_are_those_of_peft_and_stay_so_when_saved(name, dtype, tmp_path):
    peft = PeftModel.from_pretrained(base(dtype), REFERENCE / "converted" / name)
    assert_same_logits(packed_logits(peft)[:, : EXPECTED[name].shape[1]], EXPECTED[name])
    peft.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(base(dtype), tmp_path)
    assert np.array_equal(packed_logits(again), packed_logits(peft))
    config = read_json(tmp_path / CONFIG)
    assert not config["lora_bias"] and not config["trainable_token_indices"]
    assert "wte" not in config["target_modules"]
    parted = peft.config.head == "lm_head"  # to PEFT the two would be one, were they not named
    assert config["modules_to_save"] == (["lm_head", "wte"] if parted else None)
    assert set(peft.trainable) == set(again.trainable) and "wte.weight" not in peft.trainable


@pytest.mark.parametrize("name", EXPECTED)
def test_each_part_matters(name, tmp_path):
    folder = shutil.copytree(REFERENCE / "converted" / name, tmp_path / name)
    tensors = {key: a.copy() for key, a in read_safetensors(folder / TENSORS)[0].items()}
    changed = [key for key in tensors if key.endswith(("lora_B.bias", "tokens_delta", "embedding_B"))]
    for key in changed:
        tensors[key] *= 2
    write_safetensors(folder / TENSORS, tensors)
    peft = PeftModel.from_pretrained(base(), folder)
    assert changed and np.abs(packed_logits(peft)[:, :40] - EXPECTED[name]).max() > 1e-3


@pytest.mark.parametrize(
    "name, values, message",
    [
        ("tokens", {"trainable_token_indices": [7, 3, 211]}, r"211 is not in 0 \.\.\. 210"),
        ("tokens", {"trainable_token_indices": [7, 3, -1]}, r"-1 is not in 0 \.\.\. 210"),
        (
            "tokens",
            {"trainable_token_indices": [7, 3]},
            r"tokens_delta has shape \(3, 32\), expected \(2, 32\)",
        ),
        (
            "tokens",
            {"trainable_token_indices": ["7"]},
            "trainable_token_indices must be a list or a dict or none",
        ),
        ("tokens", {"trainable_token_indices": None}, "tokens_delta does not belong there"),
        ("lora-bias", {"lora_bias": "yes"}, "lora_bias must be true or false or none"),
        ("lora-bias", {"lora_bias": False}, "lora_B.bias does not belong there"),
        ("lora-bias", {"r": 0}, "the rank must be 1 or more, not 0 at h.0.attn.c_attn"),
        ("wte", {"r": 3}, r"lora_embedding_A has shape \(2, 211\), expected \(3, 211\)"),
    ],
)
def test_parts_that_do_not_fit_are_refused(name, values, message, tmp_path):
    folder = shutil.copytree(REFERENCE / "converted" / name, tmp_path / name)
    write_json(folder / CONFIG, read_json(folder / CONFIG) | values)
    with pytest.raises(InputError, match=message):
        PeftModel.from_pretrained(base(), folder)


@pytest.mark.parametrize("name", ["tokens", "wte"])
def test_the_embeddings_of_a_resized_vocabulary_come_with_the_file(name, tmp_path):
    """Below the names of what acts on them, as PEFT writes them with new tokens."""
    folder, other = shutil.copytree(REFERENCE / "converted" / name, tmp_path / name), base()
    tensors, new = read_safetensors(folder / TENSORS)[0], other.weights["wte.weight"].astype("float32")
    token = "token_adapter." if name == "tokens" else ""
    prefix, head = "base_model.model.transformer.wte.", "base_model.model.lm_head."
    tensors[f"{prefix}{token}base_layer.weight"] = new
    tensors[f"{head}{token}base_layer.weight" if token else f"{head}weight"] = new
    if token:
        tensors[f"{head}{token}trainable_tokens_delta"] = tensors[f"{prefix}{token}trainable_tokens_delta"]
    write_safetensors(folder / TENSORS, tensors)
    other = other.with_weights(other.weights | {"wte.weight": np.zeros_like(other.weights["wte.weight"])})
    peft = PeftModel.from_pretrained(other, folder)
    assert np.allclose(packed_logits(peft)[:, : EXPECTED[name].shape[1]], EXPECTED[name], atol=1e-4)


def test_lora_on_wte_of_a_configuration_without_targets_is_read(tmp_path):
    folder = shutil.copytree(REFERENCE / "converted" / "wte", tmp_path / "wte")
    config = read_json(folder / CONFIG)
    write_json(folder / CONFIG, {key: value for key, value in config.items() if key != "target_modules"})
    peft = PeftModel.from_pretrained(base(), folder)  # c_attn, by default, is what it has beside wte
    assert_same_logits(packed_logits(peft)[:, : EXPECTED["wte"].shape[1]], EXPECTED["wte"])
