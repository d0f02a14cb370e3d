"""What is compared, with which settings. A method's own are in its `about`."""

from ...errors import InputError, choose_from
from ...methods import METHODS
from ...methods.about import site
from ...methods.named import method_class

LORA = METHODS["lora"].about
# Each method says its own: settings by which it trains 3 % of the embedded model or less where it can be that
# small, and a rate that did best on validation rows of several tasks: benchmarks/recipes.md.
RECIPES = {
    **{name: cls.about for name, cls in METHODS.items() if cls.about.compared},
    "lora_random": LORA,  # LoRA on the model's shape with random weights
}
BASELINES = ("majority", "copying", "few_shot", "none")  # nothing trains; "none" is the frozen model
SCORE_ALONE = BASELINES[:3]  # have no loss, and so nothing to say where there is no score
FEW_SHOT = 3  # examples in the few-shot prompt

DEFAULT = ("majority", "few_shot", "prompt_tuning", "ia3", "lora", "sparse", "lora_random", "full")
COMMON = {"batch_size": 8, "warmup_steps": 20}
LENGTH = {"steps": 200, "eval_every": 50}  # where the user says nothing of steps or epochs


def names_of(methods, scored=True):
    """The names to compare: DEFAULT for None, all there are for ["all"]. InputError for one not known.

    Where the data has no score, only who asks for them by name gets the baselines that are nothing else.
    """
    names, known = list(methods or DEFAULT), [*BASELINES, *RECIPES]
    if not methods or names == ["all"]:
        names = known if methods else names
        return [name for name in names if scored or name not in SCORE_ALONE]
    for name in names:
        if name not in known and ":" not in name:
            there = choose_from(name, [*known, "all"])
            raise InputError(f"no method is called {name!r}: {there}, or module:Class")
        if ":" in name:
            method_class(name)
    return list(dict.fromkeys(names))


def method_of(name):
    """The name that `minipeft train --method` knows."""
    return "lora" if name == "lora_random" else name


def recipe_of(name):
    """A method's settings in words, and its settings of training."""
    about = RECIPES[name] if name in RECIPES else method_class(name).about
    return about.recipe, {"learning_rate": about.learning_rate}


def site_of(name):
    """Where in the model a method acts (see methods/base.py); "-" for a baseline."""
    return "-" if name in BASELINES else site(method_class(method_of(name)))
