"""Every notebook has the form that readers can rely on, and is built of the script beside it.

That it still runs and says the same is `python notebooks/build.py --check`, in .ci/run.
"""

import json
import re
from base64 import b64decode
from pathlib import Path
from statistics import median

import pytest

from minipeft.teaching import site_map

jupytext = pytest.importorskip("jupytext")

FOLDER = Path(__file__).parents[1] / "notebooks"
SCRIPTS = sorted(FOLDER.glob("[0-9][0-9]_*.py"))
each = pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
SLOT = re.compile(r"\{\{.+?\}\}")


def cells(script, kind=None):
    """The cells of the built notebook, of one kind."""
    found = json.loads(script.with_suffix(".ipynb").read_text())["cells"]
    return [cell for cell in found if kind in (None, cell["cell_type"])]


def source(cell):
    return "".join(cell["source"])


def words(text):
    """The number of words in prose: formulas are one word each, and tables none."""
    text = re.sub(r"\$\$?.+?\$\$?", "formula", text, flags=re.DOTALL)
    lines = [line for line in text.splitlines() if not line.startswith("|")]
    return len(re.findall(r"\w[\w'-]*", "\n".join(lines)))


@each
def test_the_notebook_is_built_of_its_script(script):
    made, built = jupytext.read(script).cells, cells(script)
    assert [c.cell_type for c in made] == [c["cell_type"] for c in built], "build it again"
    for cell, other in zip(made, built, strict=True):
        if cell.cell_type == "code":
            assert cell.source == source(other), "build it again"
        else:
            pattern = ".+?".join(re.escape(part) for part in SLOT.split(cell.source))
            assert re.fullmatch(pattern, source(other), re.DOTALL), "build it again"


@each
def test_cells_are_short_and_there_are_not_too_many(script):
    lengths = [sum(bool(line.strip()) for line in source(c).splitlines()) for c in cells(script, "code")]
    assert 25 <= len(lengths) <= 40
    assert median(lengths) <= 5 and max(lengths) <= 25
    assert sum(n <= 12 for n in lengths) >= 0.9 * len(lengths)
    wide = [line for c in cells(script, "code") for line in source(c).splitlines() if len(line) > 100]
    assert not wide


@each
def test_prose_is_short_and_between_the_cells(script):
    texts = [words(source(c)) for c in cells(script, "markdown")]
    assert 900 <= sum(texts) <= 2200
    assert max(texts[:-1]) <= 130  # the last is the summary
    assert 20 <= median(texts) <= 60
    run = 0
    for cell in cells(script):
        run = run + 1 if cell["cell_type"] == "code" else 0
        assert run <= 3, "more than three cells of code without a word"


@each
def test_pictures_are_there_and_say_what_they_show(script):
    pictures = [
        output["data"]
        for cell in cells(script, "code")
        for output in cell["outputs"]
        if "<img" in "".join(output.get("data", {}).get("text/html", ""))
    ]
    assert len(pictures) >= 8
    assert sum("with picture(" in source(c) for c in cells(script, "code")) >= 5
    for data in pictures:
        image, finding = "".join(data["text/html"]), "".join(data["text/plain"])
        assert 'src="data:image/svg+xml;base64,' in image and image.startswith('<img alt="')
        assert len(finding.split()) >= 5, "a picture's text states what is to be seen"
        assert set(data) == {"text/html", "text/plain"}, "a bare SVG is not shown before its cell has run"


@each
def test_outputs_are_clean(script):
    for cell in cells(script, "code"):
        for output in cell["outputs"]:
            assert output.get("name") != "stderr"
            text = "".join(output.get("text", "")) + "".join(output.get("data", {}).get("text/plain", ""))
            assert not re.search(r"(^|[\s'\"(])/(home|root|tmp|usr|work|Users|opt)\b|site-packages", text)
            assert "\r" not in text and "it/s" not in text
            if output["output_type"] == "stream":
                assert text.count("\n") <= 15


@each
def test_numbers_in_the_prose_are_filled_in(script):
    for cell in jupytext.read(script).cells:
        if cell.cell_type == "markdown":
            text = SLOT.sub("", cell.source)
            text = re.sub(r"\$\$?.+?\$\$?|`[^`]*`|\(?[A-Z]\w+ (et al\.|&).+?\)", "", text, flags=re.DOTALL)
            typed = re.findall(r"\d+\.\d+|\d+ ?%|\d{1,3},\d{3}", text)
            assert not typed, f"write {{{{...}}}} for {typed}"


@each
def test_a_formula_is_checked_near_by(script):
    all_cells = cells(script)
    for i, cell in enumerate(all_cells):
        if cell["cell_type"] == "markdown" and "$$" in source(cell):
            near = [source(c) for c in all_cells[max(0, i - 2) : i + 4] if c["cell_type"] == "code"]
            assert any("assert" in text for text in near), source(cell)


@each
def test_it_asks_and_it_sums_up(script):
    text = "\n".join(source(c) for c in cells(script, "markdown"))
    assert text.count("**Predict:**") >= 3
    assert "<details><summary>" in text
    for part in ("## What was shown", "**Three changes to try.**", "**Read next:**", "`minipeft check"):
        assert part in text, part
    assert re.search(r"Runs in \d+ seconds on one core", text)
    assert 5 <= len(re.findall(r"^## ", text, re.MULTILINE)) <= 9


@each
def test_the_real_lines_are_shown_not_copied(script):
    code = "\n".join(source(c) for c in cells(script, "code"))
    assert "show(" in code and "%pip" not in code and "!pip" not in code


def test_a_picture_is_an_image_that_carries_its_finding():
    """Not a bare SVG, which JupyterLab does not show in a notebook that was not run there."""
    picture = site_map("linear", finding="LoRA & its place")
    shown = picture._repr_mimebundle_()
    source = re.fullmatch(
        r'<img alt="LoRA &amp; its place" src="data:image/svg\+xml;base64,(.*)">', shown["text/html"]
    )
    assert b64decode(source[1]).decode() == picture.svg and ">LoRA &amp; its place</text>" in picture.svg
    assert shown["text/plain"] == "Picture: LoRA & its place" and len(shown) == 2
