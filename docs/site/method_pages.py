"""A page for each method, made from its source, and one of them all; methods.yml has what no source says."""

import ast
from functools import cache
from html import escape
from importlib import import_module
from inspect import getmodule
from math import prod
from pathlib import Path
from statistics import median

import yaml
from coloured import Terms
from measured import COLUMNS, filled, scores
from mkdocs.utils import get_relative_url
from reach import drawn, reach
from repository import ROOT, address_of, source_address

from minipeft import gpt2, ops
from minipeft.app.catalogue import at, described
from minipeft.methods import METHODS, Method
from minipeft.methods.about import site
from minipeft.teaching.site_map import site_map

LINKS = {  # where the parts of the map lead
    "embed": gpt2.embed, "linear": gpt2.linear_at, "keys_values": gpt2.attn, "sublayer": gpt2.mlp,
    "wte": ops.embedding, "wpe": ops.embedding, "ln_1": ops.layer_norm, "ln_2": ops.layer_norm,
    "ln_f": ops.layer_norm, "c_attn": ops.linear, "attn.c_proj": ops.linear, "c_fc": ops.linear,
    "mlp.c_proj": ops.linear, "attention": ops.attention, "gelu": ops.gelu, "head": ops.lm_loss,
}  # fmt: skip


@cache
def said():
    """What methods.yml says, by method."""
    return yaml.safe_load(Path(__file__).with_name("methods.yml").read_text(encoding="utf-8"))


def method_pages():
    """{address: text}: a page for each method, and `where.md`."""
    return {f"methods/{name}.md": method_page(name) for name in METHODS} | {"where.md": where_page()}


def method_page(name):
    """The page of a method."""
    method, found, own = described(name), reach(name), said()[name]
    link = lambda address: get_relative_url(address, f"methods/{name}.html")
    parts = [
        "---\nhide: [toc]\n---",
        f"# {method['class']}",
        method["about"],
        scrolls("The four sites", map_of(found.lit, link)),
        "## The formula and its lines {#formula}",
        beside(name, method, link),
        "## What its backward forms, and where it stops {#backward}",
        f"On the embedded model, with the default settings. {found.finding}",
        scrolls("What the backward forms, block by block", drawn(found, link)),
        trained(found),
        "## What was measured {#measured}",
        measured(name),
        "## Good for, bad for {#use}",
        f"**Good.** {filled(name, own['good'])}",
        f"**Bad.** {filled(name, own['bad'])}",
        "## Settings {#settings}",
        settings(name, method),
        "## Where it comes from {#papers}",
        papers(method, own),
        where(method),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def map_of(lit, link):
    """The map of the sites, its parts linked to their lines."""
    return site_map(*lit, links={part: link(address_of(thing)) for part, thing in LINKS.items()}).svg


def scrolls(label, inner):
    """What is wider than a phone: it scrolls by itself, with the keyboard, too."""
    return f'<div class="scrolls" role="group" tabindex="0" aria-label="{escape(label)}">{inner}</div>'


def table(head, rows):
    """A table in Markdown; a column whose heading ends in ":" has its cells on the right."""
    rule = ["---:" if title.endswith(":") else "---" for title in head]
    lines = [[title.removesuffix(":") for title in head], rule, *rows]
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in lines)


# ------------------------------------------------------------------------------- the formula and the code


def formula_lines(method):
    """The lines of a method's formula, as its file has them."""
    first, *lines = method["formula"].split("\n")
    return lines or [first]


def beside(name, method, link):
    """On the left the formula, in mathematics and in NumPy; on the right the lines that compute it."""
    own = said()[name]
    terms = Terms(own["numpy"], own.get("code", {}))
    formula = "\n".join(terms.formula(line) for line in formula_lines(method))
    numpy = "\n".join(line for code in own["numpy"].values() for line in terms.lines(code))
    code = "\n".join(listing(place, terms, link) for place in code_places(name, method))
    return (
        f'<div class="beside"><div class="formula"><p>The formula</p>{pre("The formula", formula)}'
        f"<p>In NumPy; a test evaluates both</p>{pre('The formula in NumPy', numpy)}</div>"
        f'<div class="code">{code}</div></div>'
    )


def code_places(name, method):
    """ "file:line" of the functions that compute a method's formula and its gradients."""
    places = method["where"].get("forward", []) + method["where"].get("backward", [])
    also = [at(function_named(path)) for path in said()[name].get("also", [])]
    identity = Path(getmodule(Method).__file__).resolve().relative_to(ROOT).as_posix()
    return [place for place in dict.fromkeys(places + also) if not place.startswith(identity)]


def function_named(path):
    """ "minipeft.ops:linear" -> the function."""
    module, _, names = path.partition(":")
    thing = import_module(module)
    for part in names.split("."):
        thing = getattr(thing, part)
    return thing


def listing(place, terms, link):
    """A function with its file, and its lines with their numbers, each a link to its place in the file."""
    path, _, line = place.partition(":")
    text, first = function_at(path, int(line))
    rows = []
    for number, html in enumerate(terms.lines(text), first):
        address = link(source_address(f"{path}:{number}"))
        number = f'<a class="number" href="{address}" tabindex="-1" aria-hidden="true">{number:>4}</a>'
        rows.append(f"{number} {html}")
    title = f'<a href="{link(source_address(place))}"><code>{place}</code></a>'
    return f"<p>{title}</p>{pre(place, chr(10).join(rows))}"


def function_at(path, line):
    """(source, its first line) of the function that begins at `line` of a file."""
    text = (ROOT / path).read_text(encoding="utf-8")
    functions = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef))
    node = next(f for f in functions if f.lineno == line)
    lines = text.splitlines()[node.lineno - 1 : node.end_lineno]
    return "\n".join(row[node.col_offset :] for row in lines), node.lineno


def pre(label, html):
    """Code or a formula, which scrolls by itself where it is too wide."""
    scrolls = f'tabindex="0" role="group" aria-label="{escape(label)}"'
    return f'<div class="highlight"><pre {scrolls}><code>{html}</code></pre></div>'


# --------------------------------------------------------------------------------------- what else it says


def trained(found):
    """The tensors that train: of the lowest block that has any, and outside the blocks; how many numbers."""
    blocks = {name.split(".")[1] for name in found.tensors if name.startswith("h.")}
    lowest = f"h.{min(blocks, key=int)}." if blocks else "h."
    shown = {n: s for n, s in found.tensors.items() if n.startswith(lowest) or not n.startswith("h.")}
    others = f" Of {len(blocks)} blocks alike one is shown." if len(blocks) > 1 else ""
    total = sum(prod(shape) for shape in found.tensors.values())
    rows = [[f"`{name}`", shape, f"{prod(shape):,}"] for name, shape in shown.items()]
    return f"{total:,} numbers train.{others}\n\n" + table(["tensor", "shape", "numbers:"], rows)


def measured(name):
    """The method's rows of RESULTS.md."""
    found = scores(name)
    if not found:
        return "It is in none of the tables of [the results](../results.md)."
    rows = [[f"[{task}](../results.md#{task})", *(row[c] for c in COLUMNS)] for task, row in found.items()]
    intro = (
        "The embedded model, 150 steps, one thread, mean ± standard deviation over three seeds; "
        "[the results](../results.md) have machine and date."
    )
    return f"{intro}\n\n{table(['task', *(c + ':' for c in COLUMNS)], rows)}"


def settings(name, method):
    """What can be set, and how many numbers train with the defaults."""
    count = method["parameters"]
    trains = (
        "it needs trained adapters to begin" if count is None else f"{count:,} numbers train on GPT-2 small"
    )
    intro = f"`minipeft methods {name}` says the same in a terminal. With the defaults {trains}."
    if not method["settings"]:
        return f"{intro} It has no settings."
    rows = [[f"`{s['name']}`", f"`{s['default']}`", plain(s["meaning"])] for s in method["settings"]]
    return f"{intro}\n\n{table(['setting', 'default', 'meaning'], rows)}"


def plain(words):
    """Words of a docstring that are no Markdown."""
    return words.replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")


def papers(method, own):
    """The source that the file names, and where it can be read."""
    links = [f"[{paper}](https://arxiv.org/abs/{paper.removeprefix('arXiv:')})" for paper in own["paper"]]
    parts = [plain(method["source"]), links and f"To read: {', '.join(links)}."]
    return "\n\n".join(part for part in parts if part) or "It is older than any paper that could be named."


def where(method):
    """Its class, what it computes, and its test, by file and line."""
    shown = {what: places for what, places in method["where"].items() if what != "page"}
    rows = [[what, ", ".join(f"`{place}`" for place in places)] for what, places in shown.items()]
    return table(["what", "file and line"], rows)


# ---------------------------------------------------------------------------------------------- all of them


def where_page():
    """Where every method acts, what its backward forms and where that stops."""
    rows = []
    for name, cls in METHODS.items():
        found = reach(name)
        formed = [f"{count} of {n}" for count, n in map(found.linear_layers, ("x", "weight"))]
        rows.append([f"[{cls.__name__}](methods/{name}.md)", site(cls), *formed, f"`{found.lowest}`"])
    return f"""# Where each method acts

One block of GPT-2. The circles are the four sites, doors through which a method may come in; every part of
the map leads to its line in the code.

{whole_map("where.html")}

Gradients flow from the loss down. Of a frozen weight none is formed; of a layer's input one is formed only
if something below it trains. So a method decides what a backward costs: in how many of the linear layers dx
and dW are formed, and where all ends. This is computed by `minipeft/step.py`, which decides it in training,
too. Each method's page has the picture.

{table(["method", "site", "dx:", "dW:", "the backward stops at"], rows)}
"""


def whole_map(page):
    """The map for a page of no one method: nothing is lit."""
    return scrolls("The four sites", map_of((), lambda address: get_relative_url(address, page)))


def methods_table():
    """For the page on choosing: what each method costs and what it reached, the best first."""
    rows = []
    for name, cls in METHODS.items():
        if found := scores(name):
            share = median(int(row["of full"].removesuffix(" %")) for row in found.values())
            merges, task = "merge" in described(name)["where"], found["data-to-text"]
            costs = [task["trainable"], "yes" if merges else "no", f"`{reach(name).lowest}`"]
            reached = [f"{share:.0f} %", task["tokens/s"], task["peak MB"]]
            rows.append((share, [f"[{cls.__name__}](methods/{name}.md)", *costs, *reached]))
    head = [
        "method",
        "trainable:",
        "merges",
        "backward stops at",
        "of full, median:",
        "tokens/s:",
        "peak MB:",
    ]
    return table(head, [cells for _, cells in sorted(rows, reverse=True)])
