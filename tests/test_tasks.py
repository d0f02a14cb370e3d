"""The built-in tasks and corpus: deterministic, split as promised, scored exactly, and in right English."""

import hashlib
import re
from functools import cache
from itertools import islice
from random import Random

import pytest

from minipeft.tasks import TASKS, data_to_text
from minipeft.tasks.corpus import KINDS, bilingual, document, documents, grammar

SPLITS = ("train", "validation", "test")


@cache
def corpus_sample(count=2000, seed=1):
    return list(islice(documents(seed), count))


def sha256(texts):
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


# --- the corpus ---


def test_corpus_is_the_same_everywhere():
    assert corpus_sample(50) == list(islice(documents(1), 50))
    assert corpus_sample(50) != corpus_sample(50, seed=2)
    assert sha256(corpus_sample(50)) == "ad9756b9118b568ff7b060d9a710874fc61e6669678bf34bf8f0a1a2588b754e"


def test_every_kind_writes():
    for write, weight in KINDS.values():
        assert weight > 0
        for seed in range(100):
            text = write(Random(seed))
            assert text and text == text.strip() and not re.search(r"[{}]", text)
    assert 40 <= len(document(Random(0)).split()) <= 300


def test_corpus_has_no_task_format():
    assert not any("||" in text or " | food : " in text for text in corpus_sample())


def test_corpus_has_many_words():
    words = set(re.findall(r"[^\W\d_]+", "\n".join(corpus_sample()).lower()))
    assert len(words) > 6000


def test_corpus_articles_and_verbs():
    text = "\n".join(corpus_sample())
    assert not re.findall(r"\b[Aa] (?!one\b|uni|use|eu)[aeiou]\w*", text)
    assert not re.findall(r"\b[Aa]n (?!hour|honest)[^aeiouAEIOU\d]\w*", text)
    assert not re.findall(r"\b(?:[Hh]e|[Ss]he|[Ii]t) (?:go|have|do|are|were|like|eat|live)\b", text)
    assert not re.findall(r"\b(\w+) \1\b", text)


@pytest.mark.parametrize(
    "verb, past, participle, ing, third",
    [
        ("go home", "went home", "gone home", "going home", "goes home"),
        ("study", "studied", "studied", "studying", "studies"),
        ("chop wood", "chopped wood", "chopped wood", "chopping wood", "chops wood"),
        ("bake a cake", "baked a cake", "baked a cake", "baking a cake", "bakes a cake"),
    ],
)
def test_verbs(verb, past, participle, ing, third):
    assert grammar.past(verb) == past
    assert grammar.participle(verb) == participle
    assert grammar.ing(verb) == ing
    assert grammar.third_person(verb) == third


def test_numbers():
    assert grammar.number(342) == "three hundred and forty-two"
    assert grammar.number(2005) == "two thousand and five"
    assert [grammar.ordinal(n) for n in (1, 12, 20, 33)] == ["first", "twelfth", "twentieth", "thirty-third"]
    assert [bilingual.german(n) for n in (21, 100, 342)] == [
        "einundzwanzig",
        "einhundert",
        "dreihundertzweiundvierzig",
    ]
    assert [bilingual.french(n) for n in (21, 71, 80, 81, 91, 200, 203)] == [
        "vingt et un",
        "soixante et onze",
        "quatre-vingts",
        "quatre-vingt-un",
        "quatre-vingt-onze",
        "deux cents",
        "deux cent trois",
    ]


# --- every task ---


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
@pytest.mark.parametrize("split", SPLITS)
def test_task_interface(task, split):
    rows = task.rows(split, 1000)
    assert rows == task.rows(split, 1000)
    assert rows[:20] != task.rows(split, 20, seed=1)
    scores = task.score(rows, [row["completion"] for row in rows])
    assert task.PRIMARY in scores and set(scores.values()) == {1.0}


# --- data to text ---


def test_data_to_text_is_the_same_everywhere():
    texts = [row["prompt"] + row["completion"] for row in data_to_text.rows("train", 50)]
    assert sha256(texts) == "85c4a5c1ec388c90edb0d6779299d7ebcbb2defac9150fffb867b6fe789631e4"


def test_data_to_text_rows():
    for split in SPLITS:
        for row in data_to_text.rows(split, 2000):
            assert 3 <= len(row["slots"]) <= 5 and "name" in row["slots"]
            assert list(row["slots"]) == [key for key in data_to_text.KEYS if key in row["slots"]]
            assert row["prompt"] == " | ".join(f"{k} : {v}" for k, v in row["slots"].items()) + " ||"
            assert row["completion"].startswith(" ") and 6 <= len(row["completion"].split()) <= 45


def pairs_of(slots):
    return {
        (slots[first], slots[second])
        for first, second, _ in data_to_text.PAIRS
        if first in slots and second in slots
    }


def test_data_to_text_splits_are_disjoint():
    names, pairs = {}, {}
    for split in SPLITS:
        rows = data_to_text.rows(split, 1000)
        names[split] = {row["slots"]["name"] for row in rows}
        found = [pairs_of(row["slots"]) for row in rows]
        assert split == "train" or all(found)
        pairs[split] = set().union(*found)
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        assert not names[one] & names[other]
        assert not pairs[one] & pairs[other]


ROW = {
    "slots": {"name": "The Copper Lantern", "type": "pub", "price": "cheap", "near": "Alderham Park"},
    "completion": " The Copper Lantern is a cheap pub near Alderham Park.",
}


@pytest.mark.parametrize(
    "output, slots, exact",
    [
        (" The Copper Lantern is a cheap pub near Alderham Park.", 1, 1),
        (" The Copper Lantern is an inexpensive pub near Alderham Park.", 3 / 4, 0),  # missing
        (" The Copper Lantern is an expensive pub near Alderham Park.", 3 / 4, 0),  # wrong
        (
            " The Copper Lantern is a cheap pub near Alderham Park. Prices are high.",
            3 / 4,
            0,
        ),  # contradiction
        (" The Copper Lantern is a cheap pub near Alderham Park by the river.", 1, 0),  # invented
        (" The Copper Lantern is a cheap pub near Alderham Park and Alder Bridge.", 3 / 4, 0),  # two places
        (" The Copper Kettle is a cheap pub near Alderham Park.", 3 / 4, 0),  # another name
        (" The Copper Lantern Kitchen is a cheap pub near Alderham Park.", 3 / 4, 0),  # a longer name
        ("", 0, 0),
    ],
)
def test_data_to_text_score(output, slots, exact):
    scores = data_to_text.score([ROW], [output])
    assert {"slots": slots, "exact": exact} == {name: scores[name] for name in ("slots", "exact")}


def test_data_to_text_score_averages_over_slots_and_rows():
    text = " Red Rose House is a Thai place."
    other = {"slots": {"name": "Red Rose House", "food": "Thai"}, "completion": text}
    scores = data_to_text.score([ROW, other], ["", text])
    assert scores["slots"] == 2 / 6 and scores["exact"] == 1 / 2 and 0 < scores["bleu"] < 1


def test_data_to_text_refuses_an_unknown_split():
    with pytest.raises(ValueError, match="split must be"):
        data_to_text.rows("dev", 1)
