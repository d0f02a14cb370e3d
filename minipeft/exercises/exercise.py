"""What an exercise is: its numbers to try, its reference, the wrong answers that are known, its hints."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

WITHOUT_THE_LAST = 3  # the seed of a probe in which the last token of all does not occur


class Call(NamedTuple):
    """One call of a learner's function.

    returns: what should come back, as names: "dx", or ("dx", {"weight": "dW"}); ... is anything (a cache).
    """

    function: str
    arguments: tuple
    returns: object


class Wrong(NamedTuple):
    """A wrong answer that is known: its value, and the question that leads away from it.

    tensor    the name of what is wrong, "dA"
    make      (values) -> the wrong value; `values` has all inputs, true results and `Exercise.inside`
    question  what to ask
    fact      what to say of the numbers, with {names} of `values`; "": what `diagnose` sees by itself
    row       its row in the catalogue of the tests, None: it is in none
    """

    tensor: str
    make: Callable
    question: str
    fact: str | Callable = ""
    row: int | None = None


@dataclass(frozen=True)
class Exercise:
    """One exercise. Functions of `v` read a namespace: inputs, sizes, true results, `inside`.

    name       of its file: "10_lora"
    title      one line
    level      1 ... 3;  minutes: about how long;  after: numbers of the exercises that come before
    where      the real code in the package
    holes      the functions to write, in their order
    inputs     "x (N, I), W (I, O)": what is drawn, standard normal;  outputs: the same of the results
    sizes      (rng) -> {letter: size}: all different, none 1
    calls      (v) -> a generator of `Call`s; it is sent what each returned. A dict: results by name
    reference  (v) -> {name: true value}, by the package's own functions
    prepare    (v, rng): what else the inputs need (ids, s, a repeated token)
    upstream   {output: the input that is its gradient}; the loss is the sum of their products
    of         {gradient: the input that it belongs to}
    inside     (v) -> {name: intermediate}, for the functions below
    wrong      known wrong answers
    parts      (v) -> {tensor: {name: a part of its true value}}: what may be lacking
    scales     (v) -> {tensor: {name: factors}}: what an entry, row or column may be off by
    rules      (v) -> {tensor: {what holds of the true value: (the same after "must", a test)}}
    constants  names of numbers that a common factor may be made of; sizes are so by themselves
    together   results that one call returns side by side, where their order is easily mistaken
    said       {input: its name in the learner's text}, where that is another
    writable   inputs that a function may change, if it puts them back
    hints      three, in order: where to look, which rule, which shapes
    """

    name: str
    title: str
    level: int
    minutes: int
    after: tuple
    where: str
    holes: tuple
    inputs: str
    outputs: str
    sizes: Callable
    calls: Callable
    reference: Callable
    hints: tuple
    prepare: Callable = lambda v, rng: None
    upstream: dict = None
    of: dict = None
    inside: Callable = lambda v: {}
    wrong: tuple = ()
    parts: Callable = lambda v: {}
    scales: Callable = lambda v: {}
    rules: Callable = lambda v: {}
    constants: tuple = ()
    together: tuple = ()
    said: dict = field(default_factory=dict)
    writable: tuple = ()

    @property
    def number(self):
        """ "10" of "10_lora"."""
        return self.name[:2]

    def draw(self, seed, other=False):
        """Numbers to try it on: a namespace of inputs and sizes, in float64, read-only but for `writable`.

        other: other numbers of the same sizes.
        """
        rng = np.random.default_rng([int(self.number), seed])
        sizes = self.sizes(rng)
        if other:
            rng = np.random.default_rng([int(self.number), seed, 1])
        v = SimpleNamespace(seed=seed, sizes=sizes, **{k: n for k, n in sizes.items() if k.isidentifier()})
        for name, letters in shapes(self.inputs).items():
            setattr(v, name, rng.standard_normal([sizes[letter] for letter in letters]))
        self.prepare(v, rng)
        for name, value in vars(v).items():
            if isinstance(value, np.ndarray) and name not in self.writable:
                value.setflags(write=False)
        return v

    def truth(self, v):
        """v with its true results and `inside`."""
        full = SimpleNamespace(**vars(v), true=self.reference(v))
        for name, value in full.true.items():
            setattr(full, attribute(name), value)
        for name, value in self.inside(full).items():
            setattr(full, name, value)
        return full


def shapes(text):
    """ "x (N, I), b (O)" -> {"x": ("N", "I"), "b": ("O",)}; "loss ()" is a number."""
    found = re.findall(r"([^\s,()][^,()]*) \(([^)]*)\)", text)
    return {name: tuple(filter(None, letters.split(", "))) for name, letters in found}


def attribute(name):
    """A result's name as an attribute: "k'" -> "k_", "the move at step 1" -> "the_move_at_step_1"."""
    return re.sub(r"\W", "_", name)


def in_letters(shape, sizes):
    """(6, 4) -> "(N, O)". Sizes differ, so a number has one letter; one that has none stays a number."""
    letters = {n: letter for letter, n in reversed(sizes.items())}
    words = [letters.get(n, str(n)) for n in shape]
    return f"({', '.join(words)})" if words else "a number"


def different(letters, low=2, high=8, **derived):
    """(rng) -> sizes for these letters, all different; derived: more of them, (sizes) -> size, by letter."""

    def sizes(rng):
        while True:
            drawn = rng.permutation(np.arange(low, high))[: len(letters)]
            found = {letter: int(n) for letter, n in zip(letters, drawn, strict=True)}
            found |= {letter.replace("_", " "): make(found) for letter, make in derived.items()}
            if len(set(found.values())) == len(found):
                return found

    return sizes


def factor(rng):
    """A number that is not near 0, 1 or a simple fraction: 1.3 ... 3, to a tenth and a bit."""
    return round(float(rng.uniform(1.3, 3.0)), 1) + 0.03
