"""Lists of things, said twice: what to bring and what was brought, in the same order or backwards."""

from .. import words
from ..data_to_text import AREAS, FIRST, FOODS, SECOND
from ..summarisation import PLACES

ANYTHING = (
    *words.PEOPLE, *words.JOBS, *words.PETS, *words.HOBBIES, *words.TOWNS, *words.DAYS, *words.MONTHS, *words.THINGS,
    *words.DISHES, *words.ONES, *words.TENS, *FIRST, *SECOND, *FOODS, *AREAS, *PLACES,
)  # fmt: skip
FORMS = (
    "{a} wrote: {list}. {b} read: {again}.",
    "list of {a}: {list}\nlist of {b}: {again}",
    '"{list}," said {a}. "{again}," said {b}.',
    "{a} begins with {list}; {b} goes on with {again}.",
)
BACKWARDS = ("{a} wrote: {list}. backwards: {back}.", "there: {list}\nand back: {back}")


def lists(rng):
    """Two to four lists of three to eight words each."""
    return "\n".join(_list(rng) for _ in range(rng.randint(2, 4)))


def _list(rng):
    drawn = rng.sample(ANYTHING, rng.randint(3, 8))
    a, b = rng.sample(words.PEOPLE, 2)
    said, back = ", ".join(drawn), ", ".join(drawn[::-1])
    return rng.choice(FORMS if rng.random() < 0.8 else BACKWARDS).format(a=a, b=b, list=said, again=said, back=back)
