"""The one seam between what is plain and what is fast: which module of operations a model computes with."""

from .. import ops
from ..backend import xp_of
from ..errors import check_choice
from . import fast, gpu

KINDS = ("plain", "fast")


def operations(kind, array):
    """The module of operations for arrays like this one, by the name that `--ops` knows.

    "plain": `ops`, the formulas. "fast": `speed.fast` for NumPy's arrays, `speed.gpu` for those on a GPU.
    Raises InputError for another name.
    """
    check_choice("ops", kind, KINDS)
    if kind == "plain":
        return ops
    return fast if xp_of(array).__name__ == "numpy" else gpu
