"""Reviews of places, products, books and films, with praise, complaint, negation and contrast."""

from .names import cast
from .template import RULES, expand, pick, slot, write

RULES |= {
    # --- places to eat ---
    "praise_food": (
        "the {dish} was {very} {nice}",
        "the food is {very} {taste} and {taste}",
        "I loved the {dish}",
        "the {dish:plural} are the best in {t}",
        "the {dish} was not {bad_taste} at all",
        "everything tasted {good}",
        "I have never had a better {dish}",
        "even the {drink} was {good}",
        "nobody could complain about the {dish}",
    ),
    "blame_food": (
        "the {dish} was {very} {bad_taste}",
        "the food is {bad_taste} and {bad_taste}",
        "I hated the {dish}",
        "the {dish} was not {good} at all",
        "the {drink} tasted like {drink}",
        "I have never had a worse {dish}",
        "the {dish} was anything but {taste}",
        "the {dish:plural} were {bad_taste}",
        "hardly anything tasted {taste}",
    ),
    "praise_service": (
        "the staff were {good_service} and {good_service}",
        "our waiter was {very} {good_service}",
        "the service was {good}",
        "we did not have to wait",
        "the {job} at the next table even sang for us",
        "the waitress was never {bad_service}",
    ),
    "blame_service": (
        "the staff were {bad_service} and {bad_service}",
        "our waiter was {very} {bad_service}",
        "the service was {bad}",
        "we waited for {tens} minutes",
        "nobody was {good_service}",
        "the waiter was neither {good_service} nor {good_service}",
        "they forgot our {drink}",
        "the bill was wrong",
    ),
    "praise_room": (
        "the room is {good_place} and {good_place}",
        "it is a {good_place} place",
        "the place was not {bad_place} at all",
        "the view of the {land} is {good}",
        "we sat {area} and felt at home",
        "it is {good_place}, even on {weekday}s",
    ),
    "blame_room": (
        "the room is {bad_place} and {bad_place}",
        "it was {very} {bad_place}",
        "the place was not exactly {good_place}",
        "our table stood next to the {room}",
        "it is {bad_place} {area}",
        "it could be more {good_place}",
    ),
    "praise_price": (
        "the prices are low",
        "it is good value for money",
        "we paid only {price} each",
        "{price} is a fair price",
        "it is cheap for what you get",
        "it is not expensive",
    ),
    "blame_price": (
        "the prices are far too high",
        "it is not worth the money",
        "we paid {price} each, which is a lot",
        "{price} for a {dish} is too much",
        "it is not cheap",
        "it is expensive for what you get",
    ),
    "praise_place": ("{praise_food}", "{praise_service}", "{praise_room}", "{praise_price}"),
    "blame_place": ("{blame_food}", "{blame_service}", "{blame_room}", "{blame_price}"),
    "good_end": (
        "(we|I) will {certainly} come back.",
        "highly recommended!",
        "{stars_up} out of five.",
        "I can only recommend it.",
        "what a {good} {daytime}!",
        "I would not hesitate to go again.",
        "thank you, {s}!",
        "do not miss it.",
    ),
    "bad_end": (
        "(we|I) will not come back.",
        "I cannot recommend it.",
        "{stars_down} out of five.",
        "what a waste of money!",
        "never again.",
        "there are better places in {t}.",
        "I want my money back.",
        "do not go there.",
    ),
    "certainly": ("certainly", "definitely", "surely", "soon", "gladly"),
    "stars_up": ("five stars", "four stars", "four", "five"),
    "stars_down": ("one star", "two stars", "one", "two"),
    "visit": (
        "we had {meal} at {s} in {t}.",
        "I went to {s} with my {relative} [on {weekday}].",
        "{s} is a {venue} {area}.",
        "last {weekday} we tried {s}, a {venue} in {t}.",
        "my {relative} told me about {s}.",
        "{s}, {t}.",
        "after a long walk through {t}, we found {s}.",
        "this was our {ordinal} visit to {s}.",
        "we booked a table at {s} for {few}.",
    ),
    "meal": ("lunch", "dinner", "breakfast", "supper", "coffee and cake"),
    "good_place_review": (
        "{visit} {praise_place}, and {praise_place}. [{praise_place}.] {good_end}",
        "{visit} {praise_food}. {praise_service}[ and {praise_price}]. {good_end}",
        "{visit} {contrast_up} {praise_place}. {good_end}",
        "{praise_place}! {visit} {praise_place}. {good_end}",
    ),
    "bad_place_review": (
        "{visit} {blame_place}, and {blame_place}. [{blame_place}.] {bad_end}",
        "{visit} {blame_food}. {blame_service}[ and {blame_price}]. {bad_end}",
        "{visit} {contrast_down} {blame_place}. {bad_end}",
        "{blame_place}! {visit} {blame_place}. {bad_end}",
    ),
    "contrast_up": (
        "{blame_place}, but {praise_place}.",
        "although {blame_place}, {praise_place}.",
        "at first {blame_place}. then, however, {praise_place}.",
        "people say that {blame_place}. that is not true: {praise_place}.",
        "I expected to be disappointed, but {praise_place}.",
        "despite the {bad_place} room, {praise_place}.",
        "it is true that {blame_place}. still, {praise_place}, and that is what counts.",
    ),
    "contrast_down": (
        "{praise_place}, but {blame_place}.",
        "although {praise_place}, {blame_place}.",
        "at first {praise_place}. then, however, {blame_place}.",
        "everybody says that {praise_place}. I cannot agree: {blame_place}.",
        "I expected a {good} {meal}, but {blame_place}.",
        "despite the {good_place} room, {blame_place}.",
        "it is true that {praise_place}. but {blame_place}, and that spoils everything.",
    ),
    "mixed_review": (
        "{visit} {praise_place}. on the other hand, {blame_place}. {verdict}",
        "{visit} {praise_place}, but {blame_place}. (sometimes|at times) {praise_place}. {verdict}",
        "good: {praise_place}. bad: {blame_place}. {verdict}",
    ),
    "verdict": (
        "three stars out of five.",
        "not bad, but not {good} either.",
        "it was all right.",
        "I might try it again.",
        "neither {good} nor {bad}.",
        "average, no more and no less.",
        "I do not know what to think of it.",
    ),
    # --- products ---
    "praise_product": (
        "it is {very} {good_make}",
        "the {part} works perfectly",
        "it looks {good}",
        "it has never let me down",
        "even my {relative} can use it",
        "the {part} is {good_make}",
        "it was easy to set up",
        "it is not {bad_make} at all",
        "it arrived {few} days early",
        "it does exactly what it promises",
        "I use it every {weekday}",
        "it is worth every penny",
    ),
    "blame_product": (
        "it is {very} {bad_make}",
        "the {part} broke after {few} days",
        "it looks {bad}",
        "it stopped working in {month}",
        "nobody can understand the instructions",
        "the {part} is {bad_make}",
        "it does not {work}",
        "it is not {good_make} at all",
        "it arrived {few} weeks late",
        "it is nothing like the picture",
        "I never use it",
        "it is not worth {price}",
    ),
    "work": ("work", "fit", "close properly", "last", "do what it promises", "stand straight"),
    "bought": (
        "I bought this {x} for {price}.",
        "my {relative} gave me this {x} for my birthday.",
        "this {colour} {x} by {company} costs {price}.",
        "I ordered the {brand} {x} on {weekday}.",
        "we have had this {x} for {few} months.",
        "the {brand} is a {size} {x} made of {material}.",
        "I needed a new {x} because {problem}.",
    ),
    "keep": (
        "I would buy it again.",
        "I am {very} {glad} with it.",
        "recommended.",
        "{stars_up} out of five.",
        "a {good} {x}!",
        "I am going to buy another one for my {relative}.",
        "you will not regret it.",
    ),
    "return": (
        "I sent it back.",
        "I am {very} {sad} about it.",
        "do not buy it.",
        "{stars_down} out of five.",
        "a {bad} {x}!",
        "save your money.",
        "next time I will buy something else.",
        "I would not give it to my worst enemy.",
    ),
    "good_product_review": (
        "{bought} {praise_product}, and {praise_product}. {keep}",
        "{bought} {praise_product}. {praise_product}. {keep}",
        "{bought} {blame_product}, but {praise_product}, and {praise_product}. {keep}",
        "{keep} {bought} {praise_product}.",
        "{bought} although {blame_product}, {praise_product}. {keep}",
        "at first I thought that {blame_product}. I was wrong. {bought} {praise_product}. {keep}",
    ),
    "bad_product_review": (
        "{bought} {blame_product}, and {blame_product}. {return}",
        "{bought} {blame_product}. {blame_product}. {return}",
        "{bought} {praise_product}, but {blame_product}, and {blame_product}. {return}",
        "{return} {bought} {blame_product}.",
        "{bought} although {praise_product}, {blame_product}. {return}",
        "everybody says that {praise_product}. do not believe it. {bought} {blame_product}. {return}",
    ),
    # --- books, films, plays ---
    "praise_work": (
        "the story is {good_art} and {good_art}",
        "the {ordinal} chapter is {good}",
        "I could not stop",
        "the ending is {good_art}",
        "I laughed and cried",
        "the hero, a {kind} {job}, is {good_art}",
        "it is never {bad_art}",
        "{author} has never been better",
        "there is not one {bad_art} moment in it",
    ),
    "blame_work": (
        "the story is {bad_art} and {bad_art}",
        "the {ordinal} chapter is {bad}",
        "I fell asleep",
        "the ending is {bad_art}",
        "I did not laugh once",
        "the hero, a {kind} {job}, is {bad_art}",
        "it is not {good_art} at all",
        "{author} has done better",
        "there is hardly one {good_art} moment in it",
    ),
    "about": (
        "{x} is a {genre} by {author} about a {job} who {hobby:third_person}.",
        "in {x}, a {genre} by {author}, a {look} {job} comes to {town}.",
        "{author} wrote {x} in {recent_year}. it is about a {animal} that lives in a {building}.",
        "I have just finished {x} by {author}, a {genre} set in {town}.",
        "the new {genre} by {author} is called {x}.",
    ),
    "good_work_review": (
        "{about} {praise_work}, and {praise_work}. {good_work_end}",
        "{about} {blame_work}, but {praise_work}. {good_work_end}",
        "{about} {praise_work}. {praise_work}. {good_work_end}",
        "{about} although {blame_work}, {praise_work}. {good_work_end}",
    ),
    "bad_work_review": (
        "{about} {blame_work}, and {blame_work}. {bad_work_end}",
        "{about} {praise_work}, but {blame_work}. {bad_work_end}",
        "{about} {blame_work}. {blame_work}. {bad_work_end}",
        "{about} although {praise_work}, {blame_work}. {bad_work_end}",
    ),
    "good_work_end": (
        "a {good} {daytime}.",
        "I cannot wait for the next one.",
        "{stars_up}.",
        "my {relative} loved it too.",
        "do not miss it.",
    ),
    "bad_work_end": (
        "a {bad} {daytime}.",
        "I will not read or watch anything else by {author}.",
        "{stars_down}.",
        "give it a miss.",
        "my {relative} left after {tens} minutes.",
    ),
}


def review_of(rng, good_rule, bad_rule, facts):
    """A review, sometimes with the verdict spelled out before or after it."""
    good = rng.random() < 0.5
    text = write(rng, slot(good_rule if good else bad_rule), facts)
    verdict = pick(rng, ("positive", "good", "happy") if good else ("negative", "bad", "unhappy"))
    style = int(rng.random() * 8)
    if style == 0:
        return (
            f"Review: {text}\nThe writer is {verdict}."
            if verdict.endswith("happy")
            else f"Review: {text}\nA {verdict} review."
        )
    if style == 1:
        return f'{facts["a"]} writes: "{text}" {facts["a"]} {"liked" if good else "did not like"} it.'
    return text


def place_review(rng):
    """Praise, blame or both for a place to eat."""
    facts = cast(rng, "a") | {"s": write(rng, "{sign}"), "t": write(rng, "{town}")}
    if rng.random() < 0.2:
        return write(rng, "{mixed_review}", facts)
    return review_of(rng, "good_place_review", "bad_place_review", facts)


def product_review(rng):
    """Praise or blame for something bought."""
    facts = cast(rng, "a") | {"x": expand(rng, "{product}", {})}
    return review_of(rng, "good_product_review", "bad_product_review", facts)


def work_review(rng):
    """Praise or blame for a book, film or play."""
    facts = cast(rng, "a") | {"x": write(rng, "{title}"), "author": write(rng, "{full_name}")}
    return review_of(rng, "good_work_review", "bad_work_review", facts)


def several_opinions(rng):
    """Three people judge the same place, each for a different reason."""
    facts = cast(rng, "a", "b", "c") | {"s": write(rng, "{sign}"), "t": write(rng, "{town}")}
    return write(
        rng,
        '{a}, {b} and {c} went to {s}, a {venue} in {t}. {a} (liked|loved) it: "{praise_place}, and'
        ' {praise_place}." {b} did not agree. "{blame_place}," {said} {b}. "(worse|besides|what is more),'
        ' {blame_place}." {c} was not sure. "{praise_place}," {said} {c}, "but {blame_place}." so (only {a}'
        " wants to go back|{b} will not go back, but {a} will|they could not agree).",
        facts,
    )
