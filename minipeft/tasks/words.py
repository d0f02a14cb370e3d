"""The words of a small town: who lives there, what there is to eat, to see and to complain about.

The built-in tasks and the corpus that the embedded model read are made of these. There are few of them on
purpose: nearly every one is common enough in the corpus to be one token, and a small model meets it often.
"""


def split_up(text):
    """The words of `text`, a tuple."""
    return tuple(text.split())


# --- people ---
PEOPLE = split_up("""Anna Ben Clara David Emma Frank Grace Henry Iris Jack Kate Leo Mary Noah Olive Paul
Rosa Sam Tessa Victor Wendy Adam Beth Carl Dora Eric Flora George Helen Ivan Jane Karl Lucy Mark Nora
Oscar""")
JOBS = split_up("""baker farmer teacher doctor painter driver singer tailor gardener plumber lawyer sailor
writer nurse dancer cook""")
PETS = split_up("cat dog horse parrot rabbit goat pony turtle duck hamster")
HOBBIES = split_up("chess football swimming cooking reading fishing tennis singing sailing cards")
TOWNS = split_up("""Alder Barton Corby Dover Elton Farley Gatwick Harlow Ipswich Keswick Linton Marlow
Norton Otley Preston Redhill""")

# --- time and number ---
DAYS = split_up("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
MONTHS = split_up("January February March April May June July August September October November December")
ONES = split_up("""zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen
fifteen sixteen seventeen eighteen nineteen""")
TENS = split_up("twenty thirty forty fifty sixty seventy eighty ninety")  # of 20, 30 ... 90

# --- food and drink: plurals with an s ---
DISHES = split_up("""soup salad burger pizza taco pie omelette waffle pancake steak tea coffee juice
lemonade beer milkshake""")

# --- opinions ---
THINGS = split_up("""soup bread coffee waiter room bed garden view music film book song play hotel train bus
ticket museum park beach market cake pizza salad curry service kitchen bath carpet window chair table lamp
coat shirt jacket phone camera radio clock kettle oven mirror blanket pillow guide driver doctor teacher""")
PRAISE = split_up("good lovely excellent wonderful great perfect pleasant superb")
BLAME = split_up("bad awful terrible horrible dreadful poor nasty dull")

# --- what people say to each other ---
TALK = split_up("""hello please thank would have course well ready order anything else nothing wait instead
make with bring name type food price area near rating children yes no an on lives live likes has job animal
which what who morning evening night family adults welcome admitted reviews prices lies headline report
answer question""")


def number(n):
    """0 <= n < 1000 in words: 342 -> "three hundred and forty-two"."""
    if n >= 100:
        return f"{ONES[n // 100]} hundred" + (f" and {number(n % 100)}" if n % 100 else "")
    if n < 20:
        return ONES[n]
    return TENS[n // 10 - 2] + (f"-{ONES[n % 10]}" if n % 10 else "")


def listed(parts):
    """["a", "b", "c"] -> "a, b and c"."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def article(noun):
    """ "a" or "an", by the noun's first letter."""
    return "an" if noun[0] in "aeiouAEIOU" else "a"


def capital(sentence):
    """The sentence with a capital first letter."""
    return sentence[:1].upper() + sentence[1:]
