"""A little German and French: numbers, months, weekdays and times, always explained in English."""

from .. import words
from .grammar import capital, number
from .names import cast
from .template import pick, write


def german(n):
    """0 <= n < 1000: 21 -> "einundzwanzig"."""
    if n >= 100:
        hundreds = ("ein" if n < 200 else german(n // 100)) + "hundert"
        return hundreds + (german(n % 100) if n % 100 else "")
    if n < 20:
        return words.GERMAN_ONES[n]
    tens = words.GERMAN_TENS[n // 10 - 2]
    ones = "ein" if n % 10 == 1 else words.GERMAN_ONES[n % 10]
    return tens if n % 10 == 0 else f"{ones}und{tens}"


def french(n):
    """0 <= n < 1000: 81 -> "quatre-vingt-un"; 71 and 91 count on from sixty and eighty."""
    if n >= 100:
        hundreds = "cent" if n < 200 else french(n // 100) + (" cents" if n % 100 == 0 else " cent")
        return hundreds + (f" {french(n % 100)}" if n % 100 else "")
    if n < 20:
        return words.FRENCH_ONES[n]
    tens = words.FRENCH_TENS[n // 10 - 2]
    ones = n - (n // 10) * 10 + (10 if n // 10 in (7, 9) else 0)
    if ones == 0:
        return tens + ("s" if n == 80 else "")
    joined = " et " if ones in (1, 11) and n < 80 else "-"
    return tens + joined + words.FRENCH_ONES[ones]


def bilingual(rng):
    """Three to six lines of a small lesson."""
    facts = cast(rng, "a", "b")
    lines = [
        pick(rng, (number_line, number_line, month_line, weekday_line, time_line, talk_line))(rng, facts)
        for _ in range(3 + int(rng.random() * 4))
    ]
    return pick(rng, (" ", "\n")).join(capital(line) for line in lines)


def number_line(rng, facts):
    """A number in one of the two languages."""
    n = int(rng.random() * pick(rng, (20, 100, 100, 1000)))
    language, word = pick(rng, (("German", german(n)), ("French", french(n))))
    return pick(
        rng,
        (
            f"In {language}, {number(n)} is {word}.",
            f"{n} in {language}: {word}.",
            f"The {language} word for {number(n)} is {word}.",
            f"English: {number(n)}. {language}: {word}.",
            f"{word} is {language} for {number(n)}.",
        ),
    )


def month_line(rng, facts):
    """A month or a date."""
    i = int(rng.random() * 12)
    day = 1 + int(rng.random() * 28)
    return pick(
        rng,
        (
            f"{words.MONTH[i]} is {words.GERMAN_MONTH[i]} in German and {words.FRENCH_MONTH[i]} in French.",
            f"A German writes {day}. {words.GERMAN_MONTH[i]} for {words.MONTH[i]} {day}.",
            f"In French, {day} {words.MONTH[i]} is le {day} {words.FRENCH_MONTH[i]}.",
        ),
    )


def weekday_line(rng, facts):
    """A day of the week."""
    i = int(rng.random() * 7)
    return pick(
        rng,
        (
            f"{words.WEEKDAY[i]} is {words.GERMAN_WEEKDAY[i]} in German.",
            f"{words.WEEKDAY[i]} is {words.FRENCH_WEEKDAY[i]} in French.",
            f"On {words.WEEKDAY[i]}: am {words.GERMAN_WEEKDAY[i]}.",
        ),
    )


def time_line(rng, facts):
    """A full or a half hour."""
    hour = 2 + int(rng.random() * 10)
    return pick(
        rng,
        (
            f"In German, {number(hour)} o'clock is {german(hour)} Uhr.",
            f"In French, {number(hour)} o'clock is {french(hour)} heures.",
            f"Half past {number(hour)} is {french(hour)} heures et demie in French.",
            f"Half past {number(hour)} is halb {german(hour + 1)} in German.",
        ),
    )


def talk_line(rng, facts):
    """Two people talk about a word."""
    n = 2 + int(rng.random() * 98)
    word = pick(rng, words.MONTH + words.WEEKDAY)
    where = words.MONTH.index(word) if word in words.MONTH else words.WEEKDAY.index(word)
    answer = words.GERMAN_MONTH[where] if word in words.MONTH else words.GERMAN_WEEKDAY[where]
    return write(
        rng,
        pick(
            rng,
            (
                '"how do you say {n} in French?" asked {a}. "{f}," answered {b}.',
                '"what is {word} in German?" asked {b}. "{answer}," answered {a}.',
                "{a}, who is learning German, counted to {n}: {g}.",
            ),
        ),
        facts | {"n": number(n), "f": french(n), "g": german(n), "word": word, "answer": answer},
    )
