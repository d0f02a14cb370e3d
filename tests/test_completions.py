"""Completions without a server: each choice has its own adapter, limits, stop strings and scores."""

from dataclasses import replace

import numpy as np
import pytest
from folders import ADAPTERS, write_adapters, write_model

from minipeft import PeftModel
from minipeft.app.named_adapters import load_named
from minipeft.app.serve import completions
from minipeft.app.serve.completions import Completion, Request, beginning_of, complete, may_share
from minipeft.generate import log_softmax


@pytest.fixture(scope="module")
def peft(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    model = write_model(folder)
    return load_named(model, write_adapters(model, folder), "base")


def ids(peft, text="name :"):
    return peft.tokenizer.encode(text).ids


def alone(peft, name, text="name :", **options):
    """What generate says under one adapter."""
    peft.set_adapter(name)
    return peft.generate(text, **options)


def run(peft, *requests):
    """-> for each request its choices, each (text, scores, reason, parts), and how many tokens it made."""
    sent = [[] for _ in requests]
    under_way = [Completion(r, parts.append) for r, parts in zip(requests, sent, strict=True)]
    complete(peft, under_way)
    results = []
    for completion, parts in zip(under_way, sent, strict=True):
        choices = []
        for i in range(completion.request.rows):
            own = [part for part in parts if part.index == i]
            assert [part.finish_reason is not None for part in own] == [False] * (len(own) - 1) + [True]
            text, scores = "".join(part.text for part in own), [s for part in own for s in part.scores]
            choices.append((text, scores, own[-1].finish_reason, [part.text for part in own]))
        results.append((choices, completion.generated))
    return results


def one(peft, **settings):
    """-> text, scores, reason, parts of the one choice of one request; and how many tokens it made."""
    settings = {"adapter": "low_rank", "prompts": [ids(peft)], "temperature": 0, "max_tokens": 9} | settings
    (((choice,), generated),) = run(peft, Request(**settings))
    return *choice, generated


def test_requests_in_one_batch_are_as_if_each_were_alone(peft):
    names = ["low_rank", "base", "prefix", "low_rank"]
    lengths, texts = [3, 9, 5, 1], ["name :", "food", "name : The Eagle |", "||"]
    requests = [
        Request(name, [ids(peft, text)], max_tokens=n, temperature=0)
        for name, text, n in zip(names, texts, lengths, strict=True)
    ]
    results = run(peft, *requests)
    for name, text, n, (((written, _, reason, _),), generated) in zip(
        names, texts, lengths, results, strict=True
    ):
        assert written == alone(peft, name, text, max_new_tokens=n)
        assert reason == "length" and generated == n


def test_an_adapter_with_a_base_of_its_own_is_decoded_alone(peft):
    text, *_ = one(peft, adapter="bias")
    assert text == alone(peft, "bias", max_new_tokens=9) != alone(peft, "base", max_new_tokens=9)
    assert may_share(peft, "bias", "bias") and may_share(peft, "base", "prefix")
    assert not may_share(peft, "bias", "base") and not may_share(peft, "prefix", "bias")


def test_the_end_token_ends_a_choice_and_is_not_counted(peft, monkeypatch):
    peft.set_adapter("low_rank")
    new = peft.generate_ids([ids(peft)], max_new_tokens=9)[0]
    at = next(i for i, token in enumerate(new) if token not in new[:i] and i > 1)
    monkeypatch.setattr(peft.config, "eos_token_id", new[at])
    text, _, reason, _, generated = one(peft)
    assert (text, reason, generated) == (peft.tokenizer.decode(new[:at]), "stop", at)


def test_a_stop_string_ends_the_text_before_it_and_no_part_of_it_is_sent(peft):
    whole, *_ = one(peft, max_tokens=40)
    for begin, end in ((0, 2), (3, 4), (7, 12), (4, 11)):
        stop = whole[begin:end]
        text, scores, reason, _, generated = one(peft, max_tokens=40, stop=("never", stop), logprobs=1)
        assert text == whole[: whole.index(stop)] and reason == "stop"
        assert all(s.offset < len(text) for s in scores) and generated <= 40
    text, _, reason, *_ = one(peft, max_tokens=5, stop=(whole[3:5] + "never",))
    assert text == alone(peft, "low_rank", max_new_tokens=5) and reason == "length"  # what was held is sent


def test_a_stop_string_within_a_character_that_is_not_whole_is_found_at_the_end(peft, monkeypatch):
    class Broken(completions.TextStream):
        """The last token's text is "w" and a part of a character: it comes at the end alone."""

        add = lambda self, token: ""
        rest = lambda self: "aw\N{REPLACEMENT CHARACTER}"

    monkeypatch.setattr(completions, "TextStream", Broken)
    assert one(peft, max_tokens=1)[:3:2] == ("aw\N{REPLACEMENT CHARACTER}", "length")
    assert one(peft, max_tokens=1, stop=("w",))[:3:2] == ("a", "stop")


def test_how_much_of_a_text_may_begin_a_stop_string():
    assert beginning_of(("###", "\n\n"), "a #") == 1 and beginning_of(("###",), "a ##") == 2
    assert beginning_of(("###",), "#a") == 0 and beginning_of((), "a") == 0
    assert beginning_of(("abab",), "xaba") == 3


def test_stop_strings_are_compared_only_as_far_as_the_text_goes():
    class Counted(str):
        cuts = 0

        def __getitem__(self, key):
            Counted.cuts += 1
            return super().__getitem__(key)

    assert beginning_of((Counted("ab" * 50_000),), "x" * 20 + "aba") == 3 and Counted.cuts <= 23


def test_what_goes_wrong_in_one_request_ends_it_alone(peft, monkeypatch):
    sent = {"echo": [], "draw": [], "good": []}
    settings = {"prompts": [ids(peft)], "max_tokens": 9}
    requests = {
        "echo": Request("low_rank", **settings, echo=True, logprobs=1, seed=1),
        "draw": Request("prefix", **settings, seed=2),
        "good": Request("base", **settings, temperature=0),
    }
    from minipeft.app.serve import completions

    def fails(*_):
        raise Panic

    monkeypatch.setattr(completions, "prompt_scores", fails)
    monkeypatch.setattr(completions, "sample", fails)
    complete(peft, [Completion(requests[name], sent[name].append) for name in sent])
    for name in ("echo", "draw"):
        assert [type(part) for part in sent[name]] == [Panic]
    assert "".join(part.text for part in sent["good"]) == alone(peft, "base", max_new_tokens=9)


class Panic(BaseException):
    """No Exception: as libraries written in Rust raise it."""


def test_seeds_make_choices_repeatable_and_different_whatever_else_is_in_the_batch(peft):
    request = Request("low_rank", [ids(peft)], n=4, max_tokens=8, temperature=1.5, seed=3)
    other = Request("prefix", [ids(peft, "food : The")], n=2, max_tokens=9, temperature=1.0)
    (first, made), (again, _) = run(peft, request)[0], run(peft, other, request)[1]
    texts = [choice[0] for choice in first]
    assert texts == [choice[0] for choice in again] and len(set(texts)) == 4 and made <= 32
    free = [run(peft, Request("base", [ids(peft)], max_tokens=8))[0][0][0][0] for _ in range(4)]
    assert len(set(free)) > 1  # no seed: another text each time


def test_choices_are_numbered_prompt_by_prompt(peft):
    prompts = [ids(peft, "name :"), ids(peft, "food")]
    ((choices, _),) = run(peft, Request("base", prompts, n=2, max_tokens=5, temperature=0, echo=True))
    assert [text[:4] for text, *_ in choices] == ["name", "name", "food", "food"]


def test_scores_are_the_log_probabilities_of_the_model(peft):
    prompt = ids(peft, "name : Blue")
    text, scores, *_ = one(peft, prompts=[prompt], echo=True, logprobs=2, max_tokens=4)
    peft.set_adapter("low_rank")
    new = peft.generate_ids([prompt], max_new_tokens=4)[0]
    expected = log_softmax(peft.logits([[*prompt, *new]])[0])
    assert scores[0].logprob is None and scores[0].top is None
    for t, token in enumerate([*prompt, *new][1:]):
        assert scores[t + 1].logprob == pytest.approx(expected[t][token], abs=1e-4)
        top = scores[t + 1].top
        assert max(top.values()) == pytest.approx(expected[t].max(), abs=1e-4) and 1 <= len(top) <= 3
    assert len(scores) == len(prompt) + 4 and text.startswith("name : Blue")
    for s in scores:
        assert s.token == text[s.offset : s.offset + len(s.token)] or "�" in s.token
    plain = one(peft, logprobs=0, max_tokens=4)[1]
    assert len(plain) == 4 and all(list(s.top.values()) == [s.logprob] for s in plain)


def test_no_new_tokens_scores_the_prompt_alone(peft):
    text, scores, reason, _, generated = one(peft, echo=True, logprobs=1, max_tokens=0)
    assert (text, reason, generated) == ("name :", "length", 0) and len(scores) == len(ids(peft))
    assert one(peft, max_tokens=0)[0] == ""


def test_a_cancelled_request_leaves_the_batch_and_the_others_go_on(peft):
    seen = []

    def until_cancelled(part):
        seen.append(part)
        if sum(len(p.text) for p in seen) > 5:
            gone.cancelled = True

    gone = Completion(Request("low_rank", [ids(peft)], max_tokens=200, temperature=0), until_cancelled)
    parts = []
    stays = Completion(Request("prefix", [ids(peft)], max_tokens=20, temperature=0), parts.append)
    complete(peft, [gone, stays])
    assert gone.generated < 20 and not any(part.finish_reason for part in seen)
    assert "".join(p.text for p in parts) == alone(peft, "prefix", max_new_tokens=20)


def test_all_adapters_of_the_tests_say_something_else(peft):
    texts = {alone(peft, name, max_new_tokens=9) for name in ["base", *ADAPTERS]}
    assert len(texts) == 1 + len(ADAPTERS) and np.isfinite(peft.logits([ids(peft)])[0]).all()


def test_a_model_that_ends_at_once_scores_the_prompt_and_its_end(peft):
    """As evaluation harnesses ask for it: all but the last score are the prompt's."""
    prompt, model = ids(peft), peft.model
    end = int(model.logits([prompt])[0][-1].argmax())
    config = replace(model.config, eos_token_id=end)
    ending = PeftModel(model.with_weights(model.weights, config), adapter_name="base")
    text, scores, reason, _, generated = one(ending, adapter="base", echo=True, logprobs=1, max_tokens=1)
    assert (text, reason, generated, len(scores)) == ("name :", "stop", 0, len(prompt) + 1)
    expected = log_softmax(ending.logits([prompt])[0])
    of_prompt = [expected[t][i] for t, i in enumerate(prompt[1:])]
    assert [s.logprob for s in scores[1:-1]] == pytest.approx(of_prompt, abs=1e-3)
    assert scores[-1].logprob == pytest.approx(expected[-1][end], abs=1e-4)
