"""Orders at a table: who wanted what, changed it or not, and the slips and bills that say it again.

The slip has the last word of each wish, in the order of the wishes: all of it can be read off.
"""

from .. import dialogue, words
from .difficulty import up_to
from .marks import known

WANTS = ("{who} wants {}.", "{who} takes {}.", "for {who}, {}.", "{who} asks for {}.")
CHANGES = ("oh, {} after all.", "but then {}.", "rather {}!", "changed to {}.")


def orders(rng, hard):
    """Two tables, or three with one dish each, in two or three forms.

    The first form has all changes of mind, the others the outcome.
    """
    dishes = up_to(hard, 1, 3)
    return "\n\n".join(_table(rng, dishes, hard) for _ in range(3 if dishes == 1 else 2))


def _table(rng, dishes, hard):
    order = dict(list(dialogue.taken(rng, "train").items())[:dishes])
    forms = rng.sample((slip, bill, report, questions), rng.randint(1, 2))
    told = talk(rng, order) if rng.random() < 0.4 else wishes(rng, order, 0.7 * hard)
    return "\n".join([told, *(form(rng, order) for form in forms)])


def wishes(rng, order, changes):
    """A sentence for each dish, and another where a first number is changed."""
    guests, lines = rng.sample(words.PEOPLE, len(order)), []
    for who, (dish, number) in zip(guests, order.items(), strict=True):
        portion = dialogue.portion(dish, number)
        if rng.random() < changes:
            first = dialogue.portion(dish, rng.choice([n for n in dialogue.NUMBERS if n != number]))
            lines.append(f"{rng.choice(WANTS).format(first, who=who)} {rng.choice(CHANGES).format(portion)}")
        else:
            lines.append(rng.choice(WANTS).format(portion, who=who))
    return rng.choice((" ", "\n- ")).join(["at a table:", *lines])


def talk(rng, order):
    """What is said at the table, turn by turn."""
    return "\n".join(f"- {text}" for _, text in dialogue.talk(rng, order))


def slip(rng, order):
    """For the kitchen: the portions, in order."""
    portions = [dialogue.portion(dish, number) for dish, number in order.items()]
    form = rng.choice(("to the kitchen: {}", "* {}", "slip / {}"))
    return form.format(known(", ".join(portions) + "."))


def bill(rng, order):
    """A line for each dish."""
    return "\n".join(
        ["bill", *(f"{rng.choice('+-')} {known(dialogue.portion(d, n))}" for d, n in order.items())]
    )


def report(rng, order):
    """In prose: "they had two teas and one soup"."""
    form = rng.choice(("they had {}", "on the table: {}", "we brought {}"))
    return form.format(known(dialogue.stated(order) + "."))


def questions(rng, order):
    """How many of each dish, in any order."""
    asked = rng.sample(list(order.items()), len(order))
    return "\n".join(f"how many {dish}s? {known(number)}" for dish, number in asked)
