"""Planted bugs: they show, their line solves them and no other does, and nothing of them remains."""

import ast
import json

import numpy as np
import pytest

from minipeft import InputError, ops
from minipeft.app.cli import main
from minipeft.exercises.puzzles import probe
from minipeft.exercises.puzzles.choosing import LEVELS, differing, draw, gradients, shows
from minipeft.exercises.puzzles.chosen import CHOSEN, Chosen
from minipeft.exercises.puzzles.looking import look
from minipeft.exercises.puzzles.mutations import changed_lines, mutants
from minipeft.exercises.puzzles.planting import place, places, planted
from minipeft.exercises.puzzles.unseen import UNSEEN, try_file


@pytest.fixture(autouse=True)
def nothing_remains(monkeypatch, tmp_path):
    """In a folder of its own; afterwards every backward has the code that it had before."""
    monkeypatch.chdir(tmp_path)
    before = {name: where.function.__code__ for name, where in places().items()}
    yield
    assert {name: where.function.__code__ for name, where in places().items()} == before


def call(capsys, *words):
    """-> exit code, standard output, standard error."""
    code = main(["puzzle", *map(str, words)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


# ---------------------------------------------------------------------------------------------- mutations


def lines_of(text):
    return {line.strip() for m in mutants(text) for line in m.text.split("\n")} - {
        line.strip() for line in text.split("\n")
    }


def test_a_term_a_sign_a_factor_an_order_a_transpose():
    assert lines_of("def f(x, W):\n    return (x + 1) * W.T") == {
        "return (x - 1) * W.T", "return x * W.T", "return 1 * W.T",
        "return x + 1", "return W.T", "return (x + 1) * W",
    }  # fmt: skip
    assert lines_of("def f(a, b):\n    return a * b @ b.sum(0)") == {
        "return b.sum(0) @ (a * b)",
        "return a @ b.sum(0)", "return b @ b.sum(0)", "return a * b @ b.mean(0)",
    }  # fmt: skip


def test_comments_and_indentation_stay_and_a_statement_goes():
    text = "    def f(self, x):\n        x = x + 1  # λ stays\n        x *= 2\n        return x"
    found = {m.text for m in mutants(text)}
    assert text.replace("x + 1", "x - 1") in found
    assert "    def f(self, x):\n        x = x + 1  # λ stays\n        return x" in found
    assert "    def f(self, x):\n        x *= 2\n        return x" in found


def test_a_missing_line_is_named_by_its_neighbours():
    assert changed_lines("a\nb\nc", "a\nc") == [0, 1]
    assert changed_lines("a\nb\nc", "a\nB\nc") == [1]


@pytest.mark.parametrize("name", places())
def test_every_mutant_is_python_and_another_function(name):
    where = places()[name]
    texts = [m.text for m in mutants(where.text)]
    assert len(set(texts)) == len(texts) and where.text not in texts
    for text in texts:
        ast.parse(where.file_with(text))


def test_the_functions_are_the_backward_ones():
    names = set(places())
    assert {"ops linear_backward", "lora LoRA.linear_backward", "dora DoRA.finish", "base add_dx"} <= names
    assert all(where.function.__qualname__ == where.name for where in places().values())
    assert not any(name.split()[-1].endswith("linear") for name in names)


# ---------------------------------------------------------------------------------------------- planting


def test_a_planted_bug_reaches_those_who_imported_the_function():
    from minipeft.methods.embed.mlp import ops as seen_by_mlp
    from minipeft.speed import fast

    dy, cache = np.ones((2, 3)), (np.ones((2, 4)), np.ones((4, 3)), frozenset({"x"}))
    where = place("ops linear_backward")
    with planted(where, where.text.replace("dy @ W.T", "2 * dy @ W.T")):
        for module in (ops, fast, seen_by_mlp):
            assert module.linear_backward(dy, cache)[0][0, 0] == 6
    assert ops.linear_backward(dy, cache)[0][0, 0] == 3


def test_nothing_remains_after_an_exception():
    where = place("ops linear_backward")
    own = where.function.__code__
    with pytest.raises(ZeroDivisionError), planted(where, where.text.replace("dy @ W.T", "1 / 0")):
        ops.linear_backward(1, (1, np.ones((1, 1)), {"x"}))
    assert where.function.__code__ is own


def test_a_place_that_is_not_there_is_named():
    with pytest.raises(
        InputError, match=r"there is no backward 'ops linear_backwards': did you mean ops lin"
    ):
        place("ops linear_backwards")


# --------------------------------------------------------------------------- where a gradient is formed


def test_the_line_on_which_a_gradient_is_formed():
    where = place("lora LoRA.linear_backward")
    seen = look(probe.attached(probe.cases()["lora"]), probe.batch())
    file, number = seen.formed["h.0.attn.c_attn.lora_A"]
    assert file == str(where.path) and "lora_A" in where.text.split("\n")[number - where.first]
    assert seen.formed["h.1.attn.c_attn.lora_B"] == (file, number)


@pytest.mark.parametrize("case", ["full", "dora and biases", "p_tuning, lstm", "unipelt"])
def test_without_a_bug_all_gradients_are_right(case):
    assert probe.wrong(probe.errors(probe.attached(probe.cases()[case]), probe.batch())) == []


# ------------------------------------------------------------------------------------------------ puzzles


@pytest.mark.parametrize("name", CHOSEN)
def test_a_chosen_puzzle_shows_and_is_solved_by_its_line_alone(name, capsys):
    one = CHOSEN[name]
    puzzle = one.puzzle()
    assert shows(puzzle) and puzzle.level == one.level
    code, out, _ = call(capsys, name)
    wrong = probe.wrong(puzzle.errors)
    assert code == 0 and out.count("WRONG") == len(wrong) > 0
    shown = [int(line[:5]) for line in out.split("\n") if line[:5].strip().isdigit()]
    answers = {line: call(capsys, name, "--line", line) for line in {*puzzle.lines, shown[0], shown[-1]}}
    for line, (code, out, _) in answers.items():
        assert code == (line not in puzzle.lines)
        assert ("right" in out) == (line in puzzle.lines), out
    assert {*shown} > {*puzzle.lines} and 1 <= len(puzzle.lines) <= 2


@pytest.mark.parametrize("name", CHOSEN)
def test_a_commentary_has_three_to_seven_sentences(name):
    assert 3 <= CHOSEN[name].commentary.count(". ") + 1 <= 7


def test_a_chosen_puzzle_that_no_longer_applies_says_so():
    gone = Chosen("P99", "", 1, "ops linear_backward", "dy.max(0)", "dy", "full", "", "")
    with pytest.raises(InputError, match="P99 no longer applies: ops linear_backward has not one"):
        gone.puzzle()


@pytest.mark.parametrize("level", LEVELS)
def test_a_puzzle_is_drawn_of_each_level_and_again_the_same(level):
    one, other = draw(level, 1), draw(level, 1)
    assert (one.where, one.text, one.case) == (other.where, other.text, other.case)
    assert one.level == level and shows(one) and one.lines


def test_a_change_that_raises_or_does_not_show_is_no_puzzle():
    puzzle = CHOSEN["P01"].puzzle()
    peft, batch = probe.attached(probe.cases()["bitfit"]), probe.batch()
    right = gradients(peft, batch)
    assert differing(puzzle, peft, batch, right)
    for text in (puzzle.where.text, puzzle.where.text.replace("dy.sum(0)", "dy.sum(7)")):
        other = type(puzzle)("", puzzle.where, text, "bitfit", "")
        assert not differing(other, peft, batch, right)


# --------------------------------------------------------------------------------------- on the command line


def test_hints_solution_file_list_and_what_was_done(capsys, tmp_path):
    for hint in ("Level 1", "sum is mean now", "lines 35 to"):
        assert hint.split("35")[0] in call(capsys, 1, "--hint")[1]
    assert "hint 3 of 3" in call(capsys, "p01", "--hint")[1]
    assert "dy.mean(0)" in call(capsys, 1, "--solution")[1]
    assert call(capsys, 1, "--file", "copy.py")[0] == 0
    assert "dy.mean(0)" in (tmp_path / "copy.py").read_text(encoding="utf-8")
    assert call(capsys, 1, "--file", "copy.py")[0] == 2
    line = CHOSEN["P01"].puzzle().lines[0]
    assert call(capsys, 1, "--line", line)[0] == 0
    assert "yes P01" in call(capsys)[1]
    state = json.loads((tmp_path / "exercises" / ".progress.json").read_text(encoding="utf-8"))
    assert state == {"P01": {"done": True, "hints": 3}}


def test_a_drawn_puzzle_on_the_command_line(capsys):
    code, out, _ = call(capsys, "--level", 1, "--seed", 1)
    assert code == 0 and "minipeft puzzle --level 1 --seed 1 --line NUMBER" in out
    assert call(capsys, "--level", 1, "--seed", 1, "--line", draw(1, 1).lines[0])[0] == 0


@pytest.mark.parametrize(
    "words, message",
    {
        "11": "no puzzle is called '11'",
        "3 --level 1": "--level, not both",
        "1 --line 99999": "none of those shown",
        "1 --probe x.py": "--probe goes with --blind",
        "--blind 77": "no blind puzzle is called '77'",
        "--blind 1 --probe x.py": "x.py is not there",
        "--blind 1 --line 3": "--blind goes with --probe",
    }.items(),
)
def test_bad_input_is_one_line(words, message, capsys):
    code, _, err = call(capsys, *words.split())
    assert code == 2 and message in err and err.count("\n") == 1


# --------------------------------------------------------------------------------- bugs that no check sees


@pytest.mark.parametrize("name", UNSEEN)
def test_a_blind_check_does_not_see_it_and_the_stored_one_does(name):
    one = UNSEEN[name]
    assert try_file(one, one.blind)[1].startswith("not found: all ")
    found, text = try_file(one, one.found)
    assert found and text.startswith("found: ") and " has relative error " in text
    assert {p.stem for p in one.blind.parent.glob("*.py")} == {*UNSEEN}
    assert {p.stem for p in one.found.parent.glob("*.py")} == {*UNSEEN}


@pytest.mark.parametrize(
    "text, answer",
    {
        "x = 1\n": "neither `model` nor `batch`",
        "def batch(:\n": "line 1 is not Python",
        "def batch():\n    return undefined\n": "NameError",
        "exit()\n": "SystemExit",
        "from minipeft import *\nTEXTS = [[([3, 1, 4], [1, 5, 9, 2])]]\n\n\ndef batch():\n"
        "    return pack(TEXTS.pop())\n": "called again, it raises IndexError",
        "from minipeft import *\n\n\ndef model():\n    return PeftModel(GPT2.random(GPT2Config("
        "vocab_size=23, n_positions=24, n_embd=12, n_layer=1, n_head=3), dtype='float64'))\n": (
            "nothing trains in this model"
        ),
        "from minipeft import *\n\n\ndef model():\n    m = PeftModel(GPT2.random(GPT2Config(vocab_size=23, "
        "n_positions=24, n_embd=12, n_layer=1, n_head=3), dtype='float64'), LoRA(r=2))\n"
        "    right = m.loss\n    m.loss = lambda batch: 2 * right(batch)\n    return m\n": "fails, too",
    }.items(),
)
def test_a_file_that_proves_nothing_is_told_so(text, answer, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(text, encoding="utf-8")
    found, said = try_file(UNSEEN["B02"], path)
    assert not found and answer in said


def test_a_blind_puzzle_on_the_command_line(capsys):
    code, out, _ = call(capsys, "--blind", "B02")
    assert code == 0 and "-          dh *= self.scaling(name)" in out and "not found" in out
    assert UNSEEN["B02"].hint in call(capsys, "--blind", 2, "--hint")[1]
    assert "lora_alpha=6" in call(capsys, "--blind", 2, "--solution")[1]
    assert call(capsys, "--blind", 2, "--probe", UNSEEN["B02"].blind)[0] == 1
    assert call(capsys, "--blind", 2, "--probe", UNSEEN["B02"].found)[0] == 0
    assert "yes B02" in call(capsys)[1]
