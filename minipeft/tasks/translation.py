"""Translation: English numbers, dates and times of day -> German or French.

    prompt      English: half past three
                German:
    completion  " halb vier"

The rules are those of the languages: German puts the ones before the tens and counts half hours to the next
hour (halb vier); French counts seventy as sixty-ten and ninety as four-twenty-ten, with "et" before 1 and 11.

Splits: a number, a day with its month, an hour with its minutes: each is a combination of one split
(`splits.split_of`), in both languages alike.
"""

from random import Random

from ..data.metrics import accuracy, chrf
from . import words
from .splits import check_split, split_of

NAME = "translation"
PRIMARY = "exact"  # the score to compare methods by
CHOICES = None
MAX_NEW_TOKENS = 24

DAYS_OF = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)  # days of each month
GERMAN_ONES = words.split_up("""null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn
vierzehn fünfzehn sechzehn siebzehn achtzehn neunzehn""")
GERMAN_TENS = words.split_up("zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig")
GERMAN_DAYS = words.split_up("Montag Dienstag Mittwoch Donnerstag Freitag Samstag Sonntag")
GERMAN_MONTHS = words.split_up("""Januar Februar März April Mai Juni Juli August September Oktober November
Dezember""")
FRENCH_ONES = words.split_up("""zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize
quatorze quinze seize dix-sept dix-huit dix-neuf""")
FRENCH_TENS = words.split_up("""vingt trente quarante cinquante soixante soixante quatre-vingt
quatre-vingt""")
FRENCH_DAYS = words.split_up("lundi mardi mercredi jeudi vendredi samedi dimanche")
FRENCH_MONTHS = words.split_up("""janvier février mars avril mai juin juillet août septembre octobre
novembre décembre""")


def rows(split, count, seed=0):
    """`count` rows of "train", "validation" or "test": dicts with "prompt" and "completion"."""
    check_split(split)
    rng, drawn = Random(f"{NAME} {split} {seed}"), []
    for _ in range(count):
        language = rng.choice(("German", "French"))
        meaning = expression(rng, split)
        prompt = f"English: {english(*meaning)}\n{language}:"
        drawn.append({"prompt": prompt, "completion": f" {TRANSLATE[language](*meaning)}"})
    return drawn


def expression(rng, split):
    """("number", n), ("date", weekday, day, month) or ("time", hour, minutes): what is to be said."""
    kind = rng.choice(("number", "date", "time"))
    while True:
        if kind == "number":
            meaning = (rng.randint(1, 99) if rng.random() < 0.5 else rng.randint(100, 999),)
            key = meaning
        elif kind == "date":
            month = rng.randrange(12)
            meaning = (rng.randrange(7), rng.randint(1, DAYS_OF[month]), month)
            key = meaning[1:]
        else:
            meaning = key = (rng.randint(1, 12), rng.choice((0, 5, 10, 15, 20, 30, 40, 45, 50, 55)))
        if split_of(kind, *map(str, key)) == split:
            return kind, *meaning


# ------------------------------------------------------------------------------------------- languages


def english(kind, *what):
    """345 -> "three hundred and forty-five"; "Monday 3 March"; "half past three"."""
    if kind == "number":
        return words.number(*what)
    if kind == "date":
        return f"{words.DAYS[what[0]]} {what[1]} {words.MONTHS[what[2]]}"
    hour, minutes = what
    if minutes == 0:
        return f"{words.number(hour)} o'clock"
    said = {15: "a quarter", 30: "half", 45: "a quarter"}
    if minutes <= 30:
        return f"{said.get(minutes) or words.number(minutes)} past {words.number(hour)}"
    return f"{said.get(minutes) or words.number(60 - minutes)} to {words.number(_next(hour))}"


def german(kind, *what):
    """345 -> "dreihundertfünfundvierzig"; "Montag, 3. März"; "halb vier"."""
    if kind == "number":
        return german_number(*what)
    if kind == "date":
        return f"{GERMAN_DAYS[what[0]]}, {what[1]}. {GERMAN_MONTHS[what[2]]}"
    hour, minutes = what
    if minutes == 0:
        return f"{'ein' if hour == 1 else german_number(hour)} Uhr"
    if minutes == 30:
        return f"halb {german_number(_next(hour))}"
    rest = minutes if minutes < 30 else 60 - minutes
    amount = "Viertel" if rest == 15 else german_number(rest)
    return (
        f"{amount} {'nach' if minutes < 30 else 'vor'} {german_number(hour if minutes < 30 else _next(hour))}"
    )


def german_number(n):
    """0 <= n < 1000: 21 -> "einundzwanzig"; the ones stand before the tens."""
    if n >= 100:
        hundreds = ("ein" if n < 200 else GERMAN_ONES[n // 100]) + "hundert"
        return hundreds + (german_number(n % 100) if n % 100 else "")
    if n < 20:
        return GERMAN_ONES[n]
    ones = "ein" if n % 10 == 1 else GERMAN_ONES[n % 10]
    return ("" if n % 10 == 0 else f"{ones}und") + GERMAN_TENS[n // 10 - 2]


def french(kind, *what):
    """345 -> "trois cent quarante-cinq"; "lundi 3 mars"; "trois heures et demie"."""
    if kind == "number":
        return french_number(*what)
    if kind == "date":
        day = "1er" if what[1] == 1 else what[1]
        return f"{FRENCH_DAYS[what[0]]} {day} {FRENCH_MONTHS[what[2]]}"
    hour, minutes = what
    if minutes > 30:
        rest = "le quart" if minutes == 45 else french_number(60 - minutes)
        return f"{_hours(_next(hour))} moins {rest}"
    said = {0: "", 15: " et quart", 30: " et demie"}
    return _hours(hour) + said.get(minutes, f" {french_number(minutes)}")


def french_number(n):
    """0 <= n < 1000: 81 -> "quatre-vingt-un"; 71 and 91 count on from sixty and eighty."""
    if n >= 100:
        hundreds = "cent" if n < 200 else FRENCH_ONES[n // 100] + (" cents" if n % 100 == 0 else " cent")
        return hundreds + (f" {french_number(n % 100)}" if n % 100 else "")
    if n < 20:
        return FRENCH_ONES[n]
    ones = n % 10 + (10 if n // 10 in (7, 9) else 0)
    tens = FRENCH_TENS[n // 10 - 2]
    if ones == 0:
        return tens + ("s" if n == 80 else "")
    return tens + (" et " if ones in (1, 11) and n < 80 else "-") + FRENCH_ONES[ones]


def _hours(hour):
    return "une heure" if hour == 1 else f"{french_number(hour)} heures"


def _next(hour):
    return hour % 12 + 1


TRANSLATE = {"German": german, "French": french}


def score(rows, outputs):
    """ "exact": the share of right translations; "chrf": character n-grams in common (Popović 2015)."""
    right = [row["completion"] for row in rows]
    return {"exact": accuracy(outputs, right), "chrf": chrf(outputs, right)}
