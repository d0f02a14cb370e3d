"""Baselines: answers for nothing, and the prompt of examples that the frozen model reads."""

from types import SimpleNamespace

import pytest
from folders import ROWS, write_model

from minipeft import InputError, PeftModel
from minipeft.tasks.answers import choose, continue_all
from minipeft.tasks.baselines import copying, few_shot, fitting, majority

TEST = [{"prompt": "name : New Cafe | food : Thai ||", "completion": " x"}] * 3
TEXT = SimpleNamespace(CHOICES=None, MAX_NEW_TOKENS=6)
LABELS = SimpleNamespace(CHOICES=(" French", " Thai"), MAX_NEW_TOKENS=6)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return PeftModel(write_model(tmp_path_factory.mktemp("model")))


def test_majority_is_the_most_frequent_completion_of_training():
    train = [{"prompt": p, "completion": c} for p, c in zip("abcde", "xyyxz", strict=True)]
    assert majority(train, TEST) == ["x"] * 3  # of two as frequent the first
    assert (
        majority([*train, {"text": "no completion"}, {"prompt": "f", "completion": "y"}], TEST) == ["y"] * 3
    )


def test_copying_is_the_prompt():
    assert copying(ROWS, TEST) == [row["prompt"] for row in TEST]


def test_examples_stand_in_front_a_line_each(model):
    text, count = fitting(model, TEXT, ROWS[:2], "name :")
    assert count == 2
    assert text == "\n".join([row["prompt"] + row["completion"] for row in ROWS[:2]] + ["name :"])


@pytest.mark.parametrize("task, answer", [(TEXT, 6), (LABELS, 2)], ids=["text", "labels"])
def test_as_many_examples_as_leave_room_for_an_answer(task, answer, model):
    rows = ROWS * 10
    text, count = fitting(model, task, rows, "name :")
    size = lambda text: len(model.tokenizer.encode(text).ids)
    one_more = rows[-count - 1]["prompt"] + rows[-count - 1]["completion"] + "\n"
    assert 0 < count < len(rows) and size(text) + answer <= 320 < size(one_more + text) + answer
    assert fitting(model, task, rows, "name " * 400) == ("name " * 400, 0)


def test_few_shot_answers_are_drawn_by_the_seed_and_end_with_their_line(model):
    outputs, fitted = few_shot(model, TEXT, ROWS, TEST, 2, progress=False)
    assert fitted == 2 and len(outputs) == 3
    assert len(set(outputs)) > 1  # the same prompt thrice, but other examples
    assert outputs == few_shot(model, TEXT, ROWS, TEST, 2, progress=False)[0]
    assert outputs != few_shot(model, TEXT, ROWS, TEST, 2, seed=1, progress=False)[0]
    text, _ = fitting(model, TEXT, ROWS, TEST[0]["prompt"])
    everything, fitted = few_shot(model, TEXT, ROWS[:1], TEST, 9, progress=False)
    text, _ = fitting(model, TEXT, ROWS[:1], TEST[0]["prompt"])
    assert fitted == 1 and everything == continue_all(model, [text] * 3, 6, one_line=True, progress=False)


def test_few_shot_labels_are_chosen_by_the_label_and_the_end_of_the_line(model):
    outputs, _ = few_shot(model, LABELS, ROWS[:1], TEST, 1, progress=False)
    text, _ = fitting(model, LABELS, ROWS[:1], TEST[0]["prompt"])
    assert outputs == choose(model, [text] * 3, LABELS.CHOICES, one_line=True, progress=False)


def test_baselines_need_training_rows_with_answers(model):
    for ask in (lambda: majority([{"text": "a"}], TEST), lambda: few_shot(model, TEXT, [], TEST, 1)):
        with pytest.raises(InputError, match="no training rows with a completion"):
            ask()
