"""Answers to exercises, for the tests: solutions with something replaced."""

from pathlib import Path

from minipeft.exercises import files
from minipeft.exercises.checking import PROBES, check_file, judged, look_at
from minipeft.exercises.named import EXERCISES
from minipeft.exercises.running import Told, load, namespace, run

ROOT = Path(__file__).parents[1]
NUMBERS = list(EXERCISES)
BY_NUMBERS = [number for number in NUMBERS if number != "19"]  # all but the capstone


def solution_text(number):
    """The solution's file, as text."""
    return files.solution(EXERCISES[number]).read_text(encoding="utf-8")


def solved(number):
    """The solution's functions."""
    return namespace(load(files.solution(EXERCISES[number])))


def answered(number, code):
    """The report on the solution with functions of `code` in the place of its own."""
    module = load(files.solution(EXERCISES[number]))
    exec(compile(code, "answer.py", "exec"), module.__dict__)
    return look_at(EXERCISES[number], namespace(module))


def changed(tmp_path, number, *pairs):
    """The report on the solution's file with pieces of its text replaced: each must be in it once."""
    text = solution_text(number)
    for old, new in pairs:
        assert text.count(old) == 1, (number, old, text.count(old))
        text = text.replace(old, new)
    path = tmp_path / f"{EXERCISES[number].name}.py"
    path.write_text(text, encoding="utf-8")
    return check_file(EXERCISES[number], path)


def with_values(number, make):
    """What is said where tensors have other values. make: (values of a probe) -> {tensor: value}."""
    exercise, functions = EXERCISES[number], solved(number)
    probes = [exercise.truth(exercise.draw(seed)) for seed in PROBES]
    results = [run(exercise, functions, v) | make(v) for v in probes]
    try:
        return "\n".join(judged(exercise, functions, probes, results)), True
    except Told as told:
        return "\n".join(told.lines), False
