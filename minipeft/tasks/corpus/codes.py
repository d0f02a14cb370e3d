"""Codes and spelling: letters, digits and signs one by one, so that no token of the vocabulary stays strange.

Codes are given and asked for; words are spelt and written in capitals; numbers stand in digits and in words;
what is counted or said in order goes on.
"""

import string

from .. import words
from ..translation import english, expression
from .difficulty import up_to
from .marks import known

SIGNS = "!#$%&*+-./:=?@_~"
GIVEN = ("the code of {} is {}", "- {} has {}", "* {} -> {}", "- {} / {}")
ASKED = ("{}? {}", "code of {} - {}", "- {} = {}", "so {} has {}")
SEQUENCES = (
    list(string.ascii_lowercase), list(string.ascii_uppercase), [str(n) for n in range(1, 100)],
    list(words.DAYS), list(words.MONTHS), list(words.ONES[1:]),
)  # fmt: skip


def codes(rng, hard):
    """One of the four ways."""
    return rng.choice((given, given, spelt, in_words, counted))(rng, hard)


def code(rng):
    """ "KX-47", "b7", "DESC", "9$4": two to six letters or digits, now and then a sign between them."""
    letters = rng.choice((string.ascii_uppercase, string.ascii_lowercase, string.digits))
    more = rng.choice((letters, string.digits, string.ascii_letters))
    first, second = ("".join(rng.choices(each, k=rng.randint(1, 3))) for each in (letters, more))
    return first + (rng.choice(SIGNS) if rng.random() < 0.4 else "") + second


def given(rng, hard):
    """Who or what has which code; then each is asked for, by its owner or by itself."""
    owners = rng.sample(words.PEOPLE + words.THINGS + words.PETS, up_to(hard, 1, 6))
    pairs, form, ask = [(owner, code(rng)) for owner in owners], rng.choice(GIVEN), rng.choice(ASKED)
    lines = [form.format(*pair) for pair in pairs]
    asked = [ask.format(owner, known(its)) for owner, its in pairs]
    asked += [f"{its}? {known(owner)}" for owner, its in pairs]
    return "\n".join([*lines, *rng.sample(asked, len(asked))])


def spelt(rng, hard):
    """Words letter by letter, in capitals, with a capital, or backwards; all lines in one way."""
    way = rng.choice((" ".join, "-".join, "".join, str.upper, str.capitalize, lambda word: word[::-1]))
    drawn = rng.sample(words.JOBS + words.PETS + words.THINGS + words.DISHES + words.TALK, up_to(hard, 3, 9))
    said = [word if n == 0 else known(way(word)) for word in drawn for n in range(2)]
    return "\n".join(f"- {a} -> {b}" for a, b in zip(said[::2], said[1::2], strict=True))


def in_words(rng, hard):
    """Numbers in digits and in words, one way or the other."""
    lines, digits_first = [], rng.random() < 0.5
    while len(lines) < up_to(hard, 3, 8):
        kind, *what = expression(rng, "train")
        if kind == "number":
            digits, said = str(*what), english(kind, *what)
            lines.append(f"{digits} = {known(said)}" if digits_first else f"{said} = {known(digits)}")
    return "\n".join(lines)


def counted(rng, hard):
    """Letters, numbers or days in their order."""
    lines = []
    for _ in range(3):
        sequence = rng.choice(SEQUENCES)
        length = min(len(sequence), up_to(hard, 4, 12))
        first = rng.randint(0, len(sequence) - length)
        said = sequence[first : first + length]
        lines.append(f"{said[0]}, {said[1]}, {known(', '.join(said[2:]))}")
    return "\n".join(lines)
