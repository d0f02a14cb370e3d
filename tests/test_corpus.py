"""Pre-training: what counts, difficulty, documents by number, random pieces, probes, and going on."""

import json
import re
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
from small import scramble

from minipeft import GPT2, Full, GPT2Config, InputError, PeftModel
from minipeft.app.pretrain import SHAPE, pretrain, rate, train_tokenizer
from minipeft.tasks.corpus import KINDS, document, documents, lists, orders, people, tables
from minipeft.tasks.corpus.difficulty import RAMP, hardness, up_to
from minipeft.tasks.corpus.marks import known, read_marks, without_marks
from minipeft.tasks.corpus.pieces import pieces
from minipeft.tasks.corpus.probes import attention, probe, share_right
from minipeft.tasks.corpus.reading import WRITING, marked_ids, packed, read

TINY = Path(__file__).parents[1] / "weights" / "tiny"
SMALL = GPT2Config(vocab_size=400, n_positions=64, n_embd=8, n_layer=1, n_head=2)


@pytest.fixture(scope="module")
def tokenizer():
    return GPT2.from_pretrained(TINY).tokenizer


# --- marks ---


def test_marks_are_taken_out_and_become_a_flag_for_each_character():
    text, flags = read_marks(f"a {known('b')}c{known('d' + known('e') + 'f')}")
    assert text == "a bcdef" and flags == [False, False, True, False, True, True, True]
    assert without_marks(known("x")) == "x"


def test_a_token_counts_where_one_of_its_characters_is_marked(tokenizer):
    ids, counts = marked_ids("Anna has a cat. whose? ⟨Anna⟩ März ⟨fünf⟩", tokenizer, SHAPE)
    marked = tokenizer.decode([i for i, count in zip(ids[:-1], counts[:-1], strict=True) if count])
    assert marked == " Anna fünf" and counts[-1] and ids[-1] == SHAPE.eos_token_id


def test_what_is_marked_was_said_before():
    """Of the kinds that repeat words: every marked word stands in the document before the mark."""
    for write in (people.people, tables.tables, lists.lists, orders.orders):
        for seed in range(100):
            marked = write(Random(seed), seed / 100)
            for found in re.finditer("⟨([^⟨⟩]*)⟩", marked):
                before = without_marks(marked[: found.start()])
                for word in re.findall(r"\w+", found[1]):
                    assert word in before or word == "and", (word, marked)


# --- difficulty ---


def test_documents_begin_easy_and_easy_ones_stay():
    at = lambda n: [hardness(Random(seed), n) for seed in range(400)]
    assert max(at(0)) < 0.11 < max(at(RAMP // 2)) < 0.7 < max(at(RAMP)) < 1
    assert min(at(RAMP)) < 0.02 and np.mean(at(5 * RAMP)) == pytest.approx(0.5, abs=0.05)


def test_up_to_gives_each_number_an_equal_share():
    assert [up_to(h / 100, 1, 4) for h in (0, 24, 25, 50, 75, 100)] == [1, 1, 2, 3, 4, 4]


@pytest.mark.parametrize("kind", ["people", "tables", "lists", "places", "orders", "codes"])
def test_hard_documents_are_not_the_easy_ones(kind):
    write = KINDS[kind][0]
    assert any(write(Random(seed), 0) != write(Random(seed), 0.99) for seed in range(20))


# --- the stream ---


def test_a_document_is_a_function_of_seed_and_number():
    stream = documents(3, first=40)
    assert [next(stream) for _ in range(3)] == [without_marks(document(3, n)) for n in (40, 41, 42)]
    assert document(3, 40) == document(3, 40) != document(4, 40)


def test_documents_fit_the_model(tokenizer):
    lengths = [len(read(0, WRITING + RAMP + n, tokenizer, SHAPE)[0]) for n in range(1500)]
    assert sum(length == SHAPE.n_positions for length in lengths) < 8  # cut


def test_at_first_every_text_counts_in_full_and_later_one_in_four(tokenizer):
    def in_full(first):
        return sum(all(read(0, first + n, tokenizer, SHAPE)[1]) for n in range(800)) / 800

    assert 0.87 < in_full(0) < 0.93  # the rest are pieces
    assert 0.51 < in_full(WRITING // 2) < 0.61  # of the nine in ten that are texts, 5/8
    assert 0.18 < in_full(WRITING) < 0.27


def test_pieces_are_known_where_they_come_again():
    for seed in range(200):
        ids, counts = pieces(Random(seed), seed / 200, SHAPE)
        assert len(ids) == len(counts) <= SHAPE.n_positions and any(counts) and not all(counts)
        assert all(ids[i] in ids[:i] for i in range(len(ids) - 1) if counts[i])
    assert all(len(pieces(Random(seed), seed / 200, SMALL)[0]) <= SMALL.n_positions for seed in range(200))


def test_every_token_of_the_vocabulary_is_trained(tokenizer):
    """In a fiftieth of the planned documents: so often that it makes 50 times and more in all of them."""
    seen = np.zeros(SHAPE.vocab_size, dtype=int)
    for n in range(12_000):
        ids, _ = read(0, RAMP + n, tokenizer, SHAPE)
        seen += np.bincount(ids, minlength=SHAPE.vocab_size)
    assert seen.min() >= 1, np.flatnonzero(seen == 0)


def test_batches_count_what_is_marked(tokenizer):
    batch = packed([read(0, WRITING + n, tokenizer, SHAPE) for n in range(4)])
    assert len(batch) == 4 and batch.labelled.any() and not batch.labelled.all()
    assert batch.labelled[[end - 1 for _, end in batch.layout.spans]].all()  # the end token


# --- probes ---


def test_probes_see_attention_of_the_previous_token_and_of_induction():
    """Positions that point at the one before make a head's score 1; random weights are near 1 / T."""
    model = GPT2.random(SMALL)
    scramble(model.weights, scale=0.02)
    found = attention(PeftModel(model, Full()))
    assert 0 < found["previous"][0] < 0.2 and 0 < found["induction"][0] < 0.1
    config = GPT2Config(vocab_size=50, n_positions=64, n_embd=64, n_layer=1, n_head=1)
    model = GPT2.random(config)
    w = {name: np.zeros_like(value) for name, value in model.weights.items()}
    w["wpe.weight"][...] = np.eye(64)
    w["h.0.ln_1.weight"][...] = 1
    w["h.0.attn.c_attn.weight"][:, :64] = np.eye(64) * 30  # q of position t ...
    w["h.0.attn.c_attn.weight"][:, 64:128] = np.roll(np.eye(64), 1, axis=1)  # ... is k of position t - 1
    found = attention(PeftModel(GPT2(config, w), Full()))
    assert found["previous"][0] > 0.99 and found["previous"][1:] == [0, 0] and found["induction"][0] < 0.05


def test_probe_of_a_model_that_knows_nothing():
    tokenizer = train_tokenizer([without_marks(document(0, n)) for n in range(200)], 400)
    config = GPT2Config(vocab_size=400, n_positions=256, n_embd=8, n_layer=1, n_head=2)
    result = probe(PeftModel(GPT2.random(config, tokenizer=tokenizer), Full()))
    assert result.keys() == {"lists", "binding", "right", "previous", "induction"}
    assert result["right"].keys() == KINDS.keys() and result["lists"] < 0.2 and result["binding"] < 0.2


def test_share_right_counts_marked_tokens_alone(tokenizer):
    model = GPT2.random(GPT2Config(vocab_size=1664, n_positions=64, n_embd=8, n_layer=1, n_head=2))
    model.tokenizer = tokenizer
    model.weights["wte.weight"][...] = 0
    assert share_right(PeftModel(model), ["it is ⟨ so⟩", "and ⟨ more⟩"]) in (0, 0.5, 1)


# --- the schedule, and going on ---


def test_the_rate_warms_up_stays_and_falls_at_the_end_alone():
    rates = [rate(step, 100, warmup=9, decay=19) for step in range(100)]
    assert rates[:2] == [0.1, 0.2] and set(rates[9:80]) == {1.0}
    assert rates[99] == pytest.approx(0.05) and rates[81] < 1
    assert min(rate(step, 100, 9, 0) for step in range(9, 100)) == 1


@pytest.fixture
def few(monkeypatch):
    """Few documents to measure on."""
    monkeypatch.setattr("minipeft.app.pretrain.HELD_OUT", 20)
    monkeypatch.setattr("minipeft.tasks.corpus.probes.EACH", 1)


def test_going_on_wants_the_same_stream(tmp_path, few):
    settings = {"documents": 32, "progress": False, "batch_size": 8}
    pretrain(tmp_path / "one", config=SMALL, **settings)
    with pytest.raises(InputError, match="has read the corpus of seed 0, not 1"):
        pretrain(tmp_path / "two", start=tmp_path / "one", seed=1, **settings)
    (tmp_path / "one" / "tokenizer.json").unlink()
    with pytest.raises(InputError, match="no tokenizer"):
        pretrain(tmp_path / "two", start=tmp_path / "one", **settings)


def test_what_pretraining_cannot_do_is_refused(tmp_path, few, monkeypatch):
    def refused(match, **settings):
        with pytest.raises(InputError, match=match):
            pretrain(tmp_path, **{"config": SMALL, "documents": 32, "progress": False} | settings)

    refused("setting 'epochs' is not known", epochs=2)
    refused("documents is 32 and decay 33", decay=33)
    refused("documents is 0", documents=0)
    refused("vocab_size is 90000, and the corpus has only", config=replace(SMALL, vocab_size=90_000))
    refused("documents 8 to 15: the loss is .* lower", learning_rate=1e30, warmup_steps=0, batch_size=8)


def test_a_stream_in_two_sittings_reads_each_document_once(tmp_path, few):
    settings = {"documents": 32, "progress": False, "batch_size": 8, "every": 16}
    one = pretrain(tmp_path / "one", config=SMALL, **settings)
    two = pretrain(tmp_path / "two", start=tmp_path / "one", **settings)
    whole = pretrain(tmp_path / "whole", config=SMALL, **settings | {"documents": 64})
    assert [p["document"] for p in two["curve"]] == [16, 32, 48, 64]
    assert two["tokens"] == whole["tokens"] > one["tokens"]
    assert json.loads((tmp_path / "two" / "training.json").read_text()) == two
