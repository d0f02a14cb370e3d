"""What a method says of itself, and the methods there are.

A method's class carries it all, once: its settings, its code, and `about`, which other parts of the package
read. Nothing else has a table of methods. A method of your own takes part in everything by one line:

    minipeft.register(MyMethod)
"""

import re
from dataclasses import MISSING, dataclass, field, replace
from inspect import get_annotations

from ..errors import InputError
from .base import Method

SITES = {  # each site, and the functions of `Method` that act there
    "embed": ("embed",),
    "linear": ("linear_input", "linear"),
    "keys_values": ("keys_values",),
    "sublayer": ("sublayer",),
}
PAIRS = {name: f"{name}_backward" for names in SITES.values() for name in names} | {"start": "finish"}
METHODS = {}  # {name: class}; `register` adds to it


@dataclass(frozen=True)
class About:
    """What a method says of itself. Only `name` has no default.

    name           as the command line and adapter files have it
    recipe         its settings in `minipeft compare`, as --set takes them
    learning_rate  its rate there
    compared       does `minipeft compare --methods all` run it?
    section        the module of `reports/tune_report` that explains what it learnt, None: nothing special
    peft_type      the type of Hugging Face PEFT's file that it is written as; adapterhub: is it AdapterHub's?
                   With neither, it is written in a form of our own
    factors        endings of its tensors' names: of A and of B in (x A) B, whose products `cost.flops` counts
    whole_update   does it multiply by an update as large as the weight itself?
    small          settings that fit a model of width 12 with 3 layers: every test of methods runs with these
    """

    name: str
    recipe: tuple = ()
    learning_rate: float = 1e-2
    compared: bool = True
    section: str | None = None
    peft_type: str | None = None
    adapterhub: bool = False
    factors: tuple = ((), ())
    whole_update: bool = False
    small: dict = field(default_factory=dict)


def register(cls):
    """Make a class one of the methods there are, under the name in its `about`. -> the class.

    Without an `about` of its own its name is the class's, in small letters: MyMethod is "my_method". What it
    inherits of a method that it is made from stays, but for the file, which is in a form of our own.
    A class that is registered twice, as by a cell of a notebook that runs again, takes its own old place.

    Raises InputError where the class is no method, lacks half of a pair (see `check_pairs`), or takes the
    name of another method.
    """
    if not (isinstance(cls, type) and issubclass(cls, Method)):
        raise InputError(f"register takes a class made from minipeft.Method, not {cls!r}")
    own = {"__init__"} & vars(cls).keys() or get_annotations(cls)
    if own and "__dataclass_fields__" not in vars(cls):
        raise InputError(f"{cls.__name__} has settings: write @dataclass above the class")
    check_pairs(cls)
    if "about" not in vars(cls):
        name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()
        inherited = cls.about or About(name)
        cls.about = replace(inherited, name=name, peft_type=None, adapterhub=False)
    name = cls.about.name
    if name in METHODS and not same(cls, METHODS[name]):
        raise InputError(
            f"{cls.__name__}: the method {METHODS[name].__name__} is called {name!r} already: "
            "give your class an `about` with another name"
        )
    METHODS[name] = cls
    return cls


def is_registered(cls):
    """Is it this class that its name stands for, or an earlier one that the same lines made?"""
    return cls.about is not None and cls.about.name in METHODS and same(cls, METHODS[cls.about.name])


def same(cls, other):
    """Are both made by the same lines of code?"""
    return (cls.__module__, cls.__qualname__) == (other.__module__, other.__qualname__)


def about(method):
    """The `About` of a method. Raises InputError for one that nobody registered."""
    cls = type(method)
    if not is_registered(cls):
        raise InputError(
            f"{cls.__name__} is no registered method: call minipeft.register({cls.__name__}) first"
        )
    return cls.about


def site(cls):
    """Where a method acts: one of SITES, "base weights" or "several".

    For the package's own it is the folder of the file. For others it follows from what the class defines.
    """
    if cls.__module__.startswith(f"{__package__}."):
        folder = cls.__module__.split(".")[-2]
        return {"select": "base weights", "hybrid": "several"}.get(folder, folder)
    sites = [name for name, functions in SITES.items() if any(owner(cls, f) is not Method for f in functions)]
    return "several" if len(sites) > 1 else sites[0] if sites else "base weights"


def owner(cls, function):
    """The class, `cls` or one that it is made from, that defines `function`."""
    return next(c for c in cls.__mro__ if function in vars(c))


def default_of(setting):
    """The default of a method's setting, a dataclass field, as Python writes it."""
    if setting.default is MISSING and setting.default_factory is MISSING:
        return "no default"
    return repr(setting.default_factory() if setting.default is MISSING else setting.default)


def check_pairs(cls):
    """Raise InputError where a class has a forward without its backward, or a backward without its forward.

    It would train, and what it learnt from would not be the gradient. Who means the identity says so:
    `linear_backward = Method.linear_backward`.
    """
    for forward, backward in PAIRS.items():
        has = {f: owner(cls, f) is not Method for f in (forward, backward)}
        if has[forward] != has[backward]:
            there, missing = (forward, backward) if has[forward] else (backward, forward)
            raise InputError(f"{cls.__name__} defines `{there}` but not `{missing}`: a method needs both")
