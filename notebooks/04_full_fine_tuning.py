# %% [markdown]
# # Full fine-tuning, and what it costs
#
# The usual way to adapt a model is to go on training all of it. You will derive the optimiser that does it, AdamW, watch what
# training changes, and add up the memory it takes, predicted and measured. Every method of this package is an answer to that bill.
#
# Runs in {{runtime}} on one core. In pictures grey is frozen and orange is trained.
#
# For the real GPT-2 change the line with `from_pretrained` to `"gpt2"`; on a GPU add `device="cuda"` (memory is then not what `tracemalloc` sees).

# %%
import tracemalloc

import numpy as np

import minipeft
from minipeft.config import config_of_size
from minipeft.cost import flops, memory
from minipeft.tasks import TASKS
from minipeft.teaching import BASE, FROZEN, TRAINED, log_scale, picture, show, site_map

COLOURS = {"parameters": FROZEN, "gradients": "#f2b27a", "optimiser state": TRAINED}
COLOURS |= {"best so far": "#f7d3b0", "activations": "#3c4043", "work": "#e8eaed"}


# %%
def bars(axes, bills):  # a stacked bar for each bill, at its peak, in MB
    left = np.zeros(len(bills))
    for part, colour in COLOURS.items():
        size = np.array([bill["parts"][part]["at_peak"] / 1e6 for bill in bills.values()])
        axes.barh(
            list(bills), size, left=left, color=colour, edgecolor=BASE, lw=0.5, label=part
        )
        left += size
    axes.set(xlabel="MB", ylim=(len(bills) - 0.4, -0.6))
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))


# %%
model = minipeft.GPT2.from_pretrained("weights/tiny", dtype="float64")
n, batch = model.num_parameters, memory.uniform_batch(8, 64, labelled=32)
bill = memory.predict(model.config, minipeft.Full(), batch)  # in float32: 4 bytes a number
ratio = bill["total"] / (4 * n)
with picture(
    f"To train a model takes {ratio:.0f} times the memory of the model.", 7.5, 2.4
) as f:
    bars(f.subplots(), {"full": bill})

# %% [markdown]
# Training keeps copies that running does not: what trains, its gradient, two numbers more for the optimiser, and the inputs of all
# layers, for the backward pass. We will meet each of them, and count.
#
# ## Full fine-tuning lets every number move
#
# It has no tensors of its own and no site: all that there is trains. Each step moves every parameter against its gradient,
#
# $$p \leftarrow p - \eta\,\frac{\partial \ell}{\partial p}$$
#
# and optimisers differ in what they make of that gradient.

# %%
boxes = ["wte", "wpe", "ln_1", "c_attn", "attn.c_proj", "ln_2"]
boxes += ["c_fc", "mlp.c_proj", "ln_f", "head"]
site_map(*boxes, finding="Full fine-tuning: everything with weights is orange.")

# %%
peft = minipeft.PeftModel(model, minipeft.Full())
C, c = model.config.n_embd, model.config
by_hand = c.n_layer * (12 * C**2 + 13 * C) + (c.vocab_size + c.n_positions + 2) * C
print(f"by hand {by_hand:,}, by code {peft.num_trainable:,}: {peft.num_trainable / n:.0%}")
assert by_hand == peft.num_trainable == n

# %% [markdown]
# **Predict:** how far are the logits from the base's before the first step?
#
# <details><summary>Answer</summary>Not at all: training begins from a copy of the weights. One small step **against** the gradient then lowers the loss, by about the learning rate times the gradient's squared length.</details>

# %%
task, encode = TASKS["data-to-text"], lambda text: model.tokenizer.encode(text).ids
pairs = [(encode(row["prompt"]), encode(row["completion"])) for row in task.rows("train", 2)]
batch, ids = minipeft.pack(pairs), pairs[0][0]
assert np.array_equal(peft.logits([ids])[0], model.logits([ids])[0])  # equal, to the last bit
# %%
loss, grads = peft.loss_and_grads(batch)
for name, p in peft.trainable.items():
    p -= 1e-6 * grads[name]
# %%
promised = 1e-6 * sum(float((g * g).sum()) for g in grads.values())
fell = loss - peft.loss(batch)
print(f"the loss fell by {fell / promised:.3f} of what the gradient promised")
assert abs(fell / promised - 1) < 0.01

# %% [markdown]
# That one number tests the gradient along its own direction. `gradcheck` tests every tensor; the gradient itself is notebook 02's: $dW = x^T dy$ in
# each linear layer, and for `wte` the sum of two parts, as it is used twice.

# %%
errors = minipeft.gradcheck(peft, batch, elements=1)
print(f"{len(errors)} tensors, all below 1e-7: {max(errors.values()) < 1e-7}")
assert max(errors.values()) < 1e-7

# %% [markdown]
# ## AdamW makes steps of one size
#
# Gradients of one model differ by orders of magnitude, so one rate suits few of them. AdamW keeps two running means for every number, of the
# gradient and of its square, and divides:
#
# $$m_t = \beta_1 m_{t-1} + (1 - \beta_1)\,g_t \qquad v_t = \beta_2 v_{t-1} + (1 - \beta_2)\,g_t^2$$
#
# $$p \leftarrow p - \eta\,\lambda\,p - \eta\,\frac{m_t / (1 - \beta_1^t)}{\sqrt{v_t / (1 - \beta_2^t)} + \epsilon}$$


# %%
def adamw(p, g, m, v, t, rate, b1=0.9, b2=0.999, eps=1e-8, decay=0.01):
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g * g
    m_hat = m / (1 - b1**t)  # as the means begin at 0, they are too small at first
    v_hat = v / (1 - b2**t)
    p = p - rate * decay * p  # the decay is apart from the gradient: the W of AdamW
    p = p - rate * m_hat / (np.sqrt(v_hat) + eps)
    return p, m, v


# %%
rng = np.random.default_rng(0)
optimizer = minipeft.AdamW(learning_rate=0.1, weight_decay=0.01)
p, m, v = rng.normal(size=(3, 4)), np.zeros((3, 4)), np.zeros((3, 4))
theirs = {"W": p.copy()}
# %%
for t in range(1, 6):
    g = rng.normal(size=(3, 4))
    p, m, v = adamw(p, g, m, v, t, 0.1)
    optimizer.step(theirs, {"W": g})
assert np.allclose(p, theirs["W"], rtol=0, atol=1e-12)  # five steps, the same as the package's

# %% [markdown]
# The package does the same in place, so that no step allocates more than a block of the tensor:

# %%
show(minipeft.AdamW._update)

# %% [markdown]
# Why divide by $1 - \beta^t$? Let all gradients be $g$:
#
# | step | rule |
# |---|---|
# | $m_t = \beta m_{t-1} + (1-\beta)\,g$ | definition, $m_0 = 0$ |
# | $m_t = (1-\beta)\,(g + \beta g + \dots + \beta^{t-1} g)$ | put the definition into itself, $t$ times |
# | $m_t = (1-\beta)\,g\,\frac{1 - \beta^t}{1 - \beta}$ | geometric series |
# | $m_t = (1 - \beta^t)\,g$ | cancel |
#
# $$\frac{m_t}{1 - \beta^t} = g$$

# %%
t, m, means = np.arange(1, 41), 0.0, []
for _ in t:
    m = 0.9 * m + 0.1 * 2.0  # all gradients are 2
    means.append(m)
assert np.allclose(means / (1 - 0.9**t), 2)

# %%
with picture(
    "Uncorrected, the first means are too small; corrected, they are right at once.", 7, 2.6
) as f:
    axes = f.subplots()
    axes.plot(t, means, "--", color=FROZEN, marker="", label="m")
    axes.plot(t, means / (1 - 0.9**t), "-", color=BASE, marker="", label="corrected")
    axes.set(xlabel="step t", ylim=(0, 2.2))
    axes.legend(loc="lower right")

# %% [markdown]
# At the first step $\hat m = g$ and $\hat v = g^2$. **Predict:** one gradient is a thousand, another a thousandth. How far do the two numbers move?
#
# <details><summary>Answer</summary>Equally far, by the learning rate: g / |g| is 1 or -1. Only the sign is left of the gradient.</details>

# %%
p = {"b": np.zeros(3)}
minipeft.AdamW(learning_rate=0.1).step(p, {"b": np.array([1000, 0.001, -5])})
print("moved by", p["b"].round(6))
assert np.allclose(p["b"], [-0.1, -0.1, 0.1], atol=1e-5)

# %% [markdown]
# In a valley that is steep across and flat along, this is what counts: plain steps must be small for the steep side, and crawl on the flat
# one.

# %%
slopes = lambda p: np.array([100 * p[0], p[1]])  # of the loss (100 a^2 + b^2) / 2
plain, adam = [np.ones(2)], [np.ones(2)]
for _ in range(60):
    plain.append(plain[-1] - 0.015 * slopes(plain[-1]))

# %%
optimizer, p = minipeft.AdamW(0.05, weight_decay=0), {"p": np.ones(2)}
for _ in range(60):
    optimizer.step(p, {"p": slopes(p["p"])})
    adam.append(p["p"].copy())
assert abs(adam[25][1]) < abs(plain[25][1])

# %%
left = abs(plain[25][1]), abs(adam[25][1])
finding = f"Still to go after 25 steps: plain steps {left[0]:.2f}, AdamW {left[1]:.2f}."
with picture(finding, 7, 2.8) as f:
    axes = f.subplots()
    axes.plot(*np.array(plain).T[::-1], "o--", color=FROZEN, markersize=3, label="plain steps")
    axes.plot(*np.array(adam).T[::-1], "o-", color=TRAINED, markersize=3, label="AdamW")
    axes.set(xlabel="along the valley", ylabel="across")
    axes.legend()

# %% [markdown]
# The W stands for decay that does not pass through that division. Put into the gradient as $\lambda p$, it would be divided away: every number
# would shrink by $\eta$, large or small. Apart from it, each shrinks by a share of itself.

# %%
start, m, v = np.array([3.0, 1.0, 0.3]), 0, 0
inside, apart = [start], [start]
for t in range(1, 31):
    p, m, v = adamw(inside[-1], 0.1 * inside[-1], m, v, t, 0.05, decay=0)
    inside.append(p)
    apart.append(adamw(apart[-1], 0, 0, 0, t, 0.05, decay=0.1)[0])
# %%
assert np.allclose(inside[0] - inside[1], 0.05)  # the rate, for all three
assert np.allclose(apart[1] / apart[0], 1 - 0.05 * 0.1)  # a share

# %%
with picture(
    "Decay in the gradient: at first one step for all. Apart: one share for all.", 7, 2.8
) as f:
    for axes, path, title in zip(
        f.subplots(1, 2, sharey=True),
        (inside, apart),
        ("in the gradient", "apart"),
        strict=True,
    ):
        axes.plot(path, "-", color=TRAINED, marker="")
        axes.set(title=title, xlabel="step", ylabel="three numbers")

# %% [markdown]
# ## Training changes all tensors, each a little
#
# 60 steps of 8 examples, all parameters; and the same with LoRA of rank 4, to compare.

# %%
rows = task.rows("train", 480)
settings = dict(eval_data=task.rows("validation", 16), steps=60, eval_every=30, progress=False)
lora_method = minipeft.LoRA(r=4, lora_alpha=8, target_modules="all-linear")
methods, rates = {"full": minipeft.Full(), "LoRA": lora_method}, {"full": 2e-3, "LoRA": 1e-2}

# %%
pefts = {name: minipeft.PeftModel(model, method) for name, method in methods.items()}
train = lambda name: minipeft.train(pefts[name], rows, learning_rate=rates[name], **settings)
runs = {name: train(name) for name in methods}

# %% tolerance=0.05
full, lora = (run.best["eval_loss"] for run in runs.values())
finding = f"On rows that training has not shown: full {full:.2f} per token, LoRA {lora:.2f}."
with picture(finding, 7, 2.8) as f:
    axes = f.subplots()
    for (name, run), colour in zip(runs.items(), (BASE, TRAINED), strict=True):
        axes.plot([s["loss"] for s in run.steps], "-", marker="", color=colour, label=name)
    axes.set(xlabel="step", ylabel="loss of the batch")
    log_scale(axes, "y")
    axes.legend()

# %% [markdown]
# Look inside: how much has each matrix changed, and in how many directions? A change of rank 4 has four singular values; the full one may
# have as many as it likes. **Predict:** does it use them equally?
#
# <details><summary>Answer</summary>No. The picture counts the directions that hold nine tenths of it. LoRA is the bet that still fewer will do; notebook 05 looks at it closely.</details>

# %% tolerance=0.05
full = pefts["full"]
change = {name: full.trainable[name] - W for name, W in model.weights.items()}
share = {k: np.linalg.norm(d) / np.linalg.norm(model.weights[k]) for k, d in change.items()}
moved = [share[f"{name}.weight"] for name in model.config.linear_layers()]
print(f"linear layers changed by {min(moved):.0%} to {max(moved):.0%} of their size")

# %%
values = np.linalg.svd(change["h.1.mlp.c_fc.weight"], compute_uv=False)
energy = np.cumsum(values**2) / (values**2).sum()
needed = int((energy < 0.9).sum()) + 1
assert needed > 4  # more than our LoRA has

# %% tolerance=0.2
with picture(
    f"{needed} of {len(values)} directions hold 90% of the change of one matrix.", 7, 2.6
) as f:
    axes = f.subplots()
    axes.plot(range(1, len(values) + 1), energy, "-", color=TRAINED, marker="")
    axes.plot(needed, energy[needed - 1], "o", color=BASE)
    axes.set(xlabel="directions", ylabel="share of the change", ylim=(0, 1.02))

# %% [markdown]
# There is nothing to merge: what was trained is the model. `merge_and_unload` hands it out as a plain GPT-2. The base that we began with is still
# what it was, for training works on a copy.

# %%
merged = full.merge_and_unload()
assert np.array_equal(merged.logits([ids])[0], full.logits([ids])[0])
fresh = minipeft.GPT2.from_pretrained("weights/tiny", dtype="float64")
assert all(np.array_equal(model.weights[k], W) for k, W in fresh.weights.items())
print("merged:", type(merged).__name__, "| base unchanged: True")

# %% [markdown]
# ## What trains is paid five times
#
# Let $n$ be the model's numbers and $n_t$ those that train. In float32, four bytes each, there are the base, and for all that trains a
# copy or a tensor of its own, its gradient, $m$, $v$, and the best so far:
#
# $$4\,(n + 5\,n_t) \text{ bytes}$$

# %%
sizes = {"64 tokens": (2, 32), "1,024 tokens": (16, 64)}  # sequences, length
bills = {
    f"{name}, {size}": memory.predict(model.config, method, memory.uniform_batch(a, b, b // 2))
    for name, method in methods.items()
    for size, (a, b) in sizes.items()
}

# %%
lasting = ("parameters", "gradients", "optimiser state", "best so far")
for key, bill in bills.items():
    counted = sum(bill["parts"][part]["in_all"] for part in lasting)
    by_hand = 4 * (n + 5 * bill["trainable"])
    print(f"{key:18} by hand {by_hand / 1e6:.1f} MB, by code {counted / 1e6:.1f} MB")
    assert abs(counted / by_hand - 1) < 0.01

# %% [markdown]
# The activations are what the formula leaves out: inputs of layers, kept for the backward. They grow with the tokens of a batch.
# Below, each method with few tokens and with many; dots are measured by `tracemalloc` in real training.
#
# **Predict:** with many tokens, how many of full fine-tuning's activations does LoRA beside all layers keep?
#
# <details><summary>Answer</summary>Nearly all. It forms no dW, but each A needs its layer's input for dA, and what GELU, norms and attention keep serves dx.</details>

# %%
model32 = minipeft.GPT2.from_pretrained("weights/tiny")


def measured(method, sequences, length):  # the peak of real training, in bytes
    ids = np.random.default_rng(0).integers(0, 1000, (sequences, length)).tolist()
    pairs = [(row[: length // 2], row[length // 2 :]) for row in ids]
    with memory.tracing():
        peft = minipeft.PeftModel(model32, method)
        minipeft.train(peft, pairs, steps=3, batch_size=sequences, progress=False)
        return memory.nbytes(model32.weights) + tracemalloc.get_traced_memory()[1]


# %%
measured(minipeft.LoRA(), 2, 32)  # once in vain: what is made only once is made now
dots = [measured(method, *size) for method in methods.values() for size in sizes.values()]
off = [abs(dot / bill["total"] - 1) for dot, bill in zip(dots, bills.values(), strict=True)]
print("prediction and measurement agree within a tenth:", max(off) < 0.1)
assert max(off) < 0.15
kept = [bill["parts"]["activations"]["in_all"] / 1e6 for bill in bills.values()]

# %%
with picture(
    "Few tokens: what trains decides the bill. Many tokens: the activations do.", 7.5, 3.2
) as f:
    axes = f.subplots()
    bars(axes, bills)
    axes.plot(
        [dot / 1e6 for dot in dots], list(bills), "o", color="white", markeredgecolor=BASE
    )

# %% [markdown]
# With many tokens full fine-tuning keeps {{kept[1]:.0f}} MB of activations, and LoRA {{kept[3]:.0f}}: each $A$ needs its layer's input for $dA$. LoRA saves
# the rest of the bill: copy, gradients, the optimiser's state, and the best so far.
#
# ## On a real model the bill is what decides
#
# The prediction needs only the shape. GPT-2 small, two sequences of 64 tokens; the last bar keeps each block's input alone, and runs the block again
# before its backward (`checkpointing`).

# %%
small, batch = config_of_size("gpt2"), memory.uniform_batch(2, 64, labelled=32)
real = {name: memory.predict(small, method, batch) for name, method in methods.items()}
real["LoRA, checkpointing"] = memory.predict(small, lora_method, batch, checkpointing=True)

# %%
totals = [bill["total"] for bill in real.values()]
with picture(
    f"GPT-2 small: full fine-tuning takes {totals[0] / totals[1]:.1f} times LoRA's memory.",
    7.5,
    2.6,
) as f:
    bars(f.subplots(), real)

# %% [markdown]
# Time is another bill. A forward takes one product for each weight, a full backward two, $dx$ and $dW$. With frozen weights $dW$ falls away.
#
# **Predict:** by how much is a LoRA step cheaper than a full one?
#
# <details><summary>Answer</summary>By less than a third: one product of three is saved, and the small ones of A and B are added.</details>

# %%
batch = minipeft.pack([(encode(r["prompt"]), encode(r["completion"])) for r in rows[:8]])
work = {name: flops.step_flops(peft, batch) for name, peft in pefts.items()}
step_cost = {name: w["forward"] + w["backward"] for name, w in work.items()}
cheaper = 1 - step_cost["LoRA"] / step_cost["full"]
assert 0 < cheaper < 1 / 3

# %%
with picture(f"A LoRA step has {cheaper:.0%} less arithmetic than a full one.", 7, 2.2) as f:
    axes, forward = f.subplots(), [w["forward"] / 1e9 for w in work.values()]
    axes.barh(list(work), forward, color=FROZEN, label="forward")
    backward = [w["backward"] / 1e9 for w in work.values()]
    axes.barh(list(work), backward, left=forward, color=TRAINED, hatch="//", label="backward")
    axes.set(xlabel="billion operations a step")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))

# %% [markdown]
# ## What was shown
#
# 1. Full fine-tuning trains a copy of everything; the base stays as it was, and there is nothing to merge.
# 2. AdamW divides a running mean by a running size: the first step is the rate, whatever the gradient. Its decay is a share of each number.
# 3. Memory that lasts is $4(n + 5 n_t)$ bytes: each number that trains adds five to the bill.
# 4. Activations grow with the tokens, and LoRA beside all layers keeps nearly all of them.
# 5. A LoRA step saves {{cheaper:.0%}} of the arithmetic here, and most of the memory on a large model with few tokens.
#
# **Three changes to try.** Set `sizes` to `(2, 32)` and `(64, 64)`: LoRA's and full fine-tuning's long bars come nearer to each other. Set both betas of `adamw` in the decay example to zero
# (`b1=0, b2=0`): the left lines are straight until they reach zero. Take `minipeft.BitFit()` for
# `lora_method`: the long bar is shorter than LoRA's, for a bias needs no input for its gradient.
#
# **Read next:** `minipeft/optim.py` and `minipeft/cost/memory.py`. **Write it yourself:** `minipeft check 17`, one step of AdamW.
#
# One honest limit: NumPy's account. Python and its libraries come on top, PyTorch keeps other things, and a GPU's allocator rounds up.
