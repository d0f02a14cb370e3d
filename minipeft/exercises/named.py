"""All exercises by number, and how one is found: by number, name or path."""

from pathlib import Path

from ..errors import InputError, choose_from
from . import adapter, attention, beside_weights, operations, own, tokens, training, virtual

GROUPS = (operations, attention, tokens, training, beside_weights, virtual, adapter, own)
EXERCISES = {
    exercise.number: exercise
    for exercise in sorted((e for group in GROUPS for e in group.EXERCISES), key=lambda e: e.number)
}


def find(said):
    """The exercise of a number (10, "10"), a name ("lora", "10_lora") or a path. Raises InputError."""
    name = Path(str(said)).name.removesuffix(".py")
    number = f"{int(name):02d}" if name.isdecimal() else name[:2]
    if number in EXERCISES and name in (str(int(number)), number, EXERCISES[number].name):
        return EXERCISES[number]
    for exercise in EXERCISES.values():
        if name == exercise.name[3:]:
            return exercise
    names = [exercise.name for exercise in EXERCISES.values()]
    raise InputError(f"no exercise is called {str(said)!r}: {choose_from(name, names)}")
