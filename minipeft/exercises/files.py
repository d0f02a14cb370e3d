"""Solutions as files, and the exercises made of them: the lines to write cut out."""

import ast
from pathlib import Path

from ..errors import InputError

SOLUTIONS = Path(__file__).parent / "solutions"
MARK = "# -- yours --"  # from here to the end of the function, a line is the learner's to write


def solution(exercise):
    """The path of its solution."""
    return SOLUTIONS / f"{exercise.name}.py"


def read_source(path):
    """A file's text, as Python reads it. Raises InputError where it is not UTF-8."""
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8: save it as UTF-8 ({error.reason})") from None


def first_line(path):
    """The first line of a file's docstring; "" without one. Raises InputError without the file."""
    if not Path(path).is_file():
        raise InputError(f"{path} is not there: `minipeft check --copy exercises` writes the files")
    text = read_source(path)
    lines = (line.strip().strip('r"') for line in text.splitlines())
    return next(filter(None, lines), "")


def with_holes(text):
    """A solution's text -> the exercise's: `raise NotImplementedError` from each mark on."""
    kept, inside = [], None
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        if line.strip() == MARK:
            kept.append(" " * indent + "raise NotImplementedError")
            inside = indent
        elif inside is None or (line.strip() and indent < inside):
            if inside is not None and line.strip():
                kept += [""] * (2 if indent == 0 else 1)
                inside = None
            kept.append(line)
    return "\n".join(kept) + "\n"


def written(text):
    """The lines that a solution's author wrote, function by function: {name: lines}."""
    lines, found = text.splitlines(), {}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            body = lines[node.lineno - 1 : node.end_lineno]
            marks = [i for i, line in enumerate(body) if line.strip() == MARK]
            if marks:
                found[node.name] = body[marks[0] + 1 :]
    return found


def copy(exercises, folder):
    """Write the exercises' files into a folder; those that are there stay. -> (written, kept), names."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    new, kept = [], []
    for exercise in exercises:
        path = folder / f"{exercise.name}.py"
        if path.exists():
            kept.append(path.name)
        else:
            path.write_text(with_holes(solution(exercise).read_text(encoding="utf-8")), encoding="utf-8")
            new.append(path.name)
    return new, kept
