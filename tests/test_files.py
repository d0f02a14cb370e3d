"""Checkpoints and adapters on disk: what is refused, and that nothing is lost."""

import json
import struct

import numpy as np
import pytest
from small import CONFIG, small_model, snapshot, texts

from minipeft import GPT2, InputError
from minipeft.files import checkpoint as files
from minipeft.files.tensors import read_safetensors, write_safetensors


@pytest.fixture
def folder(tmp_path):
    small_model("float32").save_pretrained(tmp_path)
    return tmp_path


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def rewrite(folder, edit):
    """Read the tensors, let `edit` change the dict, write them again."""
    tensors = {n: a.copy() for n, a in read_safetensors(folder / "model.safetensors")[0].items()}
    edit(tensors)
    write_safetensors(folder / "model.safetensors", tensors)


def test_a_saved_model_is_loaded_bit_for_bit(folder):
    model = small_model("float32")
    again = GPT2.from_pretrained(folder)
    assert snapshot(again.weights) == snapshot(model.weights) and again.config == model.config
    assert np.array_equal(again.logits(texts())[0], model.logits(texts())[0])


def test_float32_weights_are_mapped_from_the_file_and_cannot_be_written_to(folder):
    model = GPT2.from_pretrained(folder)
    for weight in model.weights.values():
        assert not weight.flags.writeable and not weight.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        model.weights["wte.weight"][0, 0] = 1
    assert GPT2.from_pretrained(folder, dtype="float64").dtype == np.float64


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_every_stored_type_is_read(dtype, tmp_path):
    model = small_model("float64")
    model.save_pretrained(tmp_path, dtype=dtype)
    again = GPT2.from_pretrained(tmp_path, dtype="float64")
    for name, weight in model.weights.items():
        assert np.array_equal(again.weights[name], weight.astype(dtype).astype("float64"))


def test_bfloat16_is_the_upper_half_of_float32(tmp_path):
    values = np.array([1.0, -2.5, 3.0e38, 1e-30], np.float32)
    header = json.dumps({"a": {"dtype": "BF16", "shape": [4], "data_offsets": [0, 8]}}).encode()
    body = (values.view(np.uint32) >> 16).astype("<u2").tobytes()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + body)
    read = read_safetensors(tmp_path / "a.safetensors")[0]["a"]
    assert np.allclose(read, values, rtol=2**-7) and read[0] == 1.0 and read[1] == -2.5


@pytest.mark.parametrize(
    "edit, message",
    [
        (lambda t: t.pop("transformer.h.1.ln_2.bias"), "tensor h.1.ln_2.bias is missing"),
        (lambda t: t.update({"transformer.wpe.weight": np.ones((2, 3))}), r"has shape \(2, 3\), expected"),
        (lambda t: t.update({"transformer.h.9.x": np.zeros(3, "f4")}), "tensor h.9.x does not belong"),
        (lambda t: t.update({"transformer.ln_f.bias": np.zeros(12, "i8")}), "ln_f.bias is of type I64"),
        (lambda t: t.update({"lm_head.weight": np.zeros((61, 12), "f4")}), "lm_head.weight differs from wte"),
    ],
)  # fmt: skip
def test_wrong_tensors_are_named(folder, edit, message):
    rewrite(folder, edit)
    with pytest.raises(InputError, match=message):
        GPT2.from_pretrained(folder)


@pytest.mark.parametrize(
    "keep", [0, 5, 200, -100], ids=["empty", "in its length", "in its header", "in its data"]
)
def test_a_truncated_file_is_refused(folder, keep):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"model\.safetensors: not a whole safetensors file"):
        GPT2.from_pretrained(folder)


@pytest.mark.parametrize(
    "values, message",
    [
        ({"activation_function": "relu"}, "activation_function is 'relu'; only 'gelu_new' is implemented"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx is True"),
        ({"model_type": "bert"}, "model_type is 'bert'"),
        ({"eos_token_id": [1, 2]}, "eos_token_id is a list"),
        ({"n_head": 5}, "n_embd 12 cannot be divided"),
    ],
)
def test_a_model_of_another_form_is_refused(folder, values, message):
    change(folder / "config.json", **values)
    with pytest.raises(InputError, match=message):
        GPT2.from_pretrained(folder)


def test_broken_config_is_refused_with_its_line(folder):
    (folder / "config.json").write_text('{\n"n_embd": 12,,\n}')
    with pytest.raises(InputError, match=r"config\.json, line 2: not JSON"):
        GPT2.from_pretrained(folder)


def test_a_model_that_is_nowhere_says_what_there_could_be(tmp_path):
    with pytest.raises(InputError, match=r"gpt3: no such folder; .* did you mean gpt2"):
        GPT2.from_pretrained("gpt3")
    with pytest.raises(InputError, match=r"this folder has no config\.json"):
        GPT2.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match=r"neither model\.safetensors nor"):
        GPT2.from_pretrained(tmp_path)


def test_offline_the_error_says_where_to_put_which_files(monkeypatch):
    def offline(*_, **__):
        raise ConnectionError("network is unreachable\nretry later")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    with pytest.raises(InputError) as error:
        GPT2.from_pretrained("distilgpt2")
    message = str(error.value)
    assert "distilbert/distilgpt2 could not be downloaded (ConnectionError: network is unreachable" in message
    assert "model.safetensors" in message and "weights/distilgpt2/" in message and "\n" not in message


def test_a_downloaded_model_is_loaded(folder, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "huggingface_hub.snapshot_download", lambda repo, **_: asked.append(repo) or str(folder)
    )
    assert GPT2.from_pretrained("gpt2-medium").config == CONFIG
    assert asked == ["openai-community/gpt2-medium"]


def test_weights_here_come_before_the_hub(folder, monkeypatch, tmp_path_factory):
    here = tmp_path_factory.mktemp("here")
    (here / "weights").mkdir()
    folder.rename(here / "weights" / "gpt2")
    monkeypatch.chdir(here)
    assert GPT2.from_pretrained("gpt2").config == CONFIG


def test_a_write_that_fails_leaves_the_old_file(folder, monkeypatch):
    path = folder / "model.safetensors"
    before, names = path.read_bytes(), sorted(p.name for p in folder.iterdir())

    def half(tensors, target, **_):
        with open(target, "wb") as file:
            file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.numpy.save_file", half)
    with pytest.raises(InputError, match=r"model\.safetensors: cannot be written: No space left"):
        files.write_safetensors(path, {"a": np.zeros(3)})
    assert path.read_bytes() == before and sorted(p.name for p in folder.iterdir()) == names
