"""News reports with headlines, town histories, notices, and questions with answers over a passage."""

from . import names
from .names import cast
from .template import RULES, pick, write

RULES |= {
    "says": ("said", "explained", "added", "remarked", "declared", "admitted"),
    "filler_news": (
        '"we are {very} {glad}," {says} {b}, {tens}, a {job} from {u=town}.',
        "the {group} will meet again on {weekday}.",
        "{full_name}, who lives {area}, {says} that {people_think}.",
        "the last time was in {recent_year}.",
        "more than {hundreds} people signed a letter about it.",
        "nobody can say how it will end.",
        "a {job} who was there {says} that it was {very} {nice}.",
        "the weather was {weather}, with {sky} in the {daytime}.",
        "the mayor, {full_name}, did not want to comment.",
        "further details will follow on {weekday}.",
        "there have been {few} similar cases since {recent_year}.",
        "the police are looking for a {look} {man_word} with a {colour} {clothing}.",
        "many {job:plural} from {town} came to see it.",
    ),
    "man_word": ("man", "woman", "person", "boy", "girl"),
    "people_think": (
        "it was high time",
        "people there are {glad}",
        "people there are {sad}",
        "the money should go to the {project}",
        "{lesson}",
        "nobody had asked them",
        "it came as a surprise",
    ),
}

# Each entry: (headline, first sentence, what follows). The first sentence fixes what the headline repeats.
NEWS = (
    (
        "{x:capital} hits {t}",
        "a {x=storm} hit {t=town} on {d=weekday} {daytime} and (caused|led to|left behind) {damage}.",
        (
            "{tens} (houses|families) were without electricity until {clock}. firemen from {town} helped to"
            " {clear}. {n=few} people were hurt."
        ),
    ),
    (
        "New {x} opens in {t}",
        (
            "a new {x=project} (was opened|opened its doors) in {t=town} on {d=date}[ after {few} years of"
            " work]."
        ),
        (
            "it cost {hundreds} thousand pounds and was paid for by the {group}. the first visitor was {b}, a"
            " {job}."
        ),
    ),
    (
        "{t} to get new {x}",
        "the town of {t=town} will get a new {x=project}, the {g=group} decided on {d=weekday}.",
        "work will begin in {month} and take {few} months. it will stand {area}. not everybody is {glad}.",
    ),
    (
        "{t} beat {u} {sc}",
        "{t=town} won {sc=score} against {u=town} in the {sport} match on {d=weekday}.",
        (
            "{full_name} scored in the {ordinal_minute} minute. {hundreds} people watched the match in"
            " {weather} weather. {u} have now lost {few} matches in a row."
        ),
    ),
    (
        "Fire destroys {x} in {t}",
        (
            "a fire destroyed the old {x=building} {where_town} {t=town} in the night of {d=date}. it was"
            " probably caused by {cause}."
        ),
        "nobody was hurt, but {few} {animal:plural} had to be saved. the firemen needed {few} hours.",
    ),
    (
        "{co} closes {x}, {n} jobs lost",
        (
            "{co=company} will close its {x=plant_kind} in {t=town} in {month}. {n=tens} people will lose"
            " their jobs."
        ),
        (
            "the company, which makes {goods}, was founded in {recent_year}. sales have been falling for"
            " {few} years."
        ),
    ),
    (
        "{co} to hire {n} people in {t}",
        "{co=company}, which makes {goods}, is going to hire {n=tens} people in {t=town}.",
        "it is looking for {job:plural} and {job:plural}. the new {plant_kind} will open in {month}.",
    ),
    (
        "{full} wins {prize}",
        "{full=full_name}, a {j=job} from {t=town}, has won {prize=prize_name} for {prize_work}.",
        (
            'the prize is worth {hundreds} pounds. it will be handed over on {date}. "I am {glad}," {says}'
            " the {j}."
        ),
    ),
    (
        "Lost {x} found after {n} years",
        "a {x=treasure} that was lost {n=tens} years ago has been found in {t=town}.",
        (
            "{full=full_name}, a {job}, saw it while {activity:ing}. it belonged to {full_name}. it will be"
            " shown in the museum."
        ),
    ),
    (
        "{x:capital} escapes from zoo in {t}",
        (
            "a {x=animal} escaped from the zoo in {t=town} on {d=weekday} {daytime} and was seen near the"
            " {building}."
        ),
        "it was caught {few} hours later by a {job} with a {tool}. visitors were {sad}, but nobody was hurt.",
    ),
    (
        "{x:capital} in {t} cancelled",
        "the {x=event} in {t=town} on {d=date} has been cancelled because of {cause}.",
        "tickets can be returned until {weekday}. the {group} hopes to hold it again in {month}.",
    ),
    (
        "Record number visit {x} in {t}",
        "{n=hundreds} people visited the {x=event} in {t=town} on {d=weekday}, more than ever before.",
        (
            "they ate {hundreds} {dish:plural} and listened to the {instrument}. the {group} earned {price}"
            " per visitor."
        ),
    ),
    (
        "Road to {t} closed",
        "the road from {u=town} to {t=town} is closed until {d=date} because of {cause}.",
        "drivers should go through {town}. buses leave {few} minutes earlier. the {group} is {sad} about it.",
    ),
    (
        "{g:capital} elects {full}",
        "the {g=group} of {t=town} has elected {full=full_name} as its new head.",
        (
            'the {look} {job} got {tens} votes. {full_name} had led it for {few} years. "{lesson}," {says}'
            " {full}."
        ),
    ),
    (
        "Prices of {x} rise",
        "the price of {x=goods} rose by {n=tens} per cent in {m=month}, after a {storm} in the {compass}.",
        "shops in {t=town} have raised their prices too. a {job} from {town} {says} that {people_think}.",
    ),
    (
        "Two hurt in {x} accident near {t}",
        (
            "two people were hurt when a {x=vehicle} left the road near {t=town} on {d=weekday}. the reason"
            " was {cause}."
        ),
        "the driver, a {job} of {tens}, was taken to hospital. the road was closed until {clock}.",
    ),
)

RULES |= {
    "clear": ("clear the roads", "save the animals", "repair the roofs", "pump out the cellars"),
    "ordinal_minute": ("fifth", "twelfth", "last", "thirtieth", "first", "forty-second", "eightieth"),
    "where_town": ("near", "in the centre of", "outside", "in"),
    "plant_kind": ("factory", "office", "shop", "workshop", "warehouse"),
    "prize_name": (
        "first prize",
        "the {town} prize",
        "a gold medal",
        "the {surname} medal",
        "a trip to {town}",
    ),
    "prize_work": (
        "a {genre} about {town}",
        "the best {dish}",
        "a {colour} {flower}",
        "a new kind of {tool}",
        "a painting of a {animal}",
        "saving a {animal}",
        "{few} years of hard work",
    ),
    "headline_intro": ("Headline: ", "News: ", "", "", "", "In today's paper: "),
    "short_intro": ("In short: ", "In one line: ", "Summary: ", "The headline: ", "In brief: "),
}


def news(rng):
    """A report with its headline before or after it."""
    headline, lead, body = pick(rng, NEWS)
    facts = cast(rng, "b")
    text = write(rng, f"{lead} [{body} ]{{filler_news}}[ {{filler_news}}]", facts)
    headline = write(rng, headline, facts)
    if rng.random() < 0.6:
        return f"{write(rng, '{headline_intro}')} {headline}\n{text}".lstrip()
    return f"{text}\n{write(rng, '{short_intro}')} {headline}"


RULES |= {
    "history": (
        (
            "{t=town} was founded in {y=year} by {founder=full_name}, a {job} from {town}. the town lies (on"
            " the river {r=river}|in the {compass} of the country)."
        ),
        (
            "the {x=building} of {t=town} was built in {y=year} by {founder=full_name}. it is made of"
            " {building_material} and has {few} {room:plural}."
        ),
        (
            "{founder=full_name} was born in {t=town} in {y=year}, the {ordinal} child of a {job}. as a child"
            " {founder} liked to {hobby}."
        ),
    ),
    "history_line": (
        "in {year}, a {storm} destroyed the {building}.",
        "people there lived from {goods} and {goods}.",
        "in {year}, the first {building} was opened[ by {full_name}].",
        "the {building} was burnt down in {year} and built again in {later}.",
        "for {few} hundred years, {goods} was sold at the market in {t}.",
        "the {job:plural} of {t} were famous for their {goods}.",
        "when the new road came in {year}, many {job:plural} moved to {t}.",
        "a war with {town} began in {year} and lasted {few} years.",
        "{full_name}, a {job}, wrote a {genre} about {t} in {year}.",
        "during the {storm} of {year}, {hundreds} people left the town.",
        "the bridge over the {river} was finished in {year}; before that, people had to take the ferry.",
        "it was said that {lesson}.",
    ),
    "history_today": (
        "today, {population} people live in {t}.",
        "today {t} has {few} schools and a {building}.",
        "a statue in the {town_place} still reminds people of {founder}.",
        "visitors come to see the {building} and the {building}.",
        "the {x2=event} is held every {month}.",
        "now it is a quiet place, known for its {goods}.",
        "nobody knows what became of {founder}.",
    ),
    "notice": (
        (
            "Notice: the {x=building} in {t=town} will be closed from {date} to {date} because of {cause}."
            " please use the {building} {area}. questions? call {phone}[ or ask for {full_name}]."
        ),
        (
            "Lost: a {colour} {thing}, {where}, on {weekday}. it is made of {material} and very dear to me."
            " {price} reward. please call {full_name}, {phone}."
        ),
        (
            "Found: a {size} {colour} {pet}, near the {building} in {town}. it likes {animal_food} and is"
            " {very} {kind}. call {phone} after {clock}."
        ),
        (
            "For sale: a {age} {colour} {product}, {good_make}, {price}. also a {furniture} made of"
            " {material}. {full_name}, {street}, {town}."
        ),
        (
            "Wanted: a {kind} {job} for our {shop} in {town}. you should be {kind} and {kind}. we pay {price}"
            " an hour. write to {full_name}, {company}."
        ),
        (
            "{event:capital} in {town}! on {weekday}, {date}, at {clock}, in the {building}. tickets cost"
            " {price}, children pay half. there will be {dish:plural}, {drink} and music for {instrument} and"
            " {instrument}."
        ),
        (
            "To let: a {good_place} flat {area}, {few} rooms, with a {size} {room} and a {room}, {hundreds}"
            " pounds a month. no {pet:plural}. call {full_name} on {phone}."
        ),
    ),
}


def history(rng):
    """The past of a town, a building or a person, in the order of the years."""
    facts = {"y": names.year(rng)}
    lines = [write(rng, "{history}", facts)]
    year = int(facts["y"])
    for _ in range(2 + int(rng.random() * 3)):
        year += 5 + int(rng.random() * 40)
        facts |= {"year": str(year), "later": str(year + 2 + int(rng.random() * 20))}
        lines.append(write(rng, "{history_line}", facts))
    return " ".join([*lines, write(rng, "{history_today}", facts)])


def notice(rng):
    """Two small advertisements or announcements."""
    return write(rng, "{notice}") + "\n" + write(rng, "{notice}")


# Each fact: (sentence of the passage, question, answer). The sentence fixes what the other two repeat.
QUESTIONS = (
    ("{a} was born in {home=town}.", "where was {a} born?", "{home}"),
    ("{a} works as a {job1=job}.", "what is the job of {a}?", "{job1}"),
    ("{a} has a {colour1=colour} {pet1=pet}.", "what animal does {a} have?", "a {colour1} {pet1}"),
    ("{a} likes to {hobby1=hobby}.", "what does {a} like to do?", "{hobby1}"),
    ("{b} came to {place1=town} in {year1=recent_year}.", "when did {b} come to {place1}?", "in {year1}"),
    ("{b} lives {area1=area}.", "where does {b} live?", "{area1}"),
    ("{b} is afraid of {fear1=animal:plural}.", "what is {b} afraid of?", "{fear1:plural}"),
    ("on {day1=weekday}, {b} {activity1=activity:past}.", "on which day did {b} {activity1}?", "on {day1}"),
    ("{c} plays the {instr1=instrument}.", "which instrument does {c} play?", "the {instr1}"),
    ("{c} bought a {thing1=thing} for {price1=price}.", "how much did {c} pay for the {thing1}?", "{price1}"),
    ("{c} studies {subj1=subject} in {univ1=town}.", "what does {c} study?", "{subj1}"),
    ("the {colour2=colour} {vehicle1=vehicle} belongs to {c}.", "who owns the {colour2} {vehicle1}?", "{c}"),
    ("{a} and {b} met at a {event1=event}.", "where did {a} meet {b}?", "at a {event1}"),
    (
        "the {building1=building} was built by {builder1=full_name}.",
        "who built the {building1}?",
        "{builder1}",
    ),
    ("the {event2=event} begins at {clock1=clock}.", "at what time does the {event2} begin?", "{clock1}"),
    (
        "there are {few1=few} {tree1=tree:plural} behind the house.",
        "how many {tree1:plural} are there behind the house?",
        "{few1}",
    ),
    ("{b} did not come because {why1=problem}.", "why did {b} not come?", "because {why1}"),
    (
        "{c} has lived in {town3=town} since {year3=recent_year}.",
        "since when has {c} lived in {town3}?",
        "{year3}",
    ),
    ("the key is {where1=where}.", "where is the key?", "{where1}"),
    (
        "{a} gave {b} a {gift1=thing} made of {mat1=material}.",
        "what did {b} get from {a}?",
        "a {gift1} made of {mat1}",
    ),
    ("{a} is {more1=more} than {b}.", "who is {more1}, {a} or {b}?", "{a}"),
    ("for lunch, {c} had a {dish1=dish} and some {drink1=drink}.", "what did {c} drink?", "{drink1}"),
)


def questions(rng):
    """A passage, then questions about it, in one of several layouts."""
    facts = cast(rng, "a", "b", "c")
    chosen = [QUESTIONS[i] for i in sorted(rng.sample(range(len(QUESTIONS)), 3 + int(rng.random() * 5)))]
    rng.shuffle(chosen)
    passage = " ".join(write(rng, sentence, facts) for sentence, _, _ in chosen)
    rng.shuffle(chosen)
    ask, reply = pick(
        rng,
        (
            ("Question: ", "\nAnswer: "),
            ("Q: ", "\nA: "),
            ("", " "),
            ("- ", " - "),
            ("Teacher: ", "\nPupil: "),
        ),
    )
    lines = [
        ask + write(rng, question, facts) + reply + write(rng, answer, facts) + "."
        for _, question, answer in chosen[: 1 + int(rng.random() * 3)]
    ]
    return passage + "\n" + "\n".join(lines)
