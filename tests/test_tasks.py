"""The built-in tasks and corpus: deterministic, split as promised, scored exactly, true to their rules."""

import hashlib
import re
from functools import cache
from itertools import islice, pairwise
from random import Random

import pytest

from minipeft.app.runs import scored
from minipeft.tasks import (
    TASKS,
    data_to_text,
    dialogue,
    question_answering,
    sentiment,
    summarisation,
    translation,
    words,
)
from minipeft.tasks.corpus import KINDS, documents, opinions
from minipeft.tasks.corpus.difficulty import RAMP
from minipeft.tasks.corpus.marks import read_marks, without_marks
from minipeft.tasks.splits import SPLITS, partner, split_of

EVERY_TASK = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)


@cache
def corpus_sample(count=2000, seed=1):
    return list(islice(documents(seed, RAMP), count))


@cache
def drawn(task, split, count=500):
    return task.rows(split, count)


def sha256(texts):
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


# --- every task ---


@EVERY_TASK
def test_interface(task):
    for split in SPLITS:
        rows = drawn(task, split)
        assert rows == task.rows(split, 500)
        assert rows[:20] != task.rows(split, 20, seed=1)
        assert all(row["completion"].startswith(" ") and len(row["completion"]) > 2 for row in rows)
        if task.CHOICES:
            assert {row["completion"] for row in rows} == set(task.CHOICES)
    with pytest.raises(ValueError, match="split must be"):
        task.rows("dev", 1)


@EVERY_TASK
def test_score_is_one_for_the_completions_and_less_for_others(task):
    rows = drawn(task, "test")[:50]
    right = [row["completion"] for row in rows]
    scores = task.score(rows, right)
    assert task.PRIMARY in scores and all(value == pytest.approx(1) for value in scores.values())
    assert all(0 <= value < 1 for value in task.score(rows, right[1:] + right[:1]).values())
    assert all(value == 0 for value in task.score(rows, [""] * 50).values())


@EVERY_TASK
def test_a_score_that_is_no_mean_over_the_rows_brings_its_error(task):
    """One slot wrong in some rows: the rows differ by less than if all of a row were wrong."""
    rows = task.rows("test", 100)
    outputs = [row["completion"] for row in rows]
    for i in Random(0).sample(range(100), 30):
        place = str(rows[i].get("slots", {}).get("type") or rows[i].get("facts", {}).get("town") or " ")
        outputs[i] = outputs[i].replace(place, "")
    result = scored(task, rows, outputs)
    assert ("score_error" in result) == (task.PRIMARY in ("slots", "facts"))
    if "score_error" in result:
        share = result["scores"][task.PRIMARY]
        assert 0.8 < share < 1 and 0 < result["score_error"] < (share * (1 - share) / 100) ** 0.5
    assert scored(task, rows[:1], outputs[:1]).get("score_error", 0) == 0


@EVERY_TASK
def test_copying_the_prompt_is_worth_nothing(task):
    rows = drawn(task, "test")[:100]
    assert task.score(rows, [row["prompt"] for row in rows])[task.PRIMARY] == 0


@EVERY_TASK
def test_no_prompt_of_one_split_is_in_another(task):
    prompts = {split: {row["prompt"] for row in drawn(task, split)} for split in SPLITS}
    assert not prompts["train"] & prompts["test"]
    assert not prompts["train"] & prompts["validation"]
    assert not prompts["validation"] & prompts["test"]


DIGESTS = {
    "sentiment": "efc616033aa47dd1e436c8976f9521e8d29234225ae9e7364f2736846d95e1d5",
    "data-to-text": "181624ae03a2bb362a7946894369257a09f3c0577d9903927e0c1b45ddb9a3b3",
    "translation": "deb558eb13d2df86a207cdeed94c58d05dd4600b5fb5ccfa868755ac8af39e9f",
    "summarisation": "fb77a39032ccffbf84cf66f21e0bcdd5ec7c6be04591546e1f0b5a41a9fbec22",
    "question-answering": "938db112a92583fb4fc99d85e9481091859e70daae531541c71ca0c58c239107",
    "dialogue": "e61fd6fb7fcc984fe58b7a6fbb8439aca3481da0b5ba6769e04ef28727aca7b9",
}


@EVERY_TASK
def test_rows_are_the_same_everywhere(task):
    texts = [row["prompt"] + row["completion"] for row in task.rows("train", 50)]
    assert sha256(texts) == DIGESTS[task.NAME]


def test_split_of_gives_every_eighth_pair_to_the_test():
    splits = [split_of(a, b) for a in words.PEOPLE for b in words.THINGS]
    assert splits.count("test") / len(splits) == pytest.approx(1 / 8, abs=0.02)
    assert splits.count("validation") / len(splits) == pytest.approx(1 / 8, abs=0.02)
    assert split_of("tea", "two") == split_of("tea", "two")


def test_partner_is_of_the_split_or_none():
    rng = Random(0)
    for split in SPLITS:
        assert split_of("Anna", partner(rng, split, "Anna", words.THINGS)) == split
    other = next(town for town in words.TOWNS if split_of("Anna", town) != "test")
    assert partner(rng, "test", "Anna", [other]) is None


# --- sentiment ---


def test_sentiment_follows_its_rules():
    """The verdict worked out again from the words alone."""
    for split in SPLITS:
        for row in drawn(sentiment, split):
            text = row["prompt"].removeprefix("review: ").removesuffix("\nsentiment:")
            if text.startswith("although"):
                main = text.split(", ")[1]
            elif "although" in text:
                main = text.split(", although")[0]
            else:
                main = re.split(r", but |\. still, ", text)[-1]
            good = any(f" {word}" in main for word in words.PRAISE)
            bad = any(f" {word}" in main for word in words.BLAME)
            negated = any(f" {word} " in main for word in ("not", "never", "far from"))
            assert good != bad
            assert row["completion"] == (" positive" if good != negated else " negative"), text


def test_sentiment_judges_other_things_in_each_split():
    things = {
        split: {t for t in words.THINGS for row in drawn(sentiment, split) if f"the {t} was" in row["prompt"]}
        for split in SPLITS
    }
    assert all(len(found) >= 3 for found in things.values())
    assert sum(map(len, things.values())) == len(set().union(*things.values()))


def test_sentiment_has_no_tell_tale_words():
    """No form of sentence goes with one label, and words of praise and blame are wrong often enough."""
    rows = sentiment.rows("train", 4000)
    share = lambda rows: sum(row["completion"] == " positive" for row in rows) / len(rows)
    for word in ("not", "but", "although", "very", "still"):
        assert share([row for row in rows if f" {word}" in row["prompt"]]) == pytest.approx(0.5, abs=0.1), (
            word
        )
    for word in words.PRAISE:
        assert 0.5 < share([row for row in rows if f" {word}" in row["prompt"]]) < 0.75, word
    for word in words.BLAME:
        assert 0.25 < share([row for row in rows if f" {word}" in row["prompt"]]) < 0.5, word


# --- data to text ---


def test_data_to_text_rows():
    for split in SPLITS:
        for row in drawn(data_to_text, split):
            assert 3 <= len(row["slots"]) <= 5 and "name" in row["slots"]
            assert list(row["slots"]) == [key for key in data_to_text.KEYS if key in row["slots"]]
            assert row["prompt"] == " | ".join(f"{k} : {v}" for k, v in row["slots"].items()) + " ||"


def pairs_of(row):
    slots = row["slots"]
    pairs = {(slots[a], slots[b]) for a, b in data_to_text.PAIRS.items() if a in slots and b in slots}
    return pairs, {tuple(word for word in slots["name"].split() if word not in ("The", "House", "Kitchen"))}


def test_data_to_text_pairs_are_of_one_split():
    for split in SPLITS:
        for row in drawn(data_to_text, split):
            pairs, names = pairs_of(row)
            assert all(split_of(*pair) == split for pair in pairs | names)
            assert pairs or split == "train"


ROW = {
    "slots": {"name": "The Copper Lion", "type": "pub", "price": "cheap", "near": "Alder Park"},
    "completion": " The Copper Lion is a cheap pub near Alder Park.",
}


@pytest.mark.parametrize(
    "output, slots, exact",
    [
        (" The Copper Lion is a cheap pub near Alder Park.", 1, 1),
        (" The Copper Lion is an inexpensive pub near Alder Park.", 3 / 4, 0),  # missing
        (" The Copper Lion is an expensive pub near Alder Park.", 3 / 4, 0),  # wrong
        (" The Copper Lion is a cheap pub near Alder Park. Prices are moderate.", 3 / 4, 0),  # contradiction
        (" The Copper Lion is a cheap pub near Alder Park by the riverside.", 1, 0),  # invented
        (" The Copper Lion is a cheap pub near Alder Park and Dover Bridge.", 3 / 4, 0),  # two places
        (" The Copper Fox is a cheap pub near Alder Park.", 3 / 4, 0),  # another name
        (" The Copper Lion Kitchen is a cheap pub near Alder Park.", 3 / 4, 0),  # a longer name
        ("", 0, 0),
    ],
)
def test_data_to_text_score(output, slots, exact):
    scores = data_to_text.score([ROW], [output])
    assert (scores["slots"], scores["exact"]) == (slots, exact)


def test_data_to_text_score_averages_over_slots_and_rows():
    other = {"slots": {"name": "Red Rose House", "food": "Thai"}, "completion": " Red Rose House is Thai."}
    scores = data_to_text.score([ROW, other], ["", " Red Rose House is a Thai place."])
    assert (scores["slots"], scores["exact"]) == (2 / 6, 1 / 2)


# --- translation ---


def test_translation_of_numbers():
    assert words.number(342) == "three hundred and forty-two"
    assert [translation.german_number(n) for n in (1, 16, 21, 70, 100, 101, 342)] == [
        "eins",
        "sechzehn",
        "einundzwanzig",
        "siebzig",
        "einhundert",
        "einhunderteins",
        "dreihundertzweiundvierzig",
    ]
    assert [translation.french_number(n) for n in (21, 70, 71, 80, 81, 91, 99, 100, 200, 203, 580)] == [
        "vingt et un",
        "soixante-dix",
        "soixante et onze",
        "quatre-vingts",
        "quatre-vingt-un",
        "quatre-vingt-onze",
        "quatre-vingt-dix-neuf",
        "cent",
        "deux cents",
        "deux cent trois",
        "cinq cent quatre-vingts",
    ]


@pytest.mark.parametrize(
    "meaning, english, german, french",
    [
        (("time", 3, 0), "three o'clock", "drei Uhr", "trois heures"),
        (("time", 1, 0), "one o'clock", "ein Uhr", "une heure"),
        (("time", 3, 15), "a quarter past three", "Viertel nach drei", "trois heures et quart"),
        (("time", 3, 30), "half past three", "halb vier", "trois heures et demie"),
        (("time", 12, 45), "a quarter to one", "Viertel vor eins", "une heure moins le quart"),
        (("time", 3, 50), "ten to four", "zehn vor vier", "quatre heures moins dix"),
        (("time", 12, 5), "five past twelve", "fünf nach zwölf", "douze heures cinq"),
        (("date", 0, 3, 2), "Monday 3 March", "Montag, 3. März", "lundi 3 mars"),
        (("date", 6, 1, 7), "Sunday 1 August", "Sonntag, 1. August", "dimanche 1er août"),
    ],
)
def test_translation_of_times_and_dates(meaning, english, german, french):
    assert translation.english(*meaning) == english
    assert translation.german(*meaning) == german
    assert translation.french(*meaning) == french


def test_translation_keeps_each_meaning_in_one_split():
    seen = {split: {row["prompt"].split("\n")[0] for row in drawn(translation, split)} for split in SPLITS}
    days = re.compile("(?:" + "|".join(words.DAYS) + ") ")
    seen = {split: {days.sub("", text) for text in texts} for split, texts in seen.items()}
    assert not seen["test"] & seen["train"] and not seen["validation"] & seen["train"]


# --- summarisation ---


def test_summarisation_report_states_the_facts_and_only_once():
    for split in SPLITS:
        for row in drawn(summarisation, split):
            facts, text = row["facts"], row["prompt"]
            assert f"the {facts['place']}" in text and f"in {facts['town']}." in text
            assert text.count(f"{facts['number']} people were {facts['outcome']}.") == 1
            assert any(
                form.format(place=facts["place"]) in text for form in summarisation.EVENTS[facts["event"]]
            )
            for pair in ("place event", "place town", "outcome number"):
                assert split_of(*(facts[name] for name in pair.split())) == split


def test_summarisation_score_counts_facts():
    facts = {"event": "fire", "place": "old mill", "town": "Alder", "number": "three", "outcome": "hurt"}
    row = {"facts": facts, "completion": f" {summarisation.headline(facts)}"}
    assert row["completion"] == " fire at the old mill in Alder: three people hurt"
    for output, kept in {
        " fire at the old mill in Alder: three people hurt": 1,
        " fire at the old mill in Dover: three people hurt": 3 / 4,
        " fire at the old mill in Alder: three people missing": 3 / 4,
        " fire in Alder": 2 / 4,
        " bonfire in Alderham": 0,
    }.items():
        assert summarisation.score([row], [output])["facts"] == kept, output


# --- question answering ---


def test_question_answering_has_one_answer_and_it_is_in_the_passage():
    for split in SPLITS:
        for row in drawn(question_answering, split):
            passage, question, _ = row["prompt"].split("\n")
            assert re.search(rf"\b{row['completion'].strip()}\b", passage)
            assert row["completion"].strip() not in question
            name = next(n for n in words.PEOPLE if n in question or n == row["completion"].strip())
            values = [v for values, *_ in question_answering.TRAITS.values() for v in values]
            value = next(
                v for v in values if re.search(rf"\b{v}\b", question) or v == row["completion"].strip()
            )
            assert split_of(name, value) == split
            assert len(re.findall(rf"\b{value}\b", passage)) == 1  # so it belongs to one person


# --- dialogue ---


def test_dialogue_confirms_what_was_ordered_last():
    for split in SPLITS:
        for row in drawn(dialogue, split):
            for dish, number in row["order"].items():
                assert split_of(dish, number) == split
                ordered = re.findall(rf"\b(\w+) {dish}s?\b", row["prompt"])
                assert ordered[-1] == number and len(ordered) <= 2
            dishes = list(row["order"])
            assert all(split_of(*pair) == split for pair in pairwise(dishes))


def test_dialogue_score():
    row = {"order": {"tea": "two", "soup": "one"}, "completion": " two teas and one soup."}
    for output, order, items in [
        (" two teas and one soup.", 1, 1),
        (" one soup and two teas. thank you!", 1, 1),
        (" two teas.", 0, 1 / 2),
        (" two teas and two soups.", 0, 1 / 2),
        (" two teas, one soup and one tea.", 0, 1),
        (" two tea and one soups.", 0, 0),
    ]:
        assert dialogue.score([row], [output]) == {"order": order, "items": items}, output


# --- the corpus ---


def test_corpus_is_the_same_everywhere():
    assert corpus_sample(50) == list(islice(documents(1, RAMP), 50))
    assert corpus_sample(50) != corpus_sample(50, seed=2)
    assert sha256(corpus_sample(50)) == CORPUS_DIGEST


CORPUS_DIGEST = "0a5515447b45e176b0eec68e91273709e86a40c235d8ff21b87a4ec9bf6ded4a"


def test_every_kind_writes():
    for kind, (write, weight) in KINDS.items():
        assert weight > 0
        for seed in range(100):
            text, counts = read_marks(write(Random(seed), seed / 100))
            assert text and text == text.strip() and not re.search(r"[{}⟨⟩]|None", text)
            assert len(text) == len(counts) and any(counts) and not all(counts), kind


def test_corpus_has_no_task_format():
    marks = (
        "||",
        "review:",
        "sentiment:",
        "English:",
        "report:",
        "headline:",
        "passage:",
        "answer:",
        "waiter:",
    )
    assert not [mark for mark in marks if any(mark in text for text in corpus_sample())]


def test_corpus_shows_nothing_of_the_tests():
    """No thing judged, nothing translated, no trait of a person that is kept for validation or test."""
    opinion = "\n".join(without_marks(opinions.opinions(Random(seed), seed / 300)) for seed in range(300))
    judged = {thing for thing in words.THINGS if f"the {thing} was" in opinion}
    assert len(judged) > 20 and {split_of(thing) for thing in judged} == {"train"}
    lessons = set(re.findall(r"\* (.*) = .* = .*", "\n".join(corpus_sample())))
    held_back = {row["prompt"].split("\n")[0].removeprefix("English: ") for row in drawn(translation, "test")}
    numbers = {said for said in held_back if said.split()[0] not in words.DAYS}
    assert len(lessons) > 60 and not lessons & numbers


def test_corpus_pairs_are_of_training():
    """No person with a job, town, pet or hobby, no dish with a number that is kept for validation or test."""
    kinds = ("people", "tables", "orders")
    text = "\n".join(
        without_marks(KINDS[k][0](Random(seed), seed / 200)) for k in kinds for seed in range(200)
    )
    values = "|".join(value for values, *_ in question_answering.TRAITS.values() for value in values)
    people = "|".join(words.PEOPLE)
    between = "(?: - |, |: | | works as a | keeps a | comes from | is fond of )"
    pairs = set(re.findall(rf"\b({people}){between}({values})\b", text))
    assert len(pairs) > 100 and {split_of(*pair) for pair in pairs} == {"train"}


def test_corpus_articles():
    text = "\n".join(corpus_sample())
    assert not re.findall(r"\b[Aa] [aeiou]\w+", text)
    assert not re.findall(r"\b[Aa]n [^aeiouAEIOU\d\W]\w*", text)
