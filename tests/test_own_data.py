"""A user's own files as a task: splits, metrics, choices, what is noted, and what is refused."""

import json

import pytest
from folders import write_model

from minipeft import InputError
from minipeft.data.metrics import bleu, chrf
from minipeft.data.rows import read_rows
from minipeft.tasks.own import OwnData, halves

TRAIN = [{"prompt": f"q{i}", "completion": f" answer {i % 3}"} for i in range(12)]
EVAL = [{"prompt": f"e{i}", "completion": f" a longer answer {i}"} for i in range(10)]
LABELLED = [{"text": f"t{i}", "label": "good" if i % 2 else "bad"} for i in range(8)]
TEXTS = [{"text": "one"}, {"text": "two"}]


@pytest.fixture
def write(tmp_path):
    def write(name, rows):
        path = tmp_path / name
        path.write_text("\n".join(map(json.dumps, rows)))
        return path

    return write


def test_a_test_file_gives_the_score_and_nothing_else(write):
    files = write("a.jsonl", TRAIN), write("b.jsonl", EVAL[:4]), write("c.jsonl", EVAL[4:])
    task = OwnData(*files)
    assert [task.rows(split) for split in ("train", "validation", "test")] == [TRAIN, EVAL[:4], EVAL[4:]]
    assert task.rows("test", 2) == EVAL[4:6]
    assert (task.NAME, task.CHOICES, task.notes) == ("a", None, [])
    assert list(task.source.values()) == list(map(str, files)) and "test_data" in task.source


def test_without_a_test_file_the_evaluation_rows_are_parted_and_it_is_noted(write):
    task = OwnData(write("a.jsonl", TRAIN), path := write("b.jsonl", EVAL))
    validation, test = task.rows("validation"), task.rows("test")
    assert len(validation) == len(test) == 5 and not any(row in test for row in validation)
    assert sorted(validation + test, key=EVAL.index) == EVAL
    assert task.notes == [
        f"no test file: 5 rows of {path} for the choice of the best adapter, the other 5 for its score"
    ]


def test_halves_are_always_the_same_and_keep_a_prompt_together_whatever_the_order():
    rows = [{"prompt": f"p{i // 3}", "completion": str(i)} for i in range(30)]
    first, second = halves(rows)
    assert len(first) in (12, 15) and len(first) + len(second) == 30
    assert not {row["prompt"] for row in first} & {row["prompt"] for row in second}
    assert halves(rows[::-1]) == (first[::-1], second[::-1])
    alternating = [{"prompt": str(i), "completion": "ab"[i % 2]} for i in range(40)]
    for half in halves(alternating):  # drawn, so both answers are in each
        assert 5 < sum(row["completion"] == "a" for row in half) < 15


def test_one_prompt_cannot_be_parted(write):
    rows = [{"prompt": "p", "completion": "a"}, {"prompt": "p", "completion": "b"}]
    task = OwnData(evaluation=write("b.jsonl", rows))
    assert task.rows("validation") == task.rows("test") == rows
    assert "one prompt is all that" in task.notes[0]


def test_scores_of_texts(write):
    task = OwnData(evaluation=(path := write("a.jsonl", EVAL)), test=path)
    references = [row["completion"] for row in EVAL]
    outputs = [" a longer answer 0"] * 10
    scores = task.score(EVAL, outputs)
    assert set(scores) == {"exact_match", "f1", "bleu", "chrf", "rouge_l"} and task.PRIMARY == "chrf"
    assert next(iter(scores)) == "chrf" and scores["chrf"] == chrf(outputs, references)
    assert scores["bleu"] == bleu(outputs, references) and scores["exact_match"] == 1 / 10
    assert set(task.score(EVAL, references).values()) == {1.0}
    task = OwnData(evaluation=path, test=path, metric="accuracy")
    assert task.PRIMARY == "accuracy" and next(iter(task.score(EVAL, outputs))) == "accuracy"


def test_labels_are_the_choices_and_accuracy_the_metric(write):
    task = OwnData(write("a.jsonl", LABELLED[:6]), write("b.jsonl", LABELLED))
    assert task.CHOICES == (" bad", " good") and task.PRIMARY == "accuracy"
    rows = task.rows("test")
    assert task.score(rows, [row["completion"] for row in rows]) == {"accuracy": 1.0, "macro_f1": 1.0}
    assert set(OwnData(evaluation=write("b.jsonl", LABELLED), metric="f1").metrics) == {
        "f1",
        "accuracy",
        "macro_f1",
    }


def test_a_file_with_labels_and_one_without_has_no_choices(write):
    mixed = write("a.jsonl", [*LABELLED, {"prompt": "p", "completion": " free"}])
    task = OwnData(evaluation=mixed, test=mixed)
    assert task.CHOICES is None and task.PRIMARY == "chrf"


def test_surprises_are_noted(write):
    train = write("a.jsonl", LABELLED[1::2])  # "good" alone
    task = OwnData(train, test=write("c.jsonl", LABELLED))
    assert task.notes == [
        f"4 of the 8 test rows have a prompt that is in {train}, too",
        f"no row of {train} has one of these labels: 'bad'",
    ]
    train, evaluation = write("a.jsonl", TRAIN), write("b.jsonl", EVAL[:4])
    task = OwnData(train, evaluation, write("c.jsonl", EVAL[3:]))
    assert task.notes == [f"1 of the 7 test rows have a prompt that is in {evaluation}, too"]
    assert OwnData(evaluation=evaluation, test=evaluation).notes == []  # nothing is trained, nothing chosen


def test_texts_have_no_score(write):
    task = OwnData(write("a.jsonl", TEXTS), write("b.jsonl", TEXTS))
    assert task.rows("validation") == TEXTS and task.rows("test") == [] and task.notes == []
    task = OwnData(evaluation=write("c.jsonl", TEXTS + EVAL))
    assert len(task.rows("validation")) == 5 + 2 and len(task.rows("test")) == 5


def test_answers_get_as_many_tokens_as_the_longest_needs_and_one_to_end_with(write, tmp_path):
    path, tokenizer = write("a.jsonl", EVAL), write_model(tmp_path).tokenizer
    tokens = max(len(tokenizer.encode(row["completion"]).ids) for row in EVAL)
    task, in_bytes = OwnData(path, tokenizer=tokenizer), OwnData(path)
    assert task.MAX_NEW_TOKENS == tokens + 1 < in_bytes.MAX_NEW_TOKENS == len(" a longer answer 0") + 1


@pytest.mark.parametrize(
    "rows, metric, message",
    [
        (
            EVAL,
            "meteor",
            "metric 'meteor' is not known: choose from accuracy, macro_f1, exact_match, f1,",
        ),
        (TEXTS, "bleu", "b.jsonl: no row with a completion to score by bleu"),
        ([{"prompt": "", "completion": "a"}], None, "b.jsonl: a row's prompt is empty: there is nothing"),
        ([{"prompt": "a"}], None, "b.jsonl, line 1: want"),
    ],
)
def test_what_cannot_be_scored_is_refused(rows, metric, message, write):
    with pytest.raises(InputError) as error:
        OwnData(evaluation=write("b.jsonl", rows), metric=metric)
    assert message in str(error.value)


def test_files_of_every_kind_make_a_task(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\n" + "".join(f"t{i},{i % 2}\n" for i in range(8)))
    (tmp_path / "b.txt").write_text("one\n\ntwo\n")
    task = OwnData(tmp_path / "b.txt", tmp_path / "a.csv")
    assert task.rows("train") == TEXTS and task.CHOICES == (" 0", " 1")
    assert len(task.rows("test")) == 4 and read_rows(tmp_path / "a.csv")[0]["label"] == "0"


def test_a_single_label_is_noted_for_nothing_else_can_be_answered(tmp_path):
    test = tmp_path / "test.csv"
    test.write_text("text,label\nfine,good\nbetter,good\n")
    note = "the one label is 'good': nothing else can be answered; give --train, with the others"
    assert note in OwnData(test=test).notes
    train = tmp_path / "train.csv"
    train.write_text("text,label\nfine,good\nworse,bad\n")
    assert not any("the one label" in each for each in OwnData(train, test=test).notes)
