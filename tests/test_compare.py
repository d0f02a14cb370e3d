"""The comparison: what is run and what is not run again, seeds, sweeps, budgets; a real one, very small."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from folders import ROWS, write_model

from minipeft import InputError, LoRA
from minipeft.app.cli import main
from minipeft.methods import METHODS
from minipeft.reports.compare import budget, compare, in_terminal, processes, recipes, sweep
from minipeft.reports.compare.budget import Cost
from minipeft.reports.compare.table_rows import pareto

TASK = {"data-to-text": ("--task", "data-to-text")}


def outcome(run):
    """What a run might have printed: the more it trains, the better, and lr = 1e-3 is best."""
    result = {"parameters": 1000, "peak_memory_mb": 100.0, "primary": "slots", "wall_seconds": 9.0}
    skill = {"none": 0.0, "few_shot": 0.2, "bitfit": 0.4, "lora": 0.6, "full": 0.8}.get(run.name, 0.1)
    loss = 3 - skill + (0.0 if dict(run.variant).get("learning_rate") == "1e-3" else 0.1) - run.seed
    result["scores"] = {"slots": skill + 0.02 * run.seed}
    result["examples"] = 2.5
    result["samples"] = [{"prompt": "name : A ||", "completion": " A is.", "output": f" {run.name}\nB"}] * 3
    if run.name in recipes.BASELINES:
        return result
    evals = [{"step": s, "eval_loss": loss + 10 / s, "elapsed": 2.0 * s + run.seed} for s in (1, 2)]
    trainable = {"bitfit": 10, "full": 1000}.get(run.name, 100)
    return result | {
        "trainable": trainable, "seconds": 5.0, "tokens_per_second": 400.0, "eval_loss": loss,
        "adapter_mb": 0.1, "evals": evals, "best": evals[1],
    }  # fmt: skip


@pytest.fixture
def started(monkeypatch):
    """No process is started; the list of the runs that would have been."""
    runs = []

    def process(self, run):
        runs.append(run)
        run.folder.mkdir(parents=True, exist_ok=True)
        steps = [{"step": s, "loss": 1.0, "seconds": 0.5} for s in (1, 2, 3)]
        (run.folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, steps)))
        return outcome(run)

    monkeypatch.setattr(processes.Runner, "process", process)
    monkeypatch.setattr("minipeft.reports.compare.report.draw", lambda rows, folder, task: [])
    return runs


def call(out, methods="none,lora,full", sources=TASK, **options):
    return compare("weights/tiny", out, sources, methods.split(","), progress=False, **options)


# ------------------------------------------------------------------------------------------- planning


def option(run, name):
    """What a run's command says after --name."""
    return run.words[run.words.index(f"--{name}") + 1]


def test_each_run_is_an_ordinary_command(tmp_path, started):
    call(tmp_path, "none,few_shot,majority,lora_random,lora", steps=50, batch_size=4)
    words = {run.name: run.words for run in started}
    assert words["none"] == ("evaluate", "--model", "weights/tiny", "--device", "cpu", *TASK["data-to-text"])
    assert words["few_shot"] == (*words["none"], "--few-shot", "3", "--seed", "0")
    assert words["majority"] == (*words["none"], "--baseline", "majority")
    lora, random = (next(run for run in started if run.name == n) for n in ("lora", "lora_random"))
    assert option(lora, "method") == option(random, "method") == "lora"
    assert option(lora, "model") == "weights/tiny" and option(random, "model") == "random:weights/tiny"
    assert [word for word in lora.words if "=" in word] == list(LoRA.about.recipe)
    given = {"steps": "50", "batch-size": "4", "learning-rate": "0.006", "warmup-steps": "10", "seed": "0"}
    assert {name: option(lora, name) for name in given} == given
    assert option(lora, "out") == str(lora.folder) == str(tmp_path / "data-to-text" / "lora" / "seed-0")
    assert lora.command.startswith("minipeft train --method lora --model weights/tiny ")


def test_all_methods_are_all_there_are(tmp_path, started):
    call(tmp_path, "all")
    assert [run.name for run in started] == [*recipes.BASELINES, *recipes.RECIPES]
    assert {option(run, "steps") for run in started[4:]} == {str(recipes.LENGTH["steps"])}


def test_epochs_take_the_place_of_steps(tmp_path, started):
    call(tmp_path, "lora", epochs=2)
    assert option(started[0], "epochs") == "2"
    assert "--steps" not in started[0].words and "--eval-every" not in started[0].words


def test_every_recipe_is_one_that_train_takes():
    from minipeft.methods.named import make_method
    from minipeft.train import Training

    for name in recipes.RECIPES:
        own, training = recipes.recipe_of(name)
        make_method(recipes.method_of(name), own)
        Training(**recipes.COMMON | training)
    assert set(recipes.DEFAULT) <= {*recipes.BASELINES, *recipes.RECIPES}


def test_seeds_are_runs_of_their_own_and_count_from_seed(tmp_path, started):
    comparison = call(tmp_path, "none,lora", seeds=3, seed=5, steps=2)
    assert [(run.name, run.seed) for run in started] == [("none", 5), ("lora", 5), ("lora", 6), ("lora", 7)]
    assert [option(run, "seed") for run in started[1:]] == ["5", "6", "7"]
    row = comparison["rows"][1]
    assert row["score"] == pytest.approx(0.72) and row["score_spread"] == pytest.approx(0.02)
    assert row["seconds_to_best"] == pytest.approx(10) and row["curve"][0] == [1, pytest.approx(6.5)]
    assert "72.0 ± 2.0 %" in (tmp_path / "report.md").read_text()


# ------------------------------------------------------------------------------------------ going on


def test_what_is_there_is_not_run_again(tmp_path, started):
    first = call(tmp_path, seeds=2, steps=2)
    assert len(started) == 5
    again = call(tmp_path, seeds=2, steps=2)
    assert len(started) == 5 and again["rows"] == first["rows"] and again["runs"] == first["runs"]
    call(tmp_path, "none,lora,full,bitfit", seeds=3, steps=2)
    assert [(run.name, run.seed) for run in started[5:]] == [
        ("bitfit", 0), ("lora", 2), ("full", 2), ("bitfit", 1), ("bitfit", 2),
    ]  # fmt: skip
    call(tmp_path, steps=3)  # another command: only the frozen model stays as it is
    assert [run.name for run in started[10:]] == ["lora", "full"]


def test_an_interrupted_comparison_goes_on_and_a_half_run_is_run_again(tmp_path, started, monkeypatch):
    process = processes.Runner.process

    def interrupted(self, run):
        result = process(self, run)
        if run.name == "full":
            (run.folder / "result.json").write_text("{}")  # what `train` wrote: the run's own, not yet ours
            raise KeyboardInterrupt
        return result

    with monkeypatch.context() as patch:
        patch.setattr(processes.Runner, "process", interrupted)
        with pytest.raises(KeyboardInterrupt, match="after 2 of 3 runs"):
            call(tmp_path)
    assert not (tmp_path / "results.json").exists()
    call(tmp_path)
    assert [run.name for run in started] == ["none", "lora", "full", "full"]


def test_changed_data_is_run_on_again(tmp_path, started):
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, ROWS)))
    sources = {"rows": ("--train", str(file), "--eval", str(file))}
    call(tmp_path / "out", sources=sources)
    call(tmp_path / "out", sources=sources)
    assert len(started) == 3
    later = time.time() + 10
    os.utime(file, (later, later))  # a date says nothing
    call(tmp_path / "out", sources=sources)
    assert len(started) == 3
    file.write_text("\n".join(map(json.dumps, ROWS[1:])))
    os.utime(file, (0, 0))
    call(tmp_path / "out", sources=sources)
    assert len(started) == 6


def test_another_base_adapter_or_code_is_run_again(tmp_path, started, monkeypatch):
    for name in ("model", "code"):
        (tmp_path / name).mkdir()
    write_model(tmp_path / "model")
    (tmp_path / "code" / "f.py").write_text("1")
    monkeypatch.setattr("minipeft.reports.compare.plan.CODE", tmp_path / "code")
    again = lambda: compare(str(tmp_path / "model"), tmp_path / "out", TASK, ["lora"], progress=False)
    again(), again()
    assert len(started) == 1
    weights = bytearray((tmp_path / "model" / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (tmp_path / "model" / "model.safetensors").write_bytes(weights)
    again(), again()
    assert len(started) == 2
    (tmp_path / "code" / "f.py").write_text("2")
    again(), again()
    assert len(started) == 3
    (started[0].folder / "adapter_model.safetensors").write_text("of another run")
    again(), again()
    assert len(started) == 4


def test_a_method_of_ones_own_that_changed_is_run_again(tmp_path, started, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = "from minipeft import LoRA\nfrom minipeft.methods.about import About\n"
    own += "class Compared(LoRA):\n    about = About('compared')\n"
    monkeypatch.setitem(METHODS, "compared", None)  # what is registered goes with the test
    del METHODS["compared"]
    for text, runs in ((own, 1), (own, 1), (own + "    # changed\n", 2)):
        Path("compared.py").write_text(text)
        call(tmp_path / "out", "compared:Compared")
        assert len(started) == runs


def test_a_run_that_fails_is_a_row_that_says_so_and_is_tried_again(tmp_path, started, monkeypatch):
    process, message = processes.Runner.process, "step 3: the loss is nan: try a lower learning rate"
    broken = lambda self, run: {"failed": message} if run.name in names[::2] else process(self, run)
    names = ["few_shot", "none", "lora", "full"]
    with monkeypatch.context() as patch:
        patch.setattr(processes.Runner, "process", broken)
        comparison = call(tmp_path, ",".join(names), seeds=2)
    assert [row.get("failed") for row in comparison["rows"]] == [message, None, message, None]
    assert f"`lora` failed: {message}." in (tmp_path / "report.md").read_text()
    assert "failed" not in call(tmp_path, seeds=2)["rows"][1]
    monkeypatch.setattr(processes.Runner, "process", lambda self, run: {"failed": message})
    with pytest.raises(InputError, match="every run failed, 3 in all; the first: step 3"):
        call(tmp_path / "other")


# ---------------------------------------------------------------------------------------- side by side


def test_the_result_is_the_last_line_that_a_run_prints():
    """What a method of one's own prints stands before it."""
    assert processes.last_line('shape (3, 4)\n{"score": 1}\n') == {"score": 1}
    assert [processes.last_line(output) for output in ("shape (3, 4)\n", "3", "")] == [None, None, None]
    assert processes.message_of({"error": "no such file"}, 2) == "no such file"
    assert processes.message_of(None, 0).startswith("ended with code 0, and no result")
    assert processes.message_of(None, -9).startswith("ended by signal 9")


def test_runs_side_by_side_give_the_same_numbers(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIPEFT_THREADS", "1")
    options = {"steps": 4, "batch_size": 4, "seeds": 2}
    write_model(tmp_path)
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    file = str(tmp_path / "rows.jsonl")
    sources = {"mine": ("--train", file, "--eval", file)}
    told = lambda workers: compare(
        str(tmp_path), tmp_path / str(workers), sources, ["majority", "bitfit", "prompt_tuning"],
        progress=False, workers=workers, **options,
    )  # fmt: skip
    one, three = told(1), told(3)
    same = ("task", "name", "seed", "eval_loss", "scores", "losses", "samples")
    kept = lambda told: [{key: run.get(key) for key in same} for run in told["runs"]]
    assert kept(one) == kept(three) and len(kept(one)) == 5
    said = "3 runs side by side shared the cores"
    assert said in (tmp_path / "3" / "report.md").read_text() and said in in_terminal(three)
    assert said not in (tmp_path / "1" / "report.md").read_text() and "side by side" not in in_terminal(one)


def test_runs_side_by_side_share_the_cores(monkeypatch):
    monkeypatch.setattr(processes, "num_threads", lambda: 8)
    monkeypatch.delenv("MINIPEFT_THREADS", raising=False)
    threads = [processes.threads_of_each(n).get("MINIPEFT_THREADS") for n in (1, 2, 3, 20)]
    assert threads == [None, "4", "2", "1"]
    monkeypatch.setenv("MINIPEFT_THREADS", "5")
    assert processes.threads_of_each(2) == {}


@pytest.mark.parametrize("options", [{"workers": 0}, {"workers": 2, "budget": "5m"}])
def test_workers_that_cannot_be_are_refused(options, tmp_path, started):
    with pytest.raises(InputError, match="--workers"):
        call(tmp_path, **options)
    assert not started


# -------------------------------------------------------------------------------------------- a sweep


def test_a_sweep_tries_every_combination_that_a_method_has():
    tried = sweep.read_sweep(["lr=1e-4,1e-3", "r=4,16"], ["none", "lora", "bitfit"])
    assert tried == {"learning_rate": ("1e-4", "1e-3"), "r": ("4", "16")}
    assert [dict(v) for v in sweep.variants(tried, "lora")] == [
        {"learning_rate": lr, "r": r} for lr in ("1e-4", "1e-3") for r in ("4", "16")
    ]
    assert sweep.variants(tried, "bitfit") == [(("learning_rate", "1e-4"),), (("learning_rate", "1e-3"),)]
    assert sweep.variants(tried, "none") == sweep.variants({}, "lora") == [()]


def test_the_best_by_validation_is_reported_and_repeated(tmp_path, started):
    comparison = call(tmp_path, "none,lora", seeds=2, sweep=["lr=1e-4,1e-3,1e-2", "r=4"], steps=2)
    assert [(run.seed, dict(run.variant)) for run in started[1:]] == [
        (0, {"learning_rate": "1e-4", "r": "4"}),
        (0, {"learning_rate": "1e-3", "r": "4"}),
        (0, {"learning_rate": "1e-2", "r": "4"}),
        (1, {"learning_rate": "1e-3", "r": "4"}),
    ]
    assert option(started[2], "learning-rate") == "1e-3" and started[2].words.count("--learning-rate") == 1
    assert [w for w in started[2].words if w.startswith("r=")] == ["r=4"]
    assert comparison["rows"][1]["variant"] == {"learning_rate": "1e-3", "r": "4"}
    assert len(comparison["runs"]) == 5 and [r["chosen"] for r in comparison["runs"]].count(True) == 3
    report = (tmp_path / "report.md").read_text()
    table = report[report.index("## What the sweep tried") :].split("\n\n")[1]
    assert table.count("\n") == 4 and table.count("best") == 1 and "learning_rate=1e-3 r=4" in table


def test_a_warm_up_that_is_swept_is_taken_as_it_is(tmp_path, started):
    call(tmp_path, "lora", sweep=["warmup_steps=2,30"], steps=50)
    assert [option(run, "warmup-steps") for run in started[:2]] == ["2", "30"]


def test_a_run_that_failed_is_never_the_best():
    tried = [{"failed": "x"}, {"eval_loss": float("nan")}, {"eval_loss": 2.0}, {"eval_loss": 1.0}]
    assert sweep.best(tried) == {"eval_loss": 1.0} and sweep.best(tried[:2]) == {"failed": "x"}


# ------------------------------------------------------------------------------------------- a budget


def test_as_many_steps_as_fit():
    costs = [Cost(fixed=2.0, step=0.1, evaluation=0.5), Cost(fixed=3.0, step=0.3, evaluation=0.5)]
    # 2 + 3 seconds, ten evaluations of 0.5 each, and 0.4 for a step of both
    assert budget.steps_within(15 + 0.4 * 20 + 0.01, costs) == 20
    assert budget.steps_within(15 + 0.4 * 20 - 0.01, costs) == 19
    with pytest.raises(
        InputError,
        match=r"too short: what is left of it is 15 s, and with one step each 2 runs would take 15",
    ):
        budget.steps_within(15.3, costs)


@pytest.mark.parametrize("text, seconds", [("90s", 90), ("2m", 120), ("1.5h", 5400)])
def test_a_budget_is_a_time(text, seconds):
    assert budget.read_budget(text) == seconds


def test_a_budget_is_measured_once_and_gives_all_the_same_steps(tmp_path, started):
    # a probe: 9 s, of which 1 step = 0.5, elapsed 2 (1 evaluation 0.5), so 7 + 0.5 n + 5 a run
    comparison = call(tmp_path, "none,lora,full", budget="2m", seeds=2)
    probes, rest = started[1:3], started[3:]
    assert [run.folder.relative_to(tmp_path).parts[0] for run in probes] == ["probes", "probes"]
    assert [option(run, "steps") for run in probes] == ["6", "6"]
    steps = comparison["budget"]["steps"]
    assert 26 <= steps <= 28  # (0.9 * 120 - 4 - 4 * 12) / (4 * 0.5) is 28, less what the clock has moved on
    assert {option(run, "steps") for run in rest} == {str(steps)} and len(rest) == 4
    assert option(rest[0], "eval-every") == str(-(-steps // 10))
    assert call(tmp_path, "none,lora,full", budget="2m", seeds=2)["budget"] == comparison["budget"]
    assert len(started) == 7
    assert f"2m: {steps} steps for each method" in (tmp_path / "report.md").read_text()


# ------------------------------------------------------------------------------------------ the order


def test_rows_stand_in_order_baselines_methods_by_size_random_full(tmp_path, started):
    comparison = call(tmp_path, "full,lora_random,lora,none,bitfit,few_shot")
    assert [row["name"] for row in comparison["rows"]] == [
        "few_shot", "none", "bitfit", "lora", "lora_random", "full",
    ]  # fmt: skip
    sites = [row["site"] for row in comparison["rows"]]
    assert sites == ["-", "-", "base weights", "linear", "linear", "base weights"]


def test_the_pareto_front():
    points = [(100, 0.5), (10, 0.3), (50, 0.3), (200, 0.4), (100, 0.6), (300, 0.6)]
    assert pareto(points) == [1, 4] and pareto([]) == []


# --------------------------------------------------------------------------------------------- errors

BAD = {
    "--methods none,magic": "no method is called 'magic': choose from majority, copying, few_shot, none,",
    "--metric bleu": "--metric is for files of your own",
    "--train rows.jsonl": "rows.jsonl: no such file",
    "--task chess": "no task is called 'chess'",
    "--seeds 0": "--seeds must be 1 or more",
    "--model nowhere": "nowhere: no such folder",
    "--model random:weights/tiny --methods lora_random": "has random weights already",
    "--steps -1": "--steps must be 0 or more, not -1",
    "--budget 2": "--budget 2: write a time in seconds, minutes or hours",
    "--budget 2m --steps 3": "--budget chooses the steps: leave out --steps",
    "--budget 2m --sweep steps=3,4": "--budget chooses the steps: leave out --steps",
    "--sweep lr": "--sweep lr: write name=value,value",
    "--sweep lr=1e-3,": "write name=value,value",
    "--sweep rank=4": "neither training nor a method compared here has 'rank'",
    "--methods none,full --sweep r=4": "neither training nor a method compared here has 'r'",
    "--sweep lr=high": "--sweep learning_rate: 'high' is not a number",
    "--sweep lr=0": "--sweep learning_rate must be above 0, not 0.0",
    "--sweep r=big": "lora's r must be a number, not 'big'",
    "--sweep seed=1,2": "use --seeds",
    "--sweep epochs=-1": "--sweep epochs must be",
    "--methods adapter --sweep dropout=0,0.1": "dropout is of training and of adapter",
    "--sweep epochs=1,2 --steps 9": "--sweep epochs: with --steps every run has as many",
    "--sweep save_every=5,6": "has 'save_every'",
    "--save-every 5": "leave out --save-every",
    "--sweep r=4 r=8": "given twice",
}


@pytest.mark.parametrize("options", BAD)
def test_bad_options_are_one_line_before_any_run(options, started, tmp_path, capsys):
    assert main(["compare", "--out", str(tmp_path), "--quiet", *options.split()]) == 2
    err = capsys.readouterr().err
    assert err.startswith("minipeft: ") and err.count("\n") == 1 and BAD[options] in err
    assert not started


def test_all_means_all_tasks_and_methods_unless_told(started, tmp_path, monkeypatch):
    from minipeft.tasks import TASKS, data_to_text

    monkeypatch.setitem(TASKS, "other", data_to_text)
    seen = lambda: ({run.task for run in started}, {run.name for run in started})
    base = ["compare", "--out", str(tmp_path), "--quiet", "--json"]
    everything = {*recipes.BASELINES, *recipes.RECIPES}
    assert main([*base, "--all"]) == 0 and seen() == (set(TASKS), everything)
    started.clear()
    assert main([*base, "--all", "--task", "other", "--steps", "9"]) == 0 and seen()[0] == {"other"}
    started.clear()
    assert main([*base, "--all", "--methods", "ia3", "--steps", "8"]) == 0 and seen() == (set(TASKS), {"ia3"})
    started.clear()
    assert main([*base, "--task", "all", "--methods", "none", "--out", str(tmp_path / "new")]) == 0
    assert seen() == (set(TASKS), {"none"})


# ------------------------------------------------------------------------------------ with real runs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    write_model(path)
    (path / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    return path


def words_of(folder, *more):
    data = ["--train", str(folder / "rows.jsonl"), "--eval", str(folder / "rows.jsonl")]
    return ["compare", "--model", str(folder), *data, *more]


def test_a_real_comparison_and_its_commands(folder, tmp_path, capsys):
    out = tmp_path / "out"
    methods = "majority,few_shot,none,bitfit"
    words = words_of(folder, "--methods", methods, "--steps", "2", "--out", str(out))
    assert main([*words, "--json"]) == 0
    captured = capsys.readouterr()
    comparison = json.loads(captured.out)
    assert comparison == json.loads((out / "results.json").read_text())
    assert [row["name"] for row in comparison["rows"]] == methods.split(",")
    assert all(row["score"] >= 0 and row["primary"] == "chrf" for row in comparison["rows"])
    assert all(row["eval_loss"] > 0 and row["peak_memory_mb"] > 20 for row in comparison["rows"][2:])
    run = comparison["runs"][3]
    assert run["trainable"] == comparison["rows"][3]["trainable"] > 0
    assert 0 < run["best"]["elapsed"] <= run["seconds"] < run["wall_seconds"]
    assert all(f"$ {r['command']}" in captured.err for r in comparison["runs"])
    assert set(comparison["versions"]) == {"minipeft", "python", "numpy", "blas"}
    assert comparison["machine"]["cpu"] and comparison["command"].startswith("minipeft compare --model ")
    assert "rows on" in (out / "report.html").read_text() and (out / "loss-rows.svg").exists()

    words = run["command"].replace(str(out), str(tmp_path / "again")).split()
    assert main([*words[1:], "--quiet"]) == 0
    again = json.loads((tmp_path / "again" / "rows" / "bitfit" / "seed-0" / "result.json").read_text())
    assert again["eval_loss"] == run["eval_loss"]


def test_text_alone_has_losses_and_no_score(folder, tmp_path, started):
    (tmp_path / "story.txt").write_text("one two\n\nthree four\n")
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    names = lambda: [run.name for run in started]
    for kind in ("story.txt", "rows.jsonl"):
        started.clear()
        file, out = str(tmp_path / kind), str(tmp_path / "out")
        words = ["compare", "--train", file, "--eval", file, "--on-long", "cut", "--out", out, "--quiet"]
        assert main([*words, "--methods", "all"]) == 0
        assert names()[:2] == (["none", "full"] if kind == "story.txt" else ["majority", "copying"])
        assert all(option(run, "on-long") == "cut" for run in started)


def test_own_files_are_told_to_every_run(folder, tmp_path, started):
    file, words = str(folder / "rows.jsonl"), ["--metric", "f1", "--methods", "majority,lora", "--quiet"]
    files = ["--train", file, "--eval", file, "--test", file]
    assert main(["compare", *files, *words, "--out", str(tmp_path)]) == 0
    for run in started:
        assert " ".join(run.words).count(" ".join([*files, "--metric", "f1"])) == 1
        assert run.files == (file, file, file) and run.task == "rows"


def test_a_run_that_ends_in_an_error_gives_its_message(folder, tmp_path, capsys):
    words = words_of(folder, "--methods", "bitfit", "--steps", "2", "--learning-rate", "1e30", "--quiet")
    assert main([*words, "--out", str(tmp_path)]) == 2
    assert (
        "every run failed, 1 in all; the first: evaluation after step 1: the loss is nan"
        in capsys.readouterr().err
    )


def test_ctrl_c_ends_in_one_line_that_says_how_to_go_on(folder, tmp_path):
    words = words_of(folder, "--methods", "bitfit", "--steps", "100000", "--quiet")
    process = subprocess.Popen(
        [sys.executable, "-m", "minipeft", *words], cwd=tmp_path, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}, start_new_session=True,
    )  # fmt: skip
    end = time.monotonic() + 60
    while not list(tmp_path.glob("runs/*/rows/bitfit/seed-0/metrics.jsonl")) and time.monotonic() < end:
        time.sleep(0.05)
    (out,) = (p.relative_to(tmp_path) for p in tmp_path.glob("runs/*"))
    os.killpg(process.pid, signal.SIGINT)  # what a terminal does: to us and to the run
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130 and err.count("\n") == 1
    assert err.startswith("minipeft: interrupted; after 0 of 1 runs; go on with: minipeft compare ")
    assert err.endswith(f" --quiet --out {out}\n")
