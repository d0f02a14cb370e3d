"""What wrong numbers show by themselves: each feature is a function of a `Seen`, and gives a Finding or None.

What a Finding says holds on every probe, to rounding.
"""

from dataclasses import dataclass
from itertools import permutations
from typing import NamedTuple

import numpy as np

from .exercise import Exercise, in_letters, shapes

CLOSE = 1e-9  # relative to the largest entry: float64 rounding is 1e-16, the smallest mistake known 1e-5


class Finding(NamedTuple):
    """fact: what the numbers show. questions: where to look. exact: does the fact say all that differs?

    mistakes: how many it takes to make these numbers.
    """

    fact: str
    questions: tuple
    exact: bool = True
    mistakes: int = 1


@dataclass
class Seen:
    """A wrong result: the learner's values and the true ones, on each probe; v: the probes."""

    name: str
    yours: list
    true: list
    v: list
    exercise: Exercise

    @property
    def pairs(self):
        """(yours, true), probe by probe."""
        return list(zip(self.yours, self.true, strict=True))

    def own(self, kind):
        """What `exercise.parts`, `scales` or `rules` say of this tensor, one dict for each probe."""
        return [getattr(self.exercise, kind)(v).get(self.name, {}) for v in self.v]


def close(a, b, tolerance=CLOSE):
    """Equal shapes, and equal to rounding."""
    a, b = np.asarray(a), np.asarray(b)
    return a.shape == b.shape and bool(np.abs(a - b).max(initial=0) <= tolerance * np.abs(b).max(initial=0))


def other_shape(seen):
    """Transposed, or a sum missing."""
    wrong = [k for k, (g, t) in enumerate(seen.pairs) if g.shape != t.shape]
    if not wrong:
        return None
    v, (g, t) = seen.v[wrong[0]], seen.pairs[wrong[0]]
    letters = f"({', '.join(shapes(seen.exercise.outputs)[seen.name])})" if t.ndim else "a number"
    fact = f"its shape is {in_letters(g.shape, v.sizes)}; it should be {letters}"
    if len(wrong) < len(seen.pairs):
        return Finding(f"{fact}. On other sizes it is right.", ("Which size is taken for granted?",))
    if g.size == t.size and g.ndim != t.ndim and all(close(g.reshape(t.shape), t) for g, t in seen.pairs):
        return Finding(f"{fact}. The numbers are right.", ("Does keepdims hold on to an axis?",))
    for axis in range(g.ndim):
        if all(g.ndim == t.ndim + 1 and close(g.sum(axis), t) for g, t in seen.pairs):
            axis = in_letters(g.shape, v.sizes)[1:-1].split(", ")[axis]
            return Finding(
                f"{fact}. Its sum over {axis} is right.",
                ("How many contributions does one entry receive?",),
            )
    if all(g.ndim == 2 and close(g.T, t) for g, t in seen.pairs):
        return Finding(
            f"{fact}. The numbers are right.", ("Rows and columns have changed places: which side is which?",)
        )
    if all(g.ndim == 2 and g.T.shape == t.shape for g, t in seen.pairs):
        turned = Seen(seen.name, [g.T for g in seen.yours], seen.true, seen.v, seen.exercise)
        if found := common_factor(turned):
            return Finding(f"{fact}. Turned, {found.fact}", found.questions)
    return Finding(f"{fact}.", ("Write the letters of each product: what comes out?",))


def nothing(seen):
    """All zero."""
    if any(g.any() for g in seen.yours):
        return None
    return Finding("it is zero everywhere.", ("Does anything flow this way?",))


def an_input(seen):
    """An input handed on."""
    for name in shapes(seen.exercise.inputs):
        if all(close(g, getattr(v, name)) for g, v in zip(seen.yours, seen.v, strict=True)):
            name = seen.exercise.said.get(name, name)
            return Finding(f"it is {name}, unchanged.", ("What happens to it on the way?",))
    return None


def another(seen):
    """Another tensor's true value."""
    for name in seen.v[0].true:
        if name != seen.name and all(close(g, v.true[name]) for g, v in zip(seen.yours, seen.v, strict=True)):
            return Finding(f"these are the numbers of {name}.", (f"What sets {seen.name} apart from it?",))
    return None


def common_factor(seen):
    """One factor for all entries."""
    factors = [ratio(g, t) for g, t in seen.pairs]
    if None in factors or any(t.size < 2 for t in seen.true):
        return None
    question = "Is a constant missing, or used twice?"
    if max(factors) < 0:
        question = "Where was the sign turned, and is a constant missing, or used twice?"
    if np.allclose(factors, -1, rtol=1e-9):
        question = "Where was the sign turned?"
    return Finding(
        f"every entry has the same factor {number(factors[0])}{named(factors, seen)}.", (question,)
    )


def parts_of_it(seen):
    """A part of the sum missing, or there with a factor."""
    parts, weights = seen.own("parts"), []
    if not all(parts):
        return None
    names = list(parts[0])
    for (g, t), own in zip(seen.pairs, parts, strict=True):
        rest = t - sum(own.values())
        pieces = [*own.values(), *([] if np.abs(rest).max() < CLOSE * np.abs(t).max() else [rest])]
        columns = np.stack([np.ravel(piece) for piece in pieces], axis=1)
        k, _, rank, _ = np.linalg.lstsq(columns, g.ravel(), rcond=None)
        if rank < len(pieces) or g.size <= len(pieces) + 1 or not close(columns @ k, g.ravel()):
            return None
        weights.append(k)
    if len({len(k) for k in weights}) > 1:
        return None
    said, turned_round = [], []
    for name, ks in zip([*names, "what remains"], zip(*weights, strict=True), strict=False):
        if all(abs(k) < 1e-9 for k in ks):
            said.append(f"lacks {name}")
        elif any(abs(k - 1) > 1e-9 for k in ks):
            said.append(f"has {name} {number(ks[0])} times{named(ks, seen)}")
            turned_round.append(np.allclose(ks, -1, rtol=1e-9))
    asked = "With which sign" if turned_round == [True] * len(said) else "How often"
    return Finding(f"it {', and '.join(said)}; nothing else differs.", (f"{asked} should that part count?",))


def scaled(seen):
    """Off by a vector or array that has a name."""
    for name, *_ in zip(*seen.own("scales"), strict=False):
        for word, power in (("times", 1), ("divided by", -1)):
            off = [t * k[name] ** power for t, k in zip(seen.true, seen.own("scales"), strict=True)]
            if all(close(g, wrong) for g, wrong in zip(seen.yours, off, strict=True)):
                return Finding(
                    f"it is the true value {word} {name}.", (f"Where does {name} stand in the forward?",)
                )
    return None


def turned(seen):
    """Transposed, though the shape is square."""
    if all(t.ndim == 2 and close(g.T, t) for g, t in seen.pairs):
        return Finding("rows and columns have changed places.", ("Which side is which?",))
    return None


def lines_of(seen):
    """("row", (yours, true) row by row, for each probe), and the same of columns, of a matrix."""
    turns = [("row", lambda a: a), ("column", lambda a: a.T)][: min(2, seen.true[0].ndim)]
    return [(word, [list(zip(turn(g), turn(t), strict=True)) for g, t in seen.pairs]) for word, turn in turns]


def factor_by_line(seen):
    """A factor of its own for each row or column."""
    if any(t.ndim != 2 or min(t.shape) < 2 for t in seen.true):
        return None
    for word, lines in lines_of(seen):
        factors = [ratio(g, t) for pairs in lines for g, t in pairs]
        if None not in factors:
            first = ", ".join(number(k) for k in factors[: min(3, len(lines[0]))])
            return Finding(
                f"each {word} has a factor of its own: {first} ...", (f"What is there one of per {word}?",)
            )
    return None


def some_lines(seen):
    """Some rows or columns wrong, or zero, and the others right."""
    for word, lines in lines_of(seen):
        right = [[close(g, t) for g, t in pairs] for pairs in lines]
        if all(any(each) and not all(each) for each in right):
            wrong = [i for i, ok in enumerate(right[0]) if not ok]
            zero = not any(
                g.any() for pairs, oks in zip(lines, right, strict=True)
                for (g, _), ok in zip(pairs, oks, strict=True) if not ok
            )  # fmt: skip
            word = word if seen.true[0].ndim > 1 else "entry"
            said = f"{word} {', '.join(map(str, wrong))} {'zero' if zero else 'wrong'}, the others right"
            return Finding(f"of {len(right[0])}, {said}.", ("What sets them apart from the others?",), False)
    return None


def moved(seen):
    """The right numbers in other places: whole rows or columns, or single entries."""
    heads = "H" in seen.v[0].sizes
    if seen.true[0].ndim == 2:
        for word, turn in (("row", np.asarray), ("column", np.transpose)):
            if all(close(sorted_rows(turn(g)), sorted_rows(turn(t))) for g, t in seen.pairs):
                asked = f"In which order do its {word}s stand?"
                if heads and word == "column":
                    asked = "In which order were the heads put together?"
                return Finding(f"the right {word}s, in another order.", (asked,))
    if all(close(np.sort(g, axis=None), np.sort(t, axis=None)) for g, t in seen.pairs):
        if seen.true[0].ndim < 2:
            question = "In which order do its entries stand?"
        elif heads:
            question = "In which order were the heads taken apart?"
        else:
            question = f"Was {seen.name} transposed, or reshaped?"
        return Finding("the right numbers, in the wrong places.", (question,))
    return None


def sorted_rows(rows):
    """The rows of a matrix, those of small entries first."""
    return rows[np.argsort(np.abs(rows).sum(1))]


def rules_broken(seen):
    """What holds of the true value, and not of this one."""
    rules = seen.own("rules")
    broken = [
        name for name in rules[0]
        if all(not own[name][1](g) for own, g in zip(rules, seen.yours, strict=True))
    ]  # fmt: skip
    if not broken:
        return None
    why = " and ".join(rules[0][name][0] for name in broken)
    fact = f"In the true value {', and '.join(broken)}. Here it is not so."
    return Finding(fact, (f"Why must {why}?",), False)


FEATURES = (
    another, other_shape, nothing, an_input, common_factor, parts_of_it, scaled, turned, factor_by_line,
    moved, some_lines, rules_broken,
)  # fmt: skip


# ------------------------------------------------------------------------------------ numbers in words


def ratio(g, t):
    """k where g = k t, to rounding; None where there is none, or it is 1 ... or g is zero."""
    k = float((g * t).sum() / (t * t).sum()) if np.any(t) else 0.0
    return k if k != 0 and close(g, k * t) else None


def number(k):
    """Three digits, and no zeros behind them."""
    return f"{k:.3g}"


def named(factors, seen):
    """ " = 1/s" where the factors, one for each probe, are made of numbers that have a name; else ""."""
    made = [made_of(seen.exercise.constants, v) for v in seen.v]
    said = [
        name for name in made[0]
        if all(np.isclose(k, m[name], rtol=1e-9, atol=0) for k, m in zip(factors, made, strict=True))
    ]  # fmt: skip
    return f" = {' or '.join(said)}" if said else ""


def made_of(constants, v):
    """{"1/s": value, "-sqrt(D)": ..., "C/N": ...}: what a factor may be."""
    sizes = {letter: n for letter, n in v.sizes.items() if letter.isidentifier()}
    forms = {"{}": 1, "1/{}": -1, "sqrt({})": 0.5, "1/sqrt({})": -0.5, "{}^2": 2, "1/{}^2": -2}
    named = sizes | {name: getattr(v, name) for name in constants}
    made = {form.format(name): n**power for name, n in named.items() for form, power in forms.items()}
    for a, b in permutations(sizes, 2):
        made |= {f"{a}/{b}": sizes[a] / sizes[b], f"sqrt({a}/{b})": (sizes[a] / sizes[b]) ** 0.5}
    return made | {f"-{name}": -value for name, value in made.items()}
