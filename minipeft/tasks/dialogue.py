"""Dialogue: a waiter takes an order, over several turns and changes of mind, and confirms it.

    prompt      waiter: hello, what would you like?
                guest: two teas, please.
                waiter: anything else?
                guest: one soup. no, three soups, please.
                waiter: anything else?
                guest: no, thank you.
                waiter: so that is
    completion  " two teas and three soups."

Splits: a dish and its final number are a pair that belongs to one split (`splits.partner`), and so are the
dishes ordered one after the other.
"""

import re
from random import Random

from . import words
from .splits import check_split, partner

NAME = "dialogue"
PRIMARY = "order"  # the score to compare methods by
CHOICES = None
MAX_NEW_TOKENS = 24

NUMBERS = words.ONES[1:9]
GREETINGS = ("hello, what would you like?", "good evening, what can I bring you?", "are you ready to order?")
MORE = ("anything else?", "of course. anything else?", "very well. what else?")
ENDS = ("no, thank you.", "that is all, thank you.", "nothing else, please.")
ASK = ("{}, please.", "I would like {}.", "can I have {}?", "and {}.")
CHANGES = ("no, {}, please.", "sorry, make that {}.", "wait, {} instead.")


def rows(split, count, seed=0):
    """`count` rows of "train", "validation" or "test": dicts with "prompt", "completion" and "order"."""
    check_split(split)
    rng, drawn = Random(f"{NAME} {split} {seed}"), []
    for _ in range(count):
        order = taken(rng, split)
        turns = talk(rng, order)
        said = "\n".join(f"{who}: {text}" for who, text in turns)
        drawn.append(
            {"prompt": f"{said}\nwaiter: so that is", "completion": f" {stated(order)}.", "order": order}
        )
    return drawn


def taken(rng, split):
    """{dish: number in words}: two or three dishes."""
    dishes = [rng.choice(words.DISHES)]
    while len(dishes) < rng.randint(2, 3):
        following = [dish for dish in words.DISHES if dish not in dishes]
        dishes.append(partner(rng, split, dishes[-1], following))
        if dishes[-1] is None:
            return taken(rng, split)
    order = {dish: partner(rng, split, dish, NUMBERS) for dish in dishes}
    return order if all(order.values()) else taken(rng, split)


def talk(rng, order):
    """[(who, what)]: the order given piece by piece; now and then a first number is taken back."""
    turns = [("waiter", rng.choice(GREETINGS))]
    for dish, number in order.items():
        said = rng.choice(ASK).format(portion(dish, number))
        if rng.random() < 0.3:
            first = portion(dish, rng.choice([n for n in NUMBERS if n != number]))
            change = rng.choice(CHANGES).format(portion(dish, number))
            said = f"{rng.choice(ASK).format(first)} {change}"
        turns += [("guest", said), ("waiter", rng.choice(MORE))]
    return [*turns, ("guest", rng.choice(ENDS))]


def portion(dish, number):
    """ "one tea", "two teas"."""
    return f"{number} {dish}" + ("" if number == "one" else "s")


def stated(order):
    """The order in words: "two teas and one soup"."""
    return words.listed([portion(dish, number) for dish, number in order.items()])


def score(rows, outputs):
    """Only the first line of an output counts: a confirmation is a sentence, not a conversation.

    "order": the share of outputs that state the final order, all of it and nothing else, in any order.
    "items": the share of its portions that they state.
    """
    exact = items = total = 0
    for row, output in zip(rows, outputs, strict=True):
        want = {portion(dish, number) for dish, number in row["order"].items()}
        found = re.findall(rf"\b(?:{'|'.join(NUMBERS)}) [a-z]+", output.partition("\n")[0])
        exact += sorted(found) == sorted(want)
        items, total = items + len(want & set(found)), total + len(want)
    return {"order": exact / len(rows), "items": items / total}
