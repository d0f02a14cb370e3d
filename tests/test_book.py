"""The package as a book: who imports whom, what it needs, and that every path that a page names is there."""

import ast
import os
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "minipeft"
MODULES = sorted(PACKAGE.rglob("*.py"))


def module_name(path):
    """minipeft/data/rows.py -> minipeft.data.rows"""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


NAMES = {module_name(path) for path in MODULES}


def imports_of(path):
    """(node, the module of this package that it imports) for each import in a file."""
    package = module_name(path) if path.name == "__init__.py" else module_name(path).rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1])
            module = f"{base}.{node.module}" if node.module else base
            for alias in node.names:
                inner = f"{module}.{alias.name}"
                yield node, inner if inner in NAMES else module


def test_no_import_goes_in_a_circle():
    graph = {module_name(path): {module for _, module in imports_of(path)} for path in MODULES}
    list(TopologicalSorter(graph).static_order())  # raises CycleError


INSIDE = {
    ("minipeft/app/commands.py", "minipeft.app.serve.app"),  # needs starlette, which is optional
    ("minipeft/__main__.py", "minipeft.app.cli"),  # a Ctrl-C in the middle of it is caught
}


def test_no_module_of_the_package_is_imported_inside_a_function():
    found = set()
    for path in MODULES:
        top = set(ast.parse(path.read_text(encoding="utf-8")).body)
        lines = {node.lineno for node in top}
        inner = {module for node, module in imports_of(path) if node.lineno not in lines}
        found |= {(path.relative_to(ROOT).as_posix(), module) for module in inner}
    assert found == INSIDE


def test_what_lies_open_is_what_a_learner_reads():
    assert {path.stem for path in PACKAGE.glob("*.py")} == {
        "__init__", "__main__", "version",
        "backend", "layout", "ops", "config", "step", "gpt2",
        "model", "attached", "peft_model", "mixed_model",
        "optim", "muon", "train", "distill", "generate", "gradcheck", "errors", "settings",
    }  # fmt: skip


def test_the_model_is_formulas_alone():
    assert len((PACKAGE / "gpt2.py").read_text(encoding="utf-8").splitlines()) < 300


# ---------------------------------------------------------------------------------------- what it needs

ALONE = """
import sys

BLOCKED = {"resource", "fcntl", "multiprocessing", "tokenizers", "safetensors", "huggingface_hub", "tqdm",
           "threadpoolctl", "matplotlib", "markdown", "sacrebleu", "rouge_score", "cupy", "filelock"}

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Block())
import minipeft

config = minipeft.GPT2Config(vocab_size=30, n_positions=64, n_embd=8, n_layer=2, n_head=2)
model = minipeft.GPT2.random(config, dtype="float64")
batch = minipeft.pack([([1, 2, 3], [4, 5]), ([6], [7, 8, 9])])
for name in sys.argv[1:]:
    errors = minipeft.gradcheck(minipeft.PeftModel(model, getattr(minipeft, name)()), batch, elements=2)
    assert max(errors.values()) < 1e-6, (name, errors)
print("checked", len(sys.argv) - 1)
"""
TWELVE = [
    "LoRA", "DoRA", "IA3", "VeRA", "PrefixTuning", "PromptTuning", "PTuning", "Adapter", "BitFit", "LoReFT",
    "MAM", "UniPELT",
]  # fmt: skip


def python(code, *args, **variables):
    """Run it in a process of its own, in one thread. -> what it printed"""
    environment = os.environ | {"MINIPEFT_THREADS": "1", "PYTHONPATH": str(ROOT)} | variables
    command = [sys.executable, "-c", code, *args]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


@pytest.mark.slow
def test_gradient_checks_of_twelve_methods_need_numpy_alone():
    assert python(ALONE, *TWELVE) == "checked 12\n"


@pytest.mark.slow
def test_importing_it_takes_little_more_than_importing_numpy(tmp_path):
    """In CPU time, the best of some tries: other work on the machine does not count. Compiled before."""
    cached = {"PYTHONPYCACHEPREFIX": str(tmp_path), "PYTHONDONTWRITEBYTECODE": ""}
    code = "import numpy, time; b = time.process_time(); import minipeft; print(time.process_time() - b)"
    assert min(float(python(code, **cached)) for _ in range(6)) < 0.15


# ---------------------------------------------------------------------------------- paths that pages name

TRACKED = [
    path.relative_to(ROOT).as_posix()
    for folder in ("minipeft", "tests", "benchmarks", "docs", "weights", "notebooks", "exercises")
    for path in sorted((ROOT / folder).rglob("*"))
    if "__pycache__" not in path.parts
] + ["README.md", "RESULTS.md", "pyproject.toml"]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("weights/*.md"), *ROOT.glob("benchmarks/*.md")]
)
IN_PAGES = re.compile(r"(?<![\w/.-])((?:[\w.-]+/)*[\w-]+\.py|minipeft/[\w./-]*[\w/])(?![\w-])")


def is_there(name):
    """Is it a file, here or in the package, or the end of exactly one file's path?"""
    name = name.rstrip("/.")
    return {name, f"minipeft/{name}"} & {*TRACKED} or sum(path.endswith("/" + name) for path in TRACKED) == 1


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_path_that_a_page_names_is_there(page):
    text = re.sub(r"https?://\S+", "", page.read_text(encoding="utf-8"))
    assert [name for name in IN_PAGES.findall(text) if not is_there(name)] == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_path_that_a_docstring_or_comment_names_is_there(path):
    text = "\n".join(line for line in path.read_text(encoding="utf-8").splitlines() if "import " not in line)
    near = [path.parent.relative_to(ROOT).as_posix() + "/" + name for name in IN_PAGES.findall(text)]
    names = zip(IN_PAGES.findall(text), near, strict=True)
    assert [name for name, beside in names if beside not in TRACKED and not is_there(name)] == []
