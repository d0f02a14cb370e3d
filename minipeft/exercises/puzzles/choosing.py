"""A puzzle, and one drawn at random: kept only if the gradient check finds it and nothing raises."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...errors import InputError
from . import probe
from .looking import look
from .mutations import changed_lines, mutants
from .planting import Place, places, planted

LEVELS = {
    1: "the gradient that is wrong is formed on the line itself",
    2: "it is formed on another line of the same function",
    3: "it is formed in another function",
}


@dataclass(frozen=True)
class Puzzle:
    """A bug in a function, and the methods under which it shows.

    name: of the state and the command.  where: the function.  text: it, changed.  case: of `probe.cases`.
    what: the change in words.
    """

    name: str
    where: Place
    text: str
    case: str
    what: str

    @property
    def lines(self):
        """Right answers: the number of the changed line; where one is missing, of both beside it."""
        return [self.where.first + i for i in changed_lines(self.where.text, self.text)]

    @property
    def original_lines(self):
        """The numbers of the lines that were changed, in the file as it is."""
        return [self.where.first + i for i in changed_lines(self.text, self.where.text)]

    @cached_property
    def errors(self):
        """{tensor: worst relative error} with the bug planted."""
        peft = probe.attached(probe.cases()[self.case])
        with planted(self.where, self.text):
            return probe.errors(peft, probe.batch())

    @cached_property
    def seen(self):
        """What the right backward does under the same methods: see `looking`."""
        return look(probe.attached(probe.cases()[self.case]), probe.batch())

    @property
    def level(self):
        """1 ... 3: how far the wrong tensors are from the line. See LEVELS."""
        return level_of(self, probe.wrong(self.errors), self.seen)


def level_of(puzzle, wrong, seen):
    """The level, where these tensors are wrong and the right pass is as `seen`."""
    formed = {seen.formed[name] for name in wrong}
    file, first = str(puzzle.where.path), puzzle.where.first
    last = first + puzzle.where.text.count("\n")
    here = {at[1] for at in formed if at and at[0] == file and first <= at[1] <= last}
    if here and len(here) == len(formed) and here <= set(puzzle.original_lines):
        return 1
    return 2 if here else 3


def formed_in(puzzle):
    """The functions in which the wrong gradients are formed, as words."""
    found = {}
    for name in probe.wrong(puzzle.errors):
        at = puzzle.seen.formed[name]
        found |= {str(where): None for where in places().values() if at and at in span(where)}
    return list(found)


class span:
    """`(file, number) in span(place)`: is it one of its lines?"""

    def __init__(self, where):
        self.file, self.first = str(where.path), where.first
        self.last = where.first + where.text.count("\n")

    def __contains__(self, at):
        return at[0] == self.file and self.first <= at[1] <= self.last


def draw(level, seed):
    """The Puzzle of a level and a seed: the same again as long as the source is the same.

    Raises InputError for a level that there is not, and if none is found, which no seed has shown so far.
    """
    if level not in LEVELS:
        raise InputError(f"level must be 1, 2 or 3, not {level}")
    rng, tried = np.random.default_rng([level, seed]), {}
    everything, batch = probe.cases(), probe.batch()
    for where in rng.permutation(list(places())):
        where = places()[where]
        every = mutants(where.text)
        for case in rng.permutation(list(everything))[:10]:  # of each function some, so that all have a turn
            if case not in tried:
                peft = probe.attached(everything[case])
                tried[case] = peft, look(peft, batch), gradients(peft, batch)
            peft, seen, right = tried[case]
            for j in rng.permutation(len(every))[:5]:
                name = f"level {level}, seed {seed}"
                puzzle = Puzzle(name, where, every[j].text, str(case), every[j].what)
                if not any((str(where.path), n) in seen.lines for n in puzzle.original_lines):
                    continue
                different = differing(puzzle, peft, batch, right)
                if different and level_of(puzzle, different, seen) == level and shows(puzzle):
                    return puzzle
    raise InputError(f"no puzzle of level {level} was found with the seed {seed}: try another")


def gradients(peft, batch):
    """{tensor: gradient}."""
    return peft.loss_and_grads(batch)[1]


def differing(puzzle, peft, batch, right):
    """The tensors whose gradient is another with the bug, () if the pass raises: quicker than `gradcheck`."""
    try:
        with planted(puzzle.where, puzzle.text), np.errstate(all="ignore"):
            wrong = gradients(peft, batch)
    except Exception:  # whatever a changed line can raise: it is no puzzle then
        return ()
    if any(wrong[name].shape != g.shape for name, g in right.items()):
        return ()
    return [name for name, g in right.items() if not np.abs(wrong[name] - g).max() <= 1e-3 * np.abs(g).max()]


def shows(puzzle):
    """Does the gradient check say clearly of each tensor whether it is wrong, and of one that it is?"""
    try:
        found = puzzle.errors.values()
    except Exception:
        return False
    clear = all(not probe.RIGHT < error < probe.WRONG for error in found)
    return clear and any(not error < probe.WRONG for error in found)
