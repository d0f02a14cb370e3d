"""The real lines of the package, as they run: a notebook shows them and never copies them."""

import ast
import inspect
import textwrap
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import minipeft

ROOT = Path(minipeft.__file__).parent


@dataclass
class Shown:
    """Text that a notebook renders and a terminal prints."""

    heading: str
    text: str
    language: str = "python"

    def _repr_markdown_(self):
        return f"**{self.heading}**\n\n```{self.language}\n{self.text}\n```"

    def __repr__(self):
        return f"{self.heading}\n\n{self.text}"


def show(what, docs=False):
    """The source of a function, a method or a class, with the file that it stands in.

    docs: with docstrings, too? The notebook has usually said by then what they say.
    """
    text = textwrap.dedent(inspect.getsource(what)).rstrip()
    file = Path(inspect.getsourcefile(inspect.unwrap(what))).relative_to(ROOT.parent).as_posix()
    return Shown(f"{what.__qualname__} in {file}", text if docs else without_docstrings(text))


def without_docstrings(text):
    """The same lines less those of docstrings."""
    lines, gone = text.splitlines(), set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(node):
            string = node.body[0]
            gone |= set(range(string.lineno - 1, string.end_lineno))
    return "\n".join(line for i, line in enumerate(lines) if i not in gone)


def formula(what):
    """The formula of a method, as the docstring of its file says it: the indented lines there."""
    module = inspect.getmodule(what)
    file = Path(module.__file__).relative_to(ROOT.parent).as_posix()
    lines = inspect.getdoc(module).splitlines()[1:]
    own = [line for line in lines if line.startswith("    ")]
    return Shown(f"{what.__name__} in {file}", textwrap.dedent("\n".join(own)), "text")


@contextmanager
def planted(owner, name, old, new):
    """In here the function `name` of a module or class is its own source with `old` replaced by `new`: a bug.

    Raises ValueError unless `old` stands in the source once.
    """
    right = getattr(owner, name)
    source, namespace = textwrap.dedent(inspect.getsource(right)), dict(right.__globals__)
    if source.count(old) != 1:
        raise ValueError(f"{old!r} stands {source.count(old)} times in {name}, not once")
    exec(source.replace(old, new), namespace)
    setattr(owner, name, namespace[name])
    try:
        yield
    finally:
        setattr(owner, name, right)
