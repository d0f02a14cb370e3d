"""A learner's functions: read from a file, called on read-only arrays; an error told in letters."""

import ast
import importlib.util
import io
import linecache
import re
import sys
import traceback
from contextlib import nullcontext, redirect_stdout
from types import SimpleNamespace

import numpy as np

from ..errors import InputError
from .exercise import Call, in_letters, shapes
from .files import read_source


class Told(Exception):
    """Something ended the run of a learner's functions; `lines` say what, to the learner."""

    def __init__(self, *lines):
        super().__init__("\n".join(lines))
        self.lines = lines


def load(path):
    """The module in the file `path`, run anew. Raises Told where it is no Python, InputError without it."""
    if not path.is_file():
        raise InputError(f"{path} is not there")
    linecache.checkcache(str(path))
    spec = importlib.util.spec_from_file_location(f"exercise_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    sys.modules[spec.name] = module  # where a dataclass looks for what its annotations name
    sys.path.insert(0, str(path.parent))  # for what the file imports from beside it
    try:
        source = read_source(path)
        exec(compile(source, str(path), "exec"), module.__dict__)  # not from a cache: files change fast
    except SyntaxError as error:
        raise Told(f"line {error.lineno} is not Python: {error.msg}") from None
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        raise Told(*explained(error, None, None)) from None
    finally:
        sys.dont_write_bytecode = written
        sys.path.remove(str(path.parent))
    return module


def run(exercise, functions, v, until=(), quiet=True):
    """{name: what the functions gave}. until: stop as soon as these are known. Raises Told."""
    results = {}
    for _ in call_by_call(exercise, functions, v, results, quiet):
        if until and set(until) <= set(results):
            break
    return results


def run_in_turn(exercise, functions, probes):
    """The same for each of several probes, the first call on all of them before the second on any."""
    results = [{} for _ in probes]
    running = [call_by_call(exercise, functions, v, r) for v, r in zip(probes, results, strict=True)]
    for _ in zip(*running, strict=True):
        pass
    return results


def call_by_call(exercise, functions, v, results, quiet=True):
    """Make the exercise's calls, with a pause behind each; what they gave goes into `results`."""
    calls, answer = exercise.calls(v), None
    while True:
        try:
            call = calls.send(answer)
        except StopIteration:
            return
        answer = None
        if isinstance(call, Call):
            answer = called(exercise, functions, v, call, quiet)
            call = unpacked(call.function, call.returns, answer)
        results.update(call)
        yield


def called(exercise, functions, v, call, quiet):
    """What one call returned. Raises Told where it raised, or changed an input."""
    before = {name: a.copy() for name in exercise.writable if (a := getattr(v, name)) is not None}
    arguments = given(exercise, v, call.arguments)
    lists = [(a, [*a]) for a in arguments if isinstance(a, list) and not any(map(np.ndim, a))]
    try:
        with np.errstate(all="ignore"), redirect_stdout(io.StringIO()) if quiet else nullcontext():
            answer = getattr(functions, call.function)(*arguments)
    except NotImplementedError:
        raise Told(f"{call.function} is still to be written.") from None
    except (Exception, SystemExit) as error:
        raise Told(*explained(error, exercise, v)) from None
    if changed := [kept for a, kept in lists if a != kept]:
        raise Told(f"{call.function} leaves the list {changed[0]} changed.", "Who else still reads it?")
    for name, kept in before.items():
        if not np.array_equal(getattr(v, name), kept):
            raise Told(
                f"{call.function} leaves {name} changed.", "What should the next one who reads it find there?"
            )
    return answer


def given(exercise, v, arguments):
    """The arguments, arrays read-only but for `writable`: results of an earlier call are among them."""
    may_change = [getattr(v, name) for name in exercise.writable]
    return [a if any(a is each for each in may_change) else read_only(a) for a in arguments]


def read_only(a):
    """An array as a view that cannot be written to; so are those in a list, a tuple, a dict (a cache)."""
    if isinstance(a, np.ndarray):
        a = a.view()
        a.setflags(write=False)
    elif isinstance(a, tuple) and hasattr(a, "_fields"):
        return type(a)(*map(read_only, a))
    elif isinstance(a, tuple | list):
        return type(a)(map(read_only, a))
    elif isinstance(a, dict):
        return {key: read_only(each) for key, each in a.items()}
    return a


def unpacked(function, returns, answer):
    """{name: value} of what came back. Raises Told where it is not put together as it should be."""
    wanted = f"{function} should return {in_words(returns)}"
    if returns is ...:
        return {}
    if isinstance(returns, str):
        if answer is None:
            raise Told(f"{wanted}; {returns} is None.", "Is a return missing, or a value?")
        if isinstance(answer, (tuple, list, dict)):
            raise Told(f"{wanted}; {returns} is a {type(answer).__name__}.")
        return {returns: np.asarray(answer)}
    if isinstance(returns, tuple):
        if not isinstance(answer, tuple) or len(answer) != len(returns):
            came = f"{len(answer)} values" if isinstance(answer, tuple) else f"a {type(answer).__name__}"
            raise Told(f"{wanted}; it returned {came}.")
        parts = [unpacked(function, each, value).items() for each, value in zip(returns, answer, strict=True)]
        return {name: value for part in parts for name, value in part}
    if not isinstance(answer, dict):
        raise Told(f"{wanted}; in place of the dict came a {type(answer).__name__}.")
    if missing := [key for key in returns if key not in answer]:
        raise Told(f"{wanted}; {', '.join(map(repr, missing))} is not in the dict.")
    if extra := [key for key in answer if key not in returns]:
        raise Told(f"{wanted}; {', '.join(map(repr, extra))} is in the dict, too.", "Which tensors train?")
    pairs = [unpacked(function, name, answer[key]) for key, name in returns.items()]
    return {name: value for pair in pairs for name, value in pair.items()}


def in_words(returns):
    """("dx", {"weight": "dW"}) -> "dx, {'weight': dW}"."""
    if returns is ...:
        return "cache"
    if isinstance(returns, str):
        return returns
    if isinstance(returns, tuple):
        return ", ".join(map(in_words, returns))
    return "{" + ", ".join(f"{key!r}: {in_words(name)}" for key, name in returns.items()) + "}"


def namespace(*sources):
    """One namespace of all functions in modules or dicts; a later one counts more."""
    names = {}
    for source in sources:
        names |= source if isinstance(source, dict) else vars(source)
    return SimpleNamespace(**{name: f for name, f in names.items() if callable(f)})


# --------------------------------------------------------------------------------- an error, told in letters


def explained(error, exercise, v):
    """Lines that say what an exception means: where it was raised, and shapes as letters."""
    frames = list(traceback.walk_tb(error.__traceback__))
    own = [(f, n) for f, n in frames if is_the_learners(f.f_globals.get("__name__", ""))]
    if not own:  # the call itself did not fit: a missing argument
        return [f"{type(error).__name__}: {error}"]
    frame, number = own[-1]
    text = linecache.getline(frame.f_code.co_filename, number).strip()
    where = f"line {number}: {text}" if text else f"line {number}"
    if "read-only" in str(error):
        return [where, "This line writes into an array that was given. Who else still reads it?"]
    if exercise is None:
        return [where, f"{type(error).__name__}: {error}"]
    return [where, *(mismatch(text, frame, exercise, v) or [f"{type(error).__name__}: {lettered(error, v)}"])]


def is_the_learners(module):
    """Is the module of this name neither ours, nor NumPy's, nor Python's?"""
    top = module.partition(".")[0]
    return top not in ("minipeft", "numpy") and top not in sys.stdlib_module_names


def mismatch(text, frame, exercise, v):
    """Of a line with `@`: the operands whose inner sizes differ, as letters; None: there are none."""
    try:
        statement = ast.parse(text).body[0]
    except (SyntaxError, IndexError):
        return None
    known = shapes(exercise.inputs) | shapes(exercise.outputs)
    products = [n for n in ast.walk(statement) if isinstance(n, ast.BinOp) and isinstance(n.op, ast.MatMult)]
    for product in reversed(products):  # the innermost first
        left, right = (shape_of(side, frame) for side in (product.left, product.right))
        if left and right and left[-1] != right[-2:][0]:
            a, b = in_letters(left, v.sizes), in_letters(right, v.sizes)
            a_last, b_first = a[1:-1].split(", ")[-1], b[1:-1].split(", ")[-2:][0]
            sides = [ast.unparse(side) for side in (product.left, product.right)]
            lines = [
                f"{sides[0]} {a} @ {sides[1]} {b}: the inner letters must agree, {a_last} is not {b_first}."
            ]
            target = ast.unparse(statement.targets[0]) if isinstance(statement, ast.Assign) else ""
            if target in known and product is getattr(statement, "value", None):
                lines.append(f"Write the letters: {a} times what gives ({', '.join(known[target])})?")
            else:
                lines.append(f"Write the letters: {a} times what, and what comes out?")
            return lines
    return None


def shape_of(node, frame):
    """The shape of an expression of the line that failed; None where looking could do something."""
    if any(isinstance(n, (ast.Call, ast.NamedExpr, ast.Await)) for n in ast.walk(node)):
        return None
    try:
        code = compile(ast.Expression(node), "<shape>", "eval")
        return np.shape(eval(code, frame.f_globals, frame.f_locals)) or None
    except Exception:
        return None


def lettered(error, v):
    """The message, its shapes and sizes as letters: (6,4) -> (N, O)."""
    numbers = lambda found: tuple(int(n) for n in re.findall(r"\d+", found.group()))
    text = re.sub(r"\((\d+,)+\d*\)", lambda found: in_letters(numbers(found), v.sizes), str(error))
    if inner := re.search(r"\(size (\d+) is different from (\d+)\)", text):
        one, other = in_letters([int(inner[2]), int(inner[1])], v.sizes)[1:-1].split(", ")
        return f"the inner letters of a product must agree, {one} is not {other}."
    return text
