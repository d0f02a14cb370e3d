"""The backward functions of the package, and a change of one of them, for a while or in a copied file."""

import ast
import re
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from types import CodeType

from ... import methods
from ...errors import InputError, choose_from

ROOT = Path(methods.__file__).parents[1]
BESIDE = (
    "ops",
    "layout",
    "gpt2",
    "distill",
    "speed.fast",
)  # modules with backward functions, beside methods/
BACKWARD = re.compile(r"(.*_)?backward|finish|add_grads|add_dx|loss_and_grads")


@dataclass(frozen=True)
class Place:
    """A function of the package. module: "minipeft.ops"; name: "LoRA.linear_backward"."""

    module: str
    name: str

    def __str__(self):
        return f"{self.file} {self.name}"

    @cached_property
    def path(self):
        """Its file."""
        return Path(import_module(self.module).__file__)

    @property
    def file(self):
        """Its file, as pages name it: "minipeft/ops.py"."""
        return self.path.relative_to(ROOT.parent).as_posix()

    @property
    def function(self):
        """The function itself."""
        found = import_module(self.module)
        for part in self.name.split("."):
            found = vars(found)[part]
        return found

    @cached_property
    def first(self):
        """The number of its first line, from 1."""
        return self._node.lineno

    @cached_property
    def text(self):
        """Its lines."""
        return "\n".join(self._file_lines[self.first - 1 : self._node.end_lineno])

    def file_with(self, text):
        """The text of its whole file, with another text for this function."""
        lines = self._file_lines
        return "\n".join([*lines[: self.first - 1], text, *lines[self._node.end_lineno :]])

    @cached_property
    def _file_lines(self):
        return self.path.read_text(encoding="utf-8").split("\n")

    @cached_property
    def _node(self):
        return dict(_functions(ast.parse("\n".join(self._file_lines))))[self.name]


def _functions(tree):
    """("Class.function" or "function", its node) of a module's tree."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from ((f"{node.name}.{name}", f) for name, f in _functions(node))


@cache
def places():
    """{"lora LoRA.linear_backward": its Place} of every backward function, by its module's last name."""
    parts = [f"minipeft.{name}" for name in BESIDE]
    parts += [m.name for m in walk_packages(methods.__path__, "minipeft.methods.") if not m.ispkg]
    found = {}
    for module in parts:
        tree = ast.parse(Path(import_module(module).__file__).read_text(encoding="utf-8"))
        for name, _ in _functions(tree):
            if BACKWARD.fullmatch(name.split(".")[-1]):
                found[f"{module.split('.')[-1]} {name}"] = Place(module, name)
    return found


def place(name):
    """The Place of "lora LoRA.linear_backward". Raises InputError for one that is not there."""
    if name not in places():
        raise InputError(f"there is no backward {name!r}: {choose_from(name, places())}")
    return places()[name]


@contextmanager
def planted(where, text):
    """`with planted(place, text):` the function runs these lines instead of its own; then its own again.

    Its code is exchanged, not the function, so whoever imported it by name gets the change, too.
    """
    function = where.function
    own = function.__code__
    function.__code__ = _compiled(where, text)
    try:
        yield
    finally:
        function.__code__ = own


def _compiled(where, text):
    """The code of the function with another text; its line numbers are those of the changed file."""
    code = compile(where.file_with(text), str(where.path), "exec")
    for part in where.name.split("."):
        code = next(c for c in code.co_consts if isinstance(c, CodeType) and c.co_name == part)
    return code
