"""Small rules of English: articles, plurals, verb forms, numbers in words, and tidy sentences."""

import re

from .. import words

IRREGULAR_PLURALS = {
    "mouse": "mice",
    "goose": "geese",
    "sheep": "sheep",
    "deer": "deer",
    "foot": "feet",
    "tooth": "teeth",
    "wolf": "wolves",
    "calf": "calves",
    "shelf": "shelves",
    "knife": "knives",
    "salmon": "salmon",
    "trout": "trout",
    "potato": "potatoes",
    "tomato": "tomatoes",
    "fisherman": "fishermen",
    "child": "children",
    "policeman": "policemen",
    "fireman": "firemen",
    "postman": "postmen",
    "person": "people",
    "scarf": "scarves",
    "goldfish": "goldfish",
    "leaf": "leaves",
    "volcano": "volcanoes",
    "chilli": "chillies",
}

# base: (past, past participle)
IRREGULAR_VERBS = {
    "be": ("was", "been"),
    "build": ("built", "built"),
    "buy": ("bought", "bought"),
    "catch": ("caught", "caught"),
    "choose": ("chose", "chosen"),
    "cut": ("cut", "cut"),
    "dig": ("dug", "dug"),
    "do": ("did", "done"),
    "draw": ("drew", "drawn"),
    "drink": ("drank", "drunk"),
    "eat": ("ate", "eaten"),
    "feed": ("fed", "fed"),
    "feel": ("felt", "felt"),
    "find": ("found", "found"),
    "get": ("got", "got"),
    "go": ("went", "gone"),
    "grow": ("grew", "grown"),
    "hang": ("hung", "hung"),
    "have": ("had", "had"),
    "keep": ("kept", "kept"),
    "know": ("knew", "known"),
    "light": ("lit", "lit"),
    "make": ("made", "made"),
    "meet": ("met", "met"),
    "pay": ("paid", "paid"),
    "read": ("read", "read"),
    "ride": ("rode", "ridden"),
    "run": ("ran", "run"),
    "say": ("said", "said"),
    "see": ("saw", "seen"),
    "sell": ("sold", "sold"),
    "sing": ("sang", "sung"),
    "sit": ("sat", "sat"),
    "sleep": ("slept", "slept"),
    "sweep": ("swept", "swept"),
    "swim": ("swam", "swum"),
    "take": ("took", "taken"),
    "teach": ("taught", "taught"),
    "tell": ("told", "told"),
    "think": ("thought", "thought"),
    "win": ("won", "won"),
    "write": ("wrote", "written"),
}
DOUBLED = (
    "chop",
    "mop",
    "knit",
    "drop",
    "stop",
    "plan",
    "swim",
    "run",
    "sit",
    "get",
    "cut",
    "dig",
    "win",
    "stir",
)
SILENT_H = ("hour", "honest", "honour", "heir")
VOWEL_LETTERS_CONSONANT_SOUND = ("one", "uni", "use", "usual", "eu", "once", "ukulele")


def article(word):
    """ "a" or "an", by the sound that `word` begins with."""
    lower = word.lower()
    if lower[0].isdigit():
        return "an" if re.match(r"8|1[18](\D|$)", lower) else "a"
    if lower.startswith(SILENT_H):
        return "an"
    if lower.startswith(VOWEL_LETTERS_CONSONANT_SOUND):
        return "a"
    return "an" if lower[0] in "aeiou" else "a"


def plural(noun):
    """The plural of a noun or noun phrase: its last word, or the head of "pair of boots"."""
    if " of " in noun:
        head, rest = noun.split(" of ", 1)
        return f"{plural(head)} of {rest}"
    *before, last = noun.split(" ")
    return " ".join([*before, IRREGULAR_PLURALS.get(last) or _add_s(last)])


def _add_s(word):
    if word.endswith("'s"):
        return word
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + "s"


def third_person(phrase):
    """ "go home" -> "goes home"."""
    return _inflect(
        phrase, lambda verb: {"have": "has", "do": "does", "go": "goes", "be": "is"}.get(verb) or _add_s(verb)
    )


def past(phrase):
    """ "go home" -> "went home"."""
    return _inflect(
        phrase, lambda verb: IRREGULAR_VERBS[verb][0] if verb in IRREGULAR_VERBS else _add_ed(verb)
    )


def participle(phrase):
    """ "go home" -> "gone home"."""
    return _inflect(
        phrase, lambda verb: IRREGULAR_VERBS[verb][1] if verb in IRREGULAR_VERBS else _add_ed(verb)
    )


def ing(phrase):
    """ "make soup" -> "making soup"."""
    return _inflect(phrase, _add_ing)


def _inflect(phrase, rule):
    verb, space, rest = phrase.partition(" ")
    return rule(verb) + space + rest


def _add_ed(verb):
    if verb.endswith("e"):
        return verb + "d"
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return verb[:-1] + "ied"
    return verb + (verb[-1] if verb in DOUBLED else "") + "ed"


def _add_ing(verb):
    if verb.endswith("e") and not verb.endswith(("ee", "be")):
        return verb[:-1] + "ing"
    return verb + (verb[-1] if verb in DOUBLED else "") + "ing"


def number(n):
    """0 <= n < 10000 in words: 342 -> "three hundred and forty-two"."""
    if n < 20:
        return words.ONES[n]
    if n < 100:
        tens = words.TENS[n // 10 - 2]
        return tens if n % 10 == 0 else f"{tens}-{words.ONES[n % 10]}"
    if n < 1000:
        hundreds = f"{words.ONES[n // 100]} hundred"
        return hundreds if n % 100 == 0 else f"{hundreds} and {number(n % 100)}"
    thousands = f"{number(n // 1000)} thousand"
    rest = n % 1000
    return thousands if rest == 0 else f"{thousands}{' and' if rest < 100 else ''} {number(rest)}"


def ordinal(n):
    """21 -> "twenty-first"."""
    before, dash, last = number(n).rpartition("-")
    if last in words.ORDINALS:
        last = words.ORDINALS[last]
    else:
        last = last[:-1] + "ieth" if last.endswith("y") else last + "th"
    return before + dash + last


def join(items):
    """["a", "b", "c"] -> "a, b and c"."""
    *first, last = items
    return f"{', '.join(first)} and {last}" if first else last


def capital(text):
    """The first letter in upper case, the rest as it is."""
    return text[:1].upper() + text[1:]


def possessive(name):
    """ "Anna" -> "Anna's", "James" -> "James'"."""
    return name + ("'" if name.endswith("s") else "'s")


_ARTICLE = re.compile(r"\b([Aa])n? (?=([A-Za-z0-9é]\S*))")
_SENTENCE_START = re.compile(r'((?:^|\."? |[!?] |\n|: (?="))"?)([a-zé])')


def articles(text):
    """ "a apple" -> "an apple", wherever "a" or "an" stands before a word."""
    return _ARTICLE.sub(lambda match: article(match[2]).replace("a", match[1], 1) + " ", text)


def tidy(text):
    """Right articles, single spaces, and a capital letter at the start of every line and sentence."""
    text = re.sub(r" +", " ", articles(text))
    text = re.sub(r" ([,.!?;])", r"\1", text)
    text = re.sub(r" ?\n ?", "\n", text)
    return _SENTENCE_START.sub(lambda match: match[1] + match[2].upper(), text.strip())
