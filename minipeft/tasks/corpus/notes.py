"""Notes, then prose that says the same: here a model learns to copy values and to phrase facts."""

from .grammar import articles, join
from .names import cast
from .template import RULES, expand, pick, slot, write

# Subject -> (facts: label -> what to draw, sentences: the labels a sentence needs -> templates).
# A sentence is used only if all its labels were noted.
SUBJECTS = {
    "place": (
        {
            "name": "sign",
            "kind": "venue",
            "food": "cuisine",
            "town": "town",
            "owner": "full_name",
            "opened": "recent_year",
            "seats": "tens",
            "closed on": "weekday",
            "speciality": "dish",
            "prices": "price_level",
            "where": "area",
        },
        {
            "kind": (
                "{name} is a {kind}.",
                "there is a {kind} called {name}.",
                "{name}: what a {good_place} {kind}.",
            ),
            "food": (
                "at {name} you can eat {food} food.",
                "the cook likes {food} dishes.",
                "it serves {food} food.",
            ),
            "town": ("it is in {town}.", "you find it in {town}.", "people from {town} know it well."),
            "owner": ("the owner is called {owner}.", "{owner} runs it.", "it belongs to {owner}."),
            "opened": (
                "it opened in {opened}.",
                "since {opened} it has been open to guests.",
                "it dates from {opened}.",
            ),
            "seats": (
                "there is room for {seats} guests.",
                "it has {seats} seats.",
                "up to {seats} people can sit there.",
            ),
            "closed on": (
                "on {closed on} it is closed.",
                "do not come on {closed on}.",
                "every {closed on}, the door stays shut.",
            ),
            "speciality": (
                "try the {speciality}!",
                "its speciality is the {speciality}.",
                "everybody orders the {speciality}.",
            ),
            "prices": (
                "prices are {prices}.",
                "its prices are {prices}.",
                "guests say that the prices are {prices}.",
            ),
            "where": ("you will find it {where}.", "it lies {where}."),
        },
    ),
    "person": (
        {
            "name": "full_name",
            "job": "job",
            "age": "tens",
            "home": "town",
            "pet": "pet",
            "hobby": "hobby",
            "born": "recent_year",
            "instrument": "instrument",
            "likes": "likeable",
            "dislikes": "likeable",
            "works for": "company",
        },
        {
            "job": ("{name} is a {job}.", "{name} works as a {job}.", "our {job} is called {name}."),
            "age": (
                "{name} is {age} years old.",
                "at the age of {age}, nothing is impossible.",
                "{age} years are no age.",
            ),
            "home": ("{name} lives in {home}.", "home is {home}.", "{home} is where {name} lives."),
            "pet": ("a {pet} lives there too.", "{name} has a {pet}.", "a {pet} keeps {name} company."),
            "hobby": (
                "{name} likes to {hobby}.",
                "in the evening it is time to {hobby}.",
                "to {hobby} is what {name} loves most.",
            ),
            "born": ("{name} was born in {born}.", "the year of birth is {born}."),
            "instrument": ("{name} plays the {instrument}.", "a {instrument} stands in the {room}."),
            "likes": ("{name} likes {likes}.", "nothing is better than {likes}, says {name}."),
            "dislikes": ("{name} does not like {dislikes}.", "{name} cannot stand {dislikes}."),
            "works for": ("the employer is {works for}.", "{name} works for {works for}."),
        },
    ),
    "product": (
        {
            "name": "brand",
            "what": "product",
            "colour": "colour",
            "price": "price",
            "maker": "company",
            "made of": "material",
            "made in": "town",
            "weight": "weight",
            "guarantee": "guarantee",
            "strength": "good_make",
            "weakness": "bad_make",
        },
        {
            "what": ("the {name} is a {what}.", "{name} is the name of a {what}."),
            "colour": ("it is {colour}.", "it comes in {colour}.", "you get it in {colour}."),
            "price": ("it costs {price}.", "for {price} it can be yours.", "the price is {price}."),
            "maker": ("{maker} makes it.", "it is sold by {maker}.", "it comes from {maker}."),
            "made of": ("it is made of {made of}.", "the case is of {made of}."),
            "made in": ("it is produced in {made in}.", "it is made in {made in}."),
            "weight": ("it weighs {weight}.", "its weight is {weight}."),
            "guarantee": ("it has a guarantee of {guarantee}.", "the guarantee lasts {guarantee}."),
            "strength": ("it is {strength}.", "buyers say that it is {strength}."),
            "weakness": ("unfortunately it is {weakness}.", "some find it {weakness}."),
        },
    ),
    "event": (
        {
            "event": "event",
            "town": "town",
            "day": "weekday",
            "date": "date",
            "time": "clock",
            "ticket": "price",
            "host": "group",
            "building": "building",
            "bring": "food_thing",
            "guest": "full_name",
        },
        {
            "event": ("there will be a {event}.", "everyone is invited to a {event}."),
            "town": ("it takes place in {town}.", "come to {town}!", "{town} is the place."),
            "day": ("it is on {day}.", "the day is {day}."),
            "date": ("the date is {date}.", "keep {date} free."),
            "time": ("it begins at {time}.", "be there at {time}.", "doors open at {time}."),
            "ticket": ("a ticket costs {ticket}.", "you pay {ticket}."),
            "host": ("the {host} has planned it.", "your host is the {host}."),
            "building": ("we meet in the {building}.", "the place is the {building}."),
            "bring": ("please bring {bring}.", "do not forget {bring}."),
            "guest": ("{guest} will speak.", "our guest is {guest}."),
        },
    ),
    "town": (
        {
            "town": "town",
            "river": "river",
            "people": "population",
            "founded": "year",
            "known for": "goods",
            "mayor": "full_name",
            "oldest building": "building",
            "weather": "weather",
            "market day": "weekday",
            "lies in the": "compass",
        },
        {
            "river": ("{town} lies on the river {river}.", "the {river} flows through {town}."),
            "people": ("{people} people live in {town}.", "it has {people} inhabitants."),
            "founded": ("{town} was founded in {founded}.", "its history goes back to {founded}."),
            "known for": (
                "it is known for {known for}.",
                "the best {known for} comes from there, people say.",
            ),
            "mayor": ("the mayor is called {mayor}.", "{mayor} is the mayor of {town}."),
            "oldest building": (
                "its oldest building is the {oldest building}.",
                "the {oldest building} is older than anything else in {town}.",
            ),
            "weather": ("the weather is {often} {weather}.", "it can be {weather} there."),
            "market day": ("on {market day}s there is a market.", "the market is on {market day}."),
            "lies in the": (
                "it is in the {lies in the} of the country.",
                "you find it in the {lies in the}.",
            ),
        },
    ),
    "animal": (
        {
            "animal": "animal",
            "colour": "colour",
            "home": "habitat",
            "food": "animal_food",
            "enemy": "animal",
            "lives for": "lifetime",
            "active": "active",
            "size": "size",
        },
        {
            "colour": ("the {animal} is {colour}.", "its colour is {colour}."),
            "home": ("it lives in the {home}.", "the {home} is its home."),
            "food": ("it eats {food}.", "its food is {food}."),
            "enemy": ("its enemy is the {enemy}.", "it is afraid of the {enemy}."),
            "lives for": ("it can live for {lives for}.", "it gets {lives for} old."),
            "active": ("it is active {active}.", "you can see it {active}."),
            "size": ("it is {size}.", "a {size} animal!"),
        },
    ),
    "house": (
        {
            "street": "street",
            "rooms": "few",
            "garden": "size",
            "colour": "colour",
            "built": "year",
            "owner": "full_name",
            "tree": "tree",
            "rent": "price",
            "near": "building",
        },
        {
            "rooms": ("the house in {street} has {rooms} rooms.", "there are {rooms} rooms."),
            "garden": ("the garden is {garden}.", "behind it there is a {garden} garden."),
            "colour": ("its walls are {colour}.", "it is painted {colour}."),
            "built": ("it was built in {built}.", "the year {built} stands above the door."),
            "owner": ("{owner} owns it.", "it is the home of {owner}."),
            "tree": ("a {tree} grows in front of it.", "under the {tree} there is a bench."),
            "rent": ("the rent is {rent} a day.", "you pay {rent} a day."),
            "near": ("the {near} is close.", "it is not far to the {near}."),
        },
    ),
}

RULES |= {
    "price_level": ("low", "high", "fair", "moderate", "very low", "rather high", "reasonable"),
    "weight": ("{tens} grams", "{few} kilos", "{hundreds} grams"),
    "guarantee": ("{few} years", "{few} months", "one year"),
    "lifetime": ("{few} years", "{few} weeks", "{tens} years"),
    "active": (
        "at night",
        "during the day",
        "in {season}",
        "after rain",
        "in the early morning",
        "when it is {weather}",
    ),
    "notes_title": ("Notes", "Facts", "My notes", "What we know", "Card", "Entry", "Details"),
    "prose_title": ("Text: ", "In words: ", "", "", "Written out: ", "As a text: ", "Description: ", "\n"),
}

# A layout: (before the notes, one note, between notes, after the notes).
LAYOUTS = (
    ("{title}:\n", "- {label}: {value}", "\n", "\n"),
    ("{title}: ", "{label} {value}", "; ", ".\n"),
    ("", "{label} = {value}", "\n", "\n"),
    ("({title}) ", "{label}: {value}", ", ", "\n"),
    ("[", "{label}={value}", ", ", "]\n"),
    ("| ", "{label} | {value}", " |\n| ", " |\n"),
)


def notes(rng):
    """Some facts about one subject, written as notes in one of the layouts, then as sentences."""
    subject = pick(rng, sorted(SUBJECTS))
    sources, sentences = SUBJECTS[subject]
    first, *others = sources
    wanted = [first, *rng.sample(others, 3 + int(rng.random() * (len(others) - 3)))]
    facts = {}
    for label in wanted:
        facts[label] = articles(expand(rng, slot(sources[label]), {}))
    if rng.random() < 0.5:
        wanted = [label for label in sources if label in wanted]
    prose = [write_fact(rng, sentences[label], facts) for label in wanted if label in sentences]
    title = write(rng, "{notes_title}")
    before, line, between, after = pick(rng, LAYOUTS)
    listed = between.join(line.format(label=label, value=facts[label]) for label in wanted)
    written = before.format(title=title) + listed + after
    if rng.random() < 0.15:
        return " ".join(prose) + "\n" + written.strip()
    return written + expand(rng, "{prose_title}", {}) + " ".join(prose)


def write_fact(rng, templates, facts):
    """One sentence; labels may have spaces, which slots may not."""
    template = pick(rng, templates)
    for label in facts:
        template = template.replace(slot(label), facts[label])
    return write(rng, template, {"often": "often"})


TABLES = (
    (("name", "age", "town"), ("{person}", "{tens}", "{town}"), "{0} is {1} and lives in {2}."),
    (("name", "job", "town"), ("{person}", "{job}", "{town}"), "{0} is a {1} in {2}."),
    (("item", "price", "shop"), ("{thing}", "{price}", "{company}"), "the {0} costs {1} at {2}."),
    (("guest", "room", "nights"), ("{surname}", "{tens}", "{few}"), "{0} stays in room {1} for {2} nights."),
    (
        ("team", "points", "coach"),
        ("{town}", "{tens}", "{full_name}"),
        "{0}, coached by {2}, has {1} points.",
    ),
    (("dish", "drink", "table"), ("{dish}", "{drink}", "{few}"), "table {2} wants a {0} with {1}."),
    (("day", "pupil", "task"), ("{weekday}", "{person}", "{activity}"), "on {0}, {1} has to {2}."),
    (
        ("river", "length", "mouth"),
        ("{river}", "{hundreds} miles", "{town}"),
        "the {0} is {1} long and ends at {2}.",
    ),
    (
        ("book", "author", "year"),
        ("{title}", "{full_name}", "{recent_year}"),
        '"{0}" was written by {1} in {2}.',
    ),
)


def table(rng):
    """A small table, then its rows as sentences, in another order."""
    columns, sources, sentence = pick(rng, TABLES)
    rows = [
        [articles(expand(rng, source, {})) for source in sources] for _ in range(3 + int(rng.random() * 3))
    ]
    between = pick(rng, (" | ", ", ", "\t", "; ", "  "))
    lines = [between.join(columns)] + [between.join(row) for row in rows]
    rng.shuffle(rows)
    return "\n".join(lines) + "\n" + " ".join(write(rng, sentence.format(*row)) for row in rows)


def errands(rng):
    """Who does what, as a list and as prose."""
    facts = cast(rng, "a", "b", "c")
    people = [facts[role] for role in "abc"]
    tasks = [expand(rng, "{activity}", facts) for _ in people]
    layout = pick(
        rng, ("{person}: {task}", "{person} - {task}", "{task} ({person})", "{person} has to {task}")
    )
    lines = [layout.format(person=person, task=task) for person, task in zip(people, tasks, strict=True)]
    prose = [
        write(
            rng,
            "({person}'s task is to {task}.|{person} is going to {task}.|{person} will {task}.|please {task},"
            " {person}!)",
            {"person": person, "task": task},
        )
        for person, task in zip(people, tasks, strict=True)
    ]
    rng.shuffle(prose)
    return (
        write(rng, "(To do on {weekday}|Plan|Tasks|Who does what)")
        + "\n"
        + "\n".join(lines)
        + "\n"
        + " ".join(prose)
        + " "
        + write(rng, f"together, {join(people)} will be ready by {{clock}}.")
    )
