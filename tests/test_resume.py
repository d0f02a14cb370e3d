"""Going on: to the same bits after kills, only where all is the same; a run a folder; signals; full disks."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from folders import ROWS, write_model
from killed import HELD_OUT, KILLS, PAIRS, SETTINGS, sitting
from safetensors.numpy import load_file, save_file
from small import small_model, snapshot

from minipeft import Distilled, GPT2Config, InputError, LNTuning, LoRA, PeftModel, Sparse, train
from minipeft.app.cli import main
from minipeft.data.batches import orders
from minipeft.files.content import content_of
from minipeft.files.json_files import atomic, write_json
from minipeft.files.run_folder import LOCK, run_folder
from minipeft.resuming.state import STATE, read_every, read_state
from minipeft.resuming.stopping import Terminated

HERE = Path(__file__).parent
ENVIRONMENT = os.environ | {"PYTHONPATH": f"{HERE.parent}{os.pathsep}{HERE}"}
loop = import_module("minipeft.train")


def result_in(folder):
    """{file: bytes} of all that a run leaves but its clock's readings and its state."""
    names = {LOCK, STATE, "settings.json", "metrics.jsonl", "result.json"}
    return {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.name not in names}


def curve_in(folder):
    rows = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]
    return [{key: v for key, v in row.items() if key not in ("seconds", "elapsed")} for row in rows]


# ------------------------------------------------------------------------------------------ bit for bit


def test_killed_twenty_times_a_run_ends_with_the_same_bytes(tmp_path):
    """Of each family of methods; some of the kills leave half a file behind, and none leaves it for good."""
    names = ["full", "sparse, fisher", "p_tuning, lstm", "lora", "prefix", "adapter", "mam"]
    command = [sys.executable, str(HERE / "killed.py"), str(tmp_path), *names]
    output = subprocess.run(
        command, env=ENVIRONMENT | {"MINIPEFT_THREADS": "1"}, stdout=subprocess.PIPE, text=True, check=True
    )
    reports = [json.loads(line) for line in output.stdout.splitlines()]
    assert [report["name"] for report in reports] == names
    assert all(report["kills"] == KILLS and report["torn"] > 0 and report["code"] == 0 for report in reports)
    for name in names:
        whole, parts = tmp_path / name / "whole", tmp_path / name / "parts"
        assert result_in(whole) == result_in(parts), name
        assert curve_in(whole) == curve_in(parts), name
        assert read_state(parts / STATE)[1]["finished"]


class Stopped(Exception):
    pass


def stopped_after(monkeypatch, steps):
    """The next sittings break off when they begin the step after so many."""
    step = loop.optimizer_step

    def breaking(model, optimizer, stream, s, number, *rest):
        if number == steps:
            raise Stopped
        return step(model, optimizer, stream, s, number, *rest)

    monkeypatch.setattr(loop, "optimizer_step", breaking)


def test_other_threads_go_on_to_the_same_numbers_but_for_rounding(tmp_path, monkeypatch):
    settings = {"dropout": 0.0, "save_every": 5}
    monkeypatch.setenv("MINIPEFT_THREADS", "1")
    whole = sitting("adapter", tmp_path / "whole", **settings)  # no dropout: its masks depend on the threads
    with monkeypatch.context() as patch:
        stopped_after(patch, 23)
        with pytest.raises(Stopped):
            sitting("adapter", tmp_path / "parts", **settings)
    monkeypatch.setenv("MINIPEFT_THREADS", "2")
    parts = sitting("adapter", tmp_path / "parts", resume=True, **settings)
    losses = [[row["loss"] for row in history.steps] for history in (whole, parts)]
    assert losses[0][:20] == losses[1][:20] and np.allclose(*losses, rtol=1e-3)


def test_a_finished_run_is_not_trained_again(tmp_path, monkeypatch):
    first = sitting("lora", tmp_path, save_every=10)
    before = result_in(tmp_path)
    stopped_after(monkeypatch, 0)
    again = sitting("lora", tmp_path, resume=True, save_every=10)
    assert vars(again)["steps"] == first.steps and again.best == first.best
    assert result_in(tmp_path) == before


def test_patience_and_the_best_adapter_survive(tmp_path, monkeypatch):
    """The best one is of before the stop, and how long it is ago counts on."""
    losses = {5: 3.0, 10: 1.0, 15: 2.0, 20: 2.0, 25: 2.0, 30: 0.5}

    calls = []

    def evaluate(model, data, ranks):
        calls.append(1)
        return {"loss": losses[5 * len(calls)]}

    monkeypatch.setattr(loop, "evaluate", evaluate)
    settings = {"patience": 3, "save_every": 1}
    whole = sitting("lora", tmp_path / "whole", **settings)
    assert len(whole.steps) == 25 and whole.best["step"] == 10
    calls.clear()
    with monkeypatch.context() as patch:
        stopped_after(patch, 17)
        with pytest.raises(Stopped):
            sitting("lora", tmp_path / "parts", **settings)
    parts = sitting("lora", tmp_path / "parts", resume=True, **settings)
    assert len(parts.steps) == 25 and parts.best["step"] == 10
    assert result_in(tmp_path / "whole") == result_in(tmp_path / "parts")


def test_a_run_that_patience_ended_is_done(tmp_path, monkeypatch):
    """Going on changes nothing of it, however often."""
    losses = iter([3.0, 1.0, 2.0, 2.0, 2.0])
    monkeypatch.setattr(loop, "evaluate", lambda model, data, ranks: {"loss": next(losses)})
    settings = {"patience": 3, "save_every": 5}
    first = sitting("lora", tmp_path, **settings)
    assert len(first.steps) == 25 and first.best["step"] == 10
    before = result_in(tmp_path)
    for _ in range(2):
        again = sitting("lora", tmp_path, resume=True, **settings)
        assert again.steps == first.steps and again.best == first.best
        assert result_in(tmp_path) == before


def test_an_adapter_of_after_the_state_makes_way_for_the_best_of_before(tmp_path, monkeypatch):
    """With other threads it may not be found again."""
    losses = iter([3.0, 2.0, 1.0])
    monkeypatch.setattr(loop, "evaluate", lambda model, data, ranks: {"loss": next(losses)})
    with monkeypatch.context() as patch:
        stopped_after(patch, 18)
        with pytest.raises(Stopped):
            sitting("lora", tmp_path, save_every=12)
    later = result_in(tmp_path)  # of step 15
    monkeypatch.setattr(loop, "evaluate", lambda model, data, ranks: {"loss": 99.0})
    history = sitting("lora", tmp_path, save_every=12, resume=True)
    assert history.best["step"] == 10 and result_in(tmp_path) != later
    saved = PeftModel.from_pretrained(small_model("float32"), tmp_path)
    arrays, _ = read_state(tmp_path / STATE)
    assert snapshot(saved.trainable) == {n: arrays[f"now/{n}"].tobytes() for n in saved.trainable}


def test_the_same_model_goes_on_in_one_session(tmp_path, monkeypatch):
    """As in a notebook: the model has moved on since the state was saved."""
    settings = SETTINGS | {"steps": 16}
    for method in (LoRA(r=2), Sparse(fraction=0.2)):
        whole, parts = (PeftModel(small_model("float32"), method, seed=3) for _ in range(2))
        train(whole, PAIRS, HELD_OUT, tmp_path / "a", progress=False, **settings)
        with monkeypatch.context() as patch:
            stopped_after(patch, 13)
            with pytest.raises(Stopped):
                train(parts, PAIRS, HELD_OUT, tmp_path / "b", progress=False, save_every=4, **settings)
        train(parts, PAIRS, HELD_OUT, tmp_path / "b", progress=False, resume=True, **settings)
        assert snapshot(whole.trainable) == snapshot(parts.trainable)
        shutil.rmtree(tmp_path / "b")


def test_batches_that_are_left_out_change_nothing_of_the_others():
    whole = orders(7, 3, np.random.default_rng(0))
    first = [next(whole).tolist() for _ in range(12)]
    for skip in (0, 1, 3, 8):
        rest = orders(7, 3, np.random.default_rng(0), skip)
        assert [next(rest).tolist() for _ in range(12 - skip)] == first[skip:]


@pytest.mark.parametrize(
    "text, every", [("", None), ("200", (200, "steps")), (7, (7, "steps")), ("1.5m", (90, "seconds"))]
)
def test_how_often_is_a_number_of_steps_or_a_time(text, every):
    assert read_every(text) == every


@pytest.mark.parametrize("text", ["0", "-3", "5x", "m", "0s", "2.5"])
def test_other_words_for_how_often_are_refused(text):
    with pytest.raises(InputError, match="write a number of steps, or a time such as"):
        train(PeftModel(small_model(), LoRA(r=2)), PAIRS, progress=False, save_every=text)


def test_a_time_saves_when_it_has_passed(tmp_path, monkeypatch):
    stopped_after(monkeypatch, 9)
    with pytest.raises(Stopped):
        sitting("lora", tmp_path, save_every="1h")
    assert not (tmp_path / STATE).exists()
    with pytest.raises(Stopped):
        sitting("lora", tmp_path, save_every="0.000001s")
    assert read_state(tmp_path / STATE)[1]["step"] == 9


# -------------------------------------------------------------------------------- only where all is the same


@pytest.fixture
def stopped(tmp_path, monkeypatch):
    """A folder with the state of a run of "lora" that was stopped."""
    with monkeypatch.context() as patch:
        stopped_after(patch, 9)
        with pytest.raises(Stopped):
            sitting("lora", tmp_path / "run", save_every=4)
    return tmp_path / "run"


def go_on(folder, model=None, pairs=PAIRS, held_out=HELD_OUT, **settings):
    model = model or PeftModel(small_model("float32"), LoRA(2, lora_dropout=0.1, target_modules="all-linear"))
    return train(model, pairs, held_out, folder, progress=False, resume=True, **SETTINGS | settings)


def other_base():
    model = small_model("float32")
    weights = {name: w.copy() for name, w in model.weights.items()}
    weights["ln_f.bias"][0] += 1e-6
    method = LoRA(2, lora_dropout=0.1, target_modules="all-linear")
    return PeftModel(model.with_weights(weights), method)


OTHERS = {
    "learning_rate was 0.02 and is 0.01": lambda: {"learning_rate": 0.01},
    "steps was 40 and is 50": lambda: {"steps": 50},
    "the training data is another": lambda: {"pairs": PAIRS[::-1]},
    "the evaluation data is another": lambda: {"held_out": HELD_OUT[:1]},
    "the base is another": lambda: {"model": other_base()},
    "r was 2 and is 3": lambda: {"model": PeftModel(small_model("float32"), LoRA(3, lora_dropout=0.1))},
    'method was "LoRA" and is "Chain"': lambda: {
        "model": PeftModel(small_model("float32"), [LoRA(r=2), LNTuning()])
    },
    "the teacher is another": lambda: {
        "model": Distilled(PeftModel(small_model("float32"), LoRA(r=2)), small_model("float32"))
    },
}


@pytest.mark.parametrize("difference", OTHERS)
def test_what_differs_is_said_and_nothing_is_touched(difference, stopped):
    before = {path.name: path.read_bytes() for path in stopped.iterdir()}
    with pytest.raises(InputError) as refusal:
        go_on(stopped, **OTHERS[difference]())
    assert difference in str(refusal.value) and "\n" not in str(refusal.value)
    assert {path.name: path.read_bytes() for path in stopped.iterdir()} == before


def test_what_does_not_change_the_numbers_may_differ(stopped):
    assert len(go_on(stopped, save_every="", skip_bad_steps=3).steps) == 40


def test_a_new_run_does_not_wipe_out_one_that_was_stopped(stopped):
    with pytest.raises(
        InputError, match=r"stopped here after step 8: go on with it \(resume=True, --resume\)"
    ):
        sitting("lora", stopped)
    (stopped / STATE).unlink()
    assert len(sitting("lora", stopped).steps) == 40


def test_a_finished_run_gives_way_to_a_new_one(tmp_path):
    sitting("lora", tmp_path, save_every=20)
    sitting("lora", tmp_path, learning_rate=0.01)
    assert not (tmp_path / STATE).exists()


def test_without_a_state_a_run_begins(tmp_path):
    assert len(sitting("lora", tmp_path, resume=True).steps) == 40
    with pytest.raises(InputError, match="no folder to go on from"):
        sitting("lora", None, resume=True)
    with pytest.raises(InputError, match="save_every needs a folder"):
        sitting("lora", None, save_every=3)


@pytest.mark.parametrize("key", ["step", "finished", "t", "history", "best", "since_best", "same"])
@pytest.mark.parametrize("value", ["x", [], None])
def test_a_state_with_an_odd_value_is_one_line(key, value, stopped):
    arrays = load_file(stopped / STATE)
    run = json.loads(arrays["run"].tobytes()) | {key: value}
    arrays["run"] = np.frombuffer(json.dumps(run).encode(), np.uint8)
    save_file(arrays, stopped / STATE)
    with pytest.raises(InputError, match=rf"not the state of a run \({key} must be"):
        go_on(stopped)


def test_a_broken_state_is_one_line(stopped):
    whole = (stopped / STATE).read_bytes()
    for broken in (b"", whole[:-9], whole[:40], b"x" * 100):
        (stopped / STATE).write_bytes(broken)
        with pytest.raises(InputError, match="not the state of a run"):
            sitting("lora", stopped, resume=True)


def test_fingerprints_tell_values_types_and_shapes_apart():
    values = [1, 1.0, "1", [1], [[1], 2], [[1, 2]], {"a": 1}, {"a": "1"}, np.zeros(4), np.zeros((2, 2)),
              np.zeros(4, "float32"), np.array([0, 0, 0, 1e-300]), None, {}, []]  # fmt: skip
    assert len({content_of(value) for value in values}) == len(values)
    assert content_of({"a": 1, "b": 2}) == content_of({"b": 2, "a": 1})
    assert content_of(np.arange(6).reshape(2, 3).T) == content_of(np.arange(6).reshape(2, 3).T.copy())


# --------------------------------------------------------------------------------------- one run in a folder

HOLDER = """
import sys, time
from minipeft.files.run_folder import run_folder
with run_folder(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_run_is_refused_and_a_killed_one_holds_nothing(tmp_path):
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, env=ENVIRONMENT)
    try:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(InputError, match="another run is writing there"):
            sitting("lora", tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == [LOCK]
    finally:
        holder.kill()
        holder.communicate()
    assert len(sitting("lora", tmp_path).steps) == 40


def test_a_second_thread_is_refused_too(tmp_path):
    with run_folder(tmp_path), run_folder(tmp_path):  # the holder may, as often as it likes
        said = []

        def other():
            try:
                sitting("lora", tmp_path)
            except InputError as error:
                said.append(str(error))

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(said) == 1 and "another run is writing there" in said[0]


def test_what_a_killed_writer_left_is_swept_out_and_nothing_else(tmp_path):
    for folder in (tmp_path, tmp_path / "food", tmp_path / "held"):
        folder.mkdir(exist_ok=True)
        with atomic(folder / "x.json") as temporary:
            Path(temporary).write_text("{}")
            shutil.copy(temporary, folder / Path(temporary).name.replace(".x", ".y"))  # as a kill leaves it
        (folder / ".tmpA1b2C3").write_text("")  # safetensors' own
        for mine in (".hidden", ".notes.tmp", "a.tmp", ".tmp"):
            (folder / mine).write_text("")
    (tmp_path / "held" / LOCK).write_text("")
    with run_folder(tmp_path):
        pass
    kept = {".hidden", ".notes.tmp", "a.tmp", ".tmp", "x.json"}
    assert {path.name for path in tmp_path.iterdir()} == kept | {"food", "held", LOCK}
    assert {path.name for path in (tmp_path / "food").iterdir()} == kept
    assert len(list((tmp_path / "held").iterdir())) == len(kept) + 3  # another run's: left alone


# ---------------------------------------------------------------------------------------------- signals


@pytest.mark.parametrize("number, kind", [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_a_signal_lets_the_step_end_and_the_state_be_saved(number, kind, tmp_path, monkeypatch):
    step = loop.optimizer_step

    def signalled(model, optimizer, stream, s, n, *rest):
        if n == 6:
            os.kill(os.getpid(), number)
        return step(model, optimizer, stream, s, n, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "optimizer_step", signalled)
        with pytest.raises(kind, match=r"stopped after step 7 of 40, the state is in .* goes on") as stop:
            sitting("lora", tmp_path / "parts")
    assert type(stop.value) is kind
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    sitting("lora", tmp_path / "parts", resume=True)
    sitting("lora", tmp_path / "whole")
    assert result_in(tmp_path / "whole") == result_in(tmp_path / "parts")


def test_a_second_signal_does_not_wait(tmp_path, monkeypatch):
    def impatient(*args):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)
        raise AssertionError("it waited")

    monkeypatch.setattr(loop, "optimizer_step", impatient)
    with pytest.raises(KeyboardInterrupt):
        sitting("lora", tmp_path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    write_model(path)
    (path / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    return path


def words_of(folder, command="train"):
    rows = str(folder / "rows.jsonl")
    return [command, "--model", str(folder), "--train", rows, "--eval", rows]


def started(words, cwd):
    command = [sys.executable, "-m", "minipeft", *words]
    return subprocess.Popen(
        command, cwd=cwd, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def wait_for(found, seconds=60):
    end = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)
    return result


def lines_in(path):
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_command_line_says_how_to_go_on(number, code, folder, tmp_path):
    words = [*words_of(folder), "--steps", "100000", "--eval-every", "50", "--quiet", "--out", "run"]
    process = started(words, tmp_path)
    wait_for(lambda: lines_in(tmp_path / "run" / "metrics.jsonl") > 20)
    process.send_signal(number)
    err = process.communicate(timeout=30)[1]
    assert process.returncode == code and err.count("\n") == 1
    assert err.startswith("minipeft: interrupted; stopped after step ")
    assert "; go on with: minipeft train --model" in err and err.endswith("--out run --resume\n")
    step = read_state(tmp_path / "run" / STATE)[1]["step"]
    process = started([*words, "--resume"], tmp_path)
    wait_for(lambda: lines_in(tmp_path / "run" / "metrics.jsonl") > step * 51 // 50 + 5)
    process.kill()
    process.communicate()
    curve = [row["step"] for row in curve_in(tmp_path / "run") if "loss" in row]
    assert curve == list(range(1, len(curve) + 1)) and len(curve) > step


def test_while_it_is_scored_it_says_what_gives_the_scores(folder, tmp_path, monkeypatch, capsys):
    """There is no state to go on from: `--resume` would train again."""

    def interrupted(*args):
        raise KeyboardInterrupt

    words, out = [*words_of(folder), "--steps", "2", "--quiet"], str(tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr("minipeft.app.runs.measure", interrupted)
        assert main([*words, "--out", out]) == 130
    err = capsys.readouterr().err
    assert "the training is done, its scores are not; they come from: minipeft evaluate --adapter" in err
    assert main(shlex.split(err[err.index("evaluate --adapter") :])) == 0
    with monkeypatch.context() as patch:
        patch.setattr("minipeft.app.runs.measure", interrupted)
        assert main([*words, "--save-every", "1", "--out", out]) == 130
    assert capsys.readouterr().err.endswith("--resume\n")


def test_before_the_first_step_it_is_one_line_too(folder, tmp_path, monkeypatch, capsys):
    for kind, code in ((KeyboardInterrupt, 130), (Terminated, 143)):

        def interrupted(*args, kind=kind):
            raise kind

        monkeypatch.setattr("minipeft.app.commands.load_base", interrupted)
        assert main([*words_of(folder), "--out", str(tmp_path)]) == code
        err = capsys.readouterr().err
        assert err.startswith("minipeft: interrupted; before the first step; go on with: minipeft train")


def test_resume_by_command_line_is_the_same_run(folder, tmp_path, capsys):
    words = [*words_of(folder), "--steps", "12", "--save-every", "5", "--quiet"]
    assert main([*words, "--resume"]) == 2
    assert "--resume needs --out" in capsys.readouterr().err
    out = tmp_path / "out"
    assert main([*words, "--out", str(out)]) == 0
    first = json.loads((out / "result.json").read_text())
    assert main([*words, "--out", str(out), "--resume"]) == 0
    again = json.loads((out / "result.json").read_text())
    assert again["eval_loss"] == first["eval_loss"] and again["adapter_mb"] == first["adapter_mb"]
    capsys.readouterr()
    assert main([*words, "--out", str(out), "--resume", "--set", "r=3"]) == 2
    assert "r was 8 and is 3" in capsys.readouterr().err


@pytest.mark.parametrize("number, workers", [(signal.SIGTERM, 1), (signal.SIGKILL, 1), (signal.SIGTERM, 2)])
def test_a_comparison_takes_its_runs_with_it(number, workers, folder, tmp_path):
    out, words = tmp_path / "out", [*words_of(folder, "compare"), "--steps", "1000000", "--quiet"]
    methods = ["ia3", "bitfit"][-workers:]
    words += ["--methods", ",".join(methods), "--workers", str(workers)]
    process = started([*words, "--out", str(out)], tmp_path)
    logs = [out / "rows" / method / "seed-0" / "metrics.jsonl" for method in methods]
    wait_for(lambda: all(lines_in(log) > 5 for log in logs))
    metrics = logs[0]
    with pytest.raises(InputError, match="another run is writing there"), run_folder(metrics.parent):
        pass
    process.send_signal(number)
    err = process.communicate(timeout=30)[1]
    assert process.returncode == (143 if number == signal.SIGTERM else -9)
    if number == signal.SIGTERM:
        line = f"minipeft: interrupted; after 0 of {workers} runs; go on with: minipeft compare "
        assert err.startswith(line)

    def free():
        try:
            for log in logs:
                with run_folder(log.parent):
                    pass
            return True
        except InputError:
            return False

    wait_for(free, 10)
    before = metrics.read_bytes()
    time.sleep(0.3)
    assert metrics.read_bytes() == before


# -------------------------------------------------------------------------- disks, folders, bad numbers

CRAMPED = """
import resource, sys
from killed import sitting
from minipeft import InputError
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
try:
    sitting("lora", sys.argv[1], save_every=1, resume=True)
except InputError as error:
    print(error)
"""


def cramped(folder, size):
    command = [sys.executable, "-c", CRAMPED, str(folder), str(size)]
    return subprocess.run(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True, check=True).stdout


def test_a_file_that_does_not_fit_is_one_line_and_the_last_state_stays(stopped):
    """A limit on a file's size stands for a full disk: the same calls fail."""
    before = (stopped / STATE).read_bytes()
    said = cramped(stopped, len(before) - 100)
    assert said.count("\n") == 1 and str(stopped / STATE) in said and "cannot be written" in said
    assert (stopped / STATE).read_bytes() == before
    assert not [path for path in stopped.iterdir() if path.name.endswith(".tmp")]
    said = cramped(stopped, 100)
    assert said.count("\n") == 1 and "File too large" in said
    go_on(stopped)
    assert len(curve_in(stopped)) == 40 + 8


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file/run: cannot be written: Not a directory"):
        sitting("lora", tmp_path / "file" / "run")
    with pytest.raises(InputError, match="file: cannot be written: File exists"):
        sitting("lora", tmp_path / "file")
    with pytest.raises(InputError, match="cannot be written"):
        write_json("/proc/x/y.json", 1)


def test_a_folder_that_vanishes_is_not_made_anew(tmp_path, monkeypatch):
    step = loop.optimizer_step

    def vanishing(model, optimizer, stream, s, n, *rest):
        if n == 3:
            shutil.rmtree(tmp_path / "run")
        return step(model, optimizer, stream, s, n, *rest)

    monkeypatch.setattr(loop, "optimizer_step", vanishing)
    with pytest.raises(InputError, match="run: the folder has gone since the run began"):
        sitting("lora", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def poison(monkeypatch, steps):
    """The gradients of these steps, from 0 on, are no numbers."""
    sums = PeftModel.loss_and_grad_sums

    def poisoned(self, batch, seed, *options):
        loss, count, grads = sums(self, batch, seed, *options)
        step = seed // SETTINGS["accumulation_steps"] - SETTINGS["seed"] * 1_000_003
        return (loss * np.nan if step in steps else loss), count, grads

    monkeypatch.setattr(PeftModel, "loss_and_grad_sums", poisoned)


def test_a_bad_step_names_its_rows(tmp_path, monkeypatch):
    poison(monkeypatch, {6})
    expected = orders(len(PAIRS), 2, np.random.default_rng(SETTINGS["seed"]), 12)
    rows = ", ".join(map(str, sorted(int(i) + 1 for _ in range(2) for i in next(expected))))
    with pytest.raises(
        InputError, match=rf"step 7: the loss is nan .*\(rows {rows}\); the best adapter so far"
    ):
        sitting("lora", tmp_path)


def test_so_many_bad_steps_may_be_left_out_in_all(tmp_path, monkeypatch):
    poison(monkeypatch, {6, 7, 30})
    history = sitting("lora", tmp_path / "three", skip_bad_steps=3)
    assert [bad["step"] for bad in history.skipped] == [7, 8, 31] and len(history.steps) == 37
    assert all(np.isfinite(row["loss"]) for row in history.steps)
    with pytest.raises(InputError, match=r"step 31: .* skipped before: 2 steps"):
        sitting("lora", tmp_path / "two", skip_bad_steps=2, save_every=10)
    assert len(sitting("lora", tmp_path / "two", skip_bad_steps=3, resume=True).skipped) == 3
    assert result_in(tmp_path / "two") == result_in(tmp_path / "three")
    with pytest.raises(InputError, match="skip_bad_steps must be 0 or more"):
        sitting("lora", tmp_path, skip_bad_steps=-1)


# ------------------------------------------------------------------------------------------ pre-training


def test_pretraining_goes_on_too(tmp_path, monkeypatch):
    """From the folder that it writes into as well, whose checkpoint has moved on since the sitting began."""
    module = import_module("minipeft.app.pretrain")
    monkeypatch.setattr(module, "HELD_OUT", 20)
    monkeypatch.setattr(module, "probe", lambda model: {})
    config = GPT2Config(vocab_size=400, n_positions=128, n_embd=16, n_layer=1, n_head=2)
    step = module.optimizer_step

    def breaking(model, optimizer, stream, s, number):
        if number == 9:
            raise Stopped
        return step(model, optimizer, stream, s, number)

    def pretrain(name, **options):
        about = module.pretrain(tmp_path / name, every=16, batch_size=4, progress=False, **options)
        return about | {"minutes": 0}, (tmp_path / name / "model.safetensors").read_bytes()

    begun = {"documents": 16, "config": config}
    more = {"documents": 48, "save_every": 5, "decay": 16}
    pretrain("whole", **begun)
    whole = pretrain("whole", **more, start=tmp_path / "whole")
    pretrain("parts", **begun)
    with monkeypatch.context() as patch:
        patch.setattr(module, "optimizer_step", breaking)
        with pytest.raises(Stopped):
            pretrain("parts", **more, start=tmp_path / "parts")
    with pytest.raises(InputError, match="decay was 16 and is 0"):
        pretrain("parts", **more | {"decay": 0}, start=tmp_path / "parts", resume=True)
    assert pretrain("parts", **more, start=tmp_path / "parts", resume=True) == whole
    assert not (tmp_path / "parts" / STATE).exists()
    once = pretrain("once", **begun)
    monkeypatch.setattr(module, "optimizer_step", None)  # one that is done is not trained again
    assert pretrain("once", **begun, resume=True) == once


def test_the_command_hands_them_on(tmp_path, monkeypatch):
    seen = {}

    def pretrain(folder, documents, **options):
        seen.update(options)
        raise InputError("enough")

    monkeypatch.setattr("minipeft.app.commands.pretraining.pretrain", pretrain)
    assert main(["pretrain", "--out", str(tmp_path), "--save-every", "5m", "--resume"]) == 2
    assert seen["save_every"] == "5m" and seen["resume"] is True
