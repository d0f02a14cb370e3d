"""Which linear layers a method acts beside: Hugging Face PEFT's rules for `target_modules` and their like."""

import re
from functools import lru_cache
from numbers import Integral

from ...errors import InputError

LONGEST = 2000  # characters of a pattern
MOST_REPEATS = 5  # `*`, `+`, `?` or `{...}` in a pattern; of those, C(40 + 5, 5) ways through a name of 40


def matches(name, target_modules, layers_to_transform=None):
    """Is the linear layer `name` ("h.0.attn.c_attn") a target?

    target_modules: a list: the name itself, or its end after a dot ("c_proj" is both "attn.c_proj" and
    "mlp.c_proj"). A string: a regular expression for the whole name, or "all-linear", the linear layers of
    all blocks. The name may also be meant as PEFT sees it, "transformer.h.0.attn.c_attn".
    layers_to_transform: numbers of layers, or one number; None: every layer.
    """
    if layers_to_transform is not None and int(name.split(".")[1]) not in numbers(layers_to_transform):
        return False
    whole = f"transformer.{name}"
    if target_modules == "all-linear":
        return name.startswith("h.") and ".c_" in name
    if isinstance(target_modules, str):
        return any(fits(target_modules, n) for n in (name, whole))
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
    return (layers_to_transform,) if isinstance(layers_to_transform, Integral) else tuple(layers_to_transform)


def by_pattern(name, patterns, default):
    """The value in `patterns` whose key fits the layer `name`, the first one that does; else `default`.

    A key is a regular expression for the whole name, or for its end after a dot. It sees the name that PEFT
    sees, "transformer.h.0.attn.c_attn". A file sorts the keys (PEFT's do, too): raises InputError where
    another one would then be the first.
    """
    found = {key: value for key, value in patterns.items() if fits(key, f"transformer.{name}", end=True)}
    first, *others = found or [None]
    if others and found[min(found)] != found[first]:
        raise InputError(
            f"the patterns {first!r} and {min(found)!r} fit {name}, and a file would sort them: write "
            "them so that one fits"
        )
    return found.get(first, default)


@lru_cache(maxsize=1 << 16)
def fits(pattern, name, end=False):
    """Is the whole of `name`, or its `end` after a dot, what the regular expression describes?

    It is matched once, not every step.
    """
    return compiled(pattern, end).fullmatch(name) is not None


@lru_cache(maxsize=256)
def compiled(pattern, end=False):
    """A regular expression, ready. Raises InputError for what is none, and for one that could run for years.

    Python tries one way after the other. A group that is repeated and holds a repeat or a choice, (a+)+ or
    (a|ab)*, doubles the ways with every letter; so it is refused, and so are more than MOST_REPEATS repeats.
    """
    if len(pattern) > LONGEST:
        raise InputError(f"a regular expression of {len(pattern):,} characters: more than {LONGEST:,}")
    matched = rf"(.*\.)?({pattern})" if end else pattern
    if re.search(r"[^\\]\(\?[aiLmsux]+\)", matched):  # Python 3.10 would still take them
        raise InputError(f"{pattern!r} is no regular expression: global flags not at the start")
    try:
        re.compile(pattern)  # "a)(b" is one only with what stands around it
        expression = re.compile(matched)
    except (re.error, OverflowError, RecursionError) as error:
        raise InputError(f"{pattern!r} is no regular expression: {error}") from None
    if re.search(r"\\[1-9]|\(\?P=", pattern) or expression.flags & re.VERBOSE:
        raise InputError(f"the regular expression {pattern!r} refers back to a group, or has (?x): refused")
    flat = re.sub(r"\\.|\[\^?\]?(\\.|[^]\\])*\]", "a", pattern)  # letters, classes: one character each
    flat = re.sub(r"\(\?(P<\w+>|<?[=!]|[a-z-]*:)", "(", flat)
    while group := re.search(r"\(([^()]*)\)([*+{]?)", flat):
        inner, repeated = group.groups()
        if repeated and re.search(r"[*+?{|]", inner):
            raise InputError(f"the regular expression {pattern!r} repeats what holds a repeat or a choice")
        flat = flat[: group.start()] + inner + flat[group.end() - len(repeated) :]
    if len(re.findall(r"[*+}?][?+]?", flat)) > MOST_REPEATS:
        raise InputError(f"the regular expression {pattern!r} has more than {MOST_REPEATS} repeats")
    return expression
