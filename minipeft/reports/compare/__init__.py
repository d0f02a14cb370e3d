"""`minipeft compare`: the same data, several methods, one table with pictures.

Each run has a process of its own, so that its peak memory is its own; it is an ordinary `minipeft train`
(for what does not train `minipeft evaluate`), whose command is printed and kept.

    recipes.py    what is compared, with which settings         plan.py       the runs: commands and folders
    sweep.py      several settings of a method, the best counts budget.py     as many steps as fit a time
    processes.py  a run, and the bar over all runs              table_rows.py the seeds of a method: one row
    table.py, drawings.py, labels.py, claims.py, report.py      what is shown
"""

import time
from pathlib import Path

from ...cost.machine import this_machine, versions
from ...errors import InputError, counted
from ...files.hub import find_folder
from ...files.json_files import read_object, write_json
from ...files.run_folder import run_folder
from ...train import Training
from .budget import MARGIN, REPORT, cost_of, probe_of, read_budget, steps_within, with_steps
from .claims import findings
from .plan import Plan
from .processes import Runner
from .recipes import names_of
from .report import in_terminal, write_report
from .sweep import best, read_sweep
from .table_rows import table_rows

__all__ = ["Plan", "compare", "in_terminal"]


def compare(
    model, out, sources, methods=None, device="cpu", seeds=1, sweep=(), budget=None, scored=True,
    base=None, ops="fast", progress=True, command="", workers=1, **settings,
):  # fmt: skip
    """Run the baselines and methods on every task; write results.json, the report and its pictures to `out`.

    sources: {task: what a command is told of its data}, such as {"sentiment": ("--task", "sentiment")};
    scored: False where that data has a loss and no score. methods: names, or ["all"]; without them those in
    `recipes.DEFAULT`. seeds: runs of each method. sweep: as in `sweep.read_sweep`. budget: "2m", the time for
    the whole, instead of steps. base, ops: of all runs, as `load_model` takes them. settings: of
    `Training`, for all alike. command: as typed, for the report. workers: so many runs side by side; their
    numbers stay the same, their times are those of shared cores.

    Returns what results.json holds: {"rows": the table, "runs": all results, "findings", "versions", ...}.
    What `out` holds already from the same command, data, base and code is not run again: see `Run.content`.
    Raises InputError for bad settings before any run, and where every run failed; KeyboardInterrupt, after
    Ctrl-C, with how many runs there are.
    """
    names = names_of(methods, scored)
    if list(methods or ()) == ["all"]:
        names = [name for name in names if name != "lora_random" or not model.startswith("random:")]
    swept = read_sweep(sweep, names)
    plan = Plan(model, Path(out), sources, tuple(names), device, seeds, settings, swept, base, ops)
    check(plan, budget, workers)
    with run_folder(plan.out):
        results, steps = run_all(plan, budget, progress, workers)
    rows = table_rows(results)
    if all("failed" in row for row in rows):
        raise InputError(f"every run failed, {len(results)} in all; the first: {results[0]['failed']}")
    comparison = {
        "model": model, "base": base, "ops": ops, "device": device, "command": command,
        "seed": plan.first_seed, "seeds": seeds, "workers": workers,
        "settings": settings, "sweep": plan.sweep, "budget": budget and {"asked": budget, "steps": steps},
        "versions": versions(), "machine": this_machine(device), "date": time.strftime("%Y-%m-%d %H:%M"),
        "wall_seconds": sum(r.get("wall_seconds", 0) for r in results),
        "rows": rows, "findings": findings(rows), "runs": results,
    }  # fmt: skip
    write_json(plan.out / "results.json", comparison)
    write_report(comparison, plan.out, progress)
    return comparison


def check(plan, budget, workers):
    """Raise InputError now for what every run would stumble over later."""
    for option, number in (("--seeds", plan.seeds), ("--workers", workers)):
        if number < 1:
            raise InputError(f"{option} must be 1 or more, not {number}")
    if budget and workers > 1:
        raise InputError("--budget plans runs one after another: leave out --workers")
    given = [name for name in ("steps", "epochs", "eval_every") if name in plan.settings | plan.sweep]
    if budget and given:
        raise InputError(f"--budget chooses the steps: leave out --{given[0].replace('_', '-')}")
    if "epochs" in plan.sweep and "steps" in plan.settings | plan.sweep:
        raise InputError("--sweep epochs: with --steps every run has as many: leave out one of the two")
    if budget:
        read_budget(budget)
    if plan.settings.get("save_every"):
        raise InputError("a comparison goes on from whole runs, not from within one: leave out --save-every")
    Training(**plan.settings)
    if not plan.model.startswith("random:"):
        find_folder(plan.model)
    elif "lora_random" in plan.names:
        raise InputError(f"{plan.model} has random weights already: leave out lora_random")


def run_all(plan, budget, progress, workers):
    """All runs, `workers` at a time. -> their results, "chosen" being those that count; a budget's steps.

    A sweep is made with the first seed; the best of each method is then repeated with the other seeds.
    """
    begin, steps = time.perf_counter(), None
    probes = len(plan.sources) * len(plan.methods) if budget else 0
    runner = Runner(plan.count + probes, progress, workers)
    try:
        baselines = runner.all([run for task in plan.sources for run in plan.baselines(task)])
        results = [result | {"chosen": True} for result in baselines]
        if budget:
            steps = steps_for(plan, budget, runner, begin)
            plan = with_steps(plan, steps)
        groups = [plan.tried(task, name) for task in plan.sources for name in plan.methods]
        groups = parted(runner.all([run for runs in groups for run in runs]), groups)
        best_runs = []
        for tried in groups:
            result, run = chosen_of(tried)
            results += [each | {"chosen": each is result} for each, _ in tried]
            if "failed" in result:
                runner.skip(plan.seeds - 1)  # nothing to repeat
            else:
                best_runs.append(run)
        repeats = runner.all([again for run in best_runs for again in plan.repeats(run)])
        results += [result | {"chosen": True} for result in repeats]
    except KeyboardInterrupt as stop:
        raise type(stop)(f"after {runner.done} of {runner.total} runs") from None
    finally:
        runner.close()
    return results, steps


def parted(results, groups):
    """The results of all runs, one behind the other -> [(result, run), ...] of each group."""
    results = iter(results)
    return [[(next(results), run) for run in runs] for runs in groups]


def chosen_of(tried):
    """The (result, run) that counts among those of a sweep."""
    chosen = best([result for result, _ in tried])
    return next(pair for pair in tried if pair[0] is chosen)


def steps_for(plan, budget, runner, begin):
    """How many steps each run may take so that all end `budget` after `begin`; chosen once for a folder."""
    path, runs = (
        plan.out / "budget.json",
        [plan.tried(task, name) for task in plan.sources for name in plan.methods],
    )
    asked = {
        "budget": budget,
        "seeds": plan.seeds,
        "commands": [run.command for tried in runs for run in tried],
    }
    if path.is_file() and (kept := read_object(path)).get("asked") == asked:
        runner.skip(len(runs))  # nothing is timed again: going on, the steps have to be the same
        return kept["steps"]
    costs = []
    for tried in runs:
        probe = probe_of(plan, tried[0].task, tried[0].name)
        result = runner(probe)
        if "failed" not in result:
            costs += [cost_of(result, probe.folder)] * (len(tried) + plan.seeds - 1)
    end = begin + MARGIN * read_budget(budget) - REPORT * len(plan.sources)
    steps = steps_within(end - time.perf_counter(), costs)
    write_json(path, {"asked": asked, "steps": steps})
    runner.say(f"--budget {budget}: {counted(steps, 'step')} for each method")
    return steps
