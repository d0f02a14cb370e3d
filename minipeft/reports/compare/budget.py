"""`--budget 10m`: the same number of steps for all methods, so many that all runs together take that long.

A short run of each method on each task is timed first. A run of n steps, evaluated ten times, then takes

    fixed + n step + 10 evaluation        seconds

where "fixed" is all else: starting, reading the model, scoring the test rows. The sum over all runs gives n.
"""

import json
import re
import statistics
from dataclasses import dataclass, replace

from ...errors import InputError, counted

PROBE = {"steps": 6, "eval_every": 6}
EVALUATIONS = 10  # on the way, of every run
REPORT = 4  # seconds for each task's pictures
MARGIN = 0.9  # of the time is planned for: a run may be slower than its probe was


@dataclass(frozen=True)
class Cost:
    """Seconds of one run: of all that does not depend on the steps, of a step, of an evaluation."""

    fixed: float
    step: float
    evaluation: float


def read_budget(text):
    """ "90s", "2m", "1.5h" -> seconds. Raises InputError for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if not found or not float(found[1]):
        raise InputError(f"--budget {text}: write a time in seconds, minutes or hours, such as 90s, 2m or 1h")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]]


def probe_of(plan, task, name):
    """The short run by which a method is timed: the last variant of its sweep, the dearest as a rule."""
    short = replace(plan, out=plan.out / "probes", settings=plan.settings | PROBE)
    return short.tried(task, name)[-1]


def cost_of(result, folder):
    """The Cost of a run that was timed, from its result and its metrics.jsonl; it had one evaluation."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    steps = [row["seconds"] for row in rows if "loss" in row]
    elapsed = result["evals"][0]["elapsed"]
    return Cost(
        fixed=result["wall_seconds"] - elapsed,
        step=statistics.median(steps[1:]),  # the first one fills caches
        evaluation=elapsed - sum(steps),
    )


def steps_within(seconds, costs):
    """How many steps each of the runs (a Cost each) may take so that all end within `seconds`.

    Raises InputError where not even one step each fits.
    """
    fixed = sum(cost.fixed + EVALUATIONS * cost.evaluation for cost in costs)
    step = sum(cost.step for cost in costs)
    steps = int((seconds - fixed) / step) if costs else 1  # where every probe failed, each run will say why
    if steps < 1:
        raise InputError(
            f"--budget is too short: what is left of it is {max(0, seconds):.0f} s, and with one step each "
            f"{counted(len(costs), 'run')} would take {fixed + step:.0f} s; allow more, or fewer methods"
        )
    return steps


def with_steps(plan, steps):
    """The plan with so many steps for every method, evaluated EVALUATIONS times on the way."""
    chosen = {"steps": steps, "eval_every": -(-steps // EVALUATIONS)}  # rounded up
    return replace(plan, settings=plan.settings | chosen)
