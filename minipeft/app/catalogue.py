"""The methods there are, and what one of them is: formula, settings, source, and the lines of its code.

All of it is read from the classes, their docstrings and the files themselves: nothing is written down twice.
"""

import ast
import inspect
import re
from dataclasses import fields
from functools import cache
from pathlib import Path
from textwrap import wrap

import numpy as np

from ..config import GPT2Config
from ..cost.memory import hollow
from ..errors import InputError
from ..methods import METHODS, Chain, Method
from ..methods.about import PAIRS, default_of, owner, site
from ..methods.named import method_class

ROOT = Path(__file__).parents[2]  # of the repository; an installed package has no tests and pages beside it
LATEX = {
    "\\theta": "θ", "\\eta": "η", "\\xi": "ξ", "\\nabla": "∇", "\\ell": "loss", "\\leftarrow": "<-",
    "\\,": " ", "$": "",
}  # fmt: skip
RESULT = re.compile(r"(y'?|[hqxEK]'|W)[ \[]")  # how the line of a formula begins that says what comes out
WIDTH, INDENT = 100, " " * 8  # of a page in the terminal, and of what explains a setting
GAP = re.compile(r" {5,}")  # between a formula and the words beside it


def listed():
    """[{"name", "class", "site", "formula", "parameters"}, ...] of all methods; see `described`."""
    return [brief(name, cls) for name, cls in METHODS.items()]


def brief(name, cls):
    """A method in one line: the parameters are counted on GPT-2 small, None where it needs more to begin."""
    return {
        "name": name, "class": cls.__name__, "site": site(cls), "formula": formula(cls)[0],
        "parameters": parameters(cls),
    }  # fmt: skip


def described(name):
    """A method in full. Raises InputError for a name that no method has.

    Beside what `brief` says: "about", the first line of its file; "formula", whole; "settings", each with
    its default and meaning; "source"; "where", {"forward": ["file:line", ...], ...}.
    """
    cls = method_class(name)
    head = inspect.getdoc(module_of(cls)) or inspect.getdoc(cls) or ""
    return brief(name, cls) | {
        "about": head.split("\n")[0], "formula": "\n".join(formula(cls)), "settings": settings(cls),
        "source": source(cls), "where": where(cls),
    }  # fmt: skip


# ---------------------------------------------------------------------------------- out of the docstrings


def module_of(cls):
    """The module that a class is written in."""
    return inspect.getmodule(cls)


def formula(cls):
    """The lines of a method's formula, the one that says what comes out first.

    It is the first indented block of its file's docstring; where there is none, the class's first line.
    """
    blocks = re.findall(r"(?:^    .*\n?)+", inspect.getdoc(module_of(cls)) or "", re.MULTILINE)
    if not blocks or (site(cls) == "base weights" and "$" in (cls.__doc__ or "")):
        return [plain((inspect.getdoc(cls) or "").split("\n")[0])]
    lines = [line.strip() for line in blocks[0].rstrip().split("\n")]
    named = [line for line in lines if re.search(rf"\b{cls.__name__}\b", line)]
    results = [
        GAP.split(line)[0] for line in named or [line for line in lines if RESULT.match(line)] or lines
    ]
    result = "; ".join(results) if issubclass(cls, Chain) else results[0]
    return [result, *(line[4:] for line in blocks[0].rstrip().split("\n"))]


def plain(text):
    """A line of LaTeX in letters that a terminal has."""
    for command, letter in LATEX.items():
        text = text.replace(command, letter)
    return re.sub(r"\^\{(.*?)\}", r"^(\1)", text).replace("\\hat x", "x̂")


def settings(cls):
    """[{"name", "default", "meaning"}, ...] of a method's fields, the meaning as its docstring has it."""
    own = [f for f in fields(cls) if f.init]
    return [{"name": f.name, "default": default_of(f), "meaning": meaning(cls, f.name)} for f in own]


def meaning(cls, name):
    """What a docstring says behind "name:", "name, other:" or, in a table, "name      ..."; "" for nothing.

    A class that says nothing of a setting has it from the one it is made from, and that one says it.
    """
    for owner_ in cls.__mro__:
        text = inspect.cleandoc(vars(owner_).get("__doc__") or "")
        names = [f.name for f in fields(owner_)] if hasattr(owner_, "__dataclass_fields__") else []
        if name not in names:
            continue
        one = "|".join(sorted(names, key=len, reverse=True))
        starts = re.finditer(rf"(?:^|(?<=\s))((?:{one})(?:, (?:{one}))*)(?:: | {{2,}})", text)
        found = [(m.start(), m.end(), m[1].split(", ")) for m in starts]
        for i, (_, begin, named) in enumerate(found):
            if name in named:
                end = found[i + 1][0] if i + 1 < len(found) else len(text)
                return plain(" ".join(text[begin:end].split("\n\n")[0].split())).rstrip(",;")
    return ""


def source(cls):
    """The paragraph of the docstrings that begins with "Source"; "" where there is none."""
    for text in (inspect.getdoc(module_of(cls)), inspect.getdoc(cls)):
        if found := re.search(r"^Sources?: (.*?)(?:\n\n|\Z)", text or "", re.DOTALL | re.MULTILINE):
            return " ".join(found[1].split())
    return ""


@cache
def parameters(cls):
    """How many numbers train on GPT-2 small with the default settings; None where they do not suffice."""
    model, method = hollow(GPT2Config()), cls()
    try:
        tensors = method.init(model, np.random.default_rng(0))
    except InputError:  # AdapterFusion has no adapters yet
        return None
    tensors |= {n: w for n, w in model.weights.items() if method.trains_base(n, model.config)}
    return sum(np.size(t) for n, t in tensors.items() if method.optimizer_changes(n))


# ------------------------------------------------------------------------------------- out of the files


def where(cls):
    """{"class", "forward", "backward", "merge", "test", "page": ["file:line", ...]}, of what there is.

    Of a hybrid the forward and backward are those of its parts. A test is one whose code names the class;
    a page is one with a heading that does.
    """
    parts = [type(part) for part in cls().methods] if issubclass(cls, Chain) else [cls]
    acts = [(part, f) for part in parts for f in PAIRS if owner(part, f) not in (Method, Chain)]
    backwards = [(part, PAIRS[f]) for part, f in acts if owner(part, PAIRS[f]) is not Method]
    if site(cls) == "base weights":
        acts.append((cls, "trains_base"))
    merges = [(cls, "merge")] if owner(cls, "merge") not in (Method, Chain) else []
    found = {
        "class": [at(cls)],
        "forward": [at(getattr(c, f)) for c, f in acts],
        "backward": [at(getattr(c, f)) for c, f in backwards],
        "merge": [at(getattr(c, f)) for c, f in merges],
        "test": tests_of(cls),
        "page": pages_of(cls),
    }
    return {what: places for what, places in found.items() if places}


def at(thing):
    """ "file:line" of a class or function; the file as seen from the repository, or in full outside it."""
    file, (_, line) = Path(inspect.getsourcefile(thing)).resolve(), inspect.getsourcelines(thing)
    return f"{file.relative_to(ROOT) if file.is_relative_to(ROOT) else file}:{line}"


def tests_of(cls):
    """The first test that names the class, in the file of tests nearest to it."""
    folder, name = cls.__module__.split(".")[-2:] if "." in cls.__module__ else ("", cls.__module__)
    near = [f"test_{name}.py", f"test_{folder}.py"]
    files = sorted((ROOT / "tests").glob("test_*.py"), key=lambda p: (p.name not in near, p.name))
    for file in sorted(files, key=lambda p: near.index(p.name) if p.name in near else len(near)):
        text = file.read_text(encoding="utf-8")
        if not re.search(rf"\b{cls.__name__}\b", text):
            continue
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
                if cls.__name__ in names:
                    return [f"tests/{file.name}:{node.lineno}"]
    return []


def pages_of(cls):
    """Every page in docs/ with a heading that names the class."""
    places = []
    for file in sorted((ROOT / "docs").glob("*.md")):
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            if line.startswith("#") and re.search(rf"\b{cls.__name__}\b", line):
                places.append(f"docs/{file.name}:{number}")
                break
    return places


# ------------------------------------------------------------------------------------------- for a person


def list_in_words(methods):
    """`listed`, as a table."""
    rows = [
        [m["name"], m["class"], m["site"], f"{m['parameters']:,}" if m["parameters"] is not None else "-",
         m["formula"]] for m in methods
    ]  # fmt: skip
    rows.insert(0, ["name", "class", "site", "trainable", "formula"])
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), row[1].ljust(widths[1]), row[2].ljust(widths[2]),
                   row[3].rjust(widths[3]), row[4]]).rstrip() for row in rows
    ]  # fmt: skip
    note = "trainable: parameters that train on GPT-2 small, with the default settings"
    return "\n".join([*lines, "", note])


def one_in_words(m):
    """`described`, on a page of a terminal."""
    count = f"{m['parameters'] or 0:,} parameters on GPT-2 small"
    count = count if m["parameters"] is not None else "it needs more than its defaults to begin"
    lines = [m["about"], "", *("    " + line for line in m["formula"].split("\n")[1:] or [m["formula"]]), ""]
    lines.append(f"name {m['name']}, class minipeft.{m['class']}, site {m['site']}; {count}")
    if m["settings"]:
        lines += ["", "settings, with their defaults"]
        for s in m["settings"]:
            lines.append(f"    {s['name']} = {s['default']}")
            lines += wrap(s["meaning"], WIDTH, initial_indent=INDENT, subsequent_indent=INDENT)
    if m["source"]:
        lines += ["", *wrap(f"source: {m['source']}", WIDTH)]
    lines += ["", *(f"{what:<9} {'  '.join(places)}" for what, places in m["where"].items())]
    return "\n".join(lines)
