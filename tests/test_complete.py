"""Every method of the package is whole: a test says which place does not know it yet."""

import importlib
import inspect
import pkgutil
from dataclasses import replace

import pytest
from complete import file_of, missing

import minipeft
from minipeft import LoHa, LoRA, Method, methods
from minipeft.methods import METHODS

PARTS = {"GatedLoRA"}  # of UniPELT: no method by itself


def all_classes():
    """Every method that is written in a folder of minipeft/methods and has an `about` of its own."""
    for module in pkgutil.walk_packages(methods.__path__, "minipeft.methods."):
        for cls in vars(importlib.import_module(module.name)).values():
            its_own = inspect.isclass(cls) and issubclass(cls, Method) and cls.__module__ == module.name
            if its_own and "about" in vars(cls) and cls.about and cls.__name__ not in PARTS:
                yield cls


@pytest.mark.parametrize("cls", list(all_classes()), ids=lambda cls: cls.about.name)
def test_every_place_has_the_method(cls):
    assert missing(cls) == []


def test_all_methods_of_the_package_are_found():
    assert set(all_classes()) == set(METHODS.values())


def test_every_method_is_a_name_of_the_package():
    for cls in METHODS.values():
        assert getattr(minipeft, cls.__name__) is cls and cls.__name__ in minipeft.__all__


def test_it_is_said_which_place_is_missing():
    """A method that has its file and nothing else; LoHa out of the README, or in it with another file."""

    class New(LoRA):
        """Nothing is said of its size."""

    assert missing(New) == [f"{file_of(New)}: New has no `about` of its own"]
    New.about = replace(LoRA.about, name="new")
    New.__module__ = "minipeft.methods.linear.lora"
    assert missing(New) == [
        "minipeft/methods/__init__.py: New is not imported and in the list",
        "README.md: the table of methods has no row `New`",
        "minipeft/methods/linear/lora.py: New's docstring lacks `GPT-2 small: 294,912 parameters`",
    ]
    (only,) = missing(LoHa, "| `LoRA` | `linear` | ... | `linear/lora.py` |")
    assert only == "README.md: the table of methods has no row `LoHa`"
    (only,) = missing(LoHa, "| `LoHa` | `linear` | ... | `linear/lora.py` |")
    assert only.startswith("README.md: the row `LoHa` has another site or file")
