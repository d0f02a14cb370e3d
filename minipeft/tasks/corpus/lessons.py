"""Language lessons: numbers, dates and times of day in English, German and French.

The first language of a line is chance, the two that follow can be known. Single words first.
"""

from .. import words
from ..translation import (
    FRENCH_DAYS,
    FRENCH_MONTHS,
    GERMAN_DAYS,
    GERMAN_MONTHS,
    english,
    expression,
    french,
    german,
)
from .marks import known

FORMS = (  # the languages stand in some order: what comes first cannot be known
    ("e", "* {e} = {g} = {f}"),
    ("e", "in German, {e} is {g}; in French, {f}."),
    ("f", "so {f} is French for {e}, {g} is German."),
    ("g", "the German {g} means {e}, and so does the French {f}."),
    ("e", "- how do you say {e}? - {g}, or in French {f}."),
    ("g", "{g} / {f} / {e}"),
)
SINGLE = (  # (English, German, French)
    *zip(words.DAYS, GERMAN_DAYS, FRENCH_DAYS, strict=True),
    *zip(words.MONTHS, GERMAN_MONTHS, FRENCH_MONTHS, strict=True),
)


def lessons(rng, hard):
    """Four to seven expressions in the three languages; all lines of a lesson have one form."""
    first, form = rng.choice(FORMS)
    lines = []
    for _ in range(rng.randint(4, 7)):
        said = zip("egf", meaning(rng, hard), strict=True)
        lines.append(form.format(**{k: text if k == first else known(text) for k, text in said}))
    return "\n".join(lines)


def meaning(rng, hard):
    """(English, German, French): a word where the lesson is easy, else an expression of the split "train"."""
    if hard < 0.3 and rng.random() < 0.5:
        return rng.choice(SINGLE)
    while True:
        said = expression(rng, "train")
        if hard >= 0.3 or said[0] == "time" or (said[0] == "number" and said[1] < 100):
            return english(*said), german(*said), french(*said)
