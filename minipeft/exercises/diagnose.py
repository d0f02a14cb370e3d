"""Why is a gradient wrong? Its numbers beside the true ones, on several probes.

First the wrong answers that are known: a cause is named only where every number agrees, on all probes. Then
what the numbers show by themselves. Where nothing fits, nothing is guessed: `picture` shows what is right.
"""

import numpy as np

from .exercise import Wrong
from .features import CLOSE, FEATURES, Finding, close, named, number, ratio


def diagnose(seen):
    """A Finding, or None: no cause is seen."""
    found = next(filter(None, (feature(seen) for feature in FEATURES)), None)
    known = [wrong for wrong in seen.exercise.wrong if wrong.tensor == seen.name and is_this(wrong, seen)]
    if not known:
        return found if found and found.exact else known_but_for_a_factor(seen) or found
    said = [wrong.fact(seen.v[0]) if callable(wrong.fact) else wrong.fact for wrong in known]
    fact = next(filter(None, said), None) or (found.fact if found else "these numbers have a known cause.")
    return Finding(fact, tuple(dict.fromkeys(wrong.question for wrong in known)))


def is_this(wrong: Wrong, seen):
    """Does the learner's value have the numbers of a known wrong answer, on every probe?"""
    return all(close(g, wrong.make(v)) for g, v in zip(seen.yours, seen.v, strict=True))


def known_but_for_a_factor(seen):
    """Two mistakes at once: a known wrong answer, or another tensor's value, and a factor for all of it."""
    others = [
        Wrong(seen.name, lambda v, name=name: v.true[name], f"What sets {seen.name} apart from {name}?",
              f"these are the numbers of {name}.")
        for name in seen.v[0].true if name != seen.name
    ]  # fmt: skip
    known = [wrong for wrong in seen.exercise.wrong if wrong.tensor == seen.name and wrong.fact]
    found = times_a_factor(known, seen) or times_a_factor(others, seen)
    if len({wrong.question for wrong, _ in found}) != 1:
        return None
    wrong, factors = found[0]
    fact = wrong.fact(seen.v[0]) if callable(wrong.fact) else wrong.fact
    factor = f"a factor {number(factors[0])}{named(factors, seen)} for all"
    return Finding(f"two things at once: {factor}; and {fact}", (wrong.question,), mistakes=2)


def times_a_factor(wrongs, seen):
    """[(wrong, its factor on each probe)] for those that the learner's value is a multiple of, everywhere.

    The factor has a name, or is one number on all probes (2, -1): another could come from anywhere.
    """
    found = []
    for wrong in wrongs:
        pairs = [(g, np.asarray(wrong.make(v))) for g, v in zip(seen.yours, seen.v, strict=True)]
        if all(g.shape == w.shape and w.size > 3 for g, w in pairs):
            factors = [ratio(g, w) for g, w in pairs]
            if None not in factors and (named(factors, seen) or np.allclose(factors, factors[0], rtol=1e-9)):
                found.append((wrong, factors))
    return found


def picture(seen):
    """Lines that show which entries are right, and some that are not."""
    g, t = next((g, t) for g, t in seen.pairs if not close(g, t))
    if g.ndim == 0:
        return [f"yours {float(g):.6g}, true {float(t):.6g}"]
    right = np.abs(g - t) <= CLOSE * np.abs(t).max()
    lines = [f"{right.sum()} of {right.size} entries are right."]
    if right.any() and len(right) <= 8:
        lines += ["".join(" ." if ok else " x" for ok in row) for row in np.atleast_2d(right)]
    for index in np.argwhere(~right)[: 2 if right.any() else 3]:
        at = tuple(int(i) for i in index)
        yours, true = apart(g[at], t[at])
        lines.append(f"[{', '.join(map(str, at))}]  yours {yours:>8}   true {true:>8}")
    return lines


def apart(a, b):
    """Two numbers with four digits behind the point, or as many as it takes to tell them apart."""
    pairs = [(f"{a:.{n}f}", f"{b:.{n}f}") for n in (4, 7, 10, 13)]
    return next((pair for pair in pairs if pair[0] != pair[1]), pairs[-1])
