"""Lists of things, said twice: what to bring and what was brought, in the same order or backwards."""

from .. import words
from ..data_to_text import AREAS, FIRST, FOODS, SECOND
from ..summarisation import PLACES

ANYTHING = (
    *words.PEOPLE, *words.JOBS, *words.PETS, *words.HOBBIES, *words.TOWNS, *words.DAYS, *words.MONTHS,
    *words.ONES, *words.TENS, *words.DISHES, *words.THINGS, *words.PRAISE, *words.BLAME, *words.TALK,
    *FIRST, *SECOND, *FOODS, *AREAS, *PLACES,
)  # fmt: skip
FORMS = (
    "and {a} wrote: {list}. then {b} read: {again}.",
    "list of {a}: {list}\nlist of {b}: {again}",
    "it was {a} who said {list}. and {b} said {again}.",
    "take {list}, says {a}. so {b} takes {again}.",
)
BACKWARDS = ("and {a} wrote: {list}. backwards: {back}.", "there: {list}\nand back: {back}")


def lists(rng):
    """Two to four lists of three to eight words each."""
    return "\n".join(_list(rng) for _ in range(rng.randint(2, 4)))


def _list(rng):
    drawn = rng.sample(ANYTHING, rng.randint(3, 8))
    a, b = rng.sample(words.PEOPLE, 2)
    said, back = ", ".join(drawn), ", ".join(drawn[::-1])
    form = rng.choice(FORMS if rng.random() < 0.8 else BACKWARDS)
    return form.format(a=a, b=b, list=said, again=said, back=back)
