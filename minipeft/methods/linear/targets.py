"""Which linear layers a method acts beside: Hugging Face PEFT's rules for `target_modules`."""

import re

from ...errors import InputError


def matches(name, target_modules):
    """Is the linear layer `name` ("h.0.attn.c_attn") a target?

    A list: the name itself, or its end after a dot ("c_proj" is both "attn.c_proj" and "mlp.c_proj").
    A string: a regular expression for the whole name, or "all-linear".
    """
    if isinstance(target_modules, str):
        return target_modules == "all-linear" or re.fullmatch(target_modules, name) is not None
    return any(name == target or name.endswith("." + target) for target in target_modules)


def target_layers(config, target_modules):
    """{name: (in, out)} of the targets. Raises InputError, with the names there are, if nothing matches."""
    layers = config.linear_layers()
    found = {name: shape for name, shape in layers.items() if matches(name, target_modules)}
    if not found:
        kinds = dict.fromkeys(name.split(".", 2)[2] for name in layers)
        raise InputError(
            f"target_modules {target_modules!r} match no linear layer: there are {', '.join(kinds)}, "
            f"in h.0 ... h.{config.n_layer - 1}"
        )
    return found
