"""The model and the batch on which a puzzle's gradients are checked: small, plain operations."""

import numpy as np

from ...config import GPT2Config
from ...data.batches import pack
from ...gradcheck import gradcheck
from ...methods import METHODS, Adapter, BitFit, DoRA, Full, LoRA, ParallelAdapter, PrefixTuning, PTuning
from ...model import GPT2
from ...peft_model import PeftModel

CONFIG = GPT2Config(vocab_size=23, n_positions=24, n_embd=12, n_layer=2, n_head=3, n_inner=20)
RIGHT, WRONG = 1e-6, 1e-4  # below: rounding; above: a wrong gradient. A puzzle has nothing in between
BIG = 0.3  # noise on what trains, so that no zero hides a gradient


def cases():
    """{name: methods}: each method of the package, small, and some settings with other ways through the code.

    Not fusion: one of its gradients is zero whatever happens, and rounding in differences of the loss.
    """
    own = {name: cls for name, cls in METHODS.items() if cls.__module__.startswith("minipeft.")}
    found = {name: cls(**cls.about.small) for name, cls in own.items() if name != "fusion"}
    return found | {
        "lora on all layers": LoRA(r=3, lora_alpha=6, target_modules="all-linear"),
        "dora and biases": [DoRA(r=2, lora_alpha=3), BitFit()],
        "p_tuning, lstm": PTuning(3, "LSTM", encoder_hidden_size=4, encoder_num_layers=1),
        "prefix_tuning, projection": PrefixTuning(3, prefix_projection=True, encoder_hidden_size=5),
        "adapter, learned scaling": Adapter(reduction_factor=4, scaling="learned", non_linearity="gelu_new"),
        "parallel_adapter everywhere": ParallelAdapter(mh_adapter=True, non_linearity="tanh"),
        "prefix and full": [PrefixTuning(2), Full()],
    }


def model(seed=0):
    """A GPT-2 of CONFIG in float64 with plain operations; its biases and norms are not zeros and ones."""
    base, rng = GPT2.random(CONFIG, seed=seed, dtype="float64", ops="plain"), np.random.default_rng(seed + 1)
    for weight in base.weights.values():
        weight += 0.2 * rng.standard_normal(weight.shape)
    return base


def attached(methods, base=None):
    """The methods on a model, far from where they began."""
    peft, rng = OneShard(base or model(), methods), np.random.default_rng(2)
    for p in peft.trainable.values():
        p += BIG * rng.standard_normal(p.shape)
    return peft


def batch():
    """Three sequences of unequal length; tokens occur twice."""
    rng = np.random.default_rng(3)
    return pack([(rng.integers(0, CONFIG.vocab_size, p), rng.integers(0, CONFIG.vocab_size, c))
                 for p, c in ((4, 3), (2, 5), (3, 2))])  # fmt: skip


def errors(peft, some_batch):
    """{tensor: relative error}: `gradcheck`, along a random direction of each tensor."""
    with np.errstate(all="ignore"):  # a planted bug may overflow
        return gradcheck(peft, some_batch, elements=0, scramble=0)


def wrong(found):
    """The names among {tensor: error} whose gradient is wrong."""
    return [name for name, error in found.items() if not error < RIGHT]


class OneShard(PeftModel):
    """A PeftModel whose batch is one shard: its pass runs in the thread that looks at it."""

    num_shards = 1
