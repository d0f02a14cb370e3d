"""What minipeft writes `transformers` and `peft` read, and the other way round; with both of them here."""

import warnings

import numpy as np
import pytest

from minipeft import (
    GPT2,
    IA3,
    BitFit,
    DoRA,
    Full,
    GPT2Config,
    LNTuning,
    LoRA,
    LoRAPlus,
    Modules,
    PeftModel,
    PrefixTuning,
    PromptTuning,
    PTuning,
    VeRA,
    pack,
)
from minipeft.files.tokenizer import load_tokenizer

LIVE = "compares with the live library; stored references are compared in test_reference.py"
torch = pytest.importorskip("torch", reason=LIVE)
transformers = pytest.importorskip("transformers", reason=LIVE)
hf_peft = pytest.importorskip("peft", reason=LIVE)
safetensors_torch = pytest.importorskip("safetensors.torch", reason=LIVE)

LOGITS = {"float32": 1e-4, "float64": 1e-9}  # how far logits may be apart
SEQUENCES = [[3, 1, 4, 1, 5, 9, 2, 6], [53], [58, 9, 7]]
C_ATTN = ("attn.c_attn",)
ALL_FOUR = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")

METHODS = {  # all that `peft` has, as minipeft writes it
    "lora": LoRA(r=4, lora_alpha=6),
    "lora, all linear layers": LoRA(r=3, target_modules="all-linear"),
    "lora, by expression": LoRA(r=2, target_modules=r"h\.[02]\.(attn|mlp)\.c_proj"),
    "lora, by expression, a block": LoRA(r=2, target_modules=r"h\.0\..*"),
    "lora, names of no layer": LoRA(r=2, target_modules=("c_attn", "ln_1", "wte", "attn")),
    "lora, some layers": LoRA(r=2, target_modules=ALL_FOUR, layers_to_transform=(0, 2)),
    "lora, patterns": LoRA(
        r=4, target_modules=ALL_FOUR, rank_pattern={"mlp.c_proj": 2}, alpha_pattern={r"h\.0\..*": 3}
    ),
    "rslora": LoRA(r=4, lora_alpha=6, use_rslora=True),
    "lora_plus": LoRAPlus(r=4, loraplus_lr_ratio=4),
    "dora": DoRA(r=4, lora_alpha=6, target_modules=ALL_FOUR),
    "dora, rslora": DoRA(r=4, use_rslora=True),
    "lora, bias all": [LoRA(r=2, target_modules=ALL_FOUR), BitFit()],
    "lora, bias lora_only": [LoRA(r=2), BitFit(("c_attn",))],
    "lora, bias lora_only, one layer": [LoRA(r=2, layers_to_transform=1), BitFit(("h.1.attn.c_attn",))],
    "lora, ln_f": [LoRA(r=2), Modules(("ln_f",))],
    "lora, c_proj": [LoRA(r=2), Modules(("c_proj",))],
    "lora, a block": [LoRA(r=2, target_modules=("h.0.attn.c_attn",)), Modules(("h.1", "h.2.mlp"))],
    "lora, modules in modules": [LoRA(r=2, target_modules=("h.2.mlp.c_fc",)), Modules(("h.0", "attn"))],
    "lora, wte": [LoRA(r=2), Modules(("wte",))],
    "lora, wte, biases, ln_f": [LoRA(r=2), Modules(("wte", "ln_f")), BitFit()],
    "ia3": IA3(),
    "ia3, outputs": IA3(ALL_FOUR, ()),
    "ia3, inputs": IA3(ALL_FOUR, ALL_FOUR),
    "ia3, feedforward by another name": IA3(("c_proj",)),
    "ia3, by expression, a block": IA3(r"h\.0\..*", r".*c_proj"),
    "ia3, ln_1": [IA3(), Modules(("ln_1",))],
    "ln_tuning": LNTuning(),
    "ln_tuning, by expression": LNTuning(r"h\.[12]\.ln_2"),
    "ln_tuning, all blocks": [LNTuning(("ln_f",)), Modules(("h",))],
    "ln_tuning, c_attn": [LNTuning(("ln_1",)), Modules(("attn.c_attn",))],
    "vera": VeRA(r=5, target_modules=ALL_FOUR),
    "vera, by its key": VeRA(r=5, projection_prng_key=7, save_projection=False),
    "vera, biases": [VeRA(r=5), BitFit()],
    "prompt_tuning": PromptTuning(3),
    "prompt_tuning, text": PromptTuning(4, "TEXT", (5, 17, 3)),
    "p_tuning": PTuning(3, encoder_hidden_size=7),
    "p_tuning, lstm": PTuning(3, "LSTM", encoder_hidden_size=6),
    "prefix_tuning": PrefixTuning(3),
    "prefix_tuning, projection": PrefixTuning(3, True, 5),
    "prefix_tuning, zero": PrefixTuning(3, init_weights="zero"),
    "prompt, ln_f": [PromptTuning(3), Modules(("ln_f",))],
    "p-tuning, a layer": [PTuning(3), Modules(("h.1.attn.c_attn",))],
    "prefix, wte": [PrefixTuning(3), Modules(("wte",))],
    "prefix, ln_f": [PrefixTuning(3, True, 5), Modules(("ln_f",))],
}
PISSA = {  # `peft` takes a weight apart in float32 only, and so anew whenever it loads: to fewer digits
    "lora, pissa": LoRA(r=4, lora_alpha=6, target_modules=ALL_FOUR, init_lora_weights="pissa"),
    "dora, pissa": DoRA(r=4, target_modules=ALL_FOUR, init_lora_weights="pissa"),
    "pissa, rslora": LoRA(r=4, init_lora_weights="pissa", use_rslora=True),
}

each_dtype = pytest.mark.parametrize("dtype", LOGITS)
each_head = pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
each_targets = pytest.mark.parametrize("targets", [C_ATTN, ALL_FOUR], ids=["c_attn", "all four"])


def our_gpt2(dtype, **config):
    """A small random GPT-2 of minipeft, nothing in it zero or one."""
    shape = GPT2Config(vocab_size=61, n_positions=16, n_embd=24, n_layer=3, n_head=3, **config)
    model, rng = GPT2.random(shape, dtype=dtype), np.random.default_rng(0)
    for w in model.weights.values():
        w += rng.normal(0, 0.2, w.shape).astype(dtype)
    return model


def their_gpt2(dtype, **config):
    """A small random GPT-2 of `transformers`, nothing in it zero or one."""
    shape = transformers.GPT2Config(
        vocab_size=61,
        n_positions=16,
        n_embd=24,
        n_layer=3,
        n_head=3,
        bos_token_id=0,
        eos_token_id=0,
        **config,
    )
    return randomised(transformers.GPT2LMHeadModel(shape)).to(getattr(torch, dtype)).eval()


def randomised(model):
    """Noise on every parameter that trains."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p += torch.empty(p.shape).normal_(0, 0.2, generator=generator)
    return model


def their_lora(base, targets):
    """LoRA of `peft` beside some layers, with noise on A and B."""
    config = hf_peft.LoraConfig(r=4, lora_alpha=6, target_modules=list(targets), fan_in_fan_out=True)
    return randomised(hf_peft.get_peft_model(base, config)).to(base.dtype).eval()


def read_by_transformers(folder, dtype):
    """A folder as `transformers` reads it: any complaint about names or shapes fails the test."""
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=getattr(torch, dtype), output_loading_info=True
    )
    assert not any(info.values()), info
    return model.eval()


def scrambled(peft):
    """Noise on all that trains, of numbers that float32 has: `peft` keeps some tensors in that."""
    rng = np.random.default_rng(1)
    for p in peft.trainable.values():
        p[...] = (p + rng.normal(0, 0.2, p.shape)).astype("float32")
    return peft


def assert_same_logits(ours, theirs, tolerance=None):
    """minipeft's model and the other's agree on every sequence. Rows of a prompt's own come first."""
    tolerance = tolerance or LOGITS[str(ours.dtype)]
    with torch.no_grad():
        expected = [theirs(input_ids=torch.tensor([ids])).logits[0].numpy()[-len(ids) :] for ids in SEQUENCES]
    for got, want in zip(ours.logits(SEQUENCES), expected, strict=True):
        assert got.dtype == want.dtype == ours.dtype
        np.testing.assert_allclose(got, want, rtol=0, atol=tolerance)


# -------------------------------------------------------------------------------------------- minipeft writes


@each_dtype
@each_head
def test_transformers_reads_a_gpt2_that_minipeft_writes(dtype, tied, tmp_path):
    model = our_gpt2(dtype, tie_word_embeddings=tied)
    model.save_pretrained(tmp_path)
    assert_same_logits(model, read_by_transformers(tmp_path, dtype))


@each_dtype
def test_transformers_reads_what_full_fine_tuning_writes(dtype, tmp_path):
    peft = PeftModel(our_gpt2(dtype), Full())
    _, grads = peft.loss_and_grads(pack([(ids, [1, 2]) for ids in SEQUENCES]))
    for name, g in grads.items():
        peft.trainable[name] -= 0.1 * g
    peft.save_pretrained(tmp_path)
    assert_same_logits(peft, read_by_transformers(tmp_path, dtype))


def test_transformers_knows_the_settings_that_minipeft_writes(tmp_path):
    our_gpt2("float64", n_inner=40, eos_token_id=7, layer_norm_epsilon=1e-3).save_pretrained(tmp_path)
    config = transformers.AutoConfig.from_pretrained(tmp_path)
    assert isinstance(config, transformers.GPT2Config)
    assert (config.n_inner, config.eos_token_id, config.layer_norm_epsilon) == (40, 7, 1e-3)
    assert config.dtype == torch.float64
    assert_same_logits(GPT2.from_pretrained(tmp_path, "float64"), read_by_transformers(tmp_path, "float64"))


def test_transformers_reads_the_tokenizer_that_minipeft_writes(tmp_path):
    from tokenizers.implementations import ByteLevelBPETokenizer

    text = "name : The Eagle | food : Früchte || The Eagle serves fruit."
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator([text], vocab_size=290, special_tokens=["<|endoftext|>"], show_progress=False)
    (tmp_path / "bpe").mkdir()
    bpe.save_model(str(tmp_path / "bpe"))
    model = our_gpt2("float32")
    model.tokenizer = load_tokenizer(tmp_path / "bpe")
    model.save_pretrained(tmp_path / "model")

    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    ids = model.tokenizer.encode(text).ids
    assert theirs(text)["input_ids"] == ids
    assert theirs.decode(ids) == model.tokenizer.decode(ids) == text


@each_dtype
@each_targets
def test_peft_reads_a_lora_that_minipeft_writes(dtype, targets, tmp_path):
    model = our_gpt2(dtype)
    ours = PeftModel(model, LoRA(r=4, lora_alpha=6, target_modules=targets, init_lora_weights=False))
    model.save_pretrained(tmp_path / "base")
    ours.save_pretrained(tmp_path / "lora")
    base = read_by_transformers(tmp_path / "base", dtype)
    theirs = hf_peft.PeftModel.from_pretrained(base, tmp_path / "lora").to(base.dtype).eval()
    assert_same_logits(ours, theirs)
    assert_same_logits(ours.merge_and_unload(), theirs.merge_and_unload())


@pytest.mark.parametrize(
    "name, dtype",
    [(name, dtype) for name in METHODS for dtype in LOGITS] + [(name, "float32") for name in PISSA],
)
def test_peft_reads_every_method_that_minipeft_writes(name, dtype, tmp_path):
    """Without a word of complaint about keys; and what it then writes minipeft reads again."""
    model, tolerance = our_gpt2(dtype), 1e-3 if name in PISSA else None
    ours = scrambled(PeftModel(model, (METHODS | PISSA)[name]))
    model.save_pretrained(tmp_path / "base")
    ours.save_pretrained(tmp_path / "adapter")
    base = read_by_transformers(tmp_path / "base", dtype)
    theirs = read_by_peft(base, tmp_path / "adapter")
    if (tmp_path / "adapter" / "encoder.safetensors").is_file():  # `peft` has the table, rounded to float32
        (tmp_path / "adapter" / "encoder.safetensors").unlink()
        ours = rounded(PeftModel.from_pretrained(model, tmp_path / "adapter"))
    assert_same_logits(ours, theirs, tolerance)

    theirs.save_pretrained(tmp_path / "again")
    again = PeftModel.from_pretrained(model, tmp_path / "again")
    assert_same_logits(again, theirs, tolerance)
    assert set(again.tensors) == set(ours.tensors) and set(again.trainable) == set(ours.trainable)
    if name.startswith(("lora", "ia3", "vera", "ln_tuning")):
        assert_same_logits(ours.merge_and_unload(), theirs.merge_and_unload(), tolerance)


def read_by_peft(base, folder):
    """An adapter as `peft` reads it: a key that it misses or does not know fails the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for harmless in ("`is_gradient_checkpointing`", "Specified to not", "Unsupported layer type",
                         "Model has `tie_word_embeddings=True`"):  # fmt: skip
            warnings.filterwarnings("ignore", message=harmless)
        model = hf_peft.PeftModel.from_pretrained(base, folder)
    stored = safetensors_torch.load_file(folder / "adapter_model.safetensors")
    read = hf_peft.get_peft_model_state_dict(model)
    twice = (".original_module.", ".modules_to_save.")  # added to a bias of ln_f, which is there without, too
    for key, value in ((key, value) for key, value in read.items() if not any(t in key for t in twice)):
        assert torch.equal(value, stored.pop(key).to(value.dtype)), key
    assert set(stored) <= {"base_model.model.lm_head.weight"}
    return model.to(base.dtype).eval()


def rounded(peft):
    """All that trains rounded to float32."""
    for p in peft.trainable.values():
        p[...] = p.astype("float32")
    return peft


# ------------------------------------------------------------------------------------------- the others write


@each_dtype
@each_head
def test_minipeft_reads_a_gpt2_that_transformers_writes(dtype, tied, tmp_path):
    theirs = their_gpt2(dtype, tie_word_embeddings=tied)
    theirs.save_pretrained(tmp_path)
    assert_same_logits(GPT2.from_pretrained(tmp_path, dtype), theirs)


@each_dtype
@each_targets
def test_minipeft_reads_a_lora_that_peft_writes(dtype, targets, tmp_path):
    base = their_gpt2(dtype)
    base.save_pretrained(tmp_path / "base")
    theirs = their_lora(base, targets)
    theirs.save_pretrained(tmp_path / "lora")
    ours = PeftModel.from_pretrained(GPT2.from_pretrained(tmp_path / "base", dtype), tmp_path / "lora")
    assert_same_logits(ours, theirs)
    assert_same_logits(ours.merge_and_unload(), theirs.merge_and_unload())


@each_dtype
def test_minipeft_reads_what_transformers_writes_after_merging_a_lora(dtype, tmp_path):
    merged = their_lora(their_gpt2(dtype), ALL_FOUR).merge_and_unload()
    merged.save_pretrained(tmp_path)
    assert_same_logits(GPT2.from_pretrained(tmp_path, dtype), merged)


def test_minipeft_reads_gpt2_small_from_transformers(tmp_path):
    torch.manual_seed(0)
    transformers.GPT2LMHeadModel(transformers.GPT2Config()).save_pretrained(tmp_path)
    for dtype in LOGITS:
        assert_same_logits(GPT2.from_pretrained(tmp_path, dtype), read_by_transformers(tmp_path, dtype))
