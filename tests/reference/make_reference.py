"""Write the stored references: what PyTorch, `transformers` and `peft` compute, for tests without them.

    PYTHONPATH=. python tests/reference/make_reference.py

Made with torch 2.13, transformers 5.23, peft 0.21; takes about three minutes and 4 GB. Writes, beside itself:

    gpt2-tiny/          a checkpoint of two layers, all its weights random, biases and layer norms too
    checkpoints/        a smaller one in each form that checkpoints come in;  checkpoints.npz  their logits
    batches.json        three batches of [prompt ids, completion ids]
    tiny.npz            on the first batch: logits, loss, every gradient; and ten AdamW steps over all three
    tiny-lora-*/        adapters written by `peft`;  tiny-lora-*.npz  the same numbers, and merged logits
    generation.json     greedy and beam search
    schedules.npz       learning rates
    gpt2-small.npz      GPT-2 small's shape, on weights that minipeft makes from a seed: parts of the logits,
                        the loss, and a fingerprint of every gradient

Numbers are float64, no dropout, eager attention; "logits32" are what float32 gives. Tensors have the names of
`transformers` (without "transformer.") and `peft`, and their layouts.
"""

import json
import os
import shutil
import tempfile
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch
import transformers
from fingerprint import fingerprint
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy
from transformers import GPT2Config, GPT2LMHeadModel

import minipeft

HERE = Path(__file__).parent
NO_DROPOUT = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
END = 22  # a token that ends some of the generated texts, and not others
TINY = GPT2Config(
    vocab_size=211, n_positions=48, n_embd=32, n_layer=2, n_head=4,
    bos_token_id=END, eos_token_id=END, **NO_DROPOUT,
)  # fmt: skip
TINIER = GPT2Config(
    vocab_size=97, n_positions=24, n_embd=16, n_layer=2, n_head=2,
    bos_token_id=96, eos_token_id=96, **NO_DROPOUT,
)  # fmt: skip
ADAPTERS = {
    "tiny-lora-c_attn": ["attn.c_attn"],
    "tiny-lora-all": ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"],
}


def main():
    """Write everything."""
    os.chdir(HERE)  # the adapters name their base: "gpt2-tiny"
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    batches = write_batches()
    write_tiny(batches)
    for folder, targets in ADAPTERS.items():
        write_lora(folder, targets, batches)
    write_checkpoints()
    write_generation()
    write_schedules()
    with tempfile.TemporaryDirectory() as temporary:
        write_small(Path(temporary))
        check_small_read_by_minipeft(Path(temporary))


# -------------------------------------------------------------------------------- models and what they give


def random_model(config, seed):
    """A GPT-2 in which nothing is zero or one."""
    model = GPT2LMHeadModel(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.normal_(0, 0.3, generator=generator)
            if "ln_" in name and name.endswith("weight"):
                p += 1
    return model


def load(folder, dtype=torch.float64):
    """A checkpoint, read by `transformers`, for evaluation."""
    return GPT2LMHeadModel.from_pretrained(
        folder, dtype=dtype, attn_implementation="eager", **NO_DROPOUT
    ).eval()


def load_lora(base, folder, dtype=torch.float64):
    """A checkpoint with an adapter, read by `peft`; the adapter trains."""
    return PeftModel.from_pretrained(load(base, dtype), folder, is_trainable=True).to(dtype).eval()


def padded(pairs):
    """[(prompt ids, completion ids), ...] -> ids, mask and labels, (S, T) each; label -100 does not count."""
    longest = max(len(p) + len(c) for p, c in pairs)
    rows = [(p + c, [-100] * len(p) + c, longest - len(p + c)) for p, c in pairs]
    ids = torch.tensor([ids + [0] * room for ids, _, room in rows])
    mask = torch.tensor([[1] * len(ids) + [0] * room for ids, _, room in rows])
    labels = torch.tensor([labels + [-100] * room for _, labels, room in rows])
    return ids, mask, labels


def logits_and_loss(model, pairs):
    """The logits of the batch's tokens, without padding (N, V), and the mean loss over its labelled tokens.

    `transformers` computes its own loss in float32, so it is not asked for it.
    """
    ids, mask, labels = padded(pairs)
    logits = model(input_ids=ids, attention_mask=mask).logits
    loss = cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
    return logits[mask.bool()], loss


def numbers(model, pairs):
    """The logits, the loss and every gradient, as NumPy arrays."""
    model.zero_grad()
    logits, loss = logits_and_loss(model, pairs)
    loss.backward()
    grads = {f"grad {plain(name)}": p.grad.numpy().copy() for name, p in trainable(model)}
    return {"logits": logits.detach().numpy(), "loss": loss.item()} | grads


@torch.no_grad()
def logits_of(model, pairs):
    """The logits alone."""
    return logits_and_loss(model, pairs)[0].numpy()


def trainable(model):
    """(name, parameter) of what trains."""
    return [(name, p) for name, p in model.named_parameters() if p.requires_grad]


def plain(name):
    """A parameter's name as its checkpoint has it, without "transformer." in front."""
    return name.removeprefix("transformer.").replace(".default.", ".")


def curve(model, batches, steps=10):
    """The loss before each of some AdamW steps: matrices decay, gradients are clipped. Changes the model."""
    matrices = [p for _, p in trainable(model) if p.ndim > 1]
    vectors = [p for _, p in trainable(model) if p.ndim == 1]
    groups = [{"params": matrices, "weight_decay": 0.01}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3)
    losses = []
    for pairs in islice(cycle(batches), steps):
        optimizer.zero_grad()
        _, loss = logits_and_loss(model, pairs)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(matrices + vectors, 1.0)
        optimizer.step()
        losses.append(loss.item())
    return np.array(losses)


# --------------------------------------------------------------------------------------------- tiny models


def write_batches():
    """Sequences of many lengths; in each batch one without a prompt, whose first token nothing predicts."""
    rng = np.random.default_rng(0)
    lengths = [(5, 4), (0, 6), (1, 3), (9, 2)]  # of prompt and completion
    draw = lambda n: rng.integers(TINY.vocab_size, size=n).tolist()
    batches = [[(draw(p), draw(c)) for p, c in lengths] for _ in range(3)]
    Path("batches.json").write_text(json.dumps(batches) + "\n")
    return batches


def write_tiny(batches):
    """A checkpoint, and full fine-tuning of it."""
    random_model(TINY, seed=1).save_pretrained(fresh("gpt2-tiny"))
    values = numbers(load("gpt2-tiny"), batches[0])
    values["logits32"] = logits_of(load("gpt2-tiny", torch.float32), batches[0])
    values["curve"] = curve(load("gpt2-tiny"), batches)
    np.savez_compressed("tiny.npz", **values)


def write_lora(folder, targets, batches):
    """An adapter beside the layers `targets`, A and B random, and its training."""
    config = LoraConfig(r=4, lora_alpha=6, target_modules=targets, fan_in_fan_out=True, task_type="CAUSAL_LM")
    model = get_peft_model(load("gpt2-tiny", torch.float32), config)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for _, p in trainable(model):
            p.normal_(0, 0.3, generator=generator)
    model.save_pretrained(fresh(folder))
    Path(folder, "README.md").unlink()  # an empty model card

    values = numbers(load_lora("gpt2-tiny", folder), batches[0])
    values["logits32"] = logits_of(load_lora("gpt2-tiny", folder, torch.float32), batches[0])
    values["merged"] = logits_of(load_lora("gpt2-tiny", folder).merge_and_unload(), batches[0])
    values["curve"] = curve(load_lora("gpt2-tiny", folder), batches)
    np.savez_compressed(f"{folder}.npz", **values)


def fresh(folder):
    """The folder's name, after removing what an earlier run left there."""
    shutil.rmtree(folder, ignore_errors=True)
    return folder


# ---------------------------------------------------------------------------------------- checkpoint forms


def write_checkpoints():
    """One model in every form, and the logits that `transformers` gets from each."""
    fresh("checkpoints")
    model = random_model(TINIER, seed=3)
    model.save_pretrained("checkpoints/whole")
    model.save_pretrained("checkpoints/sharded", max_shard_size="20KB")
    model.transformer.save_pretrained("checkpoints/without-prefix")
    model.to(torch.float64).save_pretrained("checkpoints/float64")
    model.to(torch.float16).save_pretrained("checkpoints/float16")
    model.to(torch.float32).to(torch.bfloat16).save_pretrained("checkpoints/bfloat16")
    untied = GPT2Config(**TINIER.to_dict() | {"tie_word_embeddings": False})
    random_model(untied, seed=4).save_pretrained("checkpoints/untied")
    add_masks("checkpoints/whole", "checkpoints/bool-masks", torch.bool)
    add_masks("checkpoints/without-prefix", "checkpoints/float-masks", torch.float32)

    prompt = [(list(range(20, 27)), [])]
    forms = sorted(path.name for path in Path("checkpoints").iterdir())
    np.savez_compressed(
        "checkpoints.npz", **{form: logits_of(load(f"checkpoints/{form}"), prompt) for form in forms}
    )


def add_masks(source, folder, dtype):
    """A copy with the causal masks that old versions of `transformers` stored in every layer.

    float32 is what the first published GPT-2 has, bool what `transformers` 4 wrote for years.
    """
    shutil.copytree(source, folder)
    tensors = load_file(f"{source}/model.safetensors")
    n = TINIER.n_positions
    for name in [name for name in tensors if name.endswith("attn.c_attn.weight")]:
        attn = name.removesuffix("c_attn.weight")
        tensors[f"{attn}bias"] = torch.ones(n, n).tril().view(1, 1, n, n).to(dtype)
        tensors[f"{attn}masked_bias"] = torch.tensor(-1e4)
    save_file(tensors, f"{folder}/model.safetensors", metadata={"format": "pt"})


# ------------------------------------------------------------------------------------ generation, schedules


def write_generation():
    """What follows each prompt, without the end token, under several ways to decode."""
    rng = np.random.default_rng(5)
    prompts = [rng.integers(TINY.vocab_size, size=n).tolist() for n in (1, 2, 3, 5, 8, 8, 13, 4)]
    ways = [
        {},
        {"repetition_penalty": 1.3},
        {"num_beams": 3},
        {"num_beams": 4},
        {"num_beams": 3, "length_penalty": 0.8},
        {"num_beams": 4, "length_penalty": 0.8},
        {"num_beams": 4, "length_penalty": 2.0},
        {"num_beams": 3, "repetition_penalty": 1.3},
    ]
    model = load("gpt2-tiny")
    runs = [{"options": way, "outputs": [continuation(model, p, way) for p in prompts]} for way in ways]
    for run in runs:
        ended = sum(len(ids) < 24 for ids in run["outputs"])
        assert 0 < ended < len(prompts), f"{run['options']}: {ended} of {len(prompts)} texts end"
    lines = ",\n".join(json.dumps(run) for run in runs)
    Path("generation.json").write_text(
        f'{{"max_new_tokens": 24, "prompts": {prompts},\n"runs": [\n{lines}\n]}}\n'
    )


def continuation(model, prompt, way):
    """The new tokens after one prompt, up to the end token."""
    ids = torch.tensor([prompt])
    output = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, do_sample=False, pad_token_id=END, **way
    )
    new = output[0, len(prompt) :].tolist()
    return new[: new.index(END)] if END in new else new


def write_schedules():
    """The learning rates of 20 steps, 4 of them warm-up, with a peak of 1."""
    schedules = {
        "linear": transformers.get_linear_schedule_with_warmup,
        "cosine": transformers.get_cosine_schedule_with_warmup,
        "constant": lambda optimizer, warmup, _: transformers.get_constant_schedule_with_warmup(
            optimizer, warmup
        ),
    }
    rates = {}
    for name, schedule in schedules.items():
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        scheduler = schedule(optimizer, 4, 20)
        rates[name] = []
        for _ in range(20):
            rates[name].append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
    np.savez_compressed("schedules.npz", **rates)


# ------------------------------------------------------------------------------------- GPT-2 small's shape


def write_small(temporary):
    """GPT-2 small, its weights made and written by minipeft, which test_reference.py makes again.

    That `transformers` and `peft` load them proves that what minipeft writes is what they read.
    """
    model = minipeft.GPT2.random("gpt2", seed=0)
    model.save_pretrained(temporary / "gpt2")
    method = minipeft.LoRA(r=8, lora_alpha=16, target_modules=("attn.c_attn",), init_lora_weights=False)
    minipeft.PeftModel(model, method, seed=1).save_pretrained(temporary / "lora")

    rng = np.random.default_rng(6)
    pairs = [[rng.integers(50257, size=n).tolist() for n in lengths] for lengths in [(7, 5), (3, 4)]]
    columns = np.sort(rng.choice(50257, size=200, replace=False))
    values = {"columns": columns, "weight sums": [w.sum(dtype=float) for w in model.weights.values()]}
    for name, read in {
        "full": lambda dtype: load(temporary / "gpt2", dtype),
        "lora": lambda dtype: load_lora(temporary / "gpt2", temporary / "lora", dtype),
    }.items():
        exact = numbers(read(torch.float64), pairs)
        logits32 = logits_of(read(torch.float32), pairs)
        values |= {
            f"{name} loss": exact["loss"],
            f"{name} logits": exact["logits"][:, columns],
            f"{name} logits32": logits32[:, columns],
            f"{name} logsumexp": np.log(np.exp(exact["logits"]).sum(1)),
        }
        for key, value in exact.items():
            if key.startswith("grad "):
                values[f"{name} {key}"] = fingerprint(key.removeprefix("grad "), value)
    np.savez_compressed("gpt2-small.npz", pairs=json.dumps(pairs), **values)


def check_small_read_by_minipeft(temporary):
    """The other direction: minipeft reads what `transformers` writes, and computes the same."""
    torch.manual_seed(7)
    GPT2LMHeadModel(GPT2Config()).save_pretrained(temporary / "theirs")
    sequences = [[464, 3290, 318], [50256, 1, 2, 3, 4, 5]]
    for dtype, tolerance in (("float32", 1e-4), ("float64", 1e-9)):
        true = logits_of(load(temporary / "theirs", getattr(torch, dtype)), [(ids, []) for ids in sequences])
        ours = np.concatenate(minipeft.GPT2.from_pretrained(temporary / "theirs", dtype).logits(sequences))
        error = np.abs(ours - true).max()
        print(f"GPT-2 small written by transformers, read by minipeft: {dtype} logits within {error:.1e}")
        assert error < tolerance


if __name__ == "__main__":
    main()
