"""`--sweep lr=1e-4,1e-3 r=4,16`: every combination is tried, the best by validation counts.

A name is a training option ("lr" is short for learning_rate) or a method's setting. A method is tried with
those that it has. The best has the lowest loss on the validation rows; what is reported is its score on the
test rows, which had no part in the choice.
"""

import math
from dataclasses import fields
from itertools import product

from ...errors import InputError, SettingError, nearest
from ...methods.named import make_method, method_class
from ...train import Training
from .recipes import BASELINES, method_of

TRAINING = {  # the options of training and their types; neither a flag nor `save_every` changes a score
    f.name: f.type for f in fields(Training) if f.type is not bool and f.name != "save_every"
}


def read_sweep(words, names):
    """["lr=1e-4,1e-3", "r=4,16"] -> {"learning_rate": ("1e-4", "1e-3"), "r": ("4", "16")}.

    Raises InputError for what is not name=value,value, for a name that none of the methods `names` has, and
    for a value that it cannot take.
    """
    sweep = {}
    for word in words or ():
        name, equals, values = word.partition("=")
        name, values = {"lr": "learning_rate"}.get(name, name), tuple(values.split(","))
        if not equals or not name or "" in values:
            raise InputError(f"--sweep {word}: write name=value,value, such as lr=1e-4,1e-3")
        if name == "seed" or name in sweep:
            raise InputError(f"--sweep {word}: " + ("use --seeds" if name == "seed" else "given twice"))
        owners = [method_of(n) for n in names if name in settings_of(n)]
        if not owners:
            near = nearest(name, [own for n in names for own in settings_of(n)])
            meant = f": did you mean {near}?" if near else ""
            raise InputError(
                f"--sweep {word}: neither training nor a method compared here has {name!r}{meant}"
            )
        if name in TRAINING and (both := [n for n in names if name in own_settings(n)]):
            raise InputError(f"--sweep {word}: {name} is of training and of {both[0]}: use --{name} or --set")
        for value in values:
            if name in TRAINING:
                check_training(name, value)
            for owner in owners if name not in TRAINING else ():
                make_method(owner, [f"{name}={value}"])
        sweep[name] = tuple(dict.fromkeys(values))
    return sweep


def check_training(name, value):
    """Raise InputError unless `value` is one that the training option `name` takes."""
    try:
        typed = TRAINING[name](value)
    except ValueError:
        raise InputError(f"--sweep {name}: {value!r} is not a number ({TRAINING[name].__name__})") from None
    try:
        Training(**({} if name == "epochs" else {"steps": 1}) | {name: typed})
    except SettingError as error:
        raise InputError(error.naming(f"--sweep {name}")) from None


def settings_of(name):
    """What can be swept for a baseline or method: nothing, or the training options and its own settings."""
    if name in BASELINES:
        return ()
    return (*TRAINING, *own_settings(name))


def own_settings(name):
    """The settings of a method; of a baseline none."""
    return () if name in BASELINES else tuple(f.name for f in fields(method_class(method_of(name))))


def variants(sweep, name):
    """Every combination of what `name` has: ((("r", "4"),), (("r", "16"),)); without any, one empty one."""
    own = [[(key, value) for value in values] for key, values in sweep.items() if key in settings_of(name)]
    return list(product(*own))


def best(results):
    """The result with the lowest evaluation loss; one that failed, or whose loss is no number, comes last."""
    losses = [result.get("eval_loss", math.nan) for result in results]
    return results[min(range(len(results)), key=lambda i: losses[i] if losses[i] < math.inf else math.inf)]
