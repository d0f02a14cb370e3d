"""Does the checker say why? Every row of a catalogue of mistakes, and mistakes that the catalogue lacks."""

from itertools import product

import numpy as np
import pytest
from exercise_answers import answered, changed, with_values
from unforeseen import UNFORESEEN

from minipeft.exercises.checking import PROBES
from minipeft.exercises.diagnose import diagnose, is_this
from minipeft.exercises.features import Seen, close
from minipeft.exercises.named import EXERCISES


def shows(exercise, wrong):
    """Is a known wrong answer wrong in its tensor? Swapped betas, say, do not show where g = 0."""
    v = exercise.truth(exercise.draw(0))
    return not close(wrong.make(v), v.true[wrong.tensor])


KNOWN = [
    (number, k) for number, exercise in EXERCISES.items()
    for k, wrong in enumerate(exercise.wrong) if shows(exercise, wrong)
]  # fmt: skip


def name_of(case):
    """ "10-dA-38-4" """
    number, k = case
    wrong = EXERCISES[number].wrong[k]
    return f"{number}-{wrong.tensor}-{wrong.row}-{k}"


def same_everywhere(exercise, one, other):
    """Have two known wrong answers equal numbers, on all probes?"""
    probes = [exercise.truth(exercise.draw(seed)) for seed in PROBES]
    return one.tensor == other.tensor and all(close(one.make(v), other.make(v)) for v in probes)


@pytest.mark.parametrize("case", KNOWN, ids=name_of)
def test_a_known_wrong_answer_gets_its_own_question(case):
    number, k = case
    exercise = EXERCISES[number]
    wrong = exercise.wrong[k]
    said, ok = with_values(number, lambda v: {wrong.tensor: np.asarray(wrong.make(v), dtype=float)})
    assert not ok and wrong.question in said, said
    assert wrong.tensor + ":" in said and len(said.splitlines()) <= 8
    for other in exercise.wrong:
        if other.question in said:
            assert other.question == wrong.question or same_everywhere(exercise, wrong, other), said


@pytest.mark.parametrize("case", [c for c in KNOWN if c[0] in ("01", "10", "15")], ids=name_of)
def test_a_cause_is_not_named_where_it_holds_on_one_probe_alone(case):
    """Right on two probes, and the numbers of a known wrong answer on the first: chance, no cause."""
    number, k = case
    exercise = EXERCISES[number]
    wrong = exercise.wrong[k]
    probes = [exercise.truth(exercise.draw(seed)) for seed in PROBES]
    yours = [
        np.asarray(wrong.make(v), dtype=float) if i == 0 else v.true[wrong.tensor]
        for i, v in enumerate(probes)
    ]
    seen = Seen(wrong.tensor, yours, [v.true[wrong.tensor] for v in probes], probes, exercise)
    assert not is_this(wrong, seen)
    found = diagnose(seen)
    assert found is None or wrong.question not in found.questions


CODE = {  # rows of the catalogue that come to no value: a product that raises, an array written to
    1: ("01", ("dx = dy @ W.T", "dx = dy @ W"),
        "dy (N, O) @ W (I, O): the inner letters must agree, O is not I."),
    22: ("08", ("dv = p.transpose(0, 2, 1) @ do", "dv = p @ do"),
         "the inner letters must agree, J is not T."),
    42: ("10", ("dh = s * (dy @ B.T)", "dh = dy @ B"), "dy (N, O) @ B (R, O): the inner letters must agree"),
    45: ("10", ("dh = s * (dy @ B.T)", "dy *= s; dh = dy @ B.T"), "into an array that was given"),
    46: ("10", ('{"lora_A": x.T', '{"weight": x.T @ dy, "lora_A": x.T'), "Which tensors train?"),
}  # fmt: skip


@pytest.mark.parametrize("row", CODE)
def test_a_known_mistake_that_does_not_come_to_a_value_is_told(row, tmp_path):
    number, pair, said = CODE[row]
    report = changed(tmp_path, number, pair)
    assert not report.ok and said in str(report), report


HARMLESS = {25, 47}  # the mask again: tests/test_exercises.py; no error at B = 0: the probe's B is not 0


def test_the_catalogue_has_seventy_rows():
    rows = {EXERCISES[number].wrong[k].row for number, k in KNOWN} - {None}
    assert rows | set(CODE) | HARMLESS == set(range(1, 71))


def test_a_row_is_told_from_the_other_rows_of_its_exercise():
    for exercise in EXERCISES.values():
        questions = {}
        for wrong in exercise.wrong:
            if wrong.row:
                questions.setdefault(wrong.row, set()).add((wrong.tensor, wrong.question, str(wrong.fact)))
        for one, other in product(questions, repeat=2):
            assert one == other or not questions[one] & questions[other], (exercise.name, one, other)


def test_a_mistake_in_the_forward_is_told_before_its_gradients():
    report = answered("10", """
def lora(x, W, b, A, B, alpha):
    h = x @ A
    return x @ W + b + h @ B, (x, h, W, A, B, 1.0)
""")  # fmt: skip
    assert "y: the path through A and B has the factor" in str(report) and "dA:" not in str(report)


def test_what_was_taken_off_without_s_is_not_in_it():
    said, _ = with_values("11", lambda v: {"W again": v.M - v.A @ v.B, "merged W": v.W + v.A @ v.B})
    assert "W again: A B was taken off without s." in said and "merged W: A B is in it without s." in said


def test_dora_is_told_that_it_is_the_exact_derivative():
    said, _ = with_values("16", lambda v: {"dB": v.s * v.A.T @ v.free})
    assert "The paper holds the lengths n constant" in said


@pytest.mark.parametrize("corrected, other", [("m", "v"), ("v", "m")])
def test_adamw_with_one_of_m_and_v_not_corrected_is_told_which(corrected, other):
    code = f"""
def adamw(p, g, m, v, t, lr, b1, b2, eps, wd):
    m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
    M, V = m / (1 - b1**t), v / (1 - b2**t)
    return p - lr * wd * p - lr * {corrected.upper()} / (np.sqrt(V) + eps), m, v
"""
    code = code.replace("lr * V", "lr * m") if corrected == "v" else code.replace("sqrt(V)", "sqrt(v)")
    said = answered("17", "import numpy as np" + code).lines
    assert said[0] == "right: m, v, the move at g = 0, m at step 2, v at step 2" and len(said) == 3, said
    assert f"{other} is not corrected, and {corrected} is: without decay" in said[1]
    assert said[2].endswith(f"what is {other} after it?")


def test_one_mistake_is_told_before_two_at_once():
    through_W = next(w for w in EXERCISES["10"].wrong if "through W" in str(w.fact) and w.tensor == "dA")
    said, _ = with_values("10", lambda v: {"dA": 1.7 * through_W.make(v), "dB": v.dB / v.s})
    assert said.index("dB: every entry") < said.index("dA: two things at once"), said


def test_dm_is_asked_for_the_step_that_is_wrong():
    said, _ = with_values("16", lambda v: {"dm": (v.dy * v.u).sum(0)})
    assert said.endswith("g = m / n: what is the derivative of g with respect to m?"), said
    said, _ = with_values("16", lambda v: {"dm": (v.dy * v.y).sum(0) / v.n})
    assert said.endswith("y = u g + b: what is the derivative of y with respect to g?"), said


def test_ia3_is_asked_which_of_z_and_y():
    said, _ = with_values("09", lambda v: {"dl": (v.dy * v.y).sum(0)})
    assert said.endswith("`l` multiplies z = x W + b. Did you use z, or y = `l` z?"), said


def test_without_a_cause_there_is_a_picture_and_no_guess():
    def odd(v):
        wrong = v.dA.copy()
        for i in range(max(wrong.shape)):  # in every row, and in every column
            wrong[i % len(wrong), i % wrong.shape[1]] = 0.1 * i
        return {"dA": wrong}

    said, _ = with_values("10", odd)
    assert "?" not in said and " x" in said and "yours" in said and len(said.splitlines()) < 14


def test_the_picture_is_of_numbers_that_are_wrong():
    first = EXERCISES["10"].draw(0)
    said, _ = with_values("10", lambda v: {"dA": v.dA if v.N == first.N else v.dA.round(2)})
    assert "yours" in said, said


@pytest.mark.parametrize("case", UNFORESEEN, ids=lambda case: case[0])
def test_a_mistake_that_was_not_foreseen_gets_the_right_question_or_none(case):
    _, number, questions, code = case
    report = answered(number, "import numpy as np\n" + code)
    assert not report.ok and len(report.lines) <= (10 if questions else 13), report
    assert [line.strip() for line in report.lines if line.strip().endswith("?")] == questions, report
    assert questions or "yours" in str(report) or "line " in str(report), report


SAID = {
    "10 x in a global": "dA, dB: other numbers than alone when calls on other inputs come in between.",
    "17 m and v in a global, for ever":
        "m, v, the move at step 1 and 5 more: other numbers than alone when calls on other inputs come",
    "17 the decay is added":
        "the move at step 1, the move at step 2, the move at g = 0: the decay has its sign turned.",
    "17 v comes back before m": "what comes back as new p, m, v is new p, v, m.",
    "17 p comes back last": "what comes back as new p, m, v is m, v, new p.",
    "08 dk comes back first": "what comes back as dq, dk, dv is dk, dq, dv.",
    "15 dx comes back first": "what comes back as dh, dx is dx, dh.",
    "15 dh' handed on as dx": "dx: it is dh', unchanged.",
    "12 dx from the last sequence to the first": "dx: the right rows, in another order.",
    "08 dv with its heads side by side": "dv: the right columns, in another order.",
    "10 the names of dA and dB exchanged": "dA: these are the numbers of dB.",
    "07 the mean is added": "dx: it has the path through the mean -1 times; nothing else differs.",
}  # fmt: skip


@pytest.mark.parametrize("title", SAID)
def test_what_is_said_of_the_numbers_is_so(title):
    number, code = next((case[1], case[3]) for case in UNFORESEEN if case[0] == title)
    assert SAID[title] in str(answered(number, "import numpy as np\n" + code))


def test_state_that_ends_in_an_error_is_told_as_state(tmp_path):
    """A size in a global: other numbers of the same sizes do not show it."""
    report = changed(
        tmp_path, "10", ("    s = alpha / len(B)", "    global R\n    R = len(B)\n    s = alpha / R"),
        ("dh = s * (dy @ B.T)", "dh = s * (dy @ B.T).reshape(-1, R)"),
    )  # fmt: skip
    assert "alone it runs; when calls on other inputs come in between it stops: line" in str(report), report


def test_no_gradient_is_called_exact_where_its_shape_is_wrong():
    """All sequences as long as in the first probe: right there, and no derivative elsewhere."""
    first = EXERCISES["12"].draw(0)
    said, _ = with_values("12", lambda v: {"dx": v.dx if first.N == v.N else v.dx[1:]})
    assert "On other sizes it is right." in said and "exact" not in said, said


def test_a_rule_is_asked_for_by_what_it_says():
    for exercise in EXERCISES.values():
        v = exercise.truth(exercise.draw(0)) if exercise.inputs else None
        for tensor, rules in (exercise.rules(v) if v else {}).items():
            assert all(holds(v.true[tensor]) for _, holds in rules.values()), (exercise.name, tensor)
            assert all(fact != must and "?" not in must for fact, (must, _) in rules.items())


def test_a_broken_rule_is_told_as_it_holds_in_the_true_value():
    said, _ = with_values("06", lambda v: {"dz": v.p * (v.dp - (v.dp * v.p).max(1, keepdims=True))})
    assert "dz: In the true value each row sums to 0. Here it is not so." in said
    assert said.endswith("Why must each row sum to 0?")
