"""A page for each method, made from its source, and the page of all of them; methods.yml has what no source says."""

import ast
import re
from functools import cache
from html import escape
from importlib import import_module
from inspect import getmodule
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
from minipeft.teaching.site_map import site_map

GAP = re.compile(r" {5,}")
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
        f"# {method['class']}",
        method["about"],
        scrolls("The four sites", map_of(found.lit, link)),
        "## The formula and its lines {#formula}",
        beside(name, method, link),
        "## What its backward forms, and where it stops {#backward}",
        f"On the embedded model, with the default settings. {found.finding}",
        scrolls("What the backward forms, block by block", drawn(found, link)),
        tensors_of(found),
        "## What was measured {#measured}",
        measured(name),
        "## Good for, bad for {#use}",
        f"**Good.** {filled(name, own['good'])}\n\n**Bad.** {filled(name, own['bad'])}",
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
    return f'<div class="scrolls" role="region" tabindex="0" aria-label="{escape(label)}">{inner}</div>'


# ------------------------------------------------------------------------------- the formula and the code


def formula_lines(method):
    """The lines of a method's formula, as its file has them."""
    first, *lines = method["formula"].split("\n")
    return lines or [first]


def in_numpy(name):
    """[(a line of the formula, the same in NumPy)] of a method."""
    return list(said()[name]["numpy"].items())


def beside(name, method, link):
    """The formula on the left, in mathematics and in NumPy; the lines that compute it on the right."""
    lines, own = formula_lines(method), said()[name]
    terms = Terms([formula for formula, _ in in_numpy(name)], own.get("code", {}))
    formula = "\n".join(terms.formula(line) for line in lines)
    numpy = "\n".join(line for _, code in in_numpy(name) for line in terms.lines(code))
    code = "\n".join(listing(place, terms, link) for place in code_places(name, method))
    return (
        '<div class="beside"><div class="formula">'
        f"<p>The formula</p>{pre('The formula', formula)}"
        f"<p>In NumPy, line by line; a test evaluates both sides</p>{pre('The formula in NumPy', numpy)}"
        f'</div><div class="code">{code}</div></div>'
    )


def code_places(name, method):
    """ "file:line" of the functions that compute a method's formula and its gradient, each forward first."""
    places = method["where"].get("forward", []) + method["where"].get("backward", [])
    also = [at(named(path)) for path in said()[name].get("also", [])]
    identity = Path(getmodule(Method).__file__).resolve().relative_to(ROOT).as_posix()
    return list(dict.fromkeys(place for place in places + also if not place.startswith(identity)))


def named(path):
    """ "minipeft.ops:linear" -> the function."""
    module, _, names = path.partition(":")
    thing = import_module(module)
    for part in names.split("."):
        thing = getattr(thing, part)
    return thing


def listing(place, terms, link):
    """A function with its file and line numbers, each a link to the whole file."""
    path, _, line = place.partition(":")
    function, first = function_at(path, int(line))
    rows = []
    for number, html in enumerate(terms.lines(function), first):
        address = link(source_address(f"{path}:{number}"))
        rows.append(
            f'<a class="number" href="{address}" tabindex="-1" aria-hidden="true">{number:>4}</a> {html}'
        )
    title = f'<a href="{link(source_address(place))}"><code>{place}</code></a>'
    return f"<p>{title}</p>{pre(place, chr(10).join(rows))}"


def function_at(path, line):
    """(source, its first line) of the function or class in whose lines `line` is the first."""
    text = (ROOT / path).read_text(encoding="utf-8")
    kinds = ast.FunctionDef | ast.ClassDef
    firsts = lambda node: {node.lineno, *(d.lineno for d in node.decorator_list)}
    node = next(n for n in ast.walk(ast.parse(text)) if isinstance(n, kinds) and line in firsts(n))
    lines = text.splitlines()[node.lineno - 1 : node.end_lineno]
    return "\n".join(row[node.col_offset :] for row in lines), node.lineno


def pre(label, html):
    """Code or a formula, which scrolls by itself where it is too wide."""
    return f'<div class="highlight"><pre tabindex="0" role="region" aria-label="{escape(label)}"><code>{html}</code></pre></div>'


# ----------------------------------------------------------------------------------------- what else it says


def tensors_of(found):
    """The tensors that train in the lowest block that has any, and their number over all."""
    total = sum(size(shape) for shape in found.tensors.values())
    blocks = [n.split(".")[1] for n in found.tensors if n.startswith("h.")]
    lowest = f"h.{min(blocks, key=int)}." if blocks else ""
    rows = [
        f"| `{n}` | {shape} | {size(shape):,} |" for n, shape in found.tensors.items() if n.startswith(lowest)
    ]
    others = "; the other blocks that train have the same" if len(set(blocks)) > 1 else ""
    title = f"What trains in `{lowest.rstrip('.')}`" if lowest else "What trains"
    outside = [n for n in found.tensors if lowest and not n.startswith("h.")]
    outside = f", beside {', '.join(f'`{n}`' for n in outside)}" if outside else ""
    head = f"{title}{others}{outside}; {total:,} numbers in all.\n\n| tensor | shape | numbers |\n|---|---|---:|\n"
    return head + "\n".join(rows)


def size(shape):
    """How many numbers an array of that shape has."""
    count = 1
    for n in shape:
        count *= n
    return count


def measured(name):
    """The method's rows of RESULTS.md."""
    found = scores(name)
    if not found:
        return "It is in none of the tables of [the results](../results.md)."
    head = "| task | " + " | ".join(COLUMNS) + " |\n|---|" + "---:|" * len(COLUMNS) + "\n"
    rows = [
        f"| [{task}](../results.md#{task}) | " + " | ".join(row[c] for c in COLUMNS) + " |"
        for task, row in found.items()
    ]
    return (
        "On the embedded model, 150 steps, two cores; [the results](../results.md) have all methods, machine and date.\n\n"
        + head + "\n".join(rows)
    )  # fmt: skip


def settings(name, method):
    """What can be set, and how many numbers train with the defaults."""
    count = method["parameters"]
    small = (
        f"{count:,} numbers train on GPT-2 small"
        if count is not None
        else "it needs trained adapters to begin"
    )
    intro = f"`minipeft methods {name}` says the same in a terminal. With the defaults {small}."
    if not method["settings"]:
        return intro + " It has no settings."
    rows = [f"| `{s['name']}` | `{s['default']}` | {cell(s['meaning'])} |" for s in method["settings"]]
    return intro + "\n\n| setting | default | meaning |\n|---|---|---|\n" + "\n".join(rows)


def cell(words):
    """Words that may stand in a cell of a table."""
    return words.replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")


def papers(method, own):
    """The source that the file names, and where it can be read."""
    links = ", ".join(f"[{p}](https://arxiv.org/abs/{p.removeprefix('arXiv:')})" for p in own["paper"])
    return "\n\n".join(part for part in (cell(method["source"]), links and f"To read: {links}.") if part) or (
        "It is older than any paper named here."
    )


def where(method):
    """Its class, test and page."""
    rows = [f"| {what} | {', '.join(f'`{place}`' for place in places)} |" for what, places in method["where"].items()
            if what != "page"]  # fmt: skip
    return "| what | file and line |\n|---|---|\n" + "\n".join(rows)


def where_page():
    """Every method, where it acts, what its backward forms and where that stops."""
    link = lambda address: get_relative_url(address, "where.html")
    rows = []
    for name, cls in METHODS.items():
        found, method = reach(name), described(name)
        (dx, n), (dW, _) = found.linear_layers("x"), found.linear_layers("weight")
        rows.append(
            f"| [{cls.__name__}](methods/{name}.md) | {method['site']} | {dx} of {n} | {dW} of {n} | `{found.lowest}` |"
        )
    return (
        f"""# Where each method acts

One block of GPT-2. The circles are the four sites, doors through which a method may come in; every part of the map leads to its
line in the code.

{scrolls("The four sites", map_of((), link))}

Gradients flow from the loss down. Of a frozen weight none is formed; of a layer's input one is formed only if something below it
trains. So a method decides what a backward costs: in how many of the linear layers dx and dW are formed, and where all ends. This is
computed from `minipeft/step.py`, which decides it in training, too. Each method's page has the picture.

| method | site | dx | dW | the backward stops at |
|---|---|---:|---:|---|
"""
        + "\n".join(rows)
        + "\n"
    )


def methods_table():
    """For the page on choosing: what each method costs and reached, the best first."""
    rows = []
    for name, cls in METHODS.items():
        found, merges = scores(name), "yes" if "merge" in described(name)["where"] else "no"
        if found:
            shares = [int(row["of full"].removesuffix(" %")) for row in found.values()]
            task = found["data-to-text"]
            numbers = [task["trainable"], merges, f"`{reach(name).lowest}`", f"{median(shares):.0f} %"]
            numbers += [task["tokens/s"], task["peak MB"]]
            rows.append((median(shares), f"| [{cls.__name__}](methods/{name}.md) | {' | '.join(numbers)} |"))
    head = "| method | trainable | merges | backward stops at | of full, median | tokens/s | peak MB |"
    return (
        head
        + "\n|---|---:|---|---|---:|---:|---:|\n"
        + "\n".join(row for _, row in sorted(rows, reverse=True))
    )
