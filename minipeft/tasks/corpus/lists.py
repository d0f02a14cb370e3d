"""Lists of things, said twice: what to bring and what was brought, in the same order or backwards."""

from itertools import pairwise

from .. import words
from ..data_to_text import AREAS, FIRST, FOODS, SECOND
from ..summarisation import PLACES
from .difficulty import up_to
from .marks import known

ANYTHING = tuple(dict.fromkeys((  # a word that is in two of these is there once: no list has it twice
    *words.PEOPLE, *words.JOBS, *words.PETS, *words.HOBBIES, *words.TOWNS, *words.DAYS, *words.MONTHS,
    *words.ONES, *words.TENS, *words.DISHES, *words.THINGS, *words.PRAISE, *words.BLAME, *words.TALK,
    *FIRST, *SECOND, *FOODS, *AREAS, *PLACES,
)))  # fmt: skip
FORMS = (
    "and {a} wrote: {list}. then {b} read: {again}",
    "list of {a}: {list}.\nlist of {b}: {again}",
    "it was {a} who said {list}. and {b} said {again}",
    "take {list}. says {a}. so {b} takes {again}",
)
BACKWARDS = ("and {a} wrote: {list}. backwards: {back}", "there: {list}.\nand back: {back}")
NEIGHBOURS = ("after {} - {}", "before {1} - {0}", "- {}, then {}", "- {1} - {0} -")


def lists(rng, hard):
    """Two to ten lists of two to twelve words each: the longer, the fewer."""
    longest = up_to(hard, 2, 12)
    return "\n".join(_list(rng, rng.randint(2, longest)) for _ in range(max(2, 20 // longest)))


def _list(rng, length):
    said = rng.sample(ANYTHING, length)
    a, b = rng.sample(words.PEOPLE, 2)
    how = rng.random()
    if how < 0.25:
        return f"there: {', '.join(said)}.\n{neighbours(rng, said)}"
    form = rng.choice(FORMS if how < 0.85 else BACKWARDS)
    again, back = (known(", ".join(words) + ".") for words in (said, said[::-1]))
    return form.format(a=a, b=b, list=", ".join(said), again=again, back=back)


def neighbours(rng, said):
    """Of words of the list, the one that came next, or before."""
    form, pairs = rng.choice(NEIGHBOURS), list(pairwise(said))
    if "{1}" in form:
        pairs = [(known(first), second) for first, second in pairs]
    else:
        pairs = [(first, known(second)) for first, second in pairs]
    return "\n".join(form.format(*pair) for pair in rng.sample(pairs, len(pairs)))
