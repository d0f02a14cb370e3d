"""What minipeft writes `transformers` and `peft` read, and the other way round; with both of them here."""

import numpy as np
import pytest

from minipeft import GPT2, Full, GPT2Config, LoRA, PeftModel, pack
from minipeft.data import load_tokenizer

LIVE = "compares with the live library; stored references are compared in test_reference.py"
torch = pytest.importorskip("torch", reason=LIVE)
transformers = pytest.importorskip("transformers", reason=LIVE)
hf_peft = pytest.importorskip("peft", reason=LIVE)

LOGITS = {"float32": 1e-4, "float64": 1e-9}  # how far logits may be apart
SEQUENCES = [[3, 1, 4, 1, 5, 9, 2, 6], [53], [58, 9, 7]]
C_ATTN = ("attn.c_attn",)
ALL_FOUR = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")

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


def assert_same_logits(ours, theirs):
    """minipeft's model and the other's agree on every sequence."""
    with torch.no_grad():
        expected = [theirs(input_ids=torch.tensor([ids])).logits[0].numpy() for ids in SEQUENCES]
    for got, want in zip(ours.logits(SEQUENCES), expected, strict=True):
        assert got.dtype == want.dtype == ours.dtype
        np.testing.assert_allclose(got, want, rtol=0, atol=LOGITS[str(ours.dtype)])


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
