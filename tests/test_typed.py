"""The types in `minipeft-stubs` are those of the code, and a type checker takes a user's program."""

import ast
import inspect
from pathlib import Path

import pytest

import minipeft

STUB = Path(__file__).parents[1] / "minipeft-stubs" / "__init__.pyi"
USE = Path(__file__).with_name("typed_use.py")
TREE = ast.parse(STUB.read_text(encoding="utf-8"))


def arguments(function):
    """What a function of the stub takes: [(name, default in words or None), ...]."""
    a = function.args
    positional = a.posonlyargs + a.args
    defaults = [None] * (len(positional) - len(a.defaults)) + [ast.unparse(d) for d in a.defaults]
    named = [(x.arg, d and ast.unparse(d)) for x, d in zip(a.kwonlyargs, a.kw_defaults, strict=True)]
    stars = [(x.arg, None) for x in (a.vararg, a.kwarg) if x]
    found = [*zip([x.arg for x in positional], defaults, strict=True), *named, *stars]
    return sorted((name, d and str(ast.literal_eval(d))) for name, d in found)


def really(function):
    """The same of a function of the code."""
    parameters = inspect.signature(function).parameters.values()
    return sorted((p.name, None if p.default is p.empty else str(p.default)) for p in parameters)


def public(nodes):
    return {n.name: n for n in nodes if isinstance(n, ast.FunctionDef) and n.name[:1] != "_"}


def test_every_name_that_the_package_gives_is_in_the_stub():
    imported = {a.asname for node in TREE.body if isinstance(node, ast.ImportFrom) for a in node.names}
    defined = {n.name for n in TREE.body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    assert set(minipeft.__all__) <= imported | defined


@pytest.mark.parametrize("name", sorted(public(TREE.body)))
def test_a_function_takes_what_the_stub_says(name):
    assert arguments(public(TREE.body)[name]) == really(getattr(minipeft, name))


@pytest.mark.parametrize("node", [n for n in TREE.body if isinstance(n, ast.ClassDef)], ids=lambda n: n.name)
def test_a_class_has_the_methods_that_the_stub_says(node):
    cls, methods = getattr(minipeft, node.name), public(node.body)
    inherited = {name for base in node.bases for name in dir(getattr(minipeft, base.id))}
    named = {
        n for n in vars(cls) if n[:1] != "_" and (callable(getattr(cls, n)) or type(vars(cls)[n]) is property)
    }
    assert named - inherited == set(methods) - inherited
    for name, stub in [
        *methods.items(),
        ("__init__", next(n for n in node.body if getattr(n, "name", "") == "__init__")),
    ]:
        found = inspect.getattr_static(cls, name)
        if not isinstance(found, property):
            assert arguments(stub) == really(getattr(found, "__func__", found)), name


def test_a_type_checker_takes_a_program_and_refuses_a_wrong_one(tmp_path):
    api = pytest.importorskip("mypy.api")
    wrong = tmp_path / "wrong.py"
    wrong.write_text(USE.read_text(encoding="utf-8").replace("seed=0)", "seed='0')").replace("r=4", "r='4'"))
    options = ["--strict", "--no-error-summary", "--cache-dir", str(tmp_path / "cache")]
    assert api.run([*options, str(USE)])[0] == ""
    said = api.run([*options, str(wrong)])[0]
    assert said.count("error:") == 2 and '"r" to "LoRA"' in said and '"seed" to "PeftModel"' in said
