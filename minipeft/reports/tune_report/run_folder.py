"""A finished run, read from its folder: what was trained, on what, and how it went."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ...data.batches import load_pairs
from ...errors import InputError
from ...files.json_files import parse_json, read_object
from ...methods import Chain
from ...model import load_model
from ...peft_model import PeftModel
from ...tasks import TASKS
from ...tasks.named import split_rows, task_of
from ...train import Training
from .probe import measure

ROWS = 100  # rows that are measured on, at most
BASE = "base_model_name_or_path"  # of adapter_config.json


@dataclass
class FinishedRun:
    """folder, what `minipeft train` wrote there, the model with the adapter, and rows to measure it on.

    result, settings  of result.json and settings.json; empty where the run was not finished
    steps, evals      of metrics.jsonl: one dict per step, one per evaluation
    pairs             (prompt ids, completion ids) of at most ROWS rows; None: the run does not say which
    rows              which these are, in words
    """

    folder: Path
    result: dict
    settings: dict
    steps: list
    evals: list
    peft: PeftModel
    pairs: list | None
    rows: str

    @property
    def out(self):
        """The folder of the report and its pictures."""
        return self.folder / "tune-report"

    @property
    def method_name(self):
        """The method, or those of a chain."""
        method = self.peft.method
        return " + ".join(type(m).__name__ for m in (method.methods if type(method) is Chain else [method]))

    @cached_property
    def methods(self):
        """The methods of the run, one by one: the parts of chains and hybrids."""
        return parts(self.peft.method)

    def with_section(self, name):
        """The methods that say of themselves that this section explains them."""
        return with_section(self.methods, name)

    @cached_property
    def step(self):
        """What a forward pass reads, the methods' `start` done: no table is left inside its network."""
        return self.peft.step()

    @cached_property
    def measured(self):
        """What a forward pass over the rows shows: see `probe.measure`. None without rows."""
        return measure(self.peft, self.step, self.pairs) if self.pairs else None


def with_section(methods, name):
    """Those of the methods that say of themselves that the section `name` explains them."""
    return [m for m in methods if m.about and m.about.section == name]


def parts(method):
    """A method -> [itself]; a chain, or a hybrid, which is one -> the parts of its parts."""
    return [part for m in method.methods for part in parts(m)] if isinstance(method, Chain) else [method]


def read_run(folder, model=None, task=None, data=None, ops="fast"):
    """A folder -> FinishedRun. model, task, data: instead of what the run's own files name.

    ops: as `load_model` takes it.

    Raises InputError where the folder is no run, or its model or data are not to be found.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    if not (folder / "metrics.jsonl").is_file():
        raise InputError(f"{folder}: no metrics.jsonl there: give a folder that `minipeft train` wrote")
    result, settings = (read_if_there(folder / f"{name}.json") for name in ("result", "settings"))
    metrics = read_metrics(folder / "metrics.jsonl")
    model = model or result.get("model") or read_if_there(folder / "adapter_config.json").get(BASE)
    if model is None:
        raise InputError(f"{folder}: its files do not name the model that was trained on: give --model")
    peft = PeftModel.from_pretrained(load_model(model, base=result.get("quantization"), ops=ops), folder)
    pairs, rows = rows_to_measure(result, task, data)
    if pairs is not None:
        on_long = settings.get("on_long", Training.on_long)
        pairs = load_pairs(pairs, peft, on_long)[0][:ROWS]
    steps, evals = [r for r in metrics if "loss" in r], [r for r in metrics if "eval_loss" in r]
    return FinishedRun(folder, result, settings, steps, evals, peft, pairs, rows)


def rows_to_measure(result, task, data):
    """The rows to measure on, as `load_pairs` takes them, and which they are: the run's evaluation rows."""
    if task and data:
        raise InputError("rows of a task, or of a file: leave out --task or --data")
    if not task and not data:
        data = result.get("eval_data") or result.get("data")
        task = result.get("task") if result.get("task") in TASKS else None
    if task:
        return split_rows(task_of(task), "validation"), f"validation rows of {task}"
    return (data, f"rows of {data}") if data else (None, "")


def read_if_there(path):
    """A JSON file as a dict; {} where there is none."""
    return read_object(path) if path.is_file() else {}


def read_metrics(path):
    """metrics.jsonl as a list of dicts. Raises InputError with the line that is not JSON."""
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        rows.append(parse_json(line, f"{path}, line {number}"))
    if not any("loss" in row for row in rows):
        raise InputError(f"{path}: no training step is in it")
    return rows
