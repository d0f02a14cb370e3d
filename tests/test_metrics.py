"""Metrics: worked out by hand, and against the libraries and scripts that define them."""

import math

import numpy as np
import pytest
import sacrebleu
from rouge_score import rouge_scorer

from minipeft import InputError
from minipeft.data.metrics import (
    METRICS,
    accuracy,
    bleu,
    chrf,
    exact_match,
    f1,
    macro_f1,
    normalised,
    rouge_l,
    standard_error,
)

REFERENCES = ["The quick brown fox jumps over the dog.", "It rains all day in the north.", "Nobody came."]
OUTPUTS = [" A quick brown fox jumped over the dog.", " It rains in the north all day.", " Everybody came!"]


@pytest.mark.parametrize("name", METRICS)
def test_the_right_answers_score_exactly_one_and_nothing_scores_zero(name):
    assert METRICS[name]([f" {r}" for r in REFERENCES], REFERENCES) == 1
    assert METRICS[name]([""] * 3, REFERENCES) == 0


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("outputs, references", [([], []), (["a"], []), (["a"], ["a", "b"])])
def test_answers_and_references_must_pair_up(name, outputs, references):
    said = f"{len(outputs)} outputs? for {len(references)} references?: want one for each"
    with pytest.raises(InputError, match=said):
        METRICS[name](outputs, references)


def test_accuracy_forgives_white_space_around_the_answer_and_nothing_else():
    assert accuracy([" yes", "Yes", "yes.", "yes\n"], ["yes"] * 4) == 2 / 4


def test_macro_f1_shows_a_class_that_is_never_found():
    references = ["no"] * 90 + ["yes"] * 10
    always_no = [" no"] * 100
    assert accuracy(always_no, references) == 0.9
    assert macro_f1(always_no, references) == pytest.approx((2 * 90 / (2 * 90 + 10) + 0) / 2, abs=1e-12)


def test_macro_f1_by_hand():
    """a: 1 right, 1 missed; b: 1 right, 1 too many; c: only ever answered."""
    outputs, references = ["a", "b", "b", "c"], ["a", "a", "b", "b"]
    assert macro_f1(outputs, references) == pytest.approx((2 / 3 + 2 / 4 + 0) / 3, abs=1e-12)


def test_exact_match_forgives_what_squad_forgives():
    assert normalised("  The U.S.A.,\nan  'apple'") == "usa apple"
    outputs = ["the Eiffel Tower", "Eiffel tower!", "Eiffel", "Theatre Tower"]
    assert exact_match(outputs, ["Eiffel Tower"] * 4) == 2 / 4


@pytest.mark.parametrize(
    "output, reference, expected",
    [
        ("the cat sat", "a cat sat down", 2 * 1 * (2 / 3) / (1 + 2 / 3)),  # P 2/2, R 2/3
        (
            "cat cat dog",
            "cat cat cat bird",
            2 * (2 / 3) * (2 / 4) / (2 / 3 + 2 / 4),
        ),  # a word counts as often
        ("dog", "cat", 0),
        ("the", "a", 1),  # neither has a word left
        ("the", "cat", 0),
    ],
)
def test_f1_by_hand(output, reference, expected):
    assert f1([output], [reference]) == pytest.approx(expected, abs=1e-12)
    assert f1([output, "x"], [reference, "x"]) == pytest.approx((expected + 1) / 2, abs=1e-12)


def test_bleu_by_hand():
    """One sentence, 5 of 6 words right: precisions 5/6, 4/5, 3/4, 2/3; then a shorter one: e^(1 - 6/5)."""
    reference = ["one two three four five six"]
    expected = (5 / 6 * 4 / 5 * 3 / 4 * 2 / 3) ** 0.25
    assert bleu(["one two three four five SIX"], reference) == pytest.approx(expected, abs=1e-9)
    assert bleu(["one two three four five"], reference) == pytest.approx(math.exp(1 - 6 / 5), abs=1e-9)


def test_rouge_l_by_hand():
    """What "a b c d" and "a c e d" have in common is "a c d"; of an order turned round it is one word."""
    assert rouge_l(["A b, c d"], ["a c e d"]) == pytest.approx(3 / 4, abs=1e-12)
    assert rouge_l(["d c b a", "x"], ["a b c d", "y"]) == pytest.approx(1 / 8, abs=1e-12)
    assert rouge_l(["a b"], ["a b c d"]) == pytest.approx(2 * 1 * 0.5 / 1.5, abs=1e-12)


def test_the_libraries_say_the_same():
    assert bleu(OUTPUTS, REFERENCES) == sacrebleu.corpus_bleu(OUTPUTS, [REFERENCES]).score / 100
    assert chrf(OUTPUTS, REFERENCES) == sacrebleu.corpus_chrf(OUTPUTS, [REFERENCES]).score / 100
    one = rouge_scorer.RougeScorer(["rougeL"])
    scores = [one.score(r, o)["rougeL"].fmeasure for o, r in zip(OUTPUTS, REFERENCES, strict=True)]
    assert rouge_l(OUTPUTS, REFERENCES) == pytest.approx(sum(scores) / 3, abs=1e-12)
    assert 0 < bleu(OUTPUTS, REFERENCES) < 1 and 0 < chrf(OUTPUTS, REFERENCES) < 1


def test_bleu_is_of_the_whole_set_not_a_mean():
    alone = [bleu([o], [r]) for o, r in zip(OUTPUTS, REFERENCES, strict=True)]
    assert abs(bleu(OUTPUTS, REFERENCES) - sum(alone) / 3) > 0.01


def test_the_jackknife_of_a_mean_is_its_standard_error_and_one_row_says_nothing():
    rng = np.random.default_rng(0)
    references = ["yes"] * 200
    outputs = [["no", "yes"][i] for i in rng.integers(0, 2, 200)]
    share = accuracy(outputs, references)
    formula = (share * (1 - share) / 199) ** 0.5
    assert standard_error(accuracy, outputs, references, groups=200) == pytest.approx(formula, rel=1e-12)
    assert standard_error(accuracy, outputs, references) == pytest.approx(formula, rel=0.4)
    assert standard_error(chrf, ["a"], ["b"]) == 0


@pytest.mark.parametrize("metric", [macro_f1, chrf])
def test_the_jackknife_of_a_metric_of_the_whole_set_is_the_spread_over_draws_of_rows(metric):
    rng = np.random.default_rng(1)
    references = np.array(["yes", "no", "perhaps"])[rng.choice(3, 4000, p=[0.6, 0.3, 0.1])]
    right = rng.random(4000) < 0.7
    outputs = np.where(right, references, rng.permutation(references))
    draws = [rng.choice(4000, 100) for _ in range(200)]
    spread = np.std([metric(list(outputs[i]), list(references[i])) for i in draws])
    errors = [standard_error(metric, list(outputs[i]), list(references[i])) for i in draws[:20]]
    assert np.mean(errors) == pytest.approx(spread, rel=0.25)
