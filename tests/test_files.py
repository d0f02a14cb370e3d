"""Checkpoints and adapters on disk: what is refused, and that nothing is lost."""

import json
import os
import struct
import subprocess
import sys

import numpy as np
import pytest
from small import CONFIG, small_model, snapshot, texts

from minipeft import GPT2, GPT2Config, InputError
from minipeft.app.info import shape_of
from minipeft.config import config_of_size
from minipeft.files import checkpoint as files
from minipeft.files.content import content_of
from minipeft.files.hub import download, refuse_base
from minipeft.files.tensors import open_safetensors, read_safetensors, write_safetensors
from minipeft.model import load_model


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


def test_weights_are_arrays_of_the_process_itself_and_cannot_be_written_to(folder):
    model = GPT2.from_pretrained(folder)
    for weight in model.weights.values():
        assert not weight.flags.writeable and not in_a_mapping(weight)
    with pytest.raises(ValueError, match="read-only"):
        model.weights["wte.weight"][0, 0] = 1
    assert GPT2.from_pretrained(folder, dtype="float64").dtype == np.float64


def in_a_mapping(array):
    """Does the array lie in memory that something else than NumPy holds, a file for example?"""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array.base is not None


THREE_STEPS = """
import sys
from pathlib import Path
from minipeft import GPT2, AdamW, LoRA, PeftModel, pack

folder, what, base = sys.argv[1:]
peft, optimizer = PeftModel(GPT2.from_pretrained(folder, base=base or None), LoRA(r=2)), AdamW()
file = Path(folder, "model.safetensors")
with open(file, "r+b") as stored:
    if what == "cut":
        stored.truncate(100)
    elif what == "overwritten":
        stored.write(bytes(file.stat().st_size))
for _ in range(3):
    loss, grads = peft.loss_and_grads(pack([([1, 2], [3, 4, 5]), ([5], [6, 7])]))
    optimizer.step(peft.trainable, grads)
    print(float(loss).hex())
print(float(peft.logits([[1, 2, 3]])[0].sum()).hex())
"""


@pytest.mark.slow
@pytest.mark.parametrize("base", ["", "int8", "bfloat16", "float32"])
def test_what_becomes_of_the_file_does_not_matter_to_who_has_read_it(base, tmp_path):
    """In a process of its own: a file that is mapped and then cut ends it by a signal."""
    small_model("float32").save_pretrained(tmp_path)
    stored, said = (tmp_path / "model.safetensors").read_bytes(), {}
    for what in ("left", "cut", "overwritten"):
        (tmp_path / "model.safetensors").write_bytes(stored)
        words = [sys.executable, "-c", THREE_STEPS, str(tmp_path), what, base]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        said[what] = done.stdout.split()
    assert len(said["left"]) == 4 and said["cut"] == said["overwritten"] == said["left"]
    assert (tmp_path / "model.safetensors").read_bytes() != stored


def test_a_file_that_becomes_shorter_while_it_is_read_is_refused(folder):
    with open_safetensors(folder / "model.safetensors") as (tensors, _):
        os.truncate(folder / "model.safetensors", 3000)
        with pytest.raises(InputError, match="it has just become shorter"):
            for tensor in tensors.values():
                tensor.read()


@pytest.mark.parametrize("base", ["int8", "nf4", "bfloat16", "float32"])
def test_a_base_that_is_brought_into_its_form_while_it_is_read_is_that_of_one_that_is_there(base, folder):
    read, made = GPT2.from_pretrained(folder, base=base), GPT2.from_pretrained(folder).held(base)
    assert content_of(read.weights) == content_of(made.weights)
    assert {name: type(W) for name, W in read.weights.items()} == {
        n: type(W) for n, W in made.weights.items()
    }
    with pytest.raises(InputError, match="did you mean nf4"):
        GPT2.from_pretrained(folder, base="nf5")


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads the memory in use as Linux has it")
def test_there_is_one_whole_weight_at_a_time_while_a_quantised_base_is_read(tmp_path):
    """Of 50 MB there are 7 MB in 4 bits, the largest weight of 4 MB, and its norms and embeddings."""
    config = GPT2Config(vocab_size=64, n_positions=32, n_embd=512, n_layer=4, n_head=4)
    GPT2.random(config).save_pretrained(tmp_path)
    script = (
        "import sys; from minipeft import GPT2; from minipeft.cost.machine import peak_memory_mb as peak\n"
        "before = peak(); GPT2.from_pretrained(sys.argv[1], base=sys.argv[2] or None); print(peak() - before)"
    )
    taken = {}
    for base in ("", "nf4"):
        words = [sys.executable, "-c", script, str(tmp_path), base]
        taken[base] = float(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    assert taken["nf4"] < 0.75 * taken[""]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_every_stored_type_is_read(dtype, tmp_path):
    model = small_model("float64")
    model.save_pretrained(tmp_path, dtype=dtype)
    again = GPT2.from_pretrained(tmp_path, dtype="float64")
    for name, weight in model.weights.items():
        assert np.array_equal(again.weights[name], weight.astype(dtype).astype("float64"))


@pytest.mark.parametrize("dtype", ["int8", "bfloat16", bool])
def test_a_model_is_stored_as_floats_that_hold_its_numbers(dtype, tmp_path):
    """What was there before stays."""
    model = small_model("float32")
    model.save_pretrained(tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    with pytest.raises(InputError, match=f"not stored as {np.dtype(dtype).name if dtype is bool else dtype}"):
        model.save_pretrained(tmp_path, dtype=dtype)
    large = model.with_weights(model.weights | {"ln_f.bias": np.full(12, 7e4, np.float32)})
    with pytest.raises(InputError, match=r"as float16: tensor transformer\.ln_f\.bias has a number"):
        large.save_pretrained(tmp_path, dtype="float16")
    assert (tmp_path / "model.safetensors").read_bytes() == before


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
    for name in ("gpt2-medium", "openai-community/gpt2-medium", "distilbert/distilgpt2"):
        assert GPT2.from_pretrained(name).config == CONFIG
    medium = "openai-community/gpt2-medium"
    assert asked == [medium, medium, "distilbert/distilgpt2"]


@pytest.mark.parametrize("name", ["someone/gpt2", "openai-community/distilgpt2", "openai-community/gpt3"])
def test_another_name_with_a_slash_is_no_published_size(name, monkeypatch):
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: pytest.fail("asked the hub"))
    for ask in (GPT2.from_pretrained, GPT2.random, download):
        with pytest.raises(InputError, match=f"{name}: no such folder|no published GPT-2 is called '{name}'"):
            ask(name)


def test_the_name_on_the_hub_is_a_shape_too(monkeypatch):
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: pytest.fail("asked the hub"))
    assert shape_of("openai-community/gpt2-xl") == (config_of_size("gpt2-xl"), None)
    assert load_model("random:distilbert/distilgpt2").config == config_of_size("distilgpt2")


def test_weights_here_come_before_the_hub(folder, monkeypatch, tmp_path_factory):
    here = tmp_path_factory.mktemp("here")
    (here / "weights").mkdir()
    folder = folder.rename(here / "weights" / "gpt2")
    monkeypatch.chdir(here)
    for name in ("gpt2", "openai-community/gpt2"):
        assert GPT2.from_pretrained(name).config == CONFIG
        with pytest.raises(InputError, match="this is the folder of the base"):
            refuse_base(folder, name)


@pytest.mark.parametrize("pickle", ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin"])
def test_a_folder_of_a_pickle_says_how_to_convert_it(pickle, folder):
    (folder / "model.safetensors").rename(folder / pickle)
    with pytest.raises(
        InputError, match=f"only safetensors are read, .* {pickle}; .*safe_serialization=True"
    ):
        GPT2.from_pretrained(folder)


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
