"""What sort of thing is it? Each sort has a label, chosen for the document: "baker - X7", "cat - left".

The first word of a sort shows its label, and from then on the label can be known. So a model that is to tell
classes apart later has met the game with labels of all kinds.
"""

from .. import words
from ..data_to_text import FOODS
from .codes import code
from .difficulty import up_to
from .marks import known

SORTS = {
    "job": words.JOBS, "pet": words.PETS, "hobby": words.HOBBIES, "town": words.TOWNS, "day": words.DAYS,
    "month": words.MONTHS, "number": words.ONES, "name": words.PEOPLE, "dish": words.DISHES,
    "praise": words.PRAISE, "blame": words.BLAME, "country": FOODS,
}  # fmt: skip
LABELS = ("blue", "red", "left", "right", "first", "second", "A", "B", "C", "D", "true", "false", "+", "-")
FORMS = ("* {} - {}", "- {} -> {}", "- {} / {}", "what is {}? {}", "is it {}? then {}!")


def sorts(rng, hard):
    """Words of one to four sorts, four of each sort and two more, as they are drawn."""
    drawn = rng.sample(list(SORTS), up_to(hard, 1, 4))
    named = rng.choice((anything, coded))(rng, drawn) if rng.random() < 0.7 else drawn
    label = dict(zip(drawn, named, strict=True))
    form, seen, lines = rng.choice(FORMS), set(), []
    for sort in rng.choices(drawn, k=4 * len(drawn) + 2):
        said = label[sort]
        clear = sort in seen or said == sort  # "job" is the label of a job without being told
        lines.append(form.format(rng.choice(SORTS[sort]), known(said) if clear else said))
        seen.add(sort)
    return "\n".join(lines)


def anything(rng, drawn):
    """Labels that are words or signs."""
    return rng.sample(LABELS, len(drawn))


def coded(rng, drawn):
    """Labels that are codes."""
    return [code(rng) for _ in drawn]
