# %% [markdown]
# # From here to Hugging Face: files, mixed batches, a base in four bits, several machines
#
# An adapter that is trained here is written as the files of Hugging Face PEFT, and one that PEFT has written is used here. Then three things that come after
# training: several adapters in one batch, a base in fewer bits, and gradients that are added up over machines.
#
# Runs in {{runtime}} on one core. In pictures grey is frozen and orange is trained.
#
# For the real GPT-2 change the line that loads the model to `from_pretrained("gpt2")`; on a GPU add `device="cuda"`. Neither PyTorch nor PEFT is needed
# on this page.

# %%
import json
import tempfile
from pathlib import Path

import numpy as np

import minipeft
from minipeft.files.adapters import huggingface
from minipeft.files.tensors import read_safetensors, write_safetensors
from minipeft.methods.mixed import Mixed
from minipeft.speed.quantized import Int8, dequantized, nf4_values
from minipeft.tasks import TASKS
from minipeft.teaching import BASE, FROZEN, TRAINED, picture, show, site_map

# %%
model = minipeft.GPT2.from_pretrained("weights/tiny", dtype="float64")
rows = {name: TASKS[name].rows("train", 400) for name in ("data-to-text", "translation")}
settings = {"steps": 60, "batch_size": 4, "progress": False}

# %%
lora = minipeft.LoRA(r=4, lora_alpha=8, target_modules="all-linear")
peft = minipeft.PeftModel(model, lora, adapter_name="places")
history = minipeft.train(peft, rows["data-to-text"], learning_rate=1e-2, **settings)

# %% [markdown]
# ## An adapter is two files: what it is, and its numbers
#
# `save_pretrained` writes a folder. The base is not in it, only its name. So one base on the disk serves any number of adapters.

# %%
work = Path(tempfile.mkdtemp())
peft.save_pretrained(work / "places")
sizes = {file.name: file.stat().st_size for file in sorted((work / "places").iterdir())}
MB = [sizes["adapter_model.safetensors"] / 1e6]
MB += [sum(w.nbytes for w in model.weights.values()) / 1e6]
print({name: f"{size:,} bytes" for name, size in sizes.items()})

# %%
with picture(f"The adapter's file is {MB[0] / MB[1]:.1%} of the base.", 7, 2) as f:
    axes = f.subplots()
    axes.barh(["adapter", "base"], MB, color=[TRAINED, FROZEN])
    axes.set(xlabel="MB, float64")

# %%
site_map("linear", finding="LoRA's tensors belong to linear layers; their names say which.")

# %% [markdown]
# The configuration has PEFT's keys: the same words for the same settings. `fan_in_fan_out` says that the base's own matrices are GPT-2's, (in, out).

# %%
config = json.loads((work / "places" / "adapter_config.json").read_text())
about = ("peft_type", "r", "lora_alpha", "target_modules", "fan_in_fan_out", "task_type")
print({key: config[key] for key in about})
print(len(config), "keys in all: every one that PEFT writes")

# %% [markdown]
# Safetensors is a simple format: eight bytes with the length of a header, the header as JSON with each tensor's type, shape and place, then the numbers.
# Nothing in it can be run, unlike a pickle. We read one tensor by hand.

# %%
data = (work / "places" / "adapter_model.safetensors").read_bytes()
length = int.from_bytes(data[:8], "little")
header = json.loads(data[8 : 8 + length])
key = "base_model.model.transformer.h.0.attn.c_attn.lora_A.weight"
print(header[key])

# %%
begin, end = (8 + length + offset for offset in header[key]["data_offsets"])
by_hand = np.frombuffer(data[begin:end], "<f8")
stored, _ = read_safetensors(work / "places" / "adapter_model.safetensors")
assert np.array_equal(by_hand.reshape(header[key]["shape"]), stored[key])
print("read by hand, and by the package: the same")

# %%
first = "base_model.model.transformer.h.0."
spans = {k: v["data_offsets"] for k, v in header.items() if k.startswith(first)}
last = max(e for _, e in spans.values())
with picture(f"The numbers of block 0 in the file: {len(spans)} tensors, no gap.", 8, 2.4) as f:
    axes = f.subplots()
    for k, (b, e) in spans.items():
        axes.broken_barh(
            [(b / 1e3, (e - b) / 1e3)], (0, 1), facecolor=TRAINED, edgecolor="white"
        )
        name = k.removeprefix(first).removesuffix(".weight").replace(".lora_", "\n")
        axes.text((b + e) / 2e3, 0.5, name, ha="center", va="center", rotation=90, fontsize=9)
    axes.set(xlabel="kilobytes behind the header", yticks=[], xlim=(0, last / 1e3))
assert sum(e - b for b, e in spans.values()) == last

# %% [markdown]
# ## Names get longer, and matrices lie the other way
#
# PEFT wraps the model, so its names begin with `base_model.model.transformer.`. And its matrices are those of `torch.nn.Linear`, (out, in), where
# here they are (in, out), as GPT-2's own.
#
# **Predict:** here $A$ is (I, R) and $B$ is (R, O). In which order are the file's two multiplied to give the update?
#
# <details><summary>Answer</summary>B first: (O, R) times (R, I) gives (O, I), the update transposed. The table derives it.</details>

# %%
layer = "h.0.attn.c_attn"
pairs = [
    (f"{layer}.{key}", huggingface.place(f"{layer}.{key}", lora))
    for key in ("lora_A", "lora_B")
]
for name, (key, layout) in pairs:
    print(f"{peft.tensors[name].shape} -> {stored[key].shape}, {layout}")
    assert np.array_equal(peft.tensors[name].T, stored[key])

# %% [markdown]
# | line | rule |
# |---|---|
# | $\Delta W = s\,A\,B$, of shape (I, O) | the definition here |
# | $\Delta W^T = s\,(A B)^T = s\,B^T A^T$ | the transpose of a product turns its order |
# | $A_f = A^T$, $B_f = B^T$ | what the file holds |
# | $\Delta W^T = s\,B_f A_f$, of shape (O, I) | put in: PEFT's formula |
#
# $$s\,(x A)\,B = x\,(s\,B_f A_f)^T$$

# %%
A, B = (peft.tensors[name] for name, _ in pairs)
A_f, B_f = (stored[key] for _, (key, _) in pairs)
s, x = lora.scaling(layer), np.random.default_rng(0).normal(size=(5, len(A)))
assert np.allclose(s * (x @ A) @ B, x @ (s * B_f @ A_f).T, rtol=0, atol=1e-12)
print("the same from the file's matrices, in the file's order")

# %% [markdown]
# The picture is computed: for one layer of each method the package is asked where its tensors go. Some keep their shape, some are transposed, and IA3's vectors
# become a column or a row.


# %%
def drawn(method, layer):
    """[(name here, its shape, key there, its shape, layout)] of the tensors of one layer."""
    one = minipeft.PeftModel(model, method)
    places = {name: huggingface.place(name, method) for name in one.tensors}
    own = {name: p for name, p in places.items() if name.startswith(layer) or not layer}
    turn = lambda name, layout: huggingface.LAYOUTS[layout][0](one.tensors[name]).shape
    return [(n, one.tensors[n].shape, key, turn(n, how), how) for n, (key, how) in own.items()]


# %%
both = {"target_modules": "all-linear", "r": 4}
lines = drawn(minipeft.DoRA(**both), layer) + drawn(minipeft.VeRA(**both), layer)
lines += drawn(minipeft.IA3(), "h.0") + drawn(minipeft.PrefixTuning(3), "")
turned = sum(how == "transposed" for *_, how in lines)

# %%
finding = f"Left the names here, right PEFT's: {turned} of these {len(lines)} are transposed."
with picture(finding, 10, 4.5) as f:
    axes = f.subplots()
    for i, (name, shape, key, other, how) in enumerate(lines):
        colour = BASE if how == "same" else TRAINED
        axes.text(0, -i, f"{name}  {shape}", ha="right", va="center")
        axes.plot([0.03, 0.27], [-i, -i], "-", color=colour, marker="")
        axes.text(0.15, 0.1 - i, how, ha="center", va="bottom", color=colour)
        short = key.replace("base_model.model.transformer.", "m.")
        axes.text(0.3, -i, f"{short}  {other}", va="center")
    axes.text(0.3, -len(lines), "m. = base_model.model.transformer.", color=FROZEN, va="center")
    axes.set(xlim=(-0.62, 1.02), ylim=(-len(lines) - 0.5, 0.8))
    axes.axis("off")

# %% [markdown]
# These are the lines that say so. The transposes stand in this one module and nowhere else.

# %%
show(huggingface.place)

# %% [markdown]
# ## What PEFT has written gives PEFT's logits here
#
# The tests of the package hold a folder that PEFT itself wrote, with LoRA on a GPT-2 of a few thousand weights, and the logits that PyTorch computed with it
# in float64. We read the folder and compute them again.

# %%
reference = Path(minipeft.__file__).parents[1] / "tests" / "reference"
small = minipeft.GPT2.from_pretrained(reference / "gpt2-tiny", dtype="float64")
theirs = minipeft.PeftModel.from_pretrained(small, reference / "tiny-lora-all")
texts = json.loads((reference / "batches.json").read_text())[0]
print(theirs.method)

# %% tolerance=1e9
expected = dict(np.load(reference / "tiny-lora-all.npz"))
ours = np.concatenate(theirs.logits([prompt + answer for prompt, answer in texts]))
gap = np.abs(ours - expected["logits"]).max()
print(f"{ours.size:,} logits, the largest difference {gap:.0e}")
assert gap < 1e-9

# %%
with picture(f"{ours.size:,} logits lie on the diagonal: PyTorch's and ours.", 4.6, 4.2) as f:
    axes = f.subplots()
    axes.plot(expected["logits"].ravel(), ours.ravel(), ".", color=TRAINED, markevery=1)
    axes.set(xlabel="PyTorch with PEFT", ylabel="here", aspect="equal")

# %% [markdown]
# Gradients as well: PyTorch's autograd on one side, the hand-written backward on the other, and between them the same transposes.
# The other way round, our folder read by PEFT, needs PyTorch: `tests/test_interop.py` does it for every method that PEFT has, wherever both are installed.

# %%
loss, grads = theirs.loss_and_grads(minipeft.pack(texts))
worst = 0
for name, g in grads.items():
    true = expected[f"grad base_model.model.transformer.{name}.weight"]
    worst = max(worst, np.abs(g.T - true).max() / np.abs(true).max())
print(f"{len(grads)} gradients and the loss agree:", bool(worst < 1e-8))
assert worst < 1e-8 and np.isclose(loss, expected["loss"], rtol=1e-8)

# %% [markdown]
# **Predict:** `attn.c_proj` is square. Somebody who exchanges $A$ and $B$ gets no error of shapes there. What happens to the logits?
#
# <details><summary>Answer</summary>They are wrong, quietly: the update is transposed. For a layer that is not square the reader of the file complains, as the next cell shows.</details>

# %%
file = "adapter_model.safetensors"
for layer in ("attn.c_proj", "attn.c_attn"):
    wrong = dict(stored)
    for k in [k for k in stored if f"{layer}.lora_A" in k]:
        other = k.replace("lora_A", "lora_B")
        wrong[k], wrong[other] = stored[other].T, stored[k].T
    write_safetensors(work / "places" / file, wrong)
    try:
        exchanged = minipeft.PeftModel.from_pretrained(model, work / "places")
        print(layer, "is read without a complaint")
    except minipeft.InputError as error:
        print(layer, "is refused:", str(error).partition(f"{file}: ")[2])
    write_safetensors(work / "places" / file, stored)

# %%
one = minipeft.PeftModel.from_pretrained(model, work / "places")
for i in range(4):
    A, B = (one.tensors[f"h.{i}.attn.c_proj.lora_{x}"] for x in "AB")
    A[...], B[...] = B.T.copy(), A.T.copy()
prompt = model.tokenizer.encode(rows["data-to-text"][0]["prompt"]).ids
right, moved = (m.logits([prompt])[0][-1] for m in (peft, one))
assert np.abs(right - moved).max() > 1e-3

# %%
with picture(
    "With A and B exchanged in the square layers, logits are quietly wrong.", 7, 2.8
) as f:
    axes = f.subplots()
    axes.hist(moved - right, bins=40, color=TRAINED)
    axes.axvline(0, color="black", linestyle="--")
    axes.set(xlabel="change of a logit (right: all at 0)", ylabel="tokens")

# %% [markdown]
# A shape that fits proves little, then. Compare logits.
#
# ## A batch may mix adapters, and the base runs once
#
# A second adapter is trained for another task, beside the first. Each row of a batch may then have its own, or none. Everything but the adapter is the same
# product for all rows:
#
# $$y = x W + b \qquad y_{\text{rows of } a} \mathrel{+}= s_a\,(x_{\text{rows of } a} A_a)\,B_a$$

# %%
peft.add_adapter("words", minipeft.IA3())
peft.set_adapter("words")
history = minipeft.train(peft, rows["translation"], learning_rate=2e-1, **settings)

# %%
names = ["places", "words", "__base__", "places"]
encode = lambda text: model.tokenizer.encode(text).ids
prompts = [encode(rows[task][0]["prompt"]) for task in ("data-to-text", "translation")] * 2

# %%
mixed = peft.mixed(names).logits(prompts)
for name, prompt, z in zip(names, prompts, mixed, strict=True):
    if name == "__base__":
        alone = model.logits([prompt])[0]
    else:
        peft.set_adapter(name)
        alone = peft.logits([prompt])[0]
    assert np.allclose(z, alone, rtol=0, atol=1e-9)
print("each row of the mixed batch: the logits that it has alone")

# %% [markdown]
# Inside, the rows of one adapter stand together, so that each adapter gets a slice and nothing is copied. What comes out is put back in the order
# that was asked for.

# %%
order = sorted(range(4), key=lambda i: ["places", "words", "__base__"].index(names[i]))
with picture("One matrix of tokens, sorted by adapter: each has a slice of rows.", 8, 1.9) as f:
    axes, begin = f.subplots(), 0
    for i in order:
        colour = FROZEN if names[i] == "__base__" else TRAINED
        axes.broken_barh(
            [(begin, len(prompts[i]))], (0, 1), facecolor=colour, edgecolor="white"
        )
        label = f"row {i}\n{names[i].strip('_')}"
        axes.text(begin + len(prompts[i]) / 2, 0.5, label, ha="center", va="center")
        begin += len(prompts[i])
    axes.set(xlabel="token of the packed batch", yticks=[], xlim=(0, begin))

# %%
show(Mixed.linear)

# %% [markdown]
# ## A base in four bits carries the same adapter
#
# A frozen weight need not be a float. In `int8` each column has one scale, and each weight becomes a whole number:
#
# $$s_j = \max_i |W_{ij}| / 127 \qquad q_{ij} = \mathrm{round}(W_{ij} / s_j) \qquad |W_{ij} - s_j q_{ij}| \le s_j / 2$$

# %%
W = model.weights["h.0.mlp.c_fc.weight"]
s = (np.abs(W).max(0) / 127).astype("float32")  # (O,)
q = np.rint(W / s)
assert (np.abs(W - s * q) <= s / 2 * (1 + 1e-6)).all()
assert np.allclose(dequantized(Int8(W)), s * q, rtol=0, atol=1e-12)
print(f"codes from {q.min():.0f} to {q.max():.0f}; the package's are the same")

# %% [markdown]
# QLoRA's NF4 (Dettmers et al. 2023) has sixteen values only, at quantiles of a normal distribution, so that they are close together where normal weights are many. Sixty-four weights
# share a scale, the largest of them.

# %%
values = nf4_values()
blocks = W.T.reshape(-1, 64)
relative = blocks / np.abs(blocks).max(1, keepdims=True)  # between -1 and 1
assert values[0] == -1 and values[-1] == 1 and 0 in values

# %%
with picture("The values of NF4 stand closest where the weights are densest.", 7, 3) as f:
    axes = f.subplots()
    axes.hist(relative.ravel(), bins=80, color=FROZEN)
    axes.vlines(values, 0, 600, color="black", zorder=3)
    axes.set(xlabel="weight / largest of its 64; lines: the 16 values", ylabel="weights")

# %% [markdown]
# **Predict:** the adapter was trained beside the float base. Does it load onto the rounded one, and are the gradients there exact or approximate?
#
# <details><summary>Answer</summary>It loads: it does not know how the base is held. The gradients are exact, of the loss that the rounded base has. Nothing that trains is rounded.</details>


# %%
def off(kind):
    rounded = minipeft.PeftModel.from_pretrained(model.quantized(kind), work / "places")
    z = rounded.logits([prompts[0]])[0]
    return rounded, np.sqrt(np.mean((z - true) ** 2)) / true.std()


# %% tolerance=0.1
peft.set_adapter("places")
true = peft.logits([prompts[0]])[0]
held = {kind: off(kind) for kind in ("int8", "nf4")}
print({kind: f"logits off by {error:.2%}" for kind, (_, error) in held.items()})
assert held["int8"][1] < held["nf4"][1]

# %% [markdown]
# The loss of the rounded base is a function like any other, and its gradient is checked as any other: by differences.

# %% tolerance=1e9
on_nf4 = minipeft.LoRA(r=2, layers_to_transform=(1,))
batch = minipeft.pack([(prompts[1], encode(rows["translation"][0]["completion"]))])
small_peft = minipeft.PeftModel(model.quantized("nf4"), on_nf4)
errors = minipeft.gradcheck(small_peft, batch, elements=1)
print(f"gradcheck on the nf4 base: worst relative error {max(errors.values()):.0e}")
assert max(errors.values()) < 1e-7

# %%
layers = [f"{name}.weight" for name in model.config.linear_layers()]
count = sum(model.weights[name].size for name in layers)
bits = {"float32": 32.0}
for kind, (rounded, _) in held.items():
    bits[kind] = 8 * sum(rounded.model.weights[name].nbytes for name in layers) / count
with picture(
    f"A weight takes {bits['int8']:.1f} bits in int8 and {bits['nf4']:.1f} in nf4.", 7, 2.2
) as f:
    axes = f.subplots()
    axes.barh(list(bits)[::-1], list(bits.values())[::-1], color=FROZEN)
    axes.set(xlabel="bits for a weight of the linear layers, scales included")

# %% [markdown]
# ## Several machines add up sums, not means
#
# Each machine has the whole base and a part of the batch. The loss is a mean over labelled tokens, and the parts have different numbers of them. With $G_k$ the sum of
# gradients on machine $k$ and $n_k$ its tokens:
#
# $$g = \frac{\sum_k G_k}{\sum_k n_k} \qquad\text{not}\qquad \frac1K \sum_k \frac{G_k}{n_k}$$

# %%
some = [(encode(r["prompt"]), encode(r["completion"])) for r in rows["data-to-text"][:3]]
some += [(encode(r["prompt"]), encode(r["completion"])) for r in rows["translation"][:3]]
machines = [minipeft.pack(some[i : i + 2]) for i in (0, 2, 4)]
sums = [peft.loss_and_grad_sums(part) for part in machines]  # (loss, tokens, gradients)
tokens = [n for _, n, _ in sums]
_, whole = peft.loss_and_grads(minipeft.pack(some))

# %%
added = {k: sum(G[k] for _, _, G in sums) / sum(tokens) for k in whole}
means = {k: sum(G[k] / n for _, n, G in sums) / 3 for k in whole}
assert all(np.allclose(added[k], whole[k], rtol=1e-9, atol=1e-12) for k in whole)
apart = [np.linalg.norm(means[k] - whole[k]) / np.linalg.norm(whole[k]) for k in whole]
print("tokens on each machine:", tokens, "| sums agree with the whole batch")
assert min(apart) > 1e-3

# %% tolerance=0.05
with picture(
    f"The mean of means is wrong by {np.median(apart):.0%} of a gradient here.", 7, 2.8
) as f:
    axes = f.subplots()
    axes.bar(range(len(apart)), 100 * np.sort(apart), color=TRAINED)
    axes.set(xlabel="tensor, best to worst", ylabel="error (%)")

# %% [markdown]
# Threads on one machine do the same here: a batch is split into one shard for each core. Over a network the gradients travel, as one flat buffer, in a
# *ring*: cut into as many parts as there are machines, each part goes from neighbour to neighbour, and every machine adds its own to it.

# %%
flat = [np.concatenate([G[k].ravel() for k in whole]) for _, _, G in sums]  # a buffer for each
n = len(flat)
parts = [np.array_split(buffer, n) for buffer in flat]
for hop in range(n - 1):
    for m in range(n):  # machine m hands a part to its neighbour
        right, p = (m + 1) % n, (m - hop) % n
        parts[right][p] = parts[right][p] + parts[m][p]
summed = np.concatenate([parts[p - 1][p] for p in range(n)])  # each machine has one whole part
assert np.allclose(summed, sum(flat), rtol=1e-9, atol=1e-12)

# %% [markdown]
# As many hops again hand the whole parts out, so that each link carries $2(n-1)/n$ of the buffer, twice its size at most, however many machines there are.
# `mpirun -n 4 minipeft train` leaves the ring to MPI, and a step is that of one process: `minipeft/speed/ranks.py`. Few trained numbers are a small buffer.

# %%
few, full = peft.num_trainable, model.num_parameters
with picture(f"Each step {full / few:.0f} times fewer numbers travel with LoRA.", 7, 2) as f:
    axes = f.subplots()
    axes.barh(["LoRA", "full"], [few / 1e6, full / 1e6], color=TRAINED)
    axes.set(xlabel="gradients sent by each machine in a step (millions)")

# %% [markdown]
# ## What was shown
#
# 1. An adapter is a configuration and a file of tensors, {{MB[0] / MB[1]:.1%}} of this base; a header says where each tensor lies.
# 2. PEFT's matrices are (out, in): $\Delta W^T = s\,B_f A_f$. Its own file gives its own logits and gradients here.
# 3. In a square layer an exchanged pair is read quietly: compare logits, not shapes.
# 4. A mixed batch runs the base once; each row has the logits that it has alone.
# 5. A rounded base carries the adapter with exact gradients; over machines sums are added, not means.
#
# **Three changes to try.** Set `r=8` in `lora`: the adapter's file is twice as large. Put `minipeft.BitFit()` in the place of `minipeft.IA3()`, at a rate of `1e-2`: the mixed
# batch is refused, for BitFit changes the base that the other rows need. Add `some = some[:3] * 2` before `machines`, so that all three have rows of one task:
# the mean of means comes nearer, and is still wrong, for the numbers of tokens still differ.
#
# **Read next:** `minipeft/files/adapters/huggingface.py`, and `docs/formats.md`, with every name. **Write it yourself:** `minipeft check 11`, the merge that other
# libraries expect.
#
# One honest limit: nothing here ran on two machines. `docs/many-machines.md` says what was measured with two processes, and what is arithmetic; for large models take `transformers` and `peft`.
