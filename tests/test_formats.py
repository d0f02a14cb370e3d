"""Adapters on disk: every method comes back; what `peft` wrote is read, and written again as it was."""

import json

import numpy as np
import pytest
from against import LOGITS, REFERENCE, assert_same_logits, base, each_dtype, packed_logits, stored
from every_method import CASES, EXAMPLES
from small import logits, scramble, small_batch, small_model, snapshot

from minipeft import (
    GPT2,
    IA3,
    BitFit,
    DoRA,
    Full,
    InputError,
    LNTuning,
    LoRA,
    LoRAPlus,
    Modules,
    PeftModel,
    PrefixTuning,
    PromptTuning,
    PTuning,
    Sparse,
    VeRA,
)
from minipeft.files import read_json, read_safetensors, write_json, write_safetensors
from minipeft.methods import Chain

CONFIG, TENSORS, ENCODER = "adapter_config.json", "adapter_model.safetensors", "encoder.safetensors"


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """Small as the model is here, threads cost more than they bring."""
    monkeypatch.setenv("MINIPEFT_THREADS", "1")


def trained(method, dtype="float32"):
    """A small model with the method, away from where it began."""
    peft = PeftModel(small_model(dtype), method)
    scramble(peft.trainable)
    return peft


def change(folder, **values):
    """Set keys of the adapter's configuration; a value of `...` takes the key out."""
    config = read_json(folder / CONFIG) | values
    write_json(folder / CONFIG, {key: value for key, value in config.items() if value is not ...})


def rewrite(folder, edit, file=TENSORS):
    """Read the tensors, let `edit` change the dict, write them again."""
    tensors = {name: a.copy() for name, a in read_safetensors(folder / file)[0].items()}
    edit(tensors)
    write_safetensors(folder / file, tensors)


def assert_same_files(ours, theirs):
    """The same tensors, and the same keys of the configuration. A list of modules is a set for `peft`."""
    assert {f.name for f in ours.glob("*.*")} == {f.name for f in theirs.glob("*.*")}
    for file in theirs.glob("*.safetensors"):
        read, expected = (read_safetensors(folder / file.name)[0] for folder in (ours, theirs))
        assert read.keys() == expected.keys()
        assert all(read[key].dtype == expected[key].dtype for key in expected)
        assert snapshot(read) == snapshot(expected)
    for file in theirs.glob("*.json"):
        assert in_order(read_json(ours / file.name)) == in_order(read_json(file))


def in_order(config):
    return {key: sorted(v) if key.endswith("_modules") and isinstance(v, list) else v for key, v in config.items()}


# ----------------------------------------------------------------------------------- every method comes back


@pytest.mark.parametrize("dtype", LOGITS)
@pytest.mark.parametrize("name", CASES)
def test_saved_and_loaded_is_the_same(name, dtype, tmp_path):
    peft = trained(CASES[name], dtype)
    peft.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(peft.model, tmp_path)
    assert snapshot(again.tensors) == snapshot(peft.tensors)
    assert snapshot(again.trainable) == snapshot(peft.trainable)
    assert np.array_equal(logits(again), logits(peft))
    again.save_pretrained(tmp_path / "again")
    assert_same_files(tmp_path / "again", tmp_path)
