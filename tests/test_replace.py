"""One folder, one adapter: what was there before is replaced as a whole, and never half of it."""

import os
import re
import shutil
from contextlib import suppress
from itertools import count, permutations

import numpy as np
import pytest
from every_method import CASES
from folders import write_model
from small import scramble, small_model, snapshot

from minipeft import Full, InputError, LoRA, PeftModel, train
from minipeft.app.cli import main
from minipeft.files.adapters import replace
from minipeft.files.json_files import write_json
from minipeft.files.run_folder import run_folder

FORMATS = ("full", "lora", "prefix_tuning, projection", "two loras", "sparse", "adapter", "fusion", "mam")
PAIRS = [([1, 2], [3, 4]), ([5], [6, 7])]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv("MINIPEFT_THREADS", "1")


def trained(method, seed=0):
    peft = PeftModel(small_model("float32"), method)
    scramble(peft.trainable, seed)
    return peft


def loaded(folder):
    return PeftModel.from_pretrained(small_model("float32"), folder)


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("before, after", list(permutations(FORMATS, 2)))
def test_an_adapter_replaces_one_of_any_other_format(before, after, tmp_path):
    trained(CASES[before]).save_pretrained(tmp_path / "both")
    peft = trained(CASES[after])
    peft.save_pretrained(tmp_path / "both")
    peft.save_pretrained(tmp_path / "alone")
    assert snapshot(loaded(tmp_path / "both").trainable) == snapshot(peft.trainable)
    members = {f"{name}/{file}" for name in ("food", "people")
               for file in ("adapter_config.json", "adapter.safetensors")}  # fmt: skip
    assert files(tmp_path / "both") - members == files(tmp_path / "alone") - members


class Killed(BaseException):
    """Nothing catches it."""


@pytest.mark.parametrize("before, after", [
    ("lora", "lora, one layer high up"), ("lora", "adapter"), ("fusion", "lora"), ("lora", "fusion"),
    ("full", "lora"), ("lora", "full"), ("prefix_tuning, projection", "prefix_tuning"), ("lora", "lora"),
    ("full", "full"), ("fusion", "fusion"),
])  # fmt: skip
def test_a_kill_between_two_files_leaves_the_old_adapter_the_new_one_or_none(
    before, after, tmp_path, monkeypatch
):
    old, new = trained(CASES[before]), trained(CASES[after], seed=1)
    old.save_pretrained(tmp_path / "old")
    found = set()
    for moment in count():
        folder, left = tmp_path / str(moment), [moment]
        shutil.copytree(tmp_path / "old", folder)

        def dying(function, left=left):
            def step(*args, **options):
                left[0] -= 1
                if left[0] < 0:
                    raise Killed
                return function(*args, **options)

            return step

        with monkeypatch.context() as patch:
            patch.setattr(replace.os, "replace", dying(os.replace))
            patch.setattr(replace.Path, "unlink", dying(replace.Path.unlink))
            with suppress(Killed):
                new.save_pretrained(folder)
        try:
            found.add({str(snapshot(p.trainable)): name for name, p in (("old", old), ("new", new))}[
                str(snapshot(loaded(folder).trainable))])  # fmt: skip
        except InputError as error:
            assert re.search("no adapter_config.json there|0 sub-folders with|no such file", str(error))
            found.add("none")
        if left[0] >= 0:
            break
    assert found <= {"old", "new", "none"} and {"old", "new"} <= found
    assert before != after or before == "fusion" or "none" not in found


def test_a_disk_that_is_full_leaves_the_old_adapter(tmp_path, monkeypatch):
    peft = trained(LoRA(r=2))
    peft.save_pretrained(tmp_path)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.numpy.save_file", full)
    with pytest.raises(
        InputError, match=rf"^{tmp_path}/adapter_model.safetensors: cannot be written: No space left"
    ):
        trained(LoRA(r=3)).save_pretrained(tmp_path)
    assert snapshot(loaded(tmp_path).trainable) == snapshot(peft.trainable)
    assert files(tmp_path) == {"adapter_config.json", "adapter_model.safetensors"}


def test_what_a_killed_save_had_begun_is_swept_out(tmp_path):
    left = tmp_path / ".adapter.abcd1234.tmp"
    left.mkdir()
    (left / "adapter_model.safetensors").write_bytes(b"half")
    with run_folder(tmp_path):
        assert files(tmp_path) == {".lock"}
        assert not left.exists()


def test_a_model_that_nobody_wrote_as_an_adapter_stays(tmp_path):
    small_model("float32").save_pretrained(tmp_path)
    trained(LoRA(r=2)).save_pretrained(tmp_path)
    assert {"config.json", "model.safetensors", "adapter_config.json"} <= files(tmp_path)


@pytest.mark.parametrize("method", [Full(), LoRA(r=2)])
def test_the_folder_of_the_base_is_refused(method, tmp_path):
    small_model("float32").save_pretrained(tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    base = type(small_model()).from_pretrained(tmp_path)
    with pytest.raises(InputError, match="this is the folder of the base: choose another one"):
        PeftModel(base, method).save_pretrained(f"{tmp_path}/../{tmp_path.name}")
    assert files(tmp_path) == {"config.json", "model.safetensors"}
    assert (tmp_path / "model.safetensors").read_bytes() == before


# ------------------------------------------------------------------------------------------ the command line


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder with a model, and rows."""
    write_model(tmp_path / "base")
    (tmp_path / "x.jsonl").write_text('{"prompt": "name", "completion": " b"}\n' * 4)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(words, capsys):
    """-> the exit code, and what there is on stderr that is no remark about the run."""
    code = main([*words.split(), "--quiet"])
    return code, [line for line in capsys.readouterr().err.splitlines() if "minipeft: " in line]


@pytest.mark.parametrize(
    "words", ["train --method full --steps 1", "compare --eval x.jsonl --methods bitfit"]
)
def test_out_is_not_the_folder_of_the_base(words, place, capsys):
    before = (place / "base" / "model.safetensors").read_bytes()
    code, errors = command(f"{words} --model base --train x.jsonl --out ./base", capsys)
    assert code == 2 and errors == [
        "minipeft: ./base: this is the folder of the base: choose another one to write to"
    ]
    assert (place / "base" / "model.safetensors").read_bytes() == before
    assert not (place / "base" / ".lock").exists()


def test_a_new_run_has_nothing_of_an_earlier_one(tmp_path):
    for name in ("result.json", "metrics.jsonl", "settings.json"):
        write_json(tmp_path / name, {"of": "an earlier run"})
    peft = PeftModel(small_model("float32"), LoRA(r=2))
    train(peft, PAIRS, output_dir=tmp_path, steps=1, progress=False)
    assert not (tmp_path / "result.json").exists()
    assert all("earlier" not in (tmp_path / name).read_text() for name in ("metrics.jsonl", "settings.json"))


def test_a_folder_that_is_deleted_at_the_end_of_a_run_is_not_made_anew(place, capsys, monkeypatch):
    measure = "minipeft.app.runs.measure"

    def deleting(*_):
        shutil.rmtree(place / "out")
        return {}

    monkeypatch.setattr(measure, deleting)
    code, errors = command("train --model base --train x.jsonl --method bitfit --steps 2 --out out", capsys)
    assert code == 2 and "out: the folder has gone since the run began" in errors[-1]
    assert not (place / "out").exists()


@pytest.mark.parametrize("json", ["", " --json"])
def test_evaluation_that_is_no_number_has_a_code_and_a_line(json, place, capsys, monkeypatch):
    monkeypatch.setattr(PeftModel, "scores", lambda self, batch: (np.full(2, np.nan), np.zeros(2, bool)))
    code, errors = command(f"evaluate --model base --data x.jsonl{json}", capsys)
    assert code == 2 and errors == ["minipeft: the loss is nan: of 2 tokens it is so on 2"]


def test_a_gradient_that_is_no_number_fails_the_check(place, capsys, monkeypatch):
    monkeypatch.setattr(
        "minipeft.app.commands.gradcheck", lambda *_, **__: {"a": 1e-9, "b": float("nan"), "c": 1e-9}
    )
    assert main(["gradcheck", "--model", "base", "--json", "--quiet"]) == 1
    out = capsys.readouterr().out
    assert '"b": null' in out and "NaN" not in out
