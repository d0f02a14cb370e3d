"""The forms in which a frozen base can be held: which weights take them, and what makes them.

float32, bfloat16    packed.py       every matrix that is multiplied by: the linear layers' and the head's
int8, nf4            quantized.py    the linear layers' matrices
"""

from ..errors import check_choice
from . import packed, quantized

BASES = (*packed.KINDS, *quantized.KINDS)


def into_form(base, config, like_array):
    """What brings a weight of this configuration's model into the form `base`: (name, W) -> W.

    like_array: of the weights' type, on their device. Raises InputError for another base than BASES, and for
    one that does not fit that type.
    """
    check_choice("base", base, BASES)
    make = quantized.KINDS[base] if base in quantized.KINDS else packed.packer(base, like_array)
    makers = {f"{name}.weight": make for name in config.linear_layers()}
    if base in packed.KINDS:
        makers[f"{config.head}.weight"] = packed.table_packer(make) if config.tie_word_embeddings else make
    return lambda name, W: makers[name](W) if makers.get(name) else W
