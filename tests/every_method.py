"""Every method there is, with each setting that takes a way of its own through the code.

The first case of a method is its own: `about.small`.

In a size for `small.CONFIG`; test_methods.py holds all of these cases to what every method promises.
"""

from small import scramble, small_model, texts

from minipeft import (
    IA3,
    MAM,
    Adapter,
    AdapterFusion,
    BitFit,
    DoRA,
    Full,
    Houlsby,
    Layerwise,
    LNTuning,
    LoHa,
    LoRA,
    LoRAPlus,
    LoReFT,
    Modules,
    ParallelAdapter,
    PeftModel,
    PrefixTuning,
    PromptTuning,
    PTuning,
    Sparse,
    UniPELT,
    VeRA,
)
from minipeft.methods import METHODS
from minipeft.methods.about import site

BOTH = ("attn.c_attn", "mlp.c_proj")  # a wide layer and a tall one
EXAMPLES = [([], ids) for ids in texts((6, 5, 7, 4))]  # what Fisher information is taken of
TEXT = (5, 17, 3, 44)  # the ids of a text to start virtual tokens from


SMALL = {name: cls(**cls.about.small) for name, cls in METHODS.items()}  # one of each, as it says itself


def at(*sites):
    """Those of SMALL that act at these sites."""
    return {name: method for name, method in SMALL.items() if site(METHODS[name]) in sites}


def fused(value=True, **settings):
    """The fusion of two adapters, of different widths, that are far from where they began."""
    models = {}
    for i, name in enumerate(("food", "people")):
        adapter = Adapter(reduction_factor=3 + i, non_linearity="gelu_new", **settings)
        models[name] = PeftModel(small_model(), adapter)
        scramble(models[name].trainable, seed=i)
    return AdapterFusion.of(models, value=value)


# ------------------------------------------------------------------------------- methods that change weights

SELECT = at("base weights") | {
    "ln_tuning, some": LNTuning(target_modules=("h.1.ln_1", "ln_f")),
    "ln_tuning, by expression": LNTuning(target_modules=r"h\.[12]\.ln_2"),
    "layerwise, bottom": Layerwise(top=0, bottom=1, ln_f=False),
    "layerwise, by number": Layerwise(layers=(0, -1)),
    "layerwise, everything": Layerwise(top=3, embeddings=True, lr_decay=0.8),
    "modules, of every kind": Modules(("ln_1", "h.1.mlp", "attn.c_proj", "wte")),
    "bitfit, some": BitFit(("h.1.attn.c_attn", "ln_2")),
    "sparse, magnitude": Sparse(0.2, importance="magnitude", target_modules=("c_attn", "ln_f", "wpe")),
    "sparse, fisher": Sparse(fraction=0.1, importance="fisher", examples=EXAMPLES),
    "sparse, high up": Sparse(fraction=0.3, target_modules=("h.2.mlp.c_fc",)),
}
LINEAR = at("linear") | {
    "loha, all linear layers": LoHa(r=2, alpha=3, target_modules="all-linear"),
    "loha with patterns": LoHa(target_modules=BOTH, rank_pattern={"c_proj": 2}, alpha_pattern={"h.0.*": 3}),
    "lora, all linear layers": LoRA(r=3, target_modules="all-linear"),
    "lora, one layer high up": LoRA(r=2, target_modules=("h.2.mlp.c_fc",)),
    "lora, gaussian": LoRA(r=2, target_modules=("mlp.c_proj",), init_lora_weights="gaussian"),
    "lora, pissa": LoRA(r=3, target_modules=BOTH, init_lora_weights="pissa"),
    "rslora with patterns": LoRA(
        r=4, target_modules=BOTH, use_rslora=True, rank_pattern={"mlp.c_proj": 2}, alpha_pattern={"h.0.*": 3}
    ),
    "lora_plus, one layer": LoRAPlus(r=2, layers_to_transform=1),
    "dora of pissa": DoRA(r=3, init_lora_weights="pissa", use_rslora=True, layers_to_transform=(1,)),
    "ia3, one input high up": IA3(("h.2.mlp.c_proj",), feedforward_modules=("h.2.mlp.c_proj",)),
}
CHAINS = {
    "lora and full": [LoRA(r=2), Full()],
    "two loras": [LoRA(r=2, target_modules=("attn.c_attn",)), LoRA(r=1, target_modules=("mlp.c_proj",))],
    "bitfit and lora": [BitFit(), LoRA(r=2)],
    "lora and ln_tuning": [LoRA(r=2), LNTuning()],
    "lora and modules": [LoRA(r=2), Modules(("c_proj", "ln_f"))],
    "lora and its biases": [LoRA(r=2, target_modules=BOTH), BitFit(BOTH)],
    "dora, biases and the embedding": [DoRA(r=2), BitFit(), Modules(("wte",))],
    "vera and modules": [VeRA(r=4), Modules(("h.0.ln_1",))],
    "ln_tuning and modules": [LNTuning(("ln_1",)), Modules(("ln_f",))],
    "ia3 and modules": [IA3(), Modules(("wpe", "attn.c_proj"))],
    "layerwise and lora": [Layerwise(top=1), LoRA(r=2, target_modules="all-linear")],
    "lora and sparse": [LoRA(r=2), Sparse(fraction=0.2)],
    "sparse and lora": [Sparse(fraction=0.2), LoRA(r=2, target_modules="all-linear")],
    "sparse and ln_tuning": [Sparse(fraction=0.1, target_modules="all-linear"), LNTuning()],
    "dora and sparse": [DoRA(r=2), Sparse(fraction=0.2)],
    "dora and full": [DoRA(r=2), Full()],
    "vera and full": [VeRA(r=4), Full()],
    "lora and dora": [LoRA(r=2, target_modules=("c_fc",)), DoRA(r=2)],
    "loha and lora": [LoHa(r=2), LoRA(r=2)],
    "ia3 and vera": [IA3(), VeRA(r=4, target_modules=("attn.c_attn", "mlp.c_fc"))],
    "vera and lora": [VeRA(r=4), LoRA(r=2)],
    "lora and ia3": [LoRA(r=2, target_modules="all-linear"), IA3()],
}

# --------------------------------------------------------------------------- methods that change activations

VIRTUAL = at("embed", "keys_values") | {
    "prompt_tuning, words": PromptTuning(3, "SAMPLE_VOCAB"),
    "prompt_tuning, text": PromptTuning(5, "TEXT", TEXT),
    "p_tuning, lstm": PTuning(3, "LSTM", encoder_hidden_size=6),
    "p_tuning, lstm of one layer": PTuning(2, "LSTM", encoder_hidden_size=3, encoder_num_layers=1),
    "prefix_tuning, projection": PrefixTuning(3, prefix_projection=True, encoder_hidden_size=5),
    "prefix_tuning, zero": PrefixTuning(3, init_weights="zero"),
    "prefix_tuning, text": PrefixTuning(3, init_text=TEXT),
    "prompt and modules": [PromptTuning(2), Modules(("ln_f",))],
    "p-tuning and modules": [PTuning(2, encoder_hidden_size=5), Modules(("ln_f", "h.2.mlp.c_fc"))],
    "prefix and modules": [PrefixTuning(2, True, 4), Modules(("ln_f",))],
    "prompt and lora": [PromptTuning(2), LoRA(r=2)],
    "p-tuning, lora high up": [
        PTuning(2, encoder_hidden_size=5), LoRA(r=2, target_modules=("h.2.mlp.c_fc",))
    ],
    "lora and prefix": [LoRA(r=2), PrefixTuning(2, prefix_projection=True, encoder_hidden_size=5)],
    "prefix and full": [PrefixTuning(2), Full()],
    "a prefix and two prompts": [PrefixTuning(2), PromptTuning(1), PTuning(3, encoder_hidden_size=5)],
}  # fmt: skip
SUBLAYER = at("sublayer") | {
    "fusion": fused(),
    "adapter, everywhere, gelu": Adapter(
        mh_adapter=True, non_linearity="gelu", scaling="channel", init_weights="houlsby"
    ),
    "adapter, one layer": Adapter(leave_out=(0, 2), non_linearity="tanh", scaling="learned"),
    "adapter, width by layer": Adapter(reduction_factor={"1": 2, "default": 6}, non_linearity="gelu_new"),
    "houlsby, scaled": Houlsby(reduction_factor=3, scaling=2.5, non_linearity="relu"),
    "parallel_adapter, learned scaling": ParallelAdapter(scaling="learned", mh_adapter=True),
    "fusion, static, everywhere": fused(value=False, mh_adapter=True, original_ln_before=False),
    "loreft, both ends": LoReFT(r=3, suffix_positions=2, layers=(0, 2), non_linearity="tanh"),
    "loreft, tied": LoReFT(r=2, suffix_positions=2, tied_weights=True),
    "diReFT": LoReFT(r=2, orthogonality=False, subtract_projection=False),
    "adapter behind parallel_adapter": [
        ParallelAdapter(non_linearity="gelu_new"), Adapter(reduction_factor=4, non_linearity="tanh")
    ],
    "loreft behind adapter": [Adapter(reduction_factor=4, non_linearity="gelu_new"), LoReFT(r=2)],
    "loreft, two": [
        LoReFT(r=2, layers=(0,)), LoReFT(prefix_positions=0, suffix_positions=2, layers=(0, 2), r=1)
    ],
    "adapter and lora": [Adapter(reduction_factor=4), LoRA(r=2, target_modules="all-linear")],
    "parallel_adapter and houlsby": [ParallelAdapter(non_linearity="gelu_new"), Houlsby(reduction_factor=4)],
    "fusion, adapter, loreft, lora": [
        fused(), Adapter(leave_out=(1,), non_linearity="tanh"), LoReFT(r=2), LoRA(r=2)
    ],
}  # fmt: skip
HYBRID = at("several") | {
    "mam, flat": MAM(PrefixTuning(2), ParallelAdapter(scaling="learned", non_linearity="tanh")),
    "mam and lora": [
        MAM(PrefixTuning(2), ParallelAdapter(reduction_factor=4, non_linearity="swish")), LoRA(r=2)
    ],
    "unipelt, flat, and lora": [
        UniPELT(
            PrefixTuning(2), Adapter(mh_adapter=True, original_ln_before=False, non_linearity="tanh"), r=1
        ),
        LoRA(r=2),
    ],
}  # fmt: skip

# ------------------------------------------------------------------------- all of them, and how they differ

CASES = SELECT | LINEAR | CHAINS | VIRTUAL | SUBLAYER | HYBRID

WITH_VIRTUAL_TOKENS = {*VIRTUAL, *HYBRID}
MERGING = {*SELECT, *LINEAR, *CHAINS} - {"lora and ia3"}
UNMERGING = {name for name in MERGING if "dora" not in name}  # its norms are those of the weights before

NOTHING_AT_INIT = {*SELECT, *LINEAR, *CHAINS, "parallel_adapter", "parallel_adapter, learned scaling"}
ALMOST_NOTHING_AT_INIT = {  # drawn small
    *(name for name in SUBLAYER if name.startswith(("adapter", "houlsby"))), "parallel_adapter and houlsby"
}  # fmt: skip
ROUNDED_AT_INIT = {"lora, pissa", "dora of pissa"}  # the base is split in two, and put together again

FAINT_AT_INIT = {  # a zero or nearly so hides other gradients: noise first, then compare
    *(name for name in SUBLAYER if name.startswith("fusion")), *HYBRID
}  # fmt: skip
THROUGH_AN_LSTM = {"p_tuning, lstm", "p_tuning, lstm of one layer"}  # gradients drown in the loss's rounding
LAST_TOKENS = {
    "loreft, both ends",
    "loreft, tied",
    "loreft, two",
}  # edit the end of a text, which moves as it grows


def without_effect(tensor):
    """Fusion's key bias adds the same to the score of every adapter: the softmax does not see it."""
    return tensor.endswith("fusion_key_bias")
