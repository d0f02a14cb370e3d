"""Invented names, and other things that are built rather than listed: times, dates, prices, people."""

from .. import words
from .grammar import number, ordinal


def _pick(rng, options):
    return options[int(rng.random() * len(options))]


def _below(rng, n):
    return int(rng.random() * n)


def _coin(rng, chance=0.5):
    return rng.random() < chance


def woman(rng):
    """A listed or an invented woman's name."""
    if _coin(rng):
        return _pick(rng, words.WOMEN)
    return _pick(rng, words.NAME_START) + _pick(rng, words.NAME_MIDDLE) + _pick(rng, words.WOMAN_END)


def man(rng):
    """A listed or an invented man's name."""
    if _coin(rng):
        return _pick(rng, words.MEN)
    return _pick(rng, words.NAME_START) + _pick(rng, words.NAME_MIDDLE) + _pick(rng, words.MAN_END)


def person(rng):
    """A first name."""
    return woman(rng) if _coin(rng) else man(rng)


def surname(rng):
    """Like "Harwick"."""
    return _pick(rng, words.PLACE_START) + _pick(rng, words.SURNAME_END)


def full_name(rng):
    """First name and surname."""
    return f"{person(rng)} {surname(rng)}"


def town(rng):
    """Like "Alderford"."""
    return _pick(rng, words.PLACE_START) + _pick(rng, words.PLACE_END)


def river(rng):
    """Like "Tridden"."""
    return _pick(rng, words.RIVER_START) + _pick(rng, words.RIVER_END)


def street(rng):
    """Like "Foxham Lane"."""
    first = _pick(rng, (town, surname, river))(rng) if _coin(rng) else _pick(rng, words.PLACE_START)
    return f"{first} {_pick(rng, words.STREET)}"


def sign(rng):
    """The name of a pub, cafe or restaurant: "The Copper Lantern"."""
    style = _below(rng, 10)
    if style < 5:
        return f"The {_pick(rng, words.SIGN_ADJECTIVE)} {_pick(rng, words.SIGN_NOUN)}"
    if style < 7:
        return f"The {_pick(rng, words.SIGN_NOUN)}"
    if style < 8:
        return f"The {_pick(rng, words.SIGN_NOUN)} and {_pick(rng, words.SIGN_NOUN)}"
    if style < 9:
        return f"Cafe {woman(rng)}"
    return f"{surname(rng)} House"


def title(rng):
    """The title of a book or film: "The Silent Garden"."""
    style = _below(rng, 3)
    if style == 0:
        return f"The {_pick(rng, words.SIGN_ADJECTIVE)} {_pick(rng, words.TITLE_NOUN)}"
    if style == 1:
        return f"The {_pick(rng, words.TITLE_NOUN)} of {town(rng)}"
    return f"A {_pick(rng, words.TITLE_NOUN)} in {_pick(rng, words.MONTH)}"


def company(rng):
    """Like "Wolfland Toys"."""
    return f"{surname(rng)} {_pick(rng, words.TRADE)}"


def brand(rng):
    """A product name: "Torani 400"."""
    name = (
        _pick(rng, words.NAME_START)
        + _pick(rng, words.NAME_MIDDLE)
        + _pick(rng, ("x", "n", "ro", "ta", "k", "sy"))
    )
    return f"{name} {(1 + _below(rng, 90)) * 10}" if _coin(rng) else name


def clock(rng):
    """A time of day: "half past seven", "7:30", "quarter to nine", "8 am"."""
    hour, style = 1 + _below(rng, 12), _below(rng, 6)
    if style == 0:
        return f"{number(hour)} o'clock"
    if style == 1:
        return f"half past {number(hour)}"
    if style == 2:
        return (
            f"{_pick(rng, ('quarter', 'ten', 'twenty', 'five'))} {_pick(rng, ('past', 'to'))} {number(hour)}"
        )
    if style == 3:
        return f"{hour} {_pick(rng, ('am', 'pm'))}"
    return f"{6 + _below(rng, 17)}:{5 * _below(rng, 12):02d}"


def date(rng):
    """A day of the year: "14 March", "the fourteenth of March", "March 14"."""
    day, month, style = 1 + _below(rng, 28), _pick(rng, words.MONTH), _below(rng, 4)
    if style == 0:
        return f"{month} {day}"
    if style == 1:
        return f"the {ordinal(day)} of {month}"
    return f"{day} {month}"


def year(rng):
    """A year between 1400 and 1800, in figures."""
    return str(1400 + _below(rng, 400))


def recent_year(rng):
    """A year between 1950 and 2023, in figures."""
    return str(1950 + _below(rng, 74))


def price(rng):
    """An amount of money: "£4.50", "12 pounds", "seven euros"."""
    whole, style = 1 + _below(rng, 40), _below(rng, 6)
    if style < 2:
        return f"£{whole}.{_pick(rng, ('50', '20', '99', '75', '80', '95', '25'))}"
    if style == 2:
        return f"${whole * 5}"
    amount = number(whole + 1) if style == 3 else str(whole + 1)
    return f"{amount} {_pick(rng, ('pounds', 'euros', 'dollars'))}"


def few(rng):
    """Two to twelve, in words."""
    return number(2 + _below(rng, 11))


def tens(rng):
    """13 to 99, in figures or in words."""
    n = 13 + _below(rng, 87)
    return str(n) if _coin(rng) else number(n)


def hundreds(rng):
    """A round number up to a few thousand, in figures or in words."""
    n = _pick(rng, (10, 25, 50, 100)) * (2 + _below(rng, 60))
    return str(n) if _coin(rng, 0.7) else number(n)


def population(rng):
    """Like "48,300"."""
    return f"{2 + _below(rng, 97)},{100 * _below(rng, 10):03d}"


def phone(rng):
    """Like "0172 3355"."""
    return f"0{100 + _below(rng, 900)} {1000 + _below(rng, 9000)}"


def score(rng):
    """The result of a match: "3-1"."""
    low = _below(rng, 4)
    return f"{low + 1 + _below(rng, 3)}-{low}"


def cast(rng, *roles):
    """Facts about one invented person per role: `a` the name, `a.he`, `a.him`, `a.his` and `a.job`.

    No two roles get the same name.
    """
    facts, taken = {}, []
    for role in roles:
        female = _coin(rng)
        name = (woman if female else man)(rng)
        while name in taken:
            name = (woman if female else man)(rng)
        taken.append(name)
        he, him, his = ("she", "her", "her") if female else ("he", "him", "his")
        facts |= {
            role: name,
            f"{role}.he": he,
            f"{role}.him": him,
            f"{role}.his": his,
            f"{role}.job": _pick(rng, words.JOB),
        }
    return facts


MAKERS = {
    "woman": woman,
    "man": man,
    "person": person,
    "surname": surname,
    "full_name": full_name,
    "town": town,
    "river": river,
    "street": street,
    "sign": sign,
    "title": title,
    "company": company,
    "brand": brand,
    "clock": clock,
    "date": date,
    "year": year,
    "recent_year": recent_year,
    "price": price,
    "few": few,
    "tens": tens,
    "hundreds": hundreds,
    "population": population,
    "phone": phone,
    "score": score,
}
