"""Conversations in turns: cafes, shops, stations, hotels, surgeries, and friends making plans."""

from .grammar import capital
from .names import cast
from .template import RULES, expand, pick, slot, write

RULES |= {
    "hello": ("hello", "good {greet}", "hello there", "hi", "good {greet} and welcome"),
    "cafe_hello": ("{hello}", "welcome to {s}", "{hello}, welcome to {s}"),
    "bye": (
        "{B}: thank you. goodbye!\n{A}: goodbye!",
        "{B}: thanks a lot.\n{A}: you are welcome.",
        "{A}: have a nice (day|evening|weekend)!\n{B}: you too.",
        "{B}: that is very kind of you.\n{A}: see you soon.",
        "{B}: great, thank you.",
        "{A}: anything else?\n{B}: no, that is all, thank you.\n{A}: goodbye.",
    ),
    "amount": ("two", "three", "four", "five", "six"),
    "order_chat": (
        (
            "{A}: {cafe_hello}! what (can I get you|would you like)?\n"
            "{B}: (I would like|can I have|I will take) a {x=dish}, please.\n"
            "{A}: [of course. ](anything to drink|would you like something to drink)?\n{drink_turn}"
            "{change}{place_turn}{A}: so that is a {x} and {some_drink}. that will be {price}.\n{bye}"
        ),
        (
            "{A}: {cafe_hello}. are you ready to order?\n"
            "{B}: (not yet. what do you recommend?|what is good today?)\n"
            "{A}: our {x=dish} is {very} {nice}. it comes with {vegetable:plural} and {staple}.\n"
            "{B}: (then I will have that|sounds {good}. one {x}), please.\n{A}: and to drink?\n{drink_turn}"
            "{change}{place_turn}{A}: one {x} and {some_drink}. is that right?\n{B}: {right}\n{bye}"
        ),
        (
            "{A}: {s}, {hello}. {a} speaking.\n{B}: hello, I would like to order (for delivery|to collect)."
            " {n=amount} {x=dish:plural} and {m=amount} {y=dish:plural}, please.\n{A}: {n} {x:plural} and {m}"
            " {y:plural}. what is your name?\n{B}: {full=full_name}.\n{A}: and the address?\n{B}: {tens}"
            " {street}.\n{A}: thank you, {full}. it will be ready (at {clock}|in {tens} minutes).\n{B}: how"
            " much is it?\n{A}: {price}.\n{bye}"
        ),
    ),
    "drink_turn": (
        "{B}: yes, {some_drink=drink}, please.\n",
        "{B}: (just|only) {some_drink=drink}.\n",
        "{B}: {other=drink}, please. no, wait: {some_drink=drink} instead.\n{A}: no problem.\n",
        (
            "{B}: {other=drink}, please.\n{A}: I am afraid we have no {other} left.\n{B}: then"
            " {some_drink=drink}.\n"
        ),
        (
            "{B}: do you have {other=drink}?\n{A}: no, but we have {some_drink=drink}.\n{B}: {some_drink},"
            " then.\n"
        ),
    ),
    "change": (
        "",
        "",
        (
            "{B}: is there any {staple} in the {x}?\n{A}: (yes, a little|no, there is not).\n{B}: that is"
            " fine.\n"
        ),
        "{A}: small or large?\n{B}: (large|small), please.\n",
    ),
    "place_turn": (
        "",
        "",
        "{A}: to eat here or to take away?\n{B}: (to take away|here), please.\n",
        "{A}: what name is it for?\n{B}: {person}.\n",
    ),
    "right": (
        "yes, that is right.",
        "yes, perfect.",
        "that is all, thank you.",
        "yes, and the bill, please.",
    ),
    "table_chat": (
        (
            "{A}: {s}, {hello}.\n{B}: hello, I would like to book a table for {day=weekday}"
            " {when_day=daytime}.\n{A}: for how many people?\n{B}: for {n=few}.\n{A}: at what time?\n{B}: at"
            " {h=clock}.\n{table_answer}{A}: what name, please?\n{B}: {full=full_name}.\n{A}: so that is a"
            " table for {n} on {day}[ {when_day}] at {h}, in the name of {full}.\n{bye}"
        ),
    ),
    "table_answer": (
        "",
        "",
        "{A}: inside or in the garden?\n{B}: (inside|in the garden), please.\n",
        "{A}: let me see. yes, we have a table by the window.\n{B}: {good}!\n",
    ),
    "shop_chat": (
        (
            "{A}: {hello}, can I help you?\n{B}: yes, I am looking for a {x=shop_item}.\n{A}: what colour"
            " would you like?\n{B}: {k=colour}, (please|if you have it).\n{stock} {price_turn}{bye}"
        ),
        (
            "{A}: {hello}.\n{B}: hello. how much is (this|that) {x=shop_item}?\n{A}: it is {price}. it is"
            " made of {material}.\n{B}: (that is too expensive|that is a lot of money|that is cheap|I see)."
            " do you have (a cheaper one|another one in {k=colour})?\n{A}: (this one is only {price}|I am"
            " sorry, that is the only one|yes, but it is a little {more}).\n{decision}{bye}"
        ),
        (
            "{B}: excuse me, I bought this {x=product} on {weekday}, and the {part} is broken.\n{A}: I am"
            " sorry about that. do you have the receipt?\n{B}: (yes, here it is|no, I lost it).\n{A}: (I can"
            " give you a new {x}|we can repair it by {weekday}|then I can only give you half of the"
            " money).\n{bye}"
        ),
    ),
    "shop_item": ("{product}", "{thing}", "{clothing}", "{furniture}", "{tool}"),
    "stock": (
        "{A}: here is a {k} one[ made of {material}].\n{B}: it is {very} {nice}.",
        "{A}: I am sorry, we only have it in {colour}.\n{B}: (then I will take that one|that is fine too).",
        "{A}: we have two {k} ones, a {size} one and a {size} one.\n{B}: the first one, please.",
    ),
    "price_turn": ("\n{B}: how much is it?\n{A}: {price}.\n{decision}", "\n{A}: that is {price}.\n", "\n"),
    "decision": (
        "{B}: I will take it.\n",
        "{B}: no, thank you, I need to think about it.\n",
        "{B}: all right, two of them, please.\n",
        "{B}: can I pay by card?\n{A}: (of course|I am afraid not).\n",
        "{B}: could you wrap it? it is a present for my {relative}.\n",
    ),
    "station_chat": (
        (
            "{B}: {hello_b}, when does the next {v=line} to {t=town} leave?\n{A}: at {h=clock}, from platform"
            " {p=few}.\n{B}: and when does it arrive?\n{A}: at {clock}. you have to change in {town}.\n{B}:"
            " how much is a (single|return) ticket?\n{A}: {q=price}.\n{B}: {n=amount} tickets to {t},"
            " please.\n{A}: here you are. the {v} leaves at {h} from platform {p}.\n{bye}"
        ),
        (
            "{B}: excuse me, is this the {v=line} to {t=town}?\n{A}: no, this one goes to {u=town}. the {v}"
            " to {t} leaves at {h=clock}.\n{B}: oh dear. {from_where}\n{A}: it is (late|delayed) because of"
            " {cause}.\n{B}: thank you for telling me.\n"
        ),
    ),
    "line": ("train", "bus", "ferry", "tram", "coach", "boat"),
    "hello_b": ("hello", "excuse me", "good {greet}"),
    "greet": ("morning", "afternoon", "evening"),
    "from_where": ("is it on time?", "will I still get there today?", "how long do I have to wait?"),
    "way_chat": (
        (
            "{B}: excuse me, how do I get to the {x=building}?\n{A}: {go1}, then {go2}. the {x} is (on your"
            " left|on your right|straight ahead), {beside}.\n{B}: is it far?\n{A}: (no, only {few} minutes on"
            " foot|yes, about {few} miles; you should take the bus).\n{B}: so I {go_back}, and it is"
            " {beside2}?\n{A}: exactly.\n{bye}"
        ),
    ),
    "go1": (
        "go straight on[ for {few} minutes]",
        "turn (left|right) at the {town_place}",
        "walk along {street}",
        "cross the bridge over the {river}",
        "take the {ordinal} street on the (left|right)",
        "go past the {building}",
    ),
    "go2": (
        "turn (left|right)",
        "cross the {town_place}",
        "go up the hill",
        "follow the signs to the {town_place}",
        "take the (first|second|third) turning",
        "go through the gate",
    ),
    "ordinal": ("first", "second", "third", "fourth", "next"),
    "beside": (
        "opposite the {building}",
        "next to the {shop}",
        "behind the {building}",
        "between a {shop} and a {shop}",
    ),
    "beside2": ("near the {town_place}", "not far from here", "easy to find"),
    "go_back": ("follow this street", "just keep walking", "turn there", "cross first"),
    "doctor_chat": (
        (
            "{A}: {hello}, what is the matter?\n{B}: (I have {x=illness}|I think I have {x=illness}|my"
            " {part=body_part} hurts).\n{A}: how long have you had it?\n{B}: (since {weekday}|for {few}"
            " days).\n{A}: do you (sleep well|eat well|smoke|take any medicine)?\n{B}: (not really|yes|no,"
            " never|only a little).\n{A}: I see. you need {remedy}, and {remedy}. come back (on {weekday}|in"
            " {few} days) if it does not get better.\n{bye}"
        ),
    ),
    "plan_chat": (
        (
            "{A}: what are you doing on {day=weekday}, {b}?\n{B}: (nothing special|not much|I have to"
            " {activity}), why?\n{A}: there is a {e=event} in {t=town}. do you want to come?\n{B}:"
            " {plan_yes}\n{A}: (it starts|they open) at {h=clock}. shall we meet at the"
            " {place=town_place}?\n{B}: (good idea|all right|fine). what should I bring?\n{A}: just"
            " {food_thing}[ and a {clothing}].\n{B}: so, {day} at {h}, at the {place}.\n{A}: right. see you"
            " there, {b}!"
        ),
        (
            "{A}: have you heard about {c}?\n{B}: no, what happened?\n{A}: {c.he} {gossip}.\n{B}: {really}"
            " when?\n{A}: {when}. {c.his} {relative} told me.\n{B}: {gossip_end}"
        ),
        (
            "{A}: I am {very} {sad}, {b}.\n{B}: why? what is wrong?\n{A}: {problem}, and {problem}.\n{B}:"
            " {comfort}\n{A}: thank you. {comforted}"
        ),
        (
            "{A}: do you like {x=likeable}?\n{B}: (yes, very much|not really|I used to|no, I prefer"
            " {likeable}). (and you?|what about you?)\n{A}: I {often} {hobby}, but I (never think about"
            " {x}|could talk about {x} for hours|know little about {x}).\n{B}: my {relative} says that"
            " {lesson}.\n{A}: (maybe|I am not sure|that is true). have you ever been to {town}?\n{B}: (yes,"
            " in {recent_year}|never)."
        ),
    ),
    "likeable": (
        "{sport}",
        "{subject}",
        "{animal:plural}",
        "{drink}",
        "{season}",
        "{fruit:plural}",
        "{vegetable:plural}",
    ),
    "plan_yes": (
        "I would love to.",
        "with pleasure!",
        "maybe. who else is coming?",
        "yes, why not?",
        "I am not sure, I have {illness}.",
        "that sounds {good}.",
    ),
    "food_thing": ("{drink}", "some {fruit:plural}", "a {dish}", "a blanket", "good weather"),
    "gossip": (
        "has moved to {town}",
        "has bought a {vehicle}",
        "wants to become a {job}",
        "has won {hundreds} pounds",
        "is going to marry a {job} from {town}",
        "has lost {c.his} job at {company}",
        "has learned to {hobby}",
    ),
    "really": (
        "really?",
        "I do not believe it!",
        "how {good}!",
        "are you sure?",
        "oh no!",
        "that is {good}!",
    ),
    "gossip_end": (
        "I must call {c.him}.",
        "I hope {c.he} is {glad}.",
        "I always knew it.",
        "well, {lesson}.",
        "poor {c}!",
    ),
    "comfort": (
        "do not worry. {lesson}.",
        "come, let us {activity}.",
        "I will help you.",
        "it could be worse.",
        "you should {activity} and then sleep.",
    ),
    "comforted": ("you are a good friend.", "I feel better now.", "perhaps you are right.", "that helps."),
    "hotel_chat": (
        (
            "{A}: {hello}. how can I help you?\n{B}: do you have a (single|double) room for {n=few} nights[,"
            " from {date}]?\n{A}: yes, we have a room (with a balcony|with a bath|on the {ordinal} floor|with"
            " a view of the {land}).\n{B}: how much is it?\n{A}: {price} a night, (with|without)"
            " breakfast.\n{B}: (good, I will take it.|hmm, is there anything cheaper?)\n{A}: (very well|I am"
            " afraid not). breakfast is from {clock}. here is the key to room {room_no=tens}.\n{B}: room"
            " {room_no}, thank you.\n{bye}"
        ),
    ),
    "school_chat": (
        (
            "{A}: who can tell me what a {x} is?\n{B}: {meaning}\n{A}: very good, {b}. and can you give an"
            " example?\n{B}: (I am not sure|yes, the one {where}|no, but {c} can).\n{A}: for {weekday},"
            " please read page {tens}."
        ),
        (
            "{A}: {b}, why are you late?\n{B}: I am sorry. {problem}.\n{A}: again? and where is your"
            " {subject} homework?\n{B}: (the {pet} ate it|I left it in the {vehicle}|here it is).\n{A}: (sit"
            " down, please|well, {lesson}|see me after the lesson)."
        ),
    ),
}

SCIENCE = {
    "magnet": "a magnet is a piece of iron that pulls other iron towards it.",
    "volcano": "a volcano is a mountain that can throw out hot rock and ash.",
    "planet": "a planet is a large round body that moves around a star.",
    "glacier": "a glacier is a slow river of ice.",
    "fossil": "a fossil is what is left of an animal or plant from very long ago, turned to stone.",
    "thermometer": "a thermometer is an instrument that shows how warm it is.",
    "island": "an island is land with water all around it.",
    "lens": "a lens is a piece of curved glass that bends light.",
    "lever": "a lever is a bar that helps us to lift heavy things.",
    "verb": "a verb is a word for something that we do or are.",
    "triangle": "a triangle is a shape with three sides.",
    "harbour": "a harbour is a place where ships are safe.",
}


def conversation(rng, rule, roles):
    """A dialogue; `roles` are pairs of speaker names, of which "names" means the two people's own."""
    facts = cast(rng, "a", "b", "c") | {"s": expand(rng, "{sign}", {})}
    speaker_a, speaker_b = pick(rng, roles)
    if speaker_a == "names":
        speaker_a, speaker_b = facts["a"], facts["b"]
    facts |= {"A": speaker_a, "B": speaker_b}
    if rule == "school_chat":
        facts["x"] = pick(rng, sorted(SCIENCE))
        facts["meaning"] = SCIENCE[facts["x"]]
    return turns_of(write(rng, slot(rule), facts))


def turns_of(text):
    """A capital letter after each "Speaker: "; successive turns of one speaker become one turn."""
    turns = []
    for line in text.split("\n"):
        speaker, _, said = line.partition(": ")
        said = capital(said)
        if turns and turns[-1][0] == speaker:
            turns[-1][1] += " " + said
        else:
            turns.append([speaker, said])
    return "\n".join(f"{speaker}: {said}" for speaker, said in turns)


def cafe_order(rng):
    """A guest orders; the waiter repeats the order."""
    return conversation(
        rng,
        "order_chat",
        (("Waiter", "Guest"), ("Waitress", "Customer"), ("names", ""), ("Barista", "Guest")),
    )


def table_booking(rng):
    """A table for so many, at such a time."""
    return conversation(rng, "table_chat", (("Host", "Caller"), ("names", ""), ("Waiter", "Guest")))


def shopping(rng):
    """Buying something, or bringing it back."""
    return conversation(
        rng,
        "shop_chat",
        (("Seller", "Customer"), ("Shopkeeper", "Customer"), ("names", ""), ("Clerk", "Woman")),
    )


def station(rng):
    """Tickets and departures."""
    return conversation(
        rng, "station_chat", (("Clerk", "Traveller"), ("names", ""), ("Officer", "Passenger"))
    )


def asking_the_way(rng):
    """Directions, turn by turn."""
    return conversation(
        rng, "way_chat", (("names", ""), ("Policeman", "Tourist"), ("Man", "Girl"), ("Woman", "Visitor"))
    )


def surgery(rng):
    """A patient and what helps."""
    return conversation(rng, "doctor_chat", (("Doctor", "Patient"), ("Nurse", "Patient"), ("names", "")))


def friends(rng):
    """Plans, gossip, comfort, likes."""
    return conversation(rng, "plan_chat", (("names", ""),))


def hotel(rng):
    """A room for some nights."""
    return conversation(rng, "hotel_chat", (("Receptionist", "Guest"), ("names", ""), ("Clerk", "Traveller")))


def lesson(rng):
    """A teacher and a pupil."""
    return conversation(rng, "school_chat", (("Teacher", "Pupil"), ("names", "")))
