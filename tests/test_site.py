"""The site, built and opened in headless Chromium from its folder: nothing is fetched, nothing is broken."""

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[1]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytest.importorskip("mkdocs", reason='the site needs `pip install -e ".[docs]"`')


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the site, built with --strict: a warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return folder


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    sync_api = pytest.importorskip("playwright.sync_api", reason='needs `pip install -e ".[test-site]"`')
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser):
    """A page that notes what it asks for beyond the folder, and every error."""
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    page.asked, page.errors = [], []
    page.on("request", lambda r: r.url.startswith(("file:", "data:", "blob:")) or page.asked.append(r.url))
    page.on("console", lambda m: m.type in ("error", "warning") and page.errors.append(m.text))
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    yield page
    page.close()


def opened(page, site, name):
    page.goto((site / name).as_uri())


def pages(site, alike):
    """Every page of the site, but of methods and of source files so many: these are alike."""
    files = sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))
    methods = [name for name in files if name.startswith("methods/")]
    source = [name for name in files if name.startswith("source/") and name != "source/index.html"]
    others = [name for name in files if name not in (*methods, *source, "404.html")]
    some = lambda names: names[:: max(1, len(names) // alike)]
    return others + some(methods) + some(source)


# ---------------------------------------------------------------------------------- without a browser


class Found(HTMLParser):
    """The addresses that a page names, and the names of its parts."""

    def __init__(self, text):
        super().__init__()
        self.links, self.fetched, self.ids, self.untold = [], [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        a = dict(attributes)
        self.ids |= {a[key] for key in ("id", "name") if a.get(key)}
        if tag in ("script", "img", "iframe", "source") and a.get("src"):
            self.fetched.append(a["src"])
        if tag == "link" and a.get("href") and a.get("rel") not in ("canonical", "prev", "next"):
            self.fetched.append(a["href"])
        if tag == "a" and a.get("href"):
            self.links.append(a["href"])
        if tag == "img" and not a.get("alt"):
            self.untold.append(a["src"])


@pytest.fixture(scope="module")
def read(site):
    """{name: Found} of all pages."""
    return {
        path.relative_to(site).as_posix(): Found(path.read_text(encoding="utf-8"))
        for path in site.rglob("*.html")
        if path.name != "404.html"
    }


def test_no_link_and_no_picture_is_broken(site, read):
    broken = []
    for name, found in read.items():
        for address in found.links + found.fetched:
            url = urlsplit(address)
            if url.scheme:
                continue
            file = (
                ((site / name).parent / unquote(url.path)).resolve() if url.path else (site / name).resolve()
            )
            there = file.relative_to(site.resolve()).as_posix()
            fragment = url.fragment and there in read and unquote(url.fragment) not in read[there].ids
            if not file.is_file() or fragment:
                broken.append((name, address))
    assert broken == []


def test_all_that_a_page_is_made_of_lies_in_the_folder(read):
    for name, found in read.items():
        assert [address for address in found.fetched if urlsplit(address).scheme not in ("", "data")] == [], (
            name
        )
        assert found.untold == [], name  # every picture says in words what it shows


def test_every_notebook_and_every_method_has_a_page(site):
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        assert (site / "notebooks" / f"{notebook.stem}.html").is_file()
    from minipeft.methods import METHODS

    assert {path.stem for path in (site / "methods").glob("*.html")} == set(METHODS)


# ------------------------------------------------------------------------------------- in the browser


def test_pages_ask_for_nothing_say_no_error_show_their_formulas_and_fit_a_phone(site, page):
    page.set_viewport_size({"width": 360, "height": 740})
    formulas = 0
    for name in pages(site, alike=30):
        opened(page, site, name)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, name
        assert page.locator(".arithmatex, merror").count() == 0, name  # a formula that is no MathML
        widths = page.eval_on_selector_all("math", "all => all.map(m => m.getBoundingClientRect().width)")
        formulas += sum(width > 0 for width in widths)
    assert formulas > 50
    assert page.asked == [] and page.errors == []


def test_axe_finds_nothing(site, page):
    """Contrast, labels, names of links, order of headings, whatever scrolls can be reached by keyboard."""
    from axe_playwright_python.sync_playwright import Axe

    found = {}
    for name in pages(site, alike=1):
        opened(page, site, name)
        for violation in Axe().run(page).response["violations"]:
            nodes = [node["html"][:150] for node in violation["nodes"]]
            found.setdefault(violation["id"], []).append((name, len(nodes), nodes[0]))
    assert found == {}


def test_the_search_finds_a_method_without_a_server(site, page):
    opened(page, site, "index.html")
    page.locator("input.md-search__input").click()
    page.keyboard.type("DoRA")
    page.wait_for_selector(".md-search-result__link[href*='methods/dora.html']")
    assert page.asked == []


def test_from_a_row_of_the_table_to_the_line_of_the_formula_in_three_clicks(site, page):
    opened(page, site, "results.html")
    page.locator("table td a", has_text="dora").first.click()
    assert page.url.endswith("methods/dora.html")
    line = page.locator(".code pre a.number", has_text=re.compile(r"\d+")).first
    number = line.inner_text().strip()
    line.click()
    assert page.url.endswith(f"dora.py.html#__codelineno-0-{number}")
    page.wait_for_selector(f"[id='__codelineno-0-{number}']", state="attached")
    top = page.evaluate(
        "id => document.getElementById(id).getBoundingClientRect().top", f"__codelineno-0-{number}"
    )
    assert 0 <= top < 900  # the line is in sight


def test_a_letter_has_one_colour_in_formula_and_code_and_another_letter_has_another(site, page):
    opened(page, site, "methods/lora.html")
    colours = """where => Object.fromEntries([...document.querySelectorAll(`${where} [class^=t]`)]
                   .map(e => [e.textContent, getComputedStyle(e).color]))"""
    formula, code = page.evaluate(colours, ".formula pre"), page.evaluate(colours, ".code pre")
    assert {"x", "A", "B", "s", "y"} <= formula.keys()
    assert all(code[letter] == formula[letter] for letter in formula.keys() & code.keys())
    assert code["dx"] == formula["x"] and code["scaling"] == formula["s"]
    assert len({formula[letter] for letter in "yxWbsAB"}) == 7


def test_the_keyboard_reaches_every_control_in_order_and_moves_the_picture(site, page):
    opened(page, site, "gradient-check.html")
    page.locator("#operation").focus()
    order = []
    for _ in range(6):
        order.append(page.evaluate("document.activeElement.id"))
        page.keyboard.press("Tab")
    assert order == ["operation", "mistake", "float32", "ones", "step", "code"]
    said = lambda: page.locator("#verdict").inner_text()
    page.locator("#step").focus()
    before = said()
    page.keyboard.press("ArrowLeft")
    assert said() != before and "passes the limit" in said()


def test_a_mistake_is_seen_and_vanishes_with_a_probe_of_ones(site, page):
    opened(page, site, "gradient-check.html")
    said = lambda: page.locator("#verdict").inner_text()
    assert "At its best step it passes" in said()
    page.select_option("#mistake", "1")
    assert "No step passes" in said()
    page.check("#ones")
    assert "this probe does not see it" in said()
    page.uncheck("#ones")
    page.select_option("#mistake", "0")
    page.check("#float32")
    assert "float32 cannot show it" in said()
    assert page.locator("#picture polyline").count() == 2 and page.errors == []


def test_the_first_tab_leads_past_the_menus(site, page):
    opened(page, site, "methods/lora.html")
    page.keyboard.press("Tab")
    assert "md-skip" in page.evaluate("document.activeElement.className").split()


@pytest.mark.parametrize(
    "name", ["methods/lora.html", "where.html", "gradient-check.html", "notebooks/00_one_hour.html"]
)
def test_on_paper_nothing_is_cut_off(site, page, name):
    page.set_viewport_size({"width": 718, "height": 1000})  # A4 without its margins
    page.emulate_media(media="print")
    opened(page, site, name)
    assert not page.locator("header.md-header").is_visible()
    cut = """() => [...document.querySelectorAll('article pre, article .scrolls, article svg, article table')]
             .filter(e => e.scrollWidth > e.clientWidth + 1 || e.getBoundingClientRect().right > 719)
             .map(e => e.outerHTML.slice(0, 80))"""
    assert page.evaluate(cut) == []
