"""The built-in tasks by name, and how many rows of a task are read."""

from ..errors import InputError, choose_from
from . import TASKS
from .own import OwnData

TASK_ROWS = {"train": 2000, "validation": 100, "test": 200}  # rows of a built-in task


def task_of(name):
    """The built-in task `name`. Raises InputError with the names there are."""
    if name not in TASKS:
        raise InputError(f"no task is called {name!r}: {choose_from(name, TASKS)}")
    return TASKS[name]


def split_rows(task, split):
    """The rows of a split: of a user's own files all there are, of rules that never end TASK_ROWS."""
    return task.rows(split, None if isinstance(task, OwnData) else TASK_ROWS[split])
