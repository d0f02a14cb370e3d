"""The one seam between what is plain and what is fast: which module of operations a model computes with."""

from .. import ops
from ..backend import xp_of
from ..errors import InputError, check_choice
from . import fast, gpu, mixed_precision

KINDS = ("plain", "fast", "bfloat16")


def operations(kind, array):
    """The module of operations for arrays like this one, by the name that `--ops` knows.

    "plain": `ops`, the formulas. "fast": `speed.fast` for NumPy's arrays, `speed.gpu` for those on a GPU.
    "bfloat16": `speed.mixed_precision`. Raises InputError for another name, and for bfloat16 of float64.
    """
    check_choice("ops", kind, KINDS)
    if kind == "bfloat16" and array.dtype != "float32":
        raise InputError(
            f"products of {array.dtype} are not rounded to bfloat16: gradient checks need all of its digits; "
            "load the model in float32"
        )
    on_host = xp_of(array).__name__ == "numpy"
    return {"plain": ops, "fast": fast if on_host else gpu, "bfloat16": mixed_precision}[kind]
