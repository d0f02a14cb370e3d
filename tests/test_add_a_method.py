"""docs/add-a-method.md: its code is the package's own, or runs; its commands are ones that there are."""

import re
import shlex
from pathlib import Path

import pytest

from minipeft.app.cli import main, parser
from minipeft.methods import METHODS

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "add-a-method.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)
PYTHON = [text for language, text in BLOCKS if language == "python"]
RUNS = [text for text in PYTHON if re.search(r"^import minipeft$", text, re.MULTILINE)]
QUOTES = [text for text in PYTHON if text not in RUNS]
COMMANDS = [line for language, text in BLOCKS if language == "bash" for line in text.splitlines()]
FILES = ("minipeft/methods/linear/loha.py", "minipeft/methods/__init__.py")


@pytest.fixture(autouse=True)
def registry():
    """What the page registers is forgotten after it."""
    kept = dict(METHODS)
    yield
    METHODS.clear()
    METHODS.update(kept)


@pytest.mark.parametrize("block", QUOTES)
def test_a_quoted_block_is_in_the_package_word_for_word(block):
    assert any(block in (ROOT / file).read_text(encoding="utf-8") for file in FILES), block


@pytest.mark.parametrize("block", RUNS)
def test_a_whole_block_runs(block, monkeypatch):
    monkeypatch.chdir(ROOT)
    exec(compile(block, "docs/add-a-method.md", "exec"), {"__name__": "test_add_a_method"})


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("minipeft")])
def test_a_command_is_one_that_there_is(command):
    assert parser().parse_args(shlex.split(command)[1:]).command


@pytest.mark.parametrize("command", [c for c in COMMANDS if re.match("minipeft (gradcheck|methods)", c)])
def test_a_quick_command_ends_well(command, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert main([*shlex.split(command)[1:], "--json"]) == 0


def test_all_kinds_of_blocks_are_there():
    assert len(QUOTES) >= 6 and len(RUNS) == 2 and len(COMMANDS) >= 8


def test_every_path_on_the_page_is_there():
    for path in re.findall(r"`((?:minipeft|tests)/[\w/.]+\.py)`", PAGE):
        assert (ROOT / path).is_file(), path
