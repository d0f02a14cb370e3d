"""What one backward pass did: which lines ran, and on which line the gradient of each tensor was formed."""

import sys
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from .planting import places


@dataclass
class Seen:
    """lines: the (file, number) that ran in backward functions.  formed: {tensor: (file, number)}."""

    lines: set = field(default_factory=set)
    formed: dict = field(default_factory=dict)


@contextmanager
def lines_run():
    """`with lines_run() as lines:` in the end these are the (file, number) that ran in backward functions."""
    backward, lines = _backward_functions(), set()

    def line(frame, event, value):
        if event == "line":
            lines.add((frame.f_code.co_filename, frame.f_lineno))
        return line

    def called(frame, event, value):
        code = frame.f_code
        return line if (code.co_filename, code.co_name) in backward else None

    with _traced(called):
        yield lines


def look(peft, batch):
    """What `peft.loss_and_grads(batch)` does, as a Seen.

    A gradient is formed where its array is first seen: after each line of a backward function the function's
    variables are searched for new arrays. One that nobody had before is of that line.
    """
    backward = _backward_functions()
    seen, first, alive = Seen(), {}, []
    at = lambda frame: (frame.f_code.co_filename, frame.f_lineno) if is_backward(frame) else None
    is_backward = lambda frame: (frame.f_code.co_filename, frame.f_code.co_name) in backward

    def local(last):
        def trace(frame, event, value):
            file = frame.f_code.co_filename
            new = list(_arrays([*frame.f_locals.values(), value if event == "return" else None]))
            for array in new:
                first.setdefault(id(array), (file, last[0]))
                alive.append(array)  # its id is nobody else's as long as it lives
            last[0] = frame.f_lineno
            if event == "line":
                seen.lines.add((file, frame.f_lineno))
            return trace

        return trace

    def called(frame, event, value):
        if not is_backward(frame):
            return None
        for array in _arrays(frame.f_locals.values()):  # what it was given is of its caller's line
            first.setdefault(id(array), at(frame.f_back))
            alive.append(array)
        return local([frame.f_lineno])

    with _traced(called):
        _, grads = peft.loss_and_grads(batch)
    seen.formed = {name: first.get(id(grads[name])) for name in peft.trainable}
    return seen


def _backward_functions():
    """{(file, name)} of all."""
    return {(str(where.path), where.name.split(".")[-1]) for where in places().values()}


@contextmanager
def _traced(called):
    """What Python calls in this thread is told to `called`, see `sys.settrace`; then as before."""
    before = sys.gettrace()
    sys.settrace(called)
    try:
        yield
    finally:
        sys.settrace(before)


def _arrays(values):
    """All arrays in these values, and in the tuples, lists and dicts among them."""
    for value in values:
        if isinstance(value, np.ndarray):
            yield value
        elif isinstance(value, tuple | list):
            yield from _arrays(value)
        elif isinstance(value, dict):
            yield from _arrays(value.values())
