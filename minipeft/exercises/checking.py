"""The order of looking: does it run, the forward, shapes, every number; then the cause of what is wrong."""

from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..gradcheck import TOLERANCE, check_array
from . import files
from .diagnose import diagnose, picture
from .exercise import WITHOUT_THE_LAST, in_letters, shapes
from .features import Seen, close
from .named import find
from .own import look_at_own
from .running import Told, load, namespace, run, run_in_turn

PROBES = (0, 1, 2)  # seeds: sizes and numbers differ, so that what holds on all three is no accident
MOST = 2  # causes that are told at once


@dataclass
class Report:
    """ok: is everything right? lines: what to say."""

    ok: bool
    lines: list = field(default_factory=list)

    def __str__(self):
        return "\n".join(self.lines)


def check(exercise, *functions):
    """Check functions of your own, from a notebook: `check("10", lora, lora_backward)`. -> is it right?

    It prints what is right, and why a wrong number is wrong. exercise: its number, name or path. functions:
    those that the exercise leaves open, in its order or by their names; what it gives is taken from it.
    Raises InputError for another number of them.
    """
    exercise = find(exercise)
    if len(functions) != len(exercise.holes):
        raise InputError(f"exercise {exercise.number} takes {' and '.join(exercise.holes)}")
    names = [f.__name__ for f in functions]
    names = names if set(names) == set(exercise.holes) else exercise.holes
    given = load(files.solution(exercise))
    report = look_at(exercise, namespace(given, dict(zip(names, functions, strict=True))))
    print(f"{exercise.number}  {exercise.title}", report, sep="\n")
    return report.ok


def check_file(exercise, path):
    """The Report on a learner's file. It says which file, and its first line."""
    path = Path(path)
    first = files.first_line(path)
    try:
        module = load(path)
        report = look_at(exercise, namespace(module))
    except Told as told:
        report = Report(False, list(told.lines))
    return Report(report.ok, [f"{exercise.number}  {path}: {first}", *report.lines])


def look_at(exercise, functions):
    """The Report on functions, in a namespace."""
    try:
        if missing := [name for name in exercise.holes if not hasattr(functions, name)]:
            raise Told(f"{' and '.join(missing)} is not in the file.")
        if exercise.number == "19":
            return Report(True, look_at_own(functions))
        return Report(True, looked_at(exercise, functions))
    except Told as told:
        return Report(False, list(told.lines))


def looked_at(exercise, functions, seeds=PROBES):
    """Lines on functions that are right in all. Raises Told, with the cause, where they are not."""
    probes = [exercise.truth(exercise.draw(seed)) for seed in seeds]
    twins = probes[0], exercise.draw(seeds[0], other=True)
    alone = [run(exercise, functions, v, quiet=k > 0) for k, v in enumerate(twins)]
    by_its_arguments(exercise, functions, twins, alone)
    results = [alone[0], *(run(exercise, functions, v) for v in probes[1:])]
    by_its_arguments(exercise, functions, probes[:2], results[:2])  # of other sizes
    lines = judged(exercise, functions, probes, results)
    other = exercise.truth(exercise.draw(WITHOUT_THE_LAST))
    compared(exercise, functions, [other], [run(exercise, functions, other)])
    return lines


def by_its_arguments(exercise, functions, probes, alone):
    """Raise Told where two probes, run in turn, give other results than each of them alone.

    So it is with two layers of a model, or two tensors of an optimizer.
    """
    values = [value for result in alone for value in result.values()]
    if not all(np.issubdtype(a.dtype, np.floating) and np.isfinite(a).all() for a in values):
        return  # `well_formed` will tell
    try:
        pairs = list(zip(run_in_turn(exercise, functions, probes), alone, strict=True))
    except Told as told:
        raise Told(f"alone it runs; {BETWEEN} it stops: {told.lines[0]}", KEPT) from None
    names = shapes(exercise.outputs)
    if changed := [name for name in names if not all(close(r[name], a[name]) for r, a in pairs)]:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise Told(f"{', '.join(changed[:3])}{more}: other numbers than alone {BETWEEN}.", KEPT)


BETWEEN = "when calls on other inputs come in between"
KEPT = "What is read that came in no argument: a global, say, that another call has written?"


def judged(exercise, functions, probes, results):
    """The same, of what the functions gave on each probe."""
    right = compared(exercise, functions, probes, results)
    lines = [f"right: {', '.join(right)}, on {len(probes)} probes."]
    if exercise.of:
        worst = max(differences(exercise, functions, probes[0], name) for name in exercise.of)
        if worst > TOLERANCE:
            raise Told(
                f"the derivative by differences is another: relative error {worst:.2g}.",
                "Does your forward give the same numbers in each call?",
            )
        lines.append(f"Differences of your own forward agree: worst relative error {worst:.0e}.")
    return lines


def compared(exercise, functions, probes, results):
    """The names of the results, all of them right. Raises Told, with the cause, where one is not."""
    for names in exercise.together:
        in_their_order(names, probes, results)
    wrong = {}
    for name in shapes(exercise.outputs):
        yours, true = [r[name] for r in results], [v.true[name] for v in probes]
        for value, v in zip(yours, probes, strict=True):
            well_formed(name, value, v)
        if not all(close(g, t) for g, t in zip(yours, true, strict=True)):
            wrong[name] = Seen(name, yours, true, probes, exercise)
    forward = {name: seen for name, seen in wrong.items() if name in (exercise.upstream or {})}
    right = [name for name in shapes(exercise.outputs) if name not in wrong]
    if wrong:
        raise Told(*told_of(exercise, functions, forward or wrong, right))
    return right


def in_their_order(names, probes, results):
    """Raise Told where these results are all right, and each in another's place."""
    for order in permutations(names):
        pairs = [(r[name], v.true[at]) for r, v in zip(results, probes, strict=True)
                 for name, at in zip(names, order, strict=True)]  # fmt: skip
        if order != names and all(close(g, t) for g, t in pairs):
            raise Told(
                f"what comes back as {', '.join(names)} is {', '.join(order)}.",
                "In which order does the docstring name them?",
            )


def well_formed(name, value, v):
    """Raise Told unless it is an array of finite float64 numbers."""
    if not np.issubdtype(value.dtype, np.floating):
        raise Told(f"{name} holds {value.dtype}; it should hold float64.")
    if value.dtype != np.float64:
        raise Told(f"{name} is {value.dtype}; the inputs are float64.", "Where is precision lost?")
    if not np.isfinite(value).all():
        bad, shape = int((~np.isfinite(value)).sum()), in_letters(value.shape, v.sizes)
        raise Told(
            f"{name} {shape}: {bad} of {value.size} entries are not finite.",
            "What is divided by what, and what stands under a root?",
        )


def told_of(exercise, functions, wrong, right):
    """Lines: what is right; for each wrong result the fact and its question, equal ones together."""
    causes, diagnosed = {}, {name: diagnose(seen) for name, seen in wrong.items()}
    unseen = [name for name, found in diagnosed.items() if found is None]
    known = [name for name in wrong if name not in unseen]
    for name in sorted(known, key=lambda name: diagnosed[name].mistakes):  # one mistake before two at once
        found, seen = diagnosed[name], wrong[name]
        asked = found.questions
        if len(asked) > 1:
            asked = ("Several causes give these numbers:", *(f"- {question}" for question in asked))
        exact = exercise.of and name in exercise.of and follows_forward(exercise, functions, seen)
        said = (found.fact, *(["It is the exact derivative of the forward."] if exact else []), *asked)
        causes.setdefault(said, []).append(name)
    lines, shown = [f"right: {', '.join(right)}"] if right else [], []
    for (fact, *rest), names in list(causes.items())[:MOST]:
        lines += [f"{', '.join(names)}: {fact}", *(f"    {line}" for line in rest)]
        shown += names
    if unseen and len(causes) < MOST:
        first, *rest = picture(wrong[unseen[0]])
        lines += [f"{unseen[0]}: {first}", *(f"    {line}" for line in rest)]
        shown += unseen[:1]
    if left := [name for name in wrong if name not in shown]:
        lines.append(f"wrong, too: {', '.join(left)}")
    return lines


def follows_forward(exercise, functions, seen):
    """Is this wrong gradient, for all that, the derivative of the learner's own forward?"""
    v, g, t = next(
        (v, g, t) for v, g, t in zip(seen.v, seen.yours, seen.true, strict=True) if not close(g, t)
    )
    return g.shape == t.shape and differences(exercise, functions, v, seen.name, g, elements=3) < TOLERANCE


def differences(exercise, functions, v, name, gradient=None, elements=None):
    """The worst relative error of a gradient, by default the true one, against differences of the forward."""
    array = getattr(v, exercise.of[name]).copy()
    moving = type(v)(**vars(v) | {exercise.of[name]: array})

    def loss():
        outputs = run(exercise, functions, moving, until=exercise.upstream)
        for y, dy in exercise.upstream.items():
            if outputs[y].shape != np.shape(getattr(v, dy)):
                raise Told(f"called again, {y} has another shape.", "What does the first call leave behind?")
        return sum(float((outputs[y] * getattr(v, dy)).sum()) for y, dy in exercise.upstream.items())

    gradient = v.true[name] if gradient is None else gradient
    return check_array(loss, array, gradient, np.random.default_rng(0), elements)
