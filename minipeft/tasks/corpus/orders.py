"""Orders at a table: who wanted what, changed it or not, and the slips and bills that say it again."""

from .. import dialogue, words

WANTS = ("{who} wants {}.", "{who} takes {}.", "for {who}, {}.", "{who} asks for {}.")
CHANGES = ("oh, {} after all.", "but then {}.", "rather {}!", "changed to {}.")


def orders(rng):
    """Two tables, each in two or three forms; the first has all changes of mind, the others the outcome."""
    return "\n\n".join(_table(rng) for _ in range(2))


def _table(rng):
    order = dialogue.taken(rng, "train")
    forms = rng.sample((slip, bill, report), rng.randint(1, 2))
    told = rng.choice((wishes, talk))(rng, order)
    return "\n".join([told, *(form(rng, order) for form in forms)])


def wishes(rng, order):
    """A sentence for each dish, and another where a first number is changed."""
    guests, lines = rng.sample(words.PEOPLE, len(order)), []
    for who, (dish, number) in zip(guests, order.items(), strict=True):
        portion = dialogue.portion(dish, number)
        if rng.random() < 0.4:
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
    return rng.choice(("to the kitchen: {}", "* {}", "slip / {}")).format(", ".join(portions))


def bill(rng, order):
    """A line for each dish."""
    return "\n".join(["bill", *(f"{rng.choice('+-')} {dialogue.portion(d, n)}" for d, n in order.items())])


def report(rng, order):
    """In prose: "they had two teas and one soup"."""
    return rng.choice(("they had {}.", "on the table: {}.", "we brought {}.")).format(dialogue.stated(order))
