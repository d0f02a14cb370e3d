"""The command line: every command on small models; one clear line and exit code 2 for every bad input."""

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from against import REFERENCE
from folders import ROWS, write_adapters, write_model
from small import CONFIG

import minipeft
from minipeft import GPT2, GPT2Config, InputError, PeftModel
from minipeft import ops as plain
from minipeft.app.cli import main
from minipeft.data.batches import encode_rows
from minipeft.methods import METHODS
from minipeft.model import load_model
from minipeft.reports.compare import Plan
from minipeft.reports.compare.recipes import BASELINES, RECIPES
from minipeft.speed import fast
from minipeft.tasks import TASKS, named
from minipeft.tasks.show import readable
from minipeft.train import Training

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small model with a tokenizer, adapters on it, and data files, in one folder."""
    path = tmp_path_factory.mktemp("model")
    write_adapters(write_model(path), path)
    (path / "train.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    (path / "eval.jsonl").write_text("\n".join(map(json.dumps, ROWS[:2])))
    (path / "broken.jsonl").write_text(json.dumps(ROWS[0]) + "\n{")
    (path / "empty.jsonl").write_text("")
    labelled = [f'"{row["prompt"]}",{i % 2}' for i, row in enumerate(ROWS)]
    (path / "labelled.csv").write_text("\n".join(["text,label", *labelled]))
    (path / "story.txt").write_text("one two\n\nthree four\n")
    (path / "long.jsonl").write_text(json.dumps({"prompt": "food " * 999, "completion": " Thai"}))
    return path


@pytest.fixture
def few_rows(monkeypatch):
    monkeypatch.setattr(named, "TASK_ROWS", {"train": 16, "validation": 4, "test": 4})


def call(capsys, *args):
    """-> exit code, standard output, standard error."""
    code = main([str(a) for a in args])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def result_of(capsys, *args):
    code, out, err = call(capsys, *args, "--json", "--quiet")
    assert code == 0, err
    return json.loads(out)


MODEL_COMMANDS = {"compare", "train", "generate", "chat", "serve", "evaluate", "merge", "gradcheck", "bench"}


def test_every_command_that_takes_a_model_takes_ops(capsys):
    for command in sorted(MODEL_COMMANDS | {"tune-report"}):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        assert "--ops {plain,fast,bfloat16}" in capsys.readouterr().out, command


def test_ops_chooses_the_operations_and_not_the_numbers(folder, tmp_path, capsys, monkeypatch):
    data = [
        "--model",
        folder,
        "--train",
        folder / "train.jsonl",
        "--eval",
        folder / "eval.jsonl",
        "--steps",
        2,
    ]
    results = {}
    for kind in ("fast", "plain"):
        with monkeypatch.context() as patch:
            if kind == "plain":
                patch.delattr(fast, "attention")  # whoever still asks for it fails
            results[kind] = result_of(capsys, "train", *data, "--ops", kind, "--out", tmp_path / kind)
        assert results[kind]["ops"] == kind
    assert results["plain"]["eval_loss"] == pytest.approx(results["fast"]["eval_loss"], rel=1e-5)


def test_a_model_is_made_with_ops_however_it_is_made(folder):
    made = [
        GPT2.from_pretrained(folder, ops="plain"),
        GPT2.random(CONFIG, ops="plain"),
        load_model(str(folder), ops="plain"),
        load_model(f"random:{folder}", ops="plain"),
        load_model(str(folder), base="int8", ops="plain"),
    ]
    assert all(model.step().ops is plain for model in made)
    assert GPT2.from_pretrained(folder).step().ops is fast
    with pytest.raises(InputError, match="ops 'slow' is not known: choose from plain, fast, bfloat16"):
        GPT2.random(CONFIG, ops="slow").step()


def test_a_comparison_hands_ops_on_to_its_runs(tmp_path):
    of = lambda **more: Plan("m", tmp_path, {"sentiment": ()}, ("none", "lora"), **more)
    for plan, said in ((of(ops="plain"), True), (of(), False)):
        runs = [*plan.baselines("sentiment"), *plan.tried("sentiment", "lora")]
        assert all(("--ops plain" in run.command) == said for run in runs)


def test_train_evaluate_generate_and_info(folder, tmp_path, capsys):
    out = tmp_path / "lora"
    data = [
        "--train",
        folder / "train.jsonl",
        "--eval",
        folder / "eval.jsonl",
        "--test",
        folder / "eval.jsonl",
    ]
    result = result_of(
        capsys, "train", "--model", folder, "--method", "lora", "--set", "r=2", "target_modules=c_attn,c_fc",
        *data, "--steps", 40, "--learning-rate", 0.02, "--out", out,
    )  # fmt: skip
    assert result["trainable"] == 2 * 2 * (16 + 48 + 16 + 64) and result["steps"] == 40
    assert result["configuration"]["target_modules"] == ["c_attn", "c_fc"]
    assert result["eval_loss"] < 5.6 and result["peak_memory_mb"] > 20 and result["adapter_mb"] > 0
    written = {p.name for p in out.iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "metrics.jsonl", "result.json"} <= written
    assert json.loads((out / "result.json").read_text()) == result

    command = ["evaluate", "--model", folder, "--data", folder / "eval.jsonl"]
    assert result_of(capsys, *command, "--adapter", out)["eval_loss"] == pytest.approx(result["eval_loss"])
    assert result_of(capsys, *command)["eval_loss"] > result["eval_loss"]

    prompt = ROWS[0]["prompt"]
    code, text, _ = call(
        capsys, "generate", "--model", folder, "--adapter", out, prompt, "--max-new-tokens", 5
    )
    assert code == 0 and text.startswith(prompt) and len(text) > len(prompt) + 1
    rows = result_of(capsys, "generate", "--model", folder, "--adapter", out, prompt, "--max-new-tokens", 5)
    assert prompt + rows[0]["output"] == text.rstrip("\n")  # streamed or not
    for how in (["--beams", 3], ["--sample", "--top-k", 5, "--temperature", 0.7]):
        assert call(capsys, "generate", "--model", folder, prompt, "--max-new-tokens", 4, *how)[0] == 0

    about = result_of(capsys, "info", out)
    assert about["kind"] == "adapter" and about["parameters"] == result["trainable"]
    about = result_of(capsys, "info", folder)
    assert about["kind"] == "model" and about["parameters"] == GPT2.from_pretrained(folder).num_parameters


def test_a_student_learns_from_a_teacher(folder, tmp_path, capsys):
    data = ["--train", folder / "train.jsonl", "--eval", folder / "eval.jsonl"]
    teacher, out = tmp_path / "teacher", tmp_path / "out"
    common = ["train", "--model", folder, *data, "--steps", 3]
    result_of(capsys, *common, "--method", "full", "--out", teacher)
    result = result_of(
        capsys, *common, "--teacher", teacher, "--student-layers", 1, "--set", "r=2", "--out", out
    )
    command = ["evaluate", "--model", out / "student", "--adapter", out, *data]
    assert result_of(capsys, *command)["eval_loss"] == pytest.approx(result["eval_loss"])
    assert GPT2.from_pretrained(out / "student").config.n_layer == 1
    result_of(capsys, *common, "--teacher", teacher, "--method", "bitfit", "--out", tmp_path / "same_size")


def test_an_adapter_of_another_base_is_said(folder, tmp_path, capsys):
    adapter = shutil.copytree(folder / "low_rank", tmp_path / "adapter")
    config = json.loads((adapter / "adapter_config.json").read_text())
    stated = {str(folder): 0, f"elsewhere/{folder.name}": 0, f"random:{folder}": 1, "gpt2": 1}
    for name, said in stated.items():
        config["base_model_name_or_path"] = name
        (adapter / "adapter_config.json").write_text(json.dumps(config))
        for command in (["evaluate", "--data", folder / "eval.jsonl"], ["generate", "x"]):
            code, _, err = call(capsys, *command, "--model", folder, "--adapter", adapter, "--quiet")
            assert code == 0 and err.count(f"was trained on {name}, and this base is") == said


def test_several_prompts_come_from_standard_input(folder, capsys, monkeypatch):
    import io

    given = io.StringIO("\ufeffname :\r\n\nfood :\n", newline="\n")  # as an editor on Windows writes it
    monkeypatch.setattr(sys, "stdin", given)
    code, out, _ = call(capsys, "generate", "--model", folder, "--max-new-tokens", 2)
    assert code == 0 and out.startswith("name :") and out.count("\nfood :") == 1 and "\r" not in out
    for errors in ("strict", "surrogateescape"):
        given = io.TextIOWrapper(io.BytesIO(b"name \xff :\n"), "utf-8", errors)
        monkeypatch.setattr(sys, "stdin", given)
        code, _, err = call(capsys, "generate", "--model", folder)
        assert code == 2 and err.count("\n") == 1 and err.startswith("minipeft: ")


@pytest.mark.parametrize("adapter", ["low_rank", "bias"])
def test_merge_writes_a_plain_model_with_the_same_logits(adapter, folder, tmp_path, capsys):
    command = ["merge", "--model", folder, "--adapter", folder / adapter, "--out", tmp_path]
    result = result_of(capsys, *command)
    merged, base, ids = GPT2.from_pretrained(tmp_path), GPT2.from_pretrained(folder), [[5, 9, 2]]
    assert result == {"folder": str(tmp_path), "parameters": base.num_parameters}
    expected = PeftModel.from_pretrained(base, folder / adapter).logits(ids)[0]
    assert np.allclose(merged.logits(ids)[0], expected, atol=1e-5)
    assert not np.allclose(base.logits(ids)[0], expected, atol=1e-2)
    assert merged.tokenizer.get_vocab() == base.tokenizer.get_vocab()


def test_the_same_prompt_under_several_adapters(folder, capsys):
    """Two share a batch, the third has a base of its own: each gives what it gives alone."""
    names = {"none": "none", "low_rank": folder / "low_rank", "b": f"b={folder / 'bias'}",
             "prefix": folder / "prefix", "low_rank-2": folder / "low_rank"}  # fmt: skip
    command = ["generate", "--model", folder, "--max-new-tokens", 6, "name :"]
    alone = {}
    for name, given in names.items():
        (row,) = result_of(capsys, *command, "--adapter", given)
        alone[name] = row["output"]
    assert len(set(alone.values())) == 4  # each of the four says something else

    several = [word for given in names.values() for word in ("--adapter", given)]
    together = result_of(capsys, *command, *several)
    assert together == alone and list(together) == list(names)
    code, text, _ = call(capsys, *command, *several)
    assert code == 0 and text.startswith("prompt: name :\nnone       :") and "\nb          :" in text
    rows = result_of(capsys, *command, "food :", *several)
    assert rows[0] == alone and rows[1] != alone and list(rows[1]) == list(names)
    beams = result_of(capsys, *command, *several, "--beams", 2)
    assert list(beams) == list(names)


def test_a_task_is_trained_on_and_scored(folder, tmp_path, capsys, few_rows):
    result = result_of(capsys, "train", "--model", folder, "--steps", 2, "--out", tmp_path / "run")
    assert set(result["scores"]) == {"slots", "exact", "bleu"} and len(result["samples"]) == 3


def test_own_texts_are_scored_by_the_metric_that_was_asked_for(folder, tmp_path, capsys):
    data = ["--train", folder / "train.jsonl", "--eval", folder / "train.jsonl", "--metric", "bleu"]
    result = result_of(capsys, "train", "--model", folder, *data, "--steps", 2, "--out", tmp_path)
    assert result["primary"] == "bleu" and set(result["scores"]) > {"bleu", "chrf", "exact_match"}
    assert [note.split(":")[0] for note in result["notes"]] == [
        "no test file", "3 of the 3 test rows have a prompt that is in " + str(folder / "train.jsonl, too")
    ]  # fmt: skip
    command = ["evaluate", "--model", folder, "--adapter", tmp_path, *data]
    again = result_of(capsys, *command)
    assert all(again[key] == result[key] for key in ("scores", "samples", "notes"))
    assert again["eval_loss"] == pytest.approx(result["eval_loss"])
    code, text, _ = call(capsys, *command, "--quiet")
    assert code == 0 and "\nbleu: " in text and "\nnote: no test file: 3 rows of" in text


def test_own_labels_are_chosen_not_generated(folder, capsys):
    command = ["evaluate", "--model", folder, "--data", folder / "labelled.csv"]
    result = result_of(capsys, *command)
    assert result["primary"] == "accuracy" and list(result["scores"]) == ["accuracy", "macro_f1"]
    assert {sample["output"] for sample in result["samples"]} <= {" 0", " 1"}
    assert result["scores"]["accuracy"] in [n / 6 for n in range(7)] and result["eval_loss"] > 0


def test_plain_text_has_a_loss_and_no_score(folder, tmp_path, capsys):
    data = ["--train", folder / "story.txt", "--eval", folder / "story.txt"]
    result = result_of(capsys, "train", "--model", folder, *data, "--steps", 1, "--out", tmp_path / "out")
    assert result["eval_loss"] > 0 and "scores" not in result
    (tmp_path / "long.txt").write_text("one two three " * 400)
    long = ["--train", tmp_path / "long.txt", "--steps", 1, "--out", tmp_path / "out"]
    code, _, err = call(capsys, "train", "--model", folder, *long)
    assert code == 2 and "choose --on-long split, cut or drop" in err
    result = result_of(capsys, "train", "--model", folder, *long, "--on-long", "split")
    assert result["too_long"] == 1 and "eval_loss" not in result


def test_rows_that_cannot_be_scored_are_refused_before_the_training(folder, tmp_path, capsys):
    data = [
        "--train",
        folder / "train.jsonl",
        "--eval",
        folder / "eval.jsonl",
        "--test",
        folder / "long.jsonl",
    ]
    command = ["train", "--model", folder, *data, "--steps", 1, "--out", tmp_path]
    code, _, err = call(capsys, *command, "--quiet")
    assert code == 2 and "choose --on-long cut or drop" in err and not list(tmp_path.iterdir())
    result = result_of(capsys, *command, "--on-long", "cut")
    assert len(result["samples"]) == 1 and result["too_long"] == 0


@pytest.mark.parametrize(
    "how", [["--baseline", "majority"], ["--baseline", "copying"], ["--few-shot", 2]], ids=str
)
def test_baselines_are_scored_as_models_are(how, folder, capsys, few_rows):
    files = ["--train", folder / "train.jsonl", "--data", folder / "eval.jsonl"]
    for data in ([], files, ["--train", folder / "labelled.csv", "--test", folder / "labelled.csv"]):
        result = result_of(capsys, "evaluate", "--model", folder, *data, *how)
        assert result["primary"] in result["scores"] and set(result["samples"][0]) == {
            "prompt", "completion", "output"
        }  # fmt: skip
        assert "eval_loss" not in result
        assert result["baseline"] == how[1] if "--baseline" in how else result["few_shot"] == 2
    if "--few-shot" in how:
        assert result["examples"] == 2
    if "majority" in how:  # three of six labels are 0, the first: its F1 is 2/3, that of 1 is 0
        assert result["scores"] == {"accuracy": 0.5, "macro_f1": pytest.approx(1 / 3)}


def test_task_lists_describes_and_shows(capsys):
    listed = result_of(capsys, "task")
    assert "data-to-text" in [task["name"] for task in listed]
    for task in listed:
        assert task["metrics"] and len(task["about"].splitlines()[0]) > 10
    code, text, _ = call(capsys, "task")
    assert code == 0 and text.count("\n") == len(listed) and "slots, exact, bleu" in text

    code, text, _ = call(capsys, "task", "data-to-text")
    assert code == 0 and "Splits:" in text and "metrics: slots, exact, bleu" in text
    rows = result_of(capsys, "task", "data-to-text", "--show")
    assert rows == TASKS["data-to-text"].rows("test", 12)
    rows = result_of(capsys, "task", "data-to-text", "--show", 3, "--split", "train", "--seed", 1)
    assert rows == TASKS["data-to-text"].rows("train", 3, 1)
    code, text, _ = call(capsys, "task", "data-to-text", "--show", 11)
    assert (
        code == 0
        and text.startswith(" 1  name : ")
        and "\n\n11  name : " in text
        and text.count("    -> ") == 11
    )


def test_a_row_of_many_lines_is_shown_with_its_number_in_a_margin():
    rows = [{"prompt": "guest: tea.\nwaiter:", "completion": " one\ntwo"}]
    assert readable(rows) == "1  guest: tea.\n   waiter:\n   -> one\n      two"


@pytest.mark.parametrize("method", ["lora", "full"])
def test_gradcheck_passes(method, folder, capsys):
    settings = ["--set", "r=2"] if method == "lora" else []
    args = ["gradcheck", "--model", folder, "--method", method, *settings, "--elements", 1, "--quiet"]
    code, out, _ = call(capsys, *args)
    assert code == 0 and "passed: worst" in out
    assert out.count("\n") == (5 if method == "lora" else 30)  # a line a tensor, and the last


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("train", "--train", ""), "--train must not be empty"),
        (("compare", "--methods", ""), "--methods must not be empty"),
        (("merge", "--adapter", "x", "--out", ""), "--out must not be empty"),
        (("info", ""), "folder must not be empty"),
        (("train", "--set", "r=8", "r=4"), "lora's r is given twice"),
        (("train", "--set", "r=8", "--set", "r=4"), "lora's r is given twice"),
    ],
)
def test_an_empty_word_and_a_setting_given_twice_are_refused(words, said, capsys):
    assert main([*words]) == 2
    assert said in capsys.readouterr().err


def test_gradcheck_fails_with_code_1_on_a_wrong_backward(folder, capsys, monkeypatch):
    monkeypatch.setattr(fast, "gelu_backward", lambda dy, slope: dy * slope * 1.0001)
    args = ["gradcheck", "--model", folder, "--set", "r=2", "--quiet", "--elements", 0]
    code, out, _ = call(capsys, *args)
    assert code == 1 and "WRONG  h.0.attn.c_attn.lora_A" in out and "FAILED: worst" in out


@pytest.mark.slow
def test_pretrain_writes_a_model_that_loads_and_says_how_it_was_made(tmp_path, monkeypatch, capsys):
    from minipeft.app import pretrain

    monkeypatch.setattr(
        pretrain, "SHAPE", GPT2Config(vocab_size=400, n_positions=64, n_embd=8, n_layer=1, n_head=2)
    )
    assert call(capsys, "pretrain", "--out", tmp_path, "--documents", 60, "--quiet")[0] == 0
    model = GPT2.from_pretrained(tmp_path)
    assert model.tokenizer.get_vocab_size() == 400 and model.config.eos_token_id == 399
    about = json.loads((tmp_path / "training.json").read_text())
    assert about["next_document"] == 60 and about["curve"][-1]["eval_loss"] < 6.8  # at first ln 400 + 1/2

    # going on: the next documents, from the weights that were written
    more = ["--from", tmp_path, "--out", tmp_path / "more", "--documents", 40, "--decay", 32, "--quiet"]
    assert call(capsys, "pretrain", *more)[0] == 0
    after = json.loads((tmp_path / "more" / "training.json").read_text())
    assert after["next_document"] == 100 and after["tokens"] > about["tokens"]
    assert [s["first"] for s in after["sittings"]] == [0, 60] and len(after["curve"]) == 2
    moved = GPT2.from_pretrained(tmp_path / "more").weights["wte.weight"] - model.weights["wte.weight"]
    assert 0 < abs(moved).max() < 0.1


BAD = {  # arguments, with {} for the folder: what standard error must say
    "train --method foo": "no method is called 'foo': choose from full, bitfit, ln_tuning",
    "train --set q=3": "lora has no setting 'q=3'",
    "train --set r": "lora has no setting 'r'",
    "train --set r=big": "lora's r must be a number, not 'big'",
    "train --model {} --set r=0": "rank r must be 1 or more",
    "train --model {} --set target_modules=q_proj": "match no linear layer: there are attn.c_attn",
    "train --model {} --train {}/none.jsonl": "none.jsonl: no such file",
    "train --model {} --train {}/broken.jsonl": "broken.jsonl, line 2: not JSON",
    "train --model {} --train {}/empty.jsonl": "empty.jsonl: no rows in it",
    "train --model {} --train {}/train.jsonl --schedule up": "--schedule: 'up' is not known: choose from",
    "train --model {} --train {}/train.jsonl --batch-size 0": "--batch-size must be 1 or more",
    "train --model nowhere": "nowhere: no such folder",
    "train --model {} --method json:JSONDecoder": "register takes a class made from minipeft.Method",
    "train --train {}/train.jsonl --metric bleu": "a metric needs rows to score: give --eval or --test",
    "train --model {} --student-layers 1": "--student-layers needs --teacher",
    "train --model {} --temperature 3": "--temperature needs --teacher",
    "train --model {} --distill-weight 0.5": "--distill-weight needs --teacher",
    "train --model {} --train {}/train.jsonl --patience 2": "--patience counts evaluations, and there are no",
    "evaluate --model {} --train {}/train.jsonl": "there are no rows to evaluate on",
    "evaluate --baseline majority --adapter {}/low_rank": "--baseline needs no model: leave out --adapter",
    "train --model {} --train {}/train.jsonl --teacher {} --temperature 0": "--temperature must be",
    "train --model {} --train {}/train.jsonl --teacher {} --distill-weight 2": "--distill-weight must be",
    "train --model {} --train {}/train.jsonl --save-every x": "--save-every x: write a number of steps",
    "train --model {} --train {}/train.jsonl --steps -1": "--steps must be 0 or more, not -1",
    "train --model {} --train {}/train.jsonl --epochs 0": "--epochs must be above 0",
    "train --task dialogue --train {}/train.jsonl": "--task is a built-in task, with its own rows: leave it",
    "compare --task dialogue --train {}/train.jsonl --eval {}/eval.jsonl": "--task is a built-in task",
    "evaluate --model {} --task dialogue --data {}/eval.jsonl": "--task is a built-in task",
    "train --model {} --train {}": "a folder: give one of the files in it",
    "generate --model {} x --beams 0": "--beams must be 1 or more",
    "generate --model {} x --temperature 0.5": "--temperature does nothing without --sample",
    "generate --model {} x --sample --top-p 2": "--top-p must be above 0 and at most 1, not 2.0",
    "generate --model {} x --beams 2 --length-penalty 1e5": "--length-penalty must be a number from -50",
    "chat --model {} --top-k 3": "--top-k does nothing without --sample",
    "generate --model {} x --beams 2 --sample": "leave out --sample",
    "pretrain --lr 0": "--lr must be above 0",
    "bench --model {} --batch 0": "--batch must be 1 or more",
    "info --memory --batch 0": "--batch must be 1 or more",
    "train --task chess": "no task is called 'chess': choose from ",
    "task chess": "no task is called 'chess': choose from ",
    "task data-to-text --show 0": "--show must be 1 or more",
    "train --eval {}/eval.jsonl": "--eval and --test need --train",
    "compare --test {}/eval.jsonl": "--eval and --test need --train",
    "train --metric bleu": "--metric is for files of your own",
    "train --train {}/train.jsonl --eval {}/eval.jsonl --metric meteor": "--metric: 'meteor' is not known",
    "train --train {}/story.txt --metric bleu": "story.txt: no row with a completion to score by bleu",
    "compare --train {}/train.jsonl --eval {}/none.csv": "none.csv: no such file",
    "evaluate --model {} --data {}/eval.jsonl --eval {}/eval.jsonl": "--data is the file to evaluate on",
    "evaluate --model {} --data {}/eval.jsonl --few-shot 2": "no training rows with a completion",
    "evaluate --model {} --data {}/eval.jsonl --few-shot 0": "--few-shot must be 1 or more",
    "evaluate --model {} --data {}/eval.jsonl --on-long stretch": "--on-long: 'stretch' is not known",
    "evaluate --data {}/story.txt --baseline copying": "no row with a prompt and a completion to score",
    "compare --methods none,magic": "no method is called 'magic'",
    "compare --train {}/train.jsonl": "compare needs --eval",
    "evaluate --model {} --adapter {}/none": "/none: no such folder; nothing like it is in",
    "evaluate --model {} --adapter {}/more/none": "/more/none: no such folder; nothing like it is in",
    "evaluate --model {} --adapter ./none/of/these": "./none/of/these: no such folder",
    "evaluate --model {} --adapter ../none/of/these": "../none/of/these: no such folder",
    "evaluate --model {} --adapter none_of_these": "none_of_these: no such folder",
    "evaluate --model {} --data {}/broken.jsonl": "broken.jsonl, line 2",
    "generate --model {} x --max-new-tokens 999": "do not fit the model's 320 positions",
    "generate --model {} x --device cuda": "device 'cuda' needs",
    "generate --model {} x --adapter a={}/bias --adapter a={}/prefix": "two adapters are called 'a'",
    "generate --model {} x --adapter none={}/bias": "write name=folder; none is the base",
    "generate --model {} x --adapter a={}/nowhere": "/nowhere: no such folder",
    "merge --model {} --adapter {}/prefix --out {}/merged": "prefix: PrefixTuning cannot be merged: it adds",
    "merge --model {} --adapter {}/bias --out {}": "this is the folder of the base",
    "merge --model {} --adapter {}/bias --out {}/bias": "this folder holds an adapter",
    "merge --model {} --adapter {}/none --out {}/merged": "/none: no such folder",
    "gradcheck --method foo": "no method is called 'foo'",
    "info nowhere": "nowhere: no such folder",
    "info {}/bias --memory": "an adapter; name its base here",
    "info --length 9": "--length does nothing without --memory",
    "info --set r=3": "--set does nothing without --memory",
    "info --memory --length 999": "do not fit the model's 256 positions",
    "info --memory --labelled 61": "of 2 tokens or more, of which 1 or more are labelled",
    "info --memory --method foo": "no method is called 'foo'",
    "info --memory --dropout 1": "--dropout must be 0 or more and below 1",
    "download gpt5": "no published GPT-2 is called 'gpt5'",
    "train --steps few": "--steps: invalid int value: 'few'; see minipeft train --help",
    "info one two": "two is not known; see minipeft info --help",
    "merge --adapter {}/bias": "the following arguments are required: --out",
}


@pytest.mark.parametrize("command", BAD)
def test_bad_input_is_one_clear_line_and_exit_code_2(command, folder, capsys, tmp_path, monkeypatch):
    out = ["--out", tmp_path / "out"] if command.startswith(("train", "compare")) else []
    code, _, err = call(capsys, *command.replace("{}", str(folder)).split(), *out)
    assert code == 2
    assert err.startswith("minipeft: ") and err.count("\n") == 1 and BAD[command] in err


def test_serve_says_what_to_install(folder, capsys, monkeypatch):
    for module in ("minipeft.app.serve.app", "uvicorn"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)  # as if it were not installed
    code, _, err = call(capsys, "serve", "--model", folder)
    assert code == 2 and err.startswith("minipeft: serve needs ") and "minipeft[serve]" in err


COMMANDS = [
    "compare",
    "tune-report",
    "train",
    "generate",
    "evaluate",
    "chat",
    "merge",
    "gradcheck",
    "check",
    "puzzle",
    "pretrain",
    "download",
    "info",
    "serve",
    "task",
]


def test_help_for_every_command():
    for command in COMMANDS:
        with pytest.raises(SystemExit) as done:
            main([command, "--help"])
        assert done.value.code == 0


def test_help_says_no_default_of_none_and_lists_choices(capsys):
    for command in ("train", "compare", "generate"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
    said = capsys.readouterr().out
    assert "None)" not in said and "False)" not in said and "(default: lora)" in said
    said = " ".join(said.split())
    assert "--schedule {linear,cosine,constant}" in said and "--on-long {refuse,cut,drop,split}" in said
    for method in METHODS:
        assert re.search(rf"--method NAME one of: [^;]*\b{method}\b", said)
    for name in (*BASELINES, *RECIPES):
        assert re.search(rf"--methods NAME,NAME all, or some of: [^;]*\b{name}\b", said)
    assert (
        "--batch-size int sequences in a batch (default: 8)" in said
    )  # as the docstring of Training says it
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"minipeft {minipeft.__version__}\n"


@pytest.mark.parametrize(
    "words, meant",
    [
        ("trian", "train"),
        ("train --method lroa", "lora"),
        ("train --set lora_alfa=3", "lora_alpha"),
        ("compare --methods ia3,lroa", "lora"),
        ("compare --sweep rr=3,4", "r"),
        ("task sentimnet", "sentiment"),
        ("train --task sentimnet", "sentiment"),
        ("methods prefix", "prefix_tuning"),
        ("train --on-long cutt", "cut"),
        ("evaluate --on-long cutt", "cut"),
        ("compare --schedule cosin", "cosine"),
        ("train --ops fasst", "fast"),
        ("evaluate --metric blue", "bleu"),
        ("evaluate --baseline majorty", "majority"),
        ("download gpt-medium", "gpt2-medium"),
        ("evaluate --model weights/tny", "weights/tiny"),
        ("evaluate --model ./wieghts/tiny", "weights/tiny"),
    ],
)
def test_it_says_what_may_have_been_meant(words, meant, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert main(words.split()) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("minipeft: ") and f"did you mean {meant}?" in line


def test_an_option_that_is_not_known_is_a_line_with_the_nearest(capsys):
    assert main(["train", "--batchsize", "3", "--json"]) == 2
    said = capsys.readouterr()
    assert (
        said.err
        == "minipeft: --batchsize is not known: --batch-size may be meant; see minipeft train --help\n"
    )
    assert json.loads(said.out)["error"] in said.err


@pytest.mark.parametrize(
    "written", ["lw_rank", "./lw_rank", "../{}/lw_rank", "{path}/lw_rank", "{path}/bais/x"]
)
def test_a_mistyped_path_of_an_adapter_is_no_name_on_the_hub(written, folder, capsys, monkeypatch):
    def hub(*_):
        raise AssertionError("the hub was asked")

    monkeypatch.setattr("minipeft.files.hub.fetch", hub)
    monkeypatch.chdir(folder)
    adapter = written.replace("{path}", str(folder)).replace("{}", folder.name)
    assert main(["evaluate", "--model", str(folder), "--adapter", adapter]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    meant = f"did you mean {Path(adapter).parent / 'low_rank'}?" if "lw" in written else "nothing like it"
    assert line.startswith(f"minipeft: {adapter}: no such folder; ") and meant in line


def test_help_fits_a_terminal_of_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for command in [*COMMANDS, "methods", "bench"]:
        with pytest.raises(SystemExit):
            main([command, "--help"])
        for line in capsys.readouterr().out.splitlines():
            assert len(line) <= 80, (command, line)


def test_python_says_the_name_of_a_setting_and_the_command_line_its_option():
    with pytest.raises(InputError, match=r"^batch_size must be 1 or more, not 0$"):
        Training(batch_size=0)
    with pytest.raises(InputError, match=r"^on_long 'cutt' is not known: did you mean cut\?"):
        encode_rows([], None, "cutt")


def test_a_closed_pipe_ends_quietly():
    command = f"{sys.executable} -m minipeft info | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "" and done.stdout.count("\n") == 1


def test_training_says_its_losses_and_what_it_doubts(folder, tmp_path, capsys):
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "name : A ||", "completion": " A is."}\n' * 4)
    words = [
        "--model",
        str(folder),
        "--train",
        str(rows),
        "--steps",
        "2",
        "--quiet",
        "--out",
        str(tmp_path / "o"),
    ]
    large = ["--method", "adapter", "--set", "reduction_factor=0.01"]
    assert main(["train", *words, *large]) == 0
    said = capsys.readouterr()
    assert "training loss" in said.out and "at the first step" in said.out
    for doubt in ("2 steps will hardly", "parameters, more than the base", "no rows to evaluate on"):
        assert doubt in said.err
    assert main(["train", *words, "--steps", "0", "--epochs", "1"]) == 0  # the later --steps counts
    said = capsys.readouterr()
    assert "minipeft: 1 step will hardly" in said.err and "\n1 step in " in said.out
    assert main(["train", *words, "--steps", "0", "--epochs", "10", "--batch-size", "4"]) == 0
    assert "hardly" not in capsys.readouterr().err  # ten steps


@pytest.mark.parametrize("name", ["tiny-seq_bn", "hub-fusion", "tiny-lora-all"])
def test_info_knows_the_folders_of_every_format(name, capsys):
    about = result_of(capsys, "info", REFERENCE / name)
    assert about["kind"] == "adapter" and about["parameters"] > 100 and about["file_mb"] > 0
    code, text, _ = call(capsys, "info", REFERENCE / name)
    said = {"tiny-seq_bn": "config.non_linearity relu", "hub-fusion": "adapter_names food, people",
            "tiny-lora-all": "lora_alpha 6"}  # fmt: skip
    assert code == 0 and f"\n    {said[name]}\n" in text and "{" not in text and "None" not in text


def test_an_import_brings_no_heavy_library():
    """How long it takes: tests/test_book.py."""
    code = (
        "import sys; import minipeft;"
        "heavy = {'tokenizers', 'huggingface_hub', 'torch', 'tqdm', 'threadpoolctl', 'sacrebleu', 'nltk'};"
        "heavy &= set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_python_m_minipeft_is_minipeft():
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "minipeft", "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "compare" in done.stdout and time.perf_counter() - begin < 20


def test_ctrl_c_while_the_command_line_is_imported_is_one_line():
    code = (
        "import os, signal, sys\n"
        "import minipeft.__main__ as start\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'minipeft.app.commands': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupt())\n"
        "sys.exit(start.main())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 130 and done.stderr == "minipeft: interrupted; nothing was begun\n"
