"""benchmarks/gpu.sh and on_gpu.py without a GPU: one line says so; a part that fails stops no other."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import on_gpu

SCRIPT = Path(on_gpu.__file__).parent / "gpu.sh"

pytestmark = pytest.mark.skipif(not shutil.which("bash") or os.name == "nt", reason="needs bash")


def executable(path, text):
    path.write_text(f"#!/usr/bin/env bash\n{text}\n")
    path.chmod(0o755)
    return path


def run(tmp_path, *args, path=None):
    env = os.environ | {"PATH": f"{path}:{os.environ['PATH']}"} if path else os.environ
    command = ["bash", SCRIPT, *args]
    return subprocess.run(command, env=env, capture_output=True, text=True, cwd=tmp_path)


def test_without_a_gpu_it_says_so_in_one_line(tmp_path):
    executable(tmp_path / "nvidia-smi", "exit 9")
    done = run(tmp_path, "out", path=tmp_path)
    assert done.returncode == 3 and done.stdout == ""
    assert done.stderr == "gpu.sh: no GPU here: nvidia-smi does not run\n"
    assert (tmp_path / "out" / "summary.txt").read_text() == done.stderr


def test_without_a_folder_it_asks_for_one(tmp_path):
    done = run(tmp_path)
    assert done.returncode == 2 and "say where the results go" in done.stderr


def test_an_old_driver_is_named(tmp_path):
    executable(tmp_path / "nvidia-smi", "echo '| CUDA Version: 11.4 |'")
    done = run(tmp_path, "out", path=tmp_path)
    assert done.returncode == 3 and "needs a driver for CUDA 12 or later, not '11'" in done.stderr


@pytest.mark.parametrize("version, extra", [("12.4", "gpu12"), ("13.0", "gpu13")])
def test_a_part_that_fails_does_not_keep_the_next_from_running(version, extra, tmp_path):
    executable(tmp_path / "nvidia-smi", f"echo '| CUDA Version: {version} |'")
    fails = 'echo "$@" >> asked; case "$*" in *pytest\\ *|*-c*) echo no such thing; exit 1;; esac'
    python = executable(tmp_path / "python", f"cd {tmp_path}; {fails}")
    done = run(tmp_path, "out", python, path=tmp_path)
    out = tmp_path / "out"
    assert done.returncode == 1
    said = dict(line.split(": ", 1) for line in (out / "summary.txt").read_text().splitlines())
    assert list(said) == ["install", "install-pytorch", "tests", "on_gpu", "compare"]
    assert said["tests"] == "failed with code 1: see tests.txt" and said["compare"] == "passed"
    assert (out / "failure.txt").read_text().splitlines()[-1] == "no such thing"
    assert f"-m pip install -e .[test,{extra}]" in (tmp_path / "asked").read_text()


def test_a_measurement_that_fails_is_told_with_its_traceback(tmp_path, monkeypatch):
    """There is no GPU, so none can be measured: every row says why."""
    monkeypatch.setattr(sys, "argv", ["on_gpu.py", str(tmp_path), "--sizes", "gpt2", "--batches", "8"])
    monkeypatch.setattr(on_gpu, "missing", lambda: "torch")
    monkeypatch.setattr(on_gpu, "FORMS", ("bfloat16",))
    if "cupy" in sys.modules or shutil.which("nvidia-smi"):
        pytest.skip("there may be a GPU here")
    with pytest.raises(SystemExit, match="nothing could be measured"):
        on_gpu.main()
    ours, theirs = json.loads((tmp_path / "on_gpu.json").read_text())
    assert "Traceback" in ours["error"] and "InputError" in ours["error"]
    assert theirs["error"] == "not measured: torch is not installed"
    assert (
        "| gpt2 | 8 | pytorch | bfloat16 | not measured: torch is not installed |  |"
        in (tmp_path / "on_gpu.md").read_text()
    )


def test_tables_hold_what_was_measured(tmp_path):
    row = {"size": "gpt2", "batch": 8, "side": "minipeft", "form": "tf32"}
    numbers = {"train_tokens_per_second": 1234.5, "decode_tokens_per_second": 67.8, "first_loss": 10.8}
    on_gpu.write(tmp_path, [row | numbers])
    assert "| gpt2 | 8 | minipeft | tf32 | 1,234 | 68 |" in (tmp_path / "on_gpu.md").read_text()
