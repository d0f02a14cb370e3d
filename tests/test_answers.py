"""A model's answers: choices by their probability, texts by greedy decoding, in the room that there is."""

from types import SimpleNamespace

import numpy as np
import pytest
from folders import ROWS, write_model
from small import scramble

from minipeft import GPT2, InputError, PeftModel, PrefixTuning
from minipeft.tasks import answers
from minipeft.tasks.answers import answer, choice_probabilities, choose, continue_all, line_breaks

PROMPTS = [row["prompt"] for row in ROWS] * 5
CHOICES = (" French", " Thai", " serves Thai food.")


@pytest.fixture(scope="module", params=[(), PrefixTuning(3)], ids=["frozen", "prefix"])
def model(request, tmp_path_factory):
    peft = PeftModel(write_model(tmp_path_factory.mktemp("model")), request.param)
    scramble(peft.trainable, scale=0.5)
    return peft


def total(model, prompt, end, choice):
    """The log-probability of a choice and an end, from the logits of the whole text."""
    encode = lambda text: model.tokenizer.encode(text).ids
    answer = encode(choice) + end
    logits = model.logits([encode(prompt) + answer])[0].astype("float64")[-len(answer) - 1 : -1]
    logits -= np.log(np.exp(logits).sum(1, keepdims=True))
    return sum(row[token] for row, token in zip(logits, answer, strict=True))


@pytest.mark.parametrize("one_line", [False, True])
@pytest.mark.parametrize("threads", ["1", "3"])
def test_the_choice_is_the_one_whose_log_probabilities_add_up_to_most(model, threads, one_line, monkeypatch):
    monkeypatch.setenv("MINIPEFT_THREADS", threads)
    prompts = [p[:n] for n, p in enumerate(PROMPTS, 9)]  # of many lengths, and more than one batch
    end = model.tokenizer.encode("\n").ids if one_line else [model.config.eos_token_id]
    expected = [max(CHOICES, key=lambda c: total(model, prompt, end, c)) for prompt in prompts]
    assert choose(model, prompts, CHOICES, one_line=one_line, progress=False) == expected
    assert len(set(expected)) > 1  # else anything would do


def test_the_probabilities_are_those_of_the_choices_among_themselves(model):
    prompts, end = PROMPTS[:3], [model.config.eos_token_id]
    p = choice_probabilities(model, prompts, CHOICES, progress=False)
    totals = np.array([[total(model, prompt, end, c) for c in CHOICES] for prompt in prompts])
    expected = np.exp(totals) / np.exp(totals).sum(1, keepdims=True)
    assert np.allclose(p, expected, rtol=1e-3) and np.allclose(p.sum(1), 1)


def test_a_task_with_choices_is_answered_by_one_of_them_and_another_by_text(model):
    task = SimpleNamespace(CHOICES=CHOICES, MAX_NEW_TOKENS=4)
    assert answer(model, task, PROMPTS, progress=False) == choose(model, PROMPTS, CHOICES, progress=False)
    task.CHOICES = None
    expected = [model.generate(prompt, max_new_tokens=4) for prompt in PROMPTS]
    assert answer(model, task, PROMPTS, progress=False) == expected
    task = SimpleNamespace(CHOICES=None, MAX_NEW_TOKENS=4)
    plain = GPT2(model.config, model.model.weights)
    with pytest.raises(InputError, match="no tokenizer"):
        answer(plain, task, PROMPTS)


def test_answers_of_one_line_stop_before_the_line_break(model, monkeypatch):
    breaks = line_breaks(model.tokenizer)
    assert set(model.tokenizer.encode("a\nb").ids) & set(breaks) and len(breaks) < 5
    prompts = [model.tokenizer.encode(p).ids for p in PROMPTS[:6]]
    whole = model.generate_ids(prompts, max_new_tokens=40)
    stop = whole[0][-1]  # as if it were a line break
    monkeypatch.setattr(answers, "line_breaks", lambda tokenizer: [stop])
    cut = [ids[: ids.index(stop)] if stop in ids else ids for ids in whole]
    outputs = continue_all(model, PROMPTS[:6], 40, one_line=True, progress=False)
    assert outputs == [model.tokenizer.decode(ids) for ids in cut] and cut != whole
    with pytest.raises(InputError, match="beam search ends a text with the model's end token"):
        model.generate_ids(prompts, num_beams=2, eos_token_id=[stop])


def test_what_does_not_fit_is_refused_or_loses_its_beginning(model):
    room = 320 - model.num_virtual_tokens
    text = "food : French " * 400
    long = model.tokenizer.decode(model.tokenizer.encode(text).ids[: room - 3])
    assert len(model.tokenizer.encode(long).ids) == room - 3
    few, many = continue_all(model, [long, PROMPTS[0]], 12, progress=False)
    assert many == model.generate(PROMPTS[0], max_new_tokens=12)  # the long one takes nothing from it
    assert few == model.generate(long, max_new_tokens=3)
    with pytest.raises(
        InputError, match=rf"row 2: a prompt of [\d,]+ tokens, .* room for {room}: choose on_long"
    ):
        continue_all(model, [PROMPTS[0], text], 12)
    with pytest.raises(InputError, match="row 1: a prompt"):
        choose(model, [long], (" French food, Thai food",))
    end = model.tokenizer.decode(model.tokenizer.encode(text).ids[-(room - 12) :])
    assert continue_all(model, [text], 12, "cut", progress=False) == [model.generate(end, max_new_tokens=12)]
    assert choose(model, [text], CHOICES, "cut", progress=False)[0] in CHOICES
    most = model.tokenizer.decode(model.tokenizer.encode(text).ids[: room * 2 // 3])
    assert choose(model, [text], (most,), "cut", progress=False) == [most]  # more than half is the answer's


def test_an_empty_prompt_is_refused_where_nothing_stands_in_front(model):
    if model.num_virtual_tokens:
        assert choose(model, [""], CHOICES, progress=False)[0] in CHOICES
        return
    with pytest.raises(InputError, match="row 2: an empty prompt: nothing is there to answer"):
        choose(model, [PROMPTS[0], ""], CHOICES)
