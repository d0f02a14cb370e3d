"""What a method of the package still lacks: its own file says most, two other places name it."""

import inspect
import re
from pathlib import Path

from minipeft.app.catalogue import formula, parameters, source
from minipeft.methods import METHODS
from minipeft.methods.about import site

ROOT = Path(__file__).parent.parent
OF_NO_PAPER = ("Full", "Modules")


def missing(cls, readme=None):
    """The places that do not have the method yet, each in a sentence."""
    readme = readme or (ROOT / "README.md").read_text(encoding="utf-8")
    name, doc = cls.__name__, inspect.getdoc(cls) or ""
    if "about" not in vars(cls) or cls.about is None:
        return [f"{file_of(cls)}: {name} has no `about` of its own"]
    lacks = []
    if METHODS.get(cls.about.name) is not cls:
        lacks.append(f"minipeft/methods/__init__.py: {name} is not imported and in the list")
    if not (row := row_of(cls, readme)):
        lacks.append(f"README.md: the table of methods has no row `{name}`")
    elif f"`{file_of(cls).removeprefix('minipeft/methods/')}`" not in row or not acts_there(cls, row):
        lacks.append(f"README.md: the row `{name}` has another site or file: {row}")
    if not formula(cls)[0]:
        lacks.append(f"{file_of(cls)}: no docstring has a formula")
    if not source(cls) and name not in OF_NO_PAPER:
        lacks.append(f"{file_of(cls)}: no docstring has a paragraph `Source: ...`")
    count = parameters(cls)
    if count is not None and not re.search(rf"GPT-2 small\b[^.]*\b{count:,}\b", doc):
        lacks.append(f"{file_of(cls)}: {name}'s docstring lacks `GPT-2 small: {count:,} parameters`")
    return lacks


def file_of(cls):
    """ "minipeft/methods/linear/lora.py" """
    return cls.__module__.replace(".", "/") + ".py"


def row_of(cls, readme):
    """The line of the README's table that is about the class; None without one."""
    rows = (line for line in readme.splitlines() if line.startswith("|"))
    return next((row for row in rows if f"`{cls.__name__}`" in row.split("|")[1]), None)


def acts_there(cls, row):
    """Is the row's site the method's? Of hybrids it says how many sites there are."""
    says = row.split("|")[2].strip().strip("`")
    return says == site(cls) or (site(cls) == "several" and says in ("two", "three"))
