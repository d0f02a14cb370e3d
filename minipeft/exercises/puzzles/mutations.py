"""All ways to change a function's text in one place: a term dropped, a sign, operands of `@` swapped, ...

A change is an edit of the text, so comments and layout stay as they are, and what is shown is what runs.
"""

import ast
import re
from dataclasses import dataclass
from difflib import SequenceMatcher

SIGNS = {ast.Add: ("+", "-"), ast.Sub: ("-", "+")}


@dataclass(frozen=True)
class Mutant:
    """what: the change, in words.  text: the function, changed."""

    what: str
    text: str


def mutants(text):
    """Every Mutant of a function's text, which may be indented; no two have the same text."""
    indent = re.match(" *", text).group()
    flat = "\n".join(line.removeprefix(indent) for line in text.split("\n"))
    found = {text: None}  # `v @ v` the other way round is none
    for what, changed in _changes(_Text(flat)):
        lines = (indent + line if line else line for line in changed.split("\n"))
        mutant = Mutant(what, "\n".join(lines))
        found.setdefault(mutant.text, mutant)
    return list(filter(None, found.values()))


def changed_lines(before, after):
    """Numbers, from 0, of the lines of `after` that differ; of a dropped line, of its two neighbours."""
    a, b = before.split("\n"), after.split("\n")
    numbers = []
    for kind, _, _, first, end in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if kind == "delete":
            numbers += [first - 1, first]
        elif kind != "equal":
            numbers += range(first, end)
    return numbers


class _Text:
    """A function's text with its tree; positions are of bytes, as `ast` counts them."""

    def __init__(self, text):
        self.bytes = text.encode()
        self.function = ast.parse(text).body[0]
        starts = [0]
        for line in self.bytes.split(b"\n"):
            starts.append(starts[-1] + len(line) + 1)
        self.starts = starts

    def span(self, node):
        """(begin, end) of a node."""
        begin = self.starts[node.lineno - 1] + node.col_offset
        return begin, self.starts[node.end_lineno - 1] + node.end_col_offset

    def cut(self, begin, end):
        """The text between."""
        return self.bytes[begin:end].decode().strip()

    def with_(self, begin, end, new):
        """The whole text with `new` between."""
        return (self.bytes[:begin] + new.encode() + self.bytes[end:]).decode()

    def replaced(self, node, *ways):
        """The whole text with something else for a node: the first of `ways` to write it that means the same.

        The last way has parentheses wherever there might be a doubt.
        """
        begin, end = self.span(node)
        plain = self.with_(begin, end, f"({ways[-1]})")
        tries = [(begin, end, way) for one in ways for way in (one, f"({one})")]
        if self.bytes[begin - 1 : begin] == b"(" and self.bytes[end : end + 1] == b")":
            tries.insert(0, (begin - 1, end + 1, ways[0]))
        for one in tries:
            text = self.with_(*one)
            if _same(text, plain):
                return text
        return plain

    def without(self, statement):
        """The whole text without the lines of a statement, None if it shares them with another."""
        begin, end = self.span(statement)
        line = self.starts[statement.lineno - 1]
        rest = self.bytes[end : self.starts[statement.end_lineno]].split(b"#")[0]
        return None if self.cut(line, begin) or rest.strip() else self.with_(
            line, self.starts[statement.end_lineno], ""
        )  # fmt: skip


def _changes(text):
    """(what, the whole text) of every change."""
    known = {a.arg for a in text.function.args.args}
    for statement, alone in _statements(text.function.body):
        if not alone and _can_go(statement, known) and (less := text.without(statement)):
            yield "a statement is missing", less
        known |= {n.id for n in ast.walk(statement) if isinstance(n, ast.Name)}
        if isinstance(statement, ast.AugAssign) and type(statement.op) in SIGNS:
            old, new = SIGNS[type(statement.op)]
            begin = text.span(statement.target)[1]
            at = text.bytes.index(f"{old}=".encode(), begin)
            yield f"{old}= is {new}= now", text.with_(at, at + 1, new)
        for node in _expressions(statement):
            yield from _of(node, text)


def _statements(body):
    """(statement, is it alone in its block?), in their order, without docstrings."""
    for statement in body:
        inner = [getattr(statement, field, []) for field in ("body", "orelse")]
        if isinstance(statement, ast.FunctionDef) or any(inner):
            for block in inner:
                yield from _statements(block)
        elif not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
            yield statement, len(body) == 1


def _can_go(statement, known):
    """Does the function still know all its names without this statement? `known`: those before it."""
    if isinstance(statement, ast.AugAssign):
        return True
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Call)
    if isinstance(statement, ast.Assign):
        names = [n for target in statement.targets for n in ast.walk(target) if isinstance(n, ast.Name)]
        return all(n.id in known for n in names)
    return False


def _expressions(statement):
    """The nodes of a simple statement whose change is one: not a whole tuple's call, not inside a string."""
    whole = statement.value if isinstance(statement, ast.Assign) else None
    several = whole is not None and isinstance(statement.targets[0], ast.Tuple)
    waiting = [statement]
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, (ast.JoinedStr, ast.Raise)):
            continue
        if not (several and node is whole and isinstance(node, ast.Call)):
            yield node
        waiting += ast.iter_child_nodes(node)


def _of(node, text):
    """(what, the whole text) of every change of one expression."""
    begin, end = text.span(node) if hasattr(node, "lineno") else (0, 0)
    if isinstance(node, ast.BinOp):
        yield from _of_operation(node, text, begin, end)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield "a minus is missing", text.replaced(node, text.cut(*text.span(node.operand)))
    elif isinstance(node, ast.Attribute) and node.attr == "T":
        yield "a .T is missing", text.replaced(node, _bare(text.cut(begin, end)[: -len(".T")]))
    elif isinstance(node, ast.Call):
        inside = text.span(node.func)[0], text.span(node.func)[1]
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called == "transpose":
            yield (
                "a transpose is missing",
                text.replaced(node, _bare(text.cut(*inside).removesuffix(".transpose"))),
            )
        elif called in ("sum", "mean") and isinstance(node.func, ast.Attribute):
            other = "mean" if called == "sum" else "sum"
            at = inside[1] - len(called)
            yield f"{called} is {other} now", text.with_(at, inside[1], other)
        elif called.endswith("_backward") and node.args:
            yield f"{called} is left out", text.replaced(node, text.cut(*text.span(node.args[0])))


def _of_operation(node, text, begin, end):
    """The changes of `left op right`."""
    symbol = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.MatMult: "@"}.get(type(node.op))
    if symbol is None:
        return
    at = text.bytes.index(symbol.encode(), text.span(node.left)[1])
    left, right = text.cut(begin, at), text.cut(at + 1, end)
    if symbol == "@":
        yield (
            "the operands of @ have changed places",
            text.replaced(
                node,
                f"{right} @ {left}",
                f"{right} @ ({left})",
                f"({right}) @ {left}",
                f"({right}) @ ({left})",
            ),
        )
        return
    if symbol in "+-":
        new = "-" if symbol == "+" else "+"
        yield f"{symbol} is {new} now", text.with_(at, at + 1, new)
    part = "term" if symbol in "+-" else "factor"
    yield f"a {part} is missing", text.replaced(node, _bare(left))
    if symbol in "+*":
        yield f"a {part} is missing", text.replaced(node, _bare(right))


def _bare(text):
    """Without the parentheses around all of it, if there are such."""
    inner = text[1:-1]
    return inner if text.startswith("(") and text.endswith(")") and _same(inner, text) else text


def _same(text, other):
    """Do both mean the same? False where `text` is not Python."""
    try:
        return ast.dump(ast.parse(text)) == ast.dump(ast.parse(other))
    except SyntaxError:
        return False
