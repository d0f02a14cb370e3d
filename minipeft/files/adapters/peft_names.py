"""Which modules Hugging Face PEFT means by target_modules and its like, by its own rules.

PEFT asks every module of `transformers`' GPT-2, by its whole name: "transformer.h.0.attn.c_attn", and also
"transformer.h.0.ln_1", "transformer.h.0.attn" and "lm_head". A method here asks only the layers that it can
act beside, and they have a short name, too (methods/linear/targets.py). So the same words may mean others.
"""

import re

from ...methods.linear.targets import fits, numbers

IN_BLOCK = (
    "ln_1", "attn", "attn.c_attn", "attn.c_proj", "attn.attn_dropout", "attn.resid_dropout",
    "ln_2", "mlp", "mlp.c_fc", "mlp.c_proj", "mlp.act", "mlp.dropout",
)  # fmt: skip


def module_names(model_config):
    """The names of all modules of such a GPT-2 in `transformers`, as PEFT sees them."""
    names = ["transformer", *(f"transformer.{m}" for m in ("wte", "wpe", "drop", "h"))]
    for block in (f"transformer.h.{i}" for i in range(model_config.n_layer)):
        names += [block, *(f"{block}.{m}" for m in IN_BLOCK)]
    return [*names, "transformer.ln_f", "lm_head"]


def places_in_peft(config, modules):
    """-> beside which of these modules PEFT acts, and where of them the scale of an IA3 is on what enters.

    Without "transformer.", as names are here. None where PEFT refuses: an IA3's lists are one in the other.
    """
    targets, inputs = config["target_modules"], config.get("feedforward_modules") or ()
    if not isinstance(targets, str) and not isinstance(inputs, str) and not set(inputs) <= set(targets):
        return None
    acts = [module for module in modules if acts_beside(module, config)]
    on_input = [module for module in acts if is_input(module, inputs)]
    return without_transformer(acts), without_transformer(on_input)


def saved_in_peft(modules_to_save, modules):
    """Which of these modules train whole: an entry is the end of a name, of any letters."""
    return without_transformer(module for module in modules if module.endswith(tuple(modules_to_save)))


def without_transformer(modules):
    """Names as they are here."""
    return [module.removeprefix("transformer.") for module in modules]


def acts_beside(module, config):
    """Does PEFT put its adapter beside this module?"""
    targets, exclude = config["target_modules"], config.get("exclude_modules") or ()
    saved = config.get("modules_to_save") or ()
    if is_named(module, exclude) or any(f".{m}." in f".{module}." for m in saved):
        return False
    if targets == "all-linear":
        return module.rpartition(".")[2].startswith("c_")
    layers = config.get("layers_to_transform")
    if isinstance(targets, str) or layers is None or module in targets:
        return is_named(module, targets)  # the number of a layer that is named in whole is not asked for
    block = re.match(r"transformer\.h\.(\d+)\.", module)
    return is_named(module, targets) and block is not None and int(block[1]) in numbers(layers)


def is_named(module, names):
    """A string is a regular expression for the whole name; a list has whole names, or ends after a dot."""
    if isinstance(names, str):
        return fits(names, module)
    return any(module == name or module.endswith(f".{name}") for name in names)


def is_input(module, feedforward_modules):
    """Is an IA3's scale on what enters it? An end is of any letters here."""
    if isinstance(feedforward_modules, str):
        return fits(feedforward_modules, module)
    return module.endswith(tuple(feedforward_modules))
