"""What MkDocs calls while it builds the site: adds the pages that no file holds, and joins all by links."""

import html
import json
import re
import sys
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File
from mkdocs.utils import get_relative_url

sys.path.insert(0, str(Path(__file__).parent))

from gradient_check import curves
from measured import filled
from method_pages import method_pages, methods_table, scrolls, whole_map
from notebook_pages import notebook_pages
from repository import LINE, repository_pages, site_path, source_address, source_pages

from minipeft.methods import METHODS

ADDED = {}  # {address on the site: text}, of the pages made for this build


@event_priority(100)  # before the search and the API pages look at the files
def on_files(files, config):
    """Add every page that is made from the source."""
    ADDED.clear()
    ADDED.update(repository_pages() | source_pages() | notebook_pages() | method_pages())
    for address, text in ADDED.items():
        files.append(File.generated(config, address, content=text))
    config.nav = with_added(config.nav)
    return files


def with_added(nav):
    """The navigation with what was found under three of its titles, as many pages as there are."""
    found = {title: listed(title.lower()) for title in ("Methods", "Notebooks", "Exercises")}
    joined = [
        (title, [*pages, *found[title]] if title in found else pages)
        for e in nav
        for title, pages in e.items()
    ]
    return [{title: pages} for title, pages in joined if pages]


def listed(folder):
    """The added pages of a folder, its index first."""
    pages = [p for p in ADDED if p.startswith(f"{folder}/") and p.endswith(".md")]
    return sorted(pages, key=lambda p: (not p.endswith("index.md"), p))


@event_priority(100)
def on_page_markdown(markdown, page, config, files):
    """Links as a reader of the repository follows them, turned into links of the site; numbers filled in."""
    if page.file.src_uri == "index.md":
        markdown = markdown.replace("{map}", whole_map("index.html"))
    if page.file.src_uri == "choose.md":
        markdown = filled("", markdown.replace("{methods}", methods_table()))
    if page.file.src_uri == "gradient-check.md":
        markdown = markdown.replace("{curves}", json.dumps(curves(), separators=(",", ":")))
    return re.sub(r"(?<=\]\()([^)#\s]+)(?=[)#])", lambda m: relative(m[1], page.file.src_uri), markdown)


def relative(target, page):
    """A link from a page of the site, where it was written as one between files of the repository."""
    address = site_path(target, page)
    return get_relative_url(address, page) if address else target


def on_page_content(content, page, config, files):
    """Formulas as MathML; names of files and of methods as links to their pages."""
    content = re.sub(r'<span class="arithmatex">\\\((.*?)\\\)</span>', inline, content, flags=re.DOTALL)
    content = re.sub(r'<div class="arithmatex">\\\[(.*?)\\\]</div>', displayed, content, flags=re.DOTALL)
    for heading in headings(page.toc):
        heading.title = re.sub(r"\\\((.*?)\\\)", inline, heading.title)
    content = re.sub(r"<th([^>]*)></th>", r"<td\1></td>", content)  # no words: no heading
    link = lambda address, inner: f'<a href="{get_relative_url(address, page.url)}">{inner}</a>'
    if page.url.startswith("source/"):
        return content

    def to_source(m):
        address = source_address(html.unescape(m[1]))
        return link(address, m[0]) if address else m[0]

    def to_method(m):
        name = CLASSES.get(m[3], m[3])
        return m[1] + link(f"methods/{name}.html", m[2]) + m[4] if name in METHODS else m[0]

    content = re.sub(rf"(?<!\">)<code>({LINE})</code>(?!</a>)", to_source, content)
    return re.sub(r"(<td[^>]*>)((?:<code>)?(\w+)(?:</code>)?)(?=[<,])(.*?</td>)", to_method, content)


CLASSES = {cls.__name__: name for name, cls in METHODS.items()}


def inline(m):
    """A formula in a line."""
    return mathml(m[1], "inline")


def displayed(m):
    """A formula by itself, which scrolls where it is too wide."""
    return scrolls("Formula", mathml(m[1], "block"))


def mathml(formula, display):
    """LaTeX, as HTML has it, to MathML. A command that the converter does not know stops the build."""
    latex = html.unescape(formula).replace("{aligned}", "{align*}")
    made = convert(latex, display=display)
    if unknown := re.search(r"\\[A-Za-z]+", made):
        raise PluginError(
            f"the formula {latex!r} has {unknown[0]}, which cannot be shown: write it otherwise"
        )
    return made


def headings(toc):
    """All headings of a page, those under others, too."""
    for heading in toc:
        yield heading
        yield from headings(heading.children)
