"""Exercises and solutions: what a learner sees, what passes and what must not; the command line."""

import ast
import doctest
import json
import os
import re
import subprocess
import sys
import time

import numpy as np
import pytest
from exercise_answers import BY_NUMBERS, NUMBERS, ROOT, answered, changed, solution_text, solved, with_values

import minipeft
from minipeft.app import check as command
from minipeft.app.cli import main
from minipeft.errors import InputError
from minipeft.exercises import files
from minipeft.exercises.checking import check_file, looked_at
from minipeft.exercises.exercise import shapes
from minipeft.exercises.named import EXERCISES, find
from minipeft.exercises.running import load

FOLDER = ROOT / "exercises"

# --------------------------------------------------------------------------------- exercises and solutions


@pytest.mark.parametrize("number", NUMBERS)
def test_the_exercise_is_its_solution_with_holes(number):
    path = FOLDER / f"{EXERCISES[number].name}.py"
    assert path.read_text(encoding="utf-8") == files.with_holes(solution_text(number))


def test_there_is_no_other_file():
    assert {p.name for p in FOLDER.glob("*.py")} == {f"{e.name}.py" for e in EXERCISES.values()}
    assert {p.stem for p in files.SOLUTIONS.glob("*.py")} == {e.name for e in EXERCISES.values()}


@pytest.mark.parametrize("number", NUMBERS)
def test_the_untouched_file_fails_and_says_so(number):
    report = check_file(EXERCISES[number], FOLDER / f"{EXERCISES[number].name}.py")
    assert not report.ok and "still to be written" in report.lines[1] and len(report.lines) == 2


@pytest.mark.parametrize("number", BY_NUMBERS)
def test_the_solution_passes_with_twenty_seeds(number):
    assert "on 20 probes" in looked_at(EXERCISES[number], solved(number), seeds=range(20))[0]


@pytest.mark.parametrize("number", NUMBERS)
def test_the_solution_passes_alone_in_a_folder_in_less_than_two_seconds(number, tmp_path):
    begin = time.process_time()
    report = changed(tmp_path, number)
    assert report.ok, report
    assert time.process_time() - begin < 2


@pytest.mark.parametrize("number", NUMBERS)
def test_the_example_in_the_docstring_holds(number):
    module = load(files.solution(EXERCISES[number]))
    examples = doctest.DocTestParser().get_doctest(
        module.__doc__, dict(vars(module)), module.__name__, None, 0
    )
    assert len(examples.examples) > 1
    assert doctest.DocTestRunner(verbose=False).run(examples).failed == 0


@pytest.mark.parametrize("number", NUMBERS)
def test_at_most_twelve_lines_are_to_be_written(number):
    lines = files.written(solution_text(number))
    assert lines and all(1 <= len(body) <= 12 for body in lines.values())
    assert number == "19" or set(lines) == set(EXERCISES[number].holes)


@pytest.mark.parametrize("number", NUMBERS)
def test_an_exercise_needs_numpy_and_no_other_exercise(number):
    tree = ast.parse(solution_text(number))
    imported = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    assert imported <= ({"numpy"} if number != "19" else {"numpy", "minipeft"})


def code_of(line):
    """A line without its comment, and without spaces: how it is compared."""
    return line.partition("  #")[0].replace(" ", "")


@pytest.mark.parametrize("number", NUMBERS)
def test_no_hint_or_question_holds_a_line_of_the_solution(number):
    exercise = EXERCISES[number]
    assert len(exercise.hints) == 3
    lines = [code_of(line) for body in files.written(solution_text(number)).values() for line in body]
    sides = [line.partition("=")[2] for line in lines if not line.startswith("return")]
    said = [*exercise.hints, *(w.question for w in exercise.wrong)]
    said += [w.fact for w in exercise.wrong if isinstance(w.fact, str)]
    for text in said:
        for piece in [*lines, *sides]:
            assert len(piece) < 8 or piece not in text.replace(" ", ""), (text, piece)


@pytest.mark.parametrize("number", BY_NUMBERS)
def test_the_letters_of_the_checker_are_those_of_the_text(number):
    """Each letter that a message may show is in the file; beside a name are the same letters, too."""
    text, exercise = solution_text(number).replace(",)", ")"), EXERCISES[number]
    for name, letters in (shapes(exercise.inputs) | shapes(exercise.outputs)).items():
        assert all(f"{letter}," in text or f"{letter})" in text for letter in letters), (name, letters)
        there = re.findall(rf"(?<![\w']){re.escape(name)} \(([A-Za-z, +]+)\)", text)
        assert not there or ", ".join(letters) in there, (name, letters, there)


def test_prerequisites_come_before():
    for number, exercise in EXERCISES.items():
        assert all(after in EXERCISES for after in exercise.after) and number not in exercise.after
        assert exercise.level in (1, 2, 3) and 5 <= exercise.minutes <= 40
        path = exercise.where.split()[0]
        assert (ROOT / path).is_file(), path


def test_the_table_of_exercises_is_theirs():
    table = (FOLDER / "README.md").read_text(encoding="utf-8")
    for exercise in EXERCISES.values():
        after = ", ".join(exercise.after)
        cells = (
            f"[{exercise.number}]({exercise.name}.py)",
            exercise.title,
            exercise.level,
            exercise.minutes,
            after,
        )
        row = "| " + " | ".join(map(str, cells))
        assert row in table, row


def test_the_readme_shows_what_the_checker_says():
    report = answered("10", LACKS_S)
    example = (FOLDER / "README.md").read_text(encoding="utf-8").split("```")[3].strip().splitlines()
    assert example[1:] == report.lines
    path = f"exercises/{EXERCISES['10'].name}.py"
    assert example[0] == f"10  {path}: {files.first_line(ROOT / path)}"


LACKS_S = """
def lora_backward(dy, cache):
    x, h, W, A, B, s = cache
    dh = dy @ B.T
    return dy @ W.T + s * dh @ A.T, {"lora_A": x.T @ dh, "lora_B": h.T @ dy}
"""

# ---------------------------------------------------------------------------------------- probes hide nothing


@pytest.mark.parametrize("number", BY_NUMBERS)
@pytest.mark.parametrize("seed", range(3))
def test_sizes_differ_none_is_1_and_no_truth_is_zero(number, seed):
    exercise = EXERCISES[number]
    v = exercise.truth(exercise.draw(seed))
    sizes = list(v.sizes.values())
    assert len(set(sizes)) == len(sizes) and min(sizes) > 1
    assert all(np.abs(value).max() > 0 for value in v.true.values())
    for constant in exercise.constants:
        assert abs(getattr(v, constant) - 1) > 0.01 or constant in ("b1", "b2")
    assert all(not a.flags.writeable or name in exercise.writable
               for name, a in vars(exercise.draw(seed)).items() if isinstance(a, np.ndarray))  # fmt: skip


def test_lora_has_no_zero_factor_and_dloss_is_not_1():
    v = EXERCISES["10"].draw(0)
    assert v.B.all() and v.A.all() and v.s != 1
    assert EXERCISES["03"].draw(0).dloss != 1
    assert np.bincount(EXERCISES["04"].draw(0).ids).max() > 1
    v = EXERCISES["12"].draw(0)
    assert len(set(v.lengths)) == v.S - 1 > 1  # two are equally long


@pytest.mark.parametrize("number", ["10", "11", "16"])
@pytest.mark.parametrize("seed", range(20))
def test_the_factors_of_lora_print_as_different_numbers(number, seed):
    v = EXERCISES[number].draw(seed)
    assert len({f"{k:.2g}" for k in (1, v.s, v.R**0.5, v.R, v.s * v.R)}) == 5


BLIND = {"zeros": np.zeros_like, "ones_like": np.ones_like}


@pytest.mark.parametrize("number", BY_NUMBERS)
@pytest.mark.parametrize("blind", BLIND)
def test_zeros_and_ones_fail_for_every_tensor(number, blind):
    for name in shapes(EXERCISES[number].outputs):
        said, ok = with_values(number, lambda v, name=name: {name: BLIND[blind](v.true[name])})
        assert not ok and name in said, said


@pytest.mark.parametrize("number", BY_NUMBERS)
def test_the_upstream_gradient_handed_on_fails_for_every_tensor(number):
    exercise = EXERCISES[number]
    for name in exercise.of or ():
        for up in exercise.upstream.values():
            said, ok = with_values(
                number, lambda v, name=name, up=up: {name: np.asarray(getattr(v, up), dtype=float)}
            )
            assert not ok, (name, up, said)


# ------------------------------------------------------------------------------------------ other styles pass

STYLES = {
    "01": """
def linear_backward(dy, cache):
    x, W = cache
    dx, dW, db = np.zeros_like(x), np.zeros_like(W), np.zeros(W.shape[1])
    for n in range(len(x)):
        for i in range(W.shape[0]):
            for o in range(W.shape[1]):
                dx[n, i] += dy[n, o] * W[i, o]
                dW[i, o] += dy[n, o] * x[n, i]
    for row in dy:
        db = db + row
    return dx, dict(bias=db, weight=dW)
""",
    "03": """
def cross_entropy_backward(dloss, cache):
    p, labels = cache
    return dloss * (p - np.eye(p.shape[1])[labels])
""",
    "04": """
def embedding_backward(dy, cache):
    ids, shape = cache
    return {"weight": np.stack([dy[ids == v].sum(0) for v in range(shape[0])])}
""",
    "06": """
def softmax_backward(dp, p):
    return np.stack([(np.diag(row) - np.outer(row, row)) @ up for row, up in zip(p, dp)])
""",
    "08": """
def attention_backward(do, cache):
    q, k, v, p = cache
    do = do.reshape(do.shape[0], q.shape[0], q.shape[2])
    dp = np.einsum("thd,hjd->htj", do, v)
    ds = (p * dp - p * np.einsum("htj,htj->ht", p, dp)[..., None]) / np.sqrt(q.shape[2])
    flat = lambda x: x.reshape(len(x), -1)
    return (flat(np.einsum("htj,hjd->thd", ds, k)), flat(np.einsum("htj,htd->jhd", ds, q)),
            flat(np.einsum("htj,thd->jhd", p, do)))
""",
    "10": """
def lora(x, W, b, A, B, alpha):
    s = alpha / A.shape[1]
    return np.einsum("ni,io->no", x, W + s * np.einsum("ir,ro->io", A, B)) + b, {"all": (x, W, A, B, s)}

def lora_backward(dy, cache):
    x, W, A, B, s = cache["all"]
    dV = np.einsum("ni,no->io", x, dy)
    return dy @ (W + s * A @ B).T, {"lora_B": s * A.T @ dV, "lora_A": s * dV @ B.T}
""",
    "17": """
def adamw(p, g, m, v, t, lr, b1, b2, eps, wd):
    p, m, v = p.copy(), m.copy(), v.copy()
    m += (1 - b1) * (g - m)
    v += (1 - b2) * (g * g - v)
    p *= 1 - lr * wd
    p -= lr * np.sqrt(1 - b2**t) / (1 - b1**t) * m / (np.sqrt(v) + eps * np.sqrt(1 - b2**t))
    return p, m, v
""",
}


@pytest.mark.parametrize("number", STYLES)
def test_another_style_passes(number):
    report = answered(number, STYLES[number])
    assert report.ok, report


def test_masking_again_in_the_backward_is_harmless_and_passes(tmp_path):
    """Row 25 of the catalogue: ds is 0 there already."""
    again = "ds = ds * np.tri(*ds.shape[1:], ds.shape[2] - ds.shape[1])"
    report = changed(tmp_path, "08", ("    dq, dk = ds @ k", f"    {again}\n    dq, dk = ds @ k"))
    assert report.ok, report


# --------------------------------------------------------------------------------- what does not run is told


def test_the_report_names_the_file_and_its_first_line(tmp_path):
    report = changed(
        tmp_path, "10", ('r"""LoRA: a low-rank change', 'r"""Mine, and no other: a low-rank change')
    )
    assert report.ok and report.lines[0].startswith(f"10  {tmp_path}")
    assert "Mine, and no other" in report.lines[0]


def test_it_is_the_learners_file_that_runs(tmp_path):
    assert not changed(tmp_path, "01", ("dx = dy @ W.T", "dx = dy @ W.T * 2")).ok
    assert changed(tmp_path, "01").ok  # the same path, written anew


TOLD = {
    "not Python": ("01", ("dx = dy @ W.T", "dx = dy @"), "is not Python"),
    "an unknown name": ("01", ("dx = dy @ W.T", "dx = dz @ W.T"), "NameError"),
    "one value": ("01", ('return dx, {"weight": dW, "bias": dy.sum(0)}', "return dx"), "should return dx, {"),
    "a list of two": ("01", ('{"weight": dW, "bias": dy.sum(0)}', "[dW, dy.sum(0)]"), "in place of the dict"),
    "a key missing": ("01", (', "bias": dy.sum(0)', ""), "'bias' is not in the dict"),
    "None": ("01", ("return dx, {", "return None, {"), "dx is None"),
    "float32": ("01", ("dx = dy @ W.T", "dx = (dy @ W.T).astype('float32')"), "dx is float32"),
    "not finite": ("01", ("dx = dy @ W.T", "dx = dy @ W.T / 0"), "not finite"),
    "shapes that do not add": ("10", ("dx = dy @ W.T + dh @ A.T", "dx = dy @ W.T + dh"), "(N, I) (N, R)"),
    "an input written to": ("10", ("dh = s * (dy @ B.T)", "dy *= s; dh = dy @ B.T"),
                            "into an array that was given"),
    "the array not put back": ("05", ("    array[...] = kept\n", ""), "leaves array changed"),
    "a frozen tensor": ("10", ('{"lora_A": x.T', '{"weight": x.T @ dy, "lora_A": x.T'),
                        "Which tensors train?"),
    "the cache written to": ("03", ("    dz = dloss * p\n", "    dz = p\n    dz *= dloss\n"),
                             "into an array that was given"),
    "an intermediate written to": ("09", ("dl = (dy * z).sum(0)", "z *= dy; dl = z.sum(0)"),
                                   "into an array that was given"),
    "a list written to": ("12", ("np.cumsum(lengths)[:-1])", "np.cumsum(lengths)[:-1]); lengths.reverse()"),
                          "leaves the list"),
    "an end of all": ("01", ("dx = dy @ W.T", "exit()"), "SystemExit"),
    "the largest id": ("04", ("np.add.at(dtable, ids, dy)", "dtable = np.eye(ids.max() + 1)[ids].T @ dy"),
                       "dtable"),
    "the largest label": ("03", ("dz[np.arange(len(p)), labels] -= dloss",
                          "dz = dloss * (p - np.eye(labels.max() + 1)[labels])"), "ValueError"),
    "by its length": ("12", ("pieces = np.split(dx, np.cumsum([P + n for n in lengths])[:-1])",
                      "at = np.cumsum([P + n for n in lengths]); "
                      "pieces = [dx[at[lengths.index(n)] - P - n : at[lengths.index(n)]] for n in lengths]"),
                      "dx"),
    "another eps": ("17", ("(1 - b2**t)) + eps", "(1 - b2**t)) + 1e-8"), "yours"),
    "no old m": ("17", ("return p, m, v", "return p, (1 - b1) * g, v"), "the old m is not in it"),
    "no such function": ("01", ("def linear_backward", "def linear_backwards"), "is not in the file"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("case", TOLD)
def test_what_does_not_run_is_told(case, tmp_path):
    number, pair, said = TOLD[case]
    report = changed(tmp_path, number, pair)
    assert not report.ok and said in str(report), report
    assert len(report.lines) <= 8


def test_the_capstone_finds_a_wrong_gradient_and_a_silent_tensor(tmp_path):
    report = changed(tmp_path, "19", ("h.T @ dhM}", "2 * h.T @ dhM}"))
    assert not report.ok and "the derivative by differences is another: relative error" in str(report)
    report = changed(tmp_path, "19", ("h.T @ dhM}", 'h.T @ dhM, f"{name}.mine": h.T @ dhM}'))
    assert "a gradient came back for 'h.0.attn.c_attn.mine', and there is no tensor of that name" in str(
        report
    )
    only_the_top = ('name.endswith("attn.c_attn")', 'name == "h.1.attn.c_attn"')
    report = changed(
        tmp_path, "19", only_the_top, ("return dy, dhM @ M.T @ A.T", "return 7 * dy, 99 * dhM @ A.T")
    )
    assert not report.ok and "of what trains below your layers wrong" in str(report)
    report = changed(tmp_path, "19", ('not name.endswith(("mine_A", "mine_B"))', 'name.endswith("mine_M")'))
    assert not report.ok and "optimizer_changes says False of wte.weight" in str(report)
    report = changed(tmp_path, "19", ("h = x @ A  # (N, R)", "h = 0 * x @ A"))
    assert not report.ok and "no effect" in str(report)


DOWN, BACK = "h = x @ A  # (N, R)", "return dy, dhM @ M.T @ A.T"
ELSEWHERE = {
    "a later token": ("with a token that comes after it", [
        (DOWN, "h = np.roll(x, -1, 0) @ A"), (BACK, "return dy, np.roll(dhM @ M.T @ A.T, 1, 0)")]),
    "the mean over the batch": ("an output changes with", [
        (DOWN, "h = x @ A; h = h - h.mean(0)"),
        (BACK, "dh = dhM @ M.T; return dy, (dh - dh.mean(0)) @ A.T")]),
    "the global generator": ("begin differently", [
        ("rng.normal(0, 1, shape)", "np.random.normal(0, 1, shape)")]),
    "float64": ("in a float32 model the gradient", [
        ("y + h @ M @ B", "y + h @ M @ B + np.zeros(y.shape)")]),
    "no shape": ("is a number without a shape", [
        ('parts["mine_M"][...] = 0', 'parts["mine_M"] = np.array(1.0)')]),
}  # fmt: skip


@pytest.mark.parametrize("case", ELSEWHERE)
def test_the_capstone_asks_where_rows_and_numbers_come_from(case, tmp_path):
    said, pairs = ELSEWHERE[case]
    report = changed(tmp_path, "19", *pairs)
    assert not report.ok and said in str(report), report


def test_a_file_is_read_as_python_reads_it(tmp_path):
    path = tmp_path / "01_linear_backward.py"
    (tmp_path / "beside.py").write_text("def product(a, b):\n    return a @ b\n", encoding="utf-8")
    imports = ("from __future__ import annotations", "from dataclasses import dataclass",
               "from beside import product", "import numpy")  # fmt: skip
    kept = "@dataclass\nclass Kept:\n    names: list[str]\n\n\ndef linear_backward"
    text = solution_text("01").replace("dy @ W.T", "product(dy, W.T)")
    text = text.replace("import numpy", "\n".join(imports)).replace("def linear_backward", kept)
    path.write_text(text, encoding="utf-8-sig")
    assert check_file(EXERCISES["01"], path).ok
    path.write_bytes("# Grüße\n".encode("latin-1"))
    with pytest.raises(InputError, match="save it as UTF-8"):
        check_file(EXERCISES["01"], path)


@pytest.mark.parametrize("line, before", [("h = x @ A", "x *= 1.5"), ("dhM = dy @ B.T", "dy *= 1.5")])
def test_the_capstone_keeps_what_enters_the_layer(line, before, tmp_path):
    report = changed(tmp_path, "19", (f"{line}  # (N, R)", f"{before}; {line}"))
    assert not report.ok and "into an array that was given" in str(report), report


KEEPS = {
    "on self": ("self.h = h", "self.h"),
    "on self, by layer": ("self.__dict__.setdefault('kept', {})[name] = h", "self.kept[name]"),
    "on the class, as a stack": ("Mine.kept = [*getattr(Mine, 'kept', []), h]", "Mine.kept.pop()"),
}


@pytest.mark.parametrize("case", KEEPS)
def test_the_capstone_asks_for_what_is_not_in_the_cache(case, tmp_path):
    keep, read = KEEPS[case]
    report = changed(
        tmp_path, "19", ("h = x @ A  # (N, R)", f"h = x @ A; {keep}"),
        ("name, h, A, M, B = cache", f"name, _, A, M, B = cache; h = {read}"),
    )  # fmt: skip
    assert not report.ok and "What is kept on self or in a global, in the place of the cache?" in str(report)


WRONG_BELOW = {
    "dx is turned": ("return dy, dhM @ M.T @ A.T", "return dy, dhM @ M @ A.T"),
    "dx is None": ("return dy, dhM @ M.T @ A.T", "return dy, None"),
    "dy is scaled": ("return dy, dhM @ M.T @ A.T", "return 2 * dy, dhM @ M.T @ A.T"),
}


@pytest.mark.parametrize("case", WRONG_BELOW)
@pytest.mark.parametrize("layers", ["attn.c_attn", ("attn.c_attn", "mlp.c_fc")], ids=str)
def test_the_capstone_asks_for_dx_where_the_top_layer_alone_agrees(case, layers, tmp_path):
    report = changed(tmp_path, "19", WRONG_BELOW[case], ('"attn.c_attn"', repr(layers)))
    assert not report.ok and "The top layer agrees" in str(report), report
    assert report.lines[-1].strip().endswith("Which dy and which dx do you return?")


def test_the_capstone_asks_for_the_tensor_where_every_layer_fails(tmp_path):
    report = changed(tmp_path, "19", ("h.T @ dhM}", "2 * h.T @ dhM}"))
    assert report.lines[-1].strip() == "By which lines of `linear` does this tensor reach y?", report
    report = changed(  # both at once: dx is wrong, and the tensor's own gradient, too
        tmp_path, "19", ("return dy, dhM @ M.T @ A.T", "return dy, None"), ("h.T @ dhM}", "2 * h.T @ dhM}")
    )
    assert "The top layer" not in str(report), report


# ------------------------------------------------------------------------------ the command line, a notebook


def test_a_number_a_name_and_a_path_find_the_same():
    assert {find(said).number for said in (10, "10", "lora", "10_lora", "x/10_lora.py")} == {"10"}
    assert find("1").number == "01"
    with pytest.raises(InputError, match="did you mean 10_lora"):
        find("10_lorra")


def test_the_command_line_from_copy_to_success(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["check", "01"]) == 2 and "--copy" in capsys.readouterr().err
    assert main(["check", "--copy", "exercises"]) == 0 and "19 files" in capsys.readouterr().out
    assert main(["check", "01"]) == 1
    path = tmp_path / "exercises/01_linear_backward.py"
    path.write_text(solution_text("01"), encoding="utf-8")
    assert main(["check", "--copy", "exercises"]) == 0 and path.read_text() == solution_text("01")
    capsys.readouterr()
    assert main(["check", str(path)]) == 0 and "--solution" in capsys.readouterr().out
    for hint in EXERCISES["01"].hints:
        assert main(["check", "1", "--hint"]) == 0 and hint in capsys.readouterr().out
    assert main(["check", "1", "--hint"]) == 0 and "no more" in capsys.readouterr().out
    state = json.loads((tmp_path / "exercises/.progress.json").read_text())
    assert state["01"] == {"done": True, "hints": 3}
    assert main(["check"]) == 0 and "yes 01" in capsys.readouterr().out
    monkeypatch.chdir(tmp_path / "exercises")
    for said in ("1", path.name):
        assert main(["check", said]) == 0
    assert main(["check"]) == 0 and "yes 01" in capsys.readouterr().out
    monkeypatch.chdir(tmp_path)
    assert main(["check", "01", "--solution"]) == 0 and "dy @ W.T" in capsys.readouterr().out


def test_watch_checks_again_when_the_file_is_saved(tmp_path, capsys):
    path = tmp_path / "01_linear_backward.py"
    path.write_text(files.with_holes(solution_text("01")), encoding="utf-8")

    def save(seconds):
        path.write_text(solution_text("01"), encoding="utf-8")
        os.utime(path, ns=(1, 1))  # another time, whatever the clock's resolution

    assert command.watch(EXERCISES["01"], path, wait=save) == 0
    said = capsys.readouterr().out
    assert said.index("still to be written") < said.index("right: y, dx")


def test_in_a_notebook(capsys):
    functions = solved("10")
    assert minipeft.check("10", functions.lora, functions.lora_backward)
    assert minipeft.check("10", functions.lora_backward, functions.lora)  # by their names
    assert minipeft.check(
        1, lambda dy, cache: (dy @ cache[1].T, {"weight": cache[0].T @ dy, "bias": dy.sum(0)})
    )
    assert not minipeft.check("06", lambda dp, p: p * dp)
    assert "softmax" in capsys.readouterr().out
    with pytest.raises(InputError, match="lora and lora_backward"):
        minipeft.check("10", functions.lora)


NUMPY_ALONE = """
import sys

BLOCKED = {"tokenizers", "safetensors", "huggingface_hub", "tqdm", "threadpoolctl", "matplotlib", "markdown",
           "sacrebleu", "rouge_score", "cupy", "filelock"}

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Block())
from minipeft.app.cli import main

for number in range(1, 19):
    assert main(["check", str(number), "--solution"]) == 0
    assert main(["check", str(number)]) == 0
"""


def test_numpy_alone_is_enough(tmp_path):
    files.copy(EXERCISES.values(), tmp_path / "exercises")
    for number in BY_NUMBERS:
        (tmp_path / f"exercises/{EXERCISES[number].name}.py").write_text(
            solution_text(number), encoding="utf-8"
        )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MINIPEFT_THREADS": "1"}
    subprocess.run(
        [sys.executable, "-c", NUMPY_ALONE],
        cwd=tmp_path,
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )
