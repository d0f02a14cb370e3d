"""Which linear layers a method acts beside: Hugging Face PEFT's rules for `target_modules` and their like."""

import re

from ...errors import InputError


def matches(name, target_modules, layers_to_transform=None):
    """Is the linear layer `name` ("h.0.attn.c_attn") a target?

    target_modules: a list: the name itself, or its end after a dot ("c_proj" is both "attn.c_proj" and
    "mlp.c_proj"). A string: a regular expression for the whole name, or "all-linear". The name may also be
    meant as PEFT sees it, "transformer.h.0.attn.c_attn".
    layers_to_transform: numbers of layers, or one number; None: every layer.
    """
    if layers_to_transform is not None and int(name.split(".")[1]) not in numbers(layers_to_transform):
        return False
    whole = f"transformer.{name}"
    if isinstance(target_modules, str):
        return target_modules == "all-linear" or any(re.fullmatch(target_modules, n) for n in (name, whole))
    return any(whole == target or whole.endswith("." + target) for target in target_modules)


def target_layers(config, target_modules, layers_to_transform=None):
    """{name: (in, out)} of the targets. Raises InputError, with the names there are, if nothing matches."""
    layers = config.linear_layers()
    last = config.n_layer - 1
    if isinstance(target_modules, str) and layers_to_transform is not None:
        raise InputError("layers_to_transform goes with a list of target_modules, not with a string")
    for number in numbers(layers_to_transform):
        if number not in range(config.n_layer):
            raise InputError(f"layers_to_transform: there is no layer {number!r} in h.0 ... h.{last}")
    found = {
        name: shape for name, shape in layers.items() if matches(name, target_modules, layers_to_transform)
    }
    if not found:
        kinds = dict.fromkeys(name.split(".", 2)[2] for name in layers)
        raise InputError(
            f"target_modules {target_modules!r} match no linear layer: there are {', '.join(kinds)}, "
            f"in h.0 ... h.{last}"
        )
    return found


def numbers(layers_to_transform):
    """The field as a tuple of numbers: it may be one number, or None."""
    if layers_to_transform is None:
        return ()
    return (layers_to_transform,) if isinstance(layers_to_transform, int) else tuple(layers_to_transform)


def by_pattern(name, patterns, default):
    """The value in `patterns` whose key fits the layer `name`, the first one that does; else `default`.

    A key is a regular expression for the whole name, or for its end after a dot. It sees the name that PEFT
    sees, "transformer.h.0.attn.c_attn". No two keys should fit one layer: a file sorts the keys (PEFT's do,
    too), and then another one may be the first.
    """
    fits = (value for key, value in patterns.items() if re.match(rf"(.*\.)?({key})$", f"transformer.{name}"))
    return next(fits, default)
