"""Everyday writing: letters, recipes, directions, timetables, sums, lists, animals, school, health, sport."""

from . import names
from .grammar import join, number, ordinal
from .names import cast
from .template import RULES, expand, pick, slot, write, writer_of

RULES |= {
    # --- letters ---
    "greeting": ("dear {b},", "hello {b},", "hi {b},", "my dear {b},", "dearest {b},"),
    "closing": (
        "yours, {a}",
        "best wishes, {a}",
        "love, {a}",
        "kind regards, {a}",
        "see you soon, {a}",
        "with many thanks, {a}",
    ),
    "letter_line": (
        "the weather here is {weather} and {weather}.",
        "{c} has become a {job}.",
        "I {often} {activity}.",
        "yesterday I {activity:past}.",
        "my {relative} and I {activity:past} on {weekday}.",
        "we all miss you[ very much].",
        "how are your {animal:plural}?",
        "I have started to {hobby}.",
        "I was {very} {sad} when I heard about your {relative}.",
        "{c} says hello.",
        "do you remember the {event} in {town}? it was {good}.",
        "I am {glad} that you feel better.",
        "the {pet} is {very} {kind}.",
        "next {weekday} I am going to {town} with {c}.",
        "the new flat is {good_place} but {bad_place}.",
        "I hope that {c} is well.",
        "I had {illness}, but now I am {glad} again.",
        "{problem}, and I {activity:past} all {daytime}.",
    ),
    "letter": (
        (
            "{greeting}\nthank you for the {x=thing}. it is {very} {nice}. {letter_line} {letter_line}"
            " [{letter_line}] please write soon.\n{closing}"
        ),
        (
            "{greeting}\nwe are having a {x=event} on {day=weekday}, {d=date}, at {h=clock}. would you like"
            " to come? {letter_line} you could bring some {drink}[ and a {dish}]. please tell me by"
            " {weekday}.\n{closing}"
        ),
        (
            "{greeting}\nI am writing from {t=town}, where I have been for {few} days. {letter_line}"
            " {letter_line} [{letter_line}] in {few} days I will be home.\n{closing}"
        ),
        (
            "{greeting}\nI am sorry that I (missed your {event}|broke your {thing}|forgot your birthday)."
            " {problem}. {letter_line} can you forgive me? I will make it up to you with a {dish}.\n{closing}"
        ),
        (
            "{greeting}\nthanks for your invitation. unfortunately I cannot come on {weekday}, because I have"
            " to {activity}. {letter_line} could we meet on {weekday} at {clock} instead?\n{closing}"
        ),
        (
            "dear {b.mr} {n=surname},\nI bought a {x=product} from {company} on {date}. {blame_product}. I"
            " paid {price} for it. please send me (my money|a new one). I look forward to your answer.\nyours"
            " sincerely, {full_name}"
        ),
        "Subject: {subject_line}\n{greeting}\n{email_body}\n{closing}",
        "To: {b}\nFrom: {a}\nSubject: {subject_line}\n{email_body} {letter_line}\n{closing}",
    ),
    "subject_line": (
        "Meeting on {weekday}",
        "Your {thing}",
        "{event:capital} in {town}",
        "News from {town}",
        "A question",
        "Change of plan",
    ),
    "email_body": (
        "the meeting has been moved from {weekday} to {weekday} at {clock}, in the {room}. please tell {c}.",
        "could you send {c} the list of {goods} by {weekday}? {c.he} needs it for {company}.",
        "our train arrives at {clock} on {weekday}. can you pick us up at the station?",
        "I have booked {few} rooms at {sign} in {town} from {date}. it costs {price} a night.",
        "I cannot find the {colour} {thing}. did you leave it {where}?",
        "good news: {c} got the job at {company}. {c.he} starts in {month}.",
    ),
    # --- recipes ---
    "recipe_step": (
        "{cook} the {v:plural} for {few} minutes.",
        "add {dose} {s1} and stir.",
        "{cook} everything in a {size} pan.",
        "mix the {s1} with the {s2}.",
        "let it rest for {tens} minutes.",
        "pour {dose} {s2} over the {v:plural}.",
        "cut the {w:plural} into {shape} pieces.",
        "put it into the oven for {tens} minutes.",
        "taste it: it should be {taste} and not {bad_taste}.",
        "wash and {cook} the {w:plural}.",
        "heat the {s2} in a pan, but do not let it burn.",
        "cover the pan and wait until the {v:plural} are tender.",
    ),
    "recipe": (
        (
            "{v:capital} {x=recipe_dish}. for {n=few} people you need {few} {v:plural}, {few} {w:plural},"
            " {dose} {s1} and {dose} {s2}. first, {recipe_step} {recipe_step} then {recipe_step}"
            " {recipe_step} [finally, {recipe_step}] serve it {serve}"
        ),
        (
            "how to make a {v} {x=recipe_dish}\n1. {recipe_step}\n2. {recipe_step}\n3. {recipe_step}\n4."
            " {recipe_step}\n5. serve it {serve}"
        ),
        (
            "you need: {dose} {s1}, {dose} {s2}, {few} {v:plural}, {few} {w:plural}.\nmethod: {recipe_step}"
            " {recipe_step} {recipe_step} {recipe_step} serve it {serve}"
        ),
    ),
    "serve": (
        "warm, with {staple}.",
        "cold, with {drink}.",
        "on a {size} plate with {vegetable:plural}.",
        "at once.",
        "with {staple} and {fruit:plural}.",
    ),
    # --- directions and timetables ---
    "directions": (
        (
            "to get from the {x=building} to the {y=building} in {t=town}, {go1}. then {go2}. after {few}"
            " minutes you will see the {town_place} on your (left|right). {go1}, and {go2}. the {y} is"
            " {beside}. it takes about {tens} minutes on foot, or {few} by {vehicle}. do not {wrong}"
        ),
        (
            "{a} lives {area} of {t=town}. from the station, {go1}, then {go2}. at the {town_place}, {go2}."
            " the house is {colour} and stands {beside}. if you come to the {building}, you have gone too"
            " far."
        ),
        (
            "{t=town} lies {tens} miles {compass} of {u=town}. take the {vehicle} to {v=town} and change"
            " there. from {v} it is only {few} miles to {t}. on the way you will see the {land} on the"
            " (left|right), and a {age} {building}."
        ),
    ),
    "wrong": (
        "turn at the {building}.",
        "cross the {river}.",
        "take the {vehicle}; it is always late.",
        "go through the {town_place} at night.",
    ),
    # --- knowledge ---
    "definition": (
        "a {tool} is a tool, and so is a {tool}.",
        "the {building} is a building; the {town_place} is a place in a town.",
        "{sport} is a sport. you can play it in {season}.",
        "{colour} and {colour} are colours.",
        "{material} is a material.",
        "someone who is {sad} is not {glad}.",
        "a {instrument} is an instrument. {a} plays it {how}.",
        "{feeling} is a feeling, and so is {feeling}.",
        "{subject} is a subject at school, and so is {subject}.",
        "a {dish} is something to eat; {drink} is something to drink.",
        "a {animal} is an animal. it {often} eats {animal_food}.",
        "a {clothing} is something to wear when it is {weather}.",
        "{weekday} is a day, {month} is a month.",
        "the {fruit} is a fruit, the {vegetable} is a vegetable.",
        "a {flower} is a flower, and a {tree} is a tree.",
        "a {vehicle} takes you from {town} to {town}.",
        "a {furniture} is a piece of furniture. it stands in the {room}.",
        "a {tool} is used for work in the house or in the garden.",
        "if something is {bad}, it is not {good}.",
        "{good} means {very} good; {bad} means {very} bad.",
        "a place that is {good_place} is not {bad_place}.",
        "a {good_service} waiter is never {bad_service}.",
        "a {good_art} book is not {bad_art}.",
        "a {genre} can be {good_art} or {bad_art}.",
        "your {relative} is a member of your family or a friend.",
        "a {job} has a job; a pupil goes to school.",
        "if food is {bad_taste}, nobody wants it. if it is {taste}, people are {glad}.",
    ),
    "animal_text": (
        (
            "the {x=animal} is a {size}, {colour} animal. it lives in the {habitat} and eats {animal_food}"
            " and {animal_food}. {animal_line} {animal_line} [{animal_line}] {animal_line}"
        ),
        (
            "{x=animal:plural} live in every {habitat} near {town}. they are {size} and {more} than"
            " {animal:plural}. {animal_many} {animal_many} [{animal_many}]"
        ),
        (
            "do you know the {y=colour} {x=animal} of {t=town}? it lives in a {habitat}, {area}."
            " {animal_line} {animal_line} {animal_line}"
        ),
        (
            "our {y=pet} is called {n=person}. {n} is {size} and {colour}, and eats {staple} and"
            " {animal_food}. {n} {often} sleeps on the {furniture}. when it is {weather}, {n} hides in the"
            " {room}. {n} is {very} {kind}, but afraid of {animal:plural}."
        ),
    ),
    "animal_line": (
        "it is {more} than a {animal}.",
        "it {often} sleeps during the day.",
        "in {season}, it builds a nest of {material} or leaves.",
        "it can live for {few} years.",
        "it is hunted by {hunter:plural}.",
        "a young one weighs {few} grams.",
        "it is not dangerous, only {kind}.",
        "{job:plural} do not like it, because it eats their {vegetable:plural}.",
        "it has {shape} ears and a {colour} back.",
        "when it is {weather}, it hides under a {tree}.",
        "it was first described by {full_name} in {year}.",
    ),
    "animal_many": (
        "they {often} sleep during the day.",
        "they eat {animal_food}, but never {animal_food}.",
        "they are hunted by {hunter:plural}.",
        "in {season}, they have {few} young.",
        "most of them are {colour} or {colour}.",
        "people keep them because they are {kind}.",
        "they can hear a {animal} from {few} miles away.",
        "they move {how} and {how}.",
    ),
    "garden": (
        (
            "in {m=month}, {a} plants {v=vegetable:plural} and {w=vegetable:plural}. the {v:plural} need"
            " {need}, the {w:plural} need {need}. {few} weeks later, they are {size}. {a} waters them every"
            " {weekday}. if there is {sky}, {a.he} covers them with (straw|an old"
            " blanket|glass|leaves|paper). {garden_pest:plural} {often} eat the leaves, so {a}"
            " {activity:third_person}. in {month}, {a.he} picks {tens} {v:plural} and makes {dish:plural}."
        ),
        (
            "the {x=tree} in front of the {building} is {tens} metres tall and {hundreds} years old. in"
            " {season} its leaves are (green|yellow|red|golden|brown|dark green). {bird:plural} live in it,"
            " and {few} {flower:plural} grow under it. it was planted by {full_name}, a {job}. without it,"
            " the {town_place} would be {bad_place}."
        ),
    ),
    "need": ("a lot of water", "much sun", "little light", "good soil", "warm nights", "no care at all"),
    "health": (
        (
            '{a} woke up with {x=illness}. {a.his} {relative} told {a.him} to see {c}, the doctor. "what you'
            ' need is {remedy}," {said} {c}. "and do not {activity} for {few} days." {a} was {sad}, because'
            " {a.he} had wanted to {activity}. after {few} days of {remedy2=remedy}, {a} was well again."
        ),
        (
            "if you have {x=illness}, {remedy} (helps|is good for you). do not {activity}, and do not eat"
            " {bad_taste} food. call a doctor if it is not better after {few} days. {job:plural} {often} get"
            " {x}, because they {activity} when it is {weather}. {remedy} is better than {remedy}."
        ),
    ),
    "sport_text": (
        (
            "{a} and {b} both play {x=sport} for {t=town}. {a} is {more} than {b}, but {b} is {more}. on"
            " {weekday}, they played against {u=town}. it was {weather}. after {tens} minutes, {a} scored."
            ' {b} {activity:past} afterwards. {t} won {score}. "{lesson}," said their coach, {full_name}.'
            " {mood}"
        ),
        (
            "{x=sport} has been played in {t=town} since {year}. the club has {hundreds} members and meets"
            " every {weekday} at {clock}. new players need a {clothing} and must not be {sad}. the coach,"
            " {full_name}, is a {kind} {job} who {often} shouts {how}."
        ),
    ),
    "school": (
        (
            "{a} is in the {ordinal} class. on {weekday}s {a.he} has {subject}, {subject} and {subject}."
            " {a.he} likes {x=subject} best, because the teacher is {kind} and {kind}. {b} prefers"
            " {y=subject}. {b.he} {often} {activity:third_person} instead of doing homework. for the exam in"
            " {month}, they (study|learn) together. {a} got {tens} points, {b} only {tens}. {mood}"
        ),
        (
            "at the school in {t=town}, lessons begin at {clock} and end at {clock}. there are {hundreds}"
            " pupils and {tens} teachers. {full_name} teaches {subject}, {full_name} teaches {subject}. in"
            " the break, the children {activity} or play {sport}. the school has a {building} and a {size}"
            " garden."
        ),
    ),
    "interior": (
        (
            "the {x=room} of {possessive_name} house is {good_place}, but {bad_place} in {season}. there is a"
            " {age} {furniture} made of {material} and a {colour} {furniture}. on the {furniture}"
            " (stands|lies) a {thing}; a {thing} hangs on the wall. through the window you can see a {tree}"
            " and the {land}. {a} {often} sits there and {activity:third_person}."
        ),
        (
            "the {x=shop} {area} of {t=town} belongs to {a}. {a.he} sells {thing:plural}, {thing:plural} and"
            " {clothing:plural}. a {thing} costs {price}, a {thing} {price}. it is open from {clock} to"
            " {clock}, except on {weekday}s. most of the customers are {job:plural}. {b}, {who}, works there"
            " too."
        ),
        (
            "{a} found a {shape} {x=thing} made of {material}. it was {colour} on one side and {colour} on"
            ' the other. it was {more} than a {thing}, and {age}. "where does it come from?" asked {b}. "it'
            ' was made in {town} in {year}," {said} {a}. {b} offered {price} for it, but {a} kept it.'
        ),
        (
            "{a} is a {look}, {look} {a.job} from {t=town}. {a.he} {often} wears a {colour} {clothing} and a"
            " {colour} {clothing}. {a.he} is {kind} and {kind}, but {often} {sad}. {a.his} {relative} {b}, on"
            " the other hand, is {look} and {very} {kind}. {a} likes {fruit:plural}; {b} likes {dish:plural}."
        ),
    ),
    "possessive_name": ("{a:possessive}",),
}


def letter(rng):
    """An invitation, thanks, an apology, a complaint, or an email."""
    facts = cast(rng, "a", "b", "c")
    facts["b.mr"] = "Mrs" if facts["b.he"] == "she" else "Mr"
    return write(rng, "{letter}", facts)


def recipe(rng):
    """A dish with one main vegetable."""
    facts = {
        key: expand(rng, slot(source), {})
        for key, source in (("v", "vegetable"), ("w", "vegetable"), ("s1", "staple"), ("s2", "staple"))
    }
    return write(rng, "{recipe}", facts)


directions, animals, garden = writer_of("directions"), writer_of("animal_text"), writer_of("garden")
health, sport = writer_of("health"), writer_of("sport_text")
school, interior = writer_of("school"), writer_of("interior")


def definitions(rng):
    """What words mean, in a series."""
    return write(rng, " ".join(["{definition}"] * (3 + int(rng.random() * 4))), cast(rng, "a"))


def timetable(rng):
    """Departures or opening hours as lines, then some of them as sentences."""
    travel = rng.random() < 0.5
    drawn = {}
    places = [expand(rng, "{town}" if travel else "{shop}", drawn) for _ in range(3 + int(rng.random() * 3))]
    hours = [names.clock(rng) for _ in places]
    layout = pick(rng, ("{hour}  {place}", "{place}: {hour}", "{place} - {hour}", "{place}, {hour}"))
    lines = [layout.format(place=place, hour=hour) for place, hour in zip(places, hours, strict=True)]
    title = write(
        rng, "(Departures|Buses|Trains|Timetable)" if travel else "(Opening hours|Shops in {town}|Open from)"
    )
    sentence = (
        "(the {line} to {place} leaves at {hour}.|if you want to go to {place}, be there at {hour}.|{place}:"
        " at {hour}.)"
        if travel
        else (
            "(the {place} opens at {hour}.|you can go to the {place} from {hour}.|nobody is at the {place}"
            " before {hour}.)"
        )
    )
    prose = [
        write(rng, sentence, {"place": place, "hour": hour})
        for place, hour in zip(places, hours, strict=True)
    ]
    return title + "\n" + "\n".join(lines) + "\n" + " ".join(prose)


def sums(rng):
    """Simple arithmetic, in figures, in words, and as small stories."""
    lines = []
    for _ in range(4 + int(rng.random() * 4)):
        a, b = 1 + int(rng.random() * 20), 1 + int(rng.random() * 20)
        facts = cast(rng, "a", "b") | {
            "m": number(a + b),
            "n": number(a),
            "k": number(b),
            "sum": number(a + b),
            "times": number(a * b),
        }
        lines.append(write(rng, pick(rng, SUMS), facts))
    return " ".join(lines)


SUMS = (
    "{n} plus {k} is {sum}.",
    "{sum} minus {k} is {n}.",
    "{n} times {k} is {times}.",
    "{times} divided by {k} is {n}.",
    "{a} has {m} {coin=thing:plural} and gives {k} to {b}. now {a} has {n} left.",
    "{a} had {n} {x=fruit:plural}. {b} gave {a.him} {k} more. then {a} had {sum}.",
    "a {thing} costs {n} pounds and a {thing} costs {k}. together they cost {sum} pounds.",
    "what is {n} and {k}? it is {sum}.",
    "{n} and {k} make {sum}.",
    "how much is {n} times {k}? {times}.",
)


def counting(rng):
    """Numbers in figures and in words, in order, by steps, and as ordinals."""
    start, step = 1 + int(rng.random() * 3000), pick(rng, (1, 1, 2, 5, 10, 100))
    ns = [start + i * step for i in range(4 + int(rng.random() * 4))]
    style = int(rng.random() * 4)
    if style == 0:
        return write(rng, f"counting by {number(step)}: " + ", ".join(number(n) for n in ns) + ".")
    if style == 1:
        return "\n".join(f"{n} = {number(n)}" for n in ns)
    if style == 2:
        return " ".join(write(rng, f"{n} is written {number(n)}.") for n in ns)
    return (
        " ".join(
            f"After the {ordinal(n % 100)} comes the {ordinal(n % 100 + 1)}."
            for n in ns
            if n % 100 < 98 and n % 100
        )
        or f"{start}, {start + 1}, {start + 2}."
    )


def shopping_list(rng):
    """A list, repeated in a sentence."""
    facts = cast(rng, "a", "b")
    items = [
        expand(
            rng,
            "({dose} {staple}|{few} {fruit:plural}|{few} {vegetable:plural}|{amount} {thing:plural})",
            facts,
        )
        for _ in range(3 + int(rng.random() * 5))
    ]
    bullet = pick(rng, ("- ", "* ", "", "+ "))
    ending = write(
        rng,
        "{a} (went to|walked to|took the {vehicle} to) the market to buy " + join(items) + ". {shop_end}",
        facts,
    )
    return (
        write(rng, "(Shopping list|To buy|{a}'s list|Please bring)", facts)
        + "\n"
        + "\n".join(bullet + item for item in items)
        + "\n"
        + ending
    )


RULES["shop_end"] = (
    "it cost {price} in all.",
    "on the way home {a.he} met {b}.",
    "but {problem}.",
    "{a.he} forgot the {staple}.",
    "then {a.he} {activity:past}.",
    "{b} carried the bags.",
    "everything was {very} {nice}.",
)
