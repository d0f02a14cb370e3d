"""What is compared, with which settings: the one place to change them."""

from ...errors import InputError
from ...methods import METHODS

LORA = ("r=4", "lora_alpha=8", "target_modules=all-linear")
# A method's own settings, so that it trains 3 % of the embedded model or less where it can be that small, and
# those of training: rates that did well in short runs on data-to-text, on an earlier state of it.
RECIPES = {
    "full": ((), {"learning_rate": 1e-3}),
    "bitfit": ((), {"learning_rate": 6e-2}),
    "ln_tuning": ((), {"learning_rate": 6e-2}),
    "layerwise": (("top=2",), {"learning_rate": 4e-3}),
    "sparse": (("fraction=0.025", "importance=fisher", "samples=64"), {"learning_rate": 1e-2}),
    "prompt_tuning": (
        ("num_virtual_tokens=20", "prompt_tuning_init=SAMPLE_VOCAB"),
        {"learning_rate": 3e-1},
    ),
    "p_tuning": ((), {"learning_rate": 3e-2}),
    "prefix_tuning": ((), {"learning_rate": 1e-1}),
    "lora": (LORA, {"learning_rate": 1e-2}),
    "lora_plus": ((*LORA, "loraplus_lr_ratio=4"), {"learning_rate": 5e-3}),
    "dora": (LORA, {"learning_rate": 1e-2}),
    "ia3": ((), {"learning_rate": 2e-1}),
    "vera": (("r=64", "target_modules=all-linear"), {"learning_rate": 2e-1}),
    "adapter": (("reduction_factor=8",), {"learning_rate": 2e-2}),
    "houlsby": (("reduction_factor=16",), {"learning_rate": 2e-2}),
    "parallel_adapter": (("reduction_factor=8",), {"learning_rate": 6e-3}),
    "loreft": (("r=8", "prefix_positions=200", "dropout=0"), {"learning_rate": 2e-2}),
    "mam": ((), {"learning_rate": 3e-3}),
    "unipelt": ((), {"learning_rate": 1e-2}),
    "lora_random": (LORA, {"learning_rate": 1e-2}),  # LoRA on the model's shape with random weights
}
BASELINES = ("majority", "copying", "few_shot", "none")  # nothing trains; "none" is the frozen model
SCORE_ALONE = BASELINES[:3]  # have no loss, and so nothing to say where there is no score
FEW_SHOT = 3  # examples in the few-shot prompt

DEFAULT = ("majority", "few_shot", "prompt_tuning", "ia3", "lora", "sparse", "lora_random", "full")
COMMON = {"batch_size": 8, "warmup_steps": 20}
LENGTH = {"steps": 120, "eval_every": 30}  # where the user says nothing of steps or epochs


def names_of(methods, scored=True):
    """The names to compare: DEFAULT for None, all there are for ["all"]. InputError for one not known.

    Where the data has no score, only who asks for them by name gets the baselines that are nothing else.
    """
    names, known = list(methods or DEFAULT), [*BASELINES, *RECIPES]
    if not methods or names == ["all"]:
        names = known if methods else names
        return [name for name in names if scored or name not in SCORE_ALONE]
    if unknown := [name for name in names if name not in known]:
        raise InputError(f"no method is called {unknown[0]!r}: choose from {', '.join(known)}, or all")
    return list(dict.fromkeys(names))


def method_of(name):
    """The name that `minipeft train --method` knows."""
    return "lora" if name == "lora_random" else name


def site_of(name):
    """Where in the model a method acts: the folder of its file (see methods/base.py); "-" for a baseline."""
    if name in BASELINES:
        return "-"
    folder = METHODS[method_of(name)].__module__.split(".")[-2]
    return {"select": "base weights", "hybrid": "several"}.get(folder, folder)
