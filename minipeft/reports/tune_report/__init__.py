"""`minipeft tune-report RUN`: what one run did to the model, in pictures and words.

    report = tune_report("runs/lora")        # writes runs/lora/tune-report/report.html, report.md, pictures

Each section is a module with `section(run)`: a `Section`, or None where the run has no such method.
"""

import json

from ...errors import counted
from ...version import __version__
from ..pages import write_page
from . import attention, curves, edits, moved, scales, soft_prompts, updates
from .run_folder import read_run

SECTIONS = {  # in the page's order
    "curves": curves,
    "soft_prompts": soft_prompts,
    "attention": attention,
    "updates": updates,
    "scales": scales,
    "edits": edits,
    "moved": moved,
}


def tune_report(folder, model=None, task=None, data=None, progress=True, ops="fast"):
    """Write folder/tune-report. -> {"folder", "method", "model", "summary": {section: line}, "numbers": ...}.

    model, task, data: instead of the model and the evaluation rows that the run's files name.
    ops: as `load_model` takes it.
    Raises InputError where the folder is no run, or its model or rows are not there.
    """
    from tqdm import tqdm

    run = read_run(folder, model, task, data, ops)
    sections = {}
    for name, module in tqdm(
        SECTIONS.items(), desc="report", unit="section", disable=None if progress else True
    ):
        if (section := module.section(run)) is not None:
            sections[name] = section
    method = run.method_name
    name = run.peft.model.name
    parts = [about(run, method), *(f"## {s.title}\n\n{s.text}" for s in sections.values()), settings_of(run)]
    write_page(run.out, f"{method} on {name}", "\n\n".join(parts))
    return {
        "folder": str(run.out),
        "method": method,
        "model": name,
        "summary": {key: s.summary for key, s in sections.items()},
        "numbers": {key: s.numbers for key, s in sections.items()},
    }


def about(run, method):
    """What the run was, at the top of the page."""
    trains = f"{run.peft.num_trainable:,} of {run.peft.num_parameters:,} parameters train"
    finished = f", finished {run.result['finished']}" if "finished" in run.result else ""
    lines = [f"The run in `{run.folder}`: {method}, {trains}; {counted(len(run.steps), 'step')}{finished}."]
    if run.result.get("scores"):
        scores = ", ".join(f"{key} {100 * value:.1f} %" for key, value in run.result["scores"].items())
        lines.append(f"On the task's test rows: {scores}.")
    return " ".join(lines)


def settings_of(run):
    """What it takes to run it again, at the end."""
    told = {key: run.result[key] for key in ("task", "data", "eval_data") if run.result.get(key)}
    told |= run.result.get("configuration", {}) | run.settings
    lines = [f"{key} = {json.dumps(value)}" for key, value in told.items()]
    return "\n".join(["## Settings", "", "```", *lines, f"minipeft {__version__}", "```"])
