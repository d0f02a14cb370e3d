"""The repository's own pages and source files as pages of the site, and which address a file has there."""

import posixpath
import re
from functools import cache

from minipeft.app.catalogue import ROOT, at

PAGES = {  # pages that do not lie in docs/
    "README.md": "overview.md",
    "RESULTS.md": "results.md",
    "benchmarks/RESULTS.md": "benchmarks.md",
    "benchmarks/recipes.md": "recipes.md",
    "weights/README.md": "weights.md",
    "notebooks/README.md": "notebooks/index.md",
    "exercises/README.md": "exercises/index.md",
}
CAME_FROM = {address: path for path, address in PAGES.items()}
FOLDERS = ("minipeft", "tests", "notebooks", "exercises", "benchmarks", "docs/site")  # whose source is shown
LINE = r"(?:[\w.-]+/)*[\w-]+\.py(?::\d+)?"  # a file of Python, perhaps with a line


def repository_pages():
    """{address: content} of those of PAGES that there are, and of the pictures in them."""
    pages = {}
    for path, address in PAGES.items():
        if (ROOT / path).is_file():
            pages[address] = (ROOT / path).read_text(encoding="utf-8")
            for picture in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", pages[address]):
                file = (ROOT / path).parent / picture
                if (place := file.relative_to(ROOT).as_posix()) and not place.startswith("docs/"):
                    pages[place] = file.read_bytes()
    return pages


@cache
def python_files():
    """Every Python file whose source the site shows, as seen from the repository."""
    found = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    return [path.relative_to(ROOT).as_posix() for path in found if "__pycache__" not in path.parts]


def source_pages():
    """{address: text}: a page for each file, with a number at every line, and the list of all of them."""
    pages = {f"source/{path}.md": source_page(path) for path in python_files()}
    lines = [f"- [{path}]({path}.md)" for path in python_files()]
    return pages | {"source/index.md": NOT_SEARCHED + "# Source\n\n" + "\n".join(lines) + "\n"}


NOT_SEARCHED = "---\nsearch:\n  exclude: true\nhide: [navigation]\n---\n\n"


def source_page(path):
    """The page of a file."""
    text = (ROOT / path).read_text(encoding="utf-8").rstrip("\n")
    fence = "`" * 6
    return f'{NOT_SEARCHED}# {path}\n\n{fence} {{.python linenums="1"}}\n{text}\n{fence}\n'


def source_address(place):
    """ "minipeft/ops.py:15" -> the address of that line on the site; None where no such file is shown.

    The file may be named as seen from the repository or from the package, or by an end that only one has.
    """
    name, _, line = place.partition(":")
    there = python_files()
    exact = [path for path in (name, f"minipeft/{name}") if path in there]
    found = exact[:1] or [path for path in there if path.endswith(f"/{name}")]
    if len(found) != 1:
        return None
    return f"source/{found[0]}.html" + (f"#__codelineno-0-{line}" if line else "")


def address_of(thing):
    """The address on the site of the line at which a class or function begins."""
    return source_address(at(thing))


def site_path(target, page):
    """The source address of a link's target: what it names in the repository, seen from the page that has it.

    None: it is no file that the site has under another name.
    """
    if re.match(r"\w+:|/", target):
        return None
    path = CAME_FROM.get(page, page if page.startswith("notebooks/") else f"docs/{page}")
    there = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    if there in PAGES:
        return PAGES[there]
    if there in python_files():
        return f"source/{there}.md"
    if there.endswith(".ipynb"):
        return there.replace(".ipynb", ".md")
    return there.removeprefix("docs/") if not path.startswith("docs/") else None
