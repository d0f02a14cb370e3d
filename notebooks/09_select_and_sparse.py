# %% [markdown]
# # Training a few of the weights that are there
#
# BitFit, layer-norm tuning, layer-wise and sparse fine-tuning add nothing to the model. They say which of its numbers may move: the biases, the norms, some
# blocks, or single weights that a mask picks.
#
# Runs in {{runtime}} on one core. In pictures grey is frozen and orange is trained.
#
# For the real GPT-2 change the line that loads the model to `from_pretrained("gpt2")`; on a GPU add `device="cuda"`.

# %%
from collections import Counter

import numpy as np

import minipeft
from minipeft import ops
from minipeft.cost.flops import step_flops
from minipeft.cost.memory import predict
from minipeft.data.batches import load_pairs
from minipeft.methods.select.importance import choose, fisher_information
from minipeft.tasks import TASKS
from minipeft.teaching import FROZEN, TRAINED, log_scale, picture, show, site_map

# %%
model = minipeft.GPT2.from_pretrained("weights/tiny", dtype="float64")
rows = TASKS["data-to-text"].rows("train", 300)
held_out = TASKS["data-to-text"].rows("validation", 24)
pairs, _ = load_pairs(rows, model)  # of token ids
C, L, F_ = model.config.n_embd, model.config.n_layer, 4 * model.config.n_embd

# %% [markdown]
# ## A mask says which numbers move, and their gradient is a part of what is there
#
# Of all weights $W$, laid flat, the places $i_1 \dots i_K$ train. What they gain is $v$, zero at first:
#
# $$W_{i_k} = W^0_{i_k} + v_k \qquad dv_k = dW_{i_k}$$
#
# | step | rule |
# |---|---|
# | $W_j = W^0_j + v_k$ where $j = i_k$, and $W_j = W^0_j$ elsewhere | the definition |
# | $\partial W_j / \partial v_k = 1$ where $j = i_k$, else $0$ | $W$ is linear in $v$ |
# | $dv_k = \sum_j dW_j\,\partial W_j / \partial v_k$ | chain rule: add up over all weights |
# | $dv_k = dW_{i_k}$ | one term of the sum is left |

# %%
rng = np.random.default_rng(0)
N, I, O, K = 4, 3, 5, 6  # rows, in, out, weights that train
x, dy, W0, b = (rng.normal(size=s) for s in [(N, I), (N, O), (I, O), O])
i = rng.choice(I * O, K, replace=False)
v, one_hot = np.zeros(K), np.eye(I * O)[i]  # (K, I O): the derivatives of W with respect to v

# %%
dW = x.T @ dy
dv_long = one_hot @ dW.ravel()  # the sum over all weights
dv = dW.ravel()[i]  # the one term
assert np.array_equal(dv, dv_long)
print(f"{len(dv)} of the {dW.size} numbers of dW are used")

# %% [markdown]
# Differences must say the same. The loss is $\sum y \cdot dy$, for then its gradient by $y$ is $dy$; one number of $v$ is moved at a time.


# %%
def slope(f, array, step=1e-6):
    """Differences of sum(f() * dy), one number of `array` at a time."""
    grad = np.zeros_like(array)
    for j in np.ndindex(array.shape):
        kept, values = array[j], []
        for t in (step, -step):
            array[j] = kept + t
            values.append((f() * dy).sum())
        array[j] = kept
        grad[j] = (values[0] - values[1]) / (2 * step)
    return grad


# %%
y = lambda: x @ (W0.ravel() + v @ one_hot).reshape(I, O) + b
assert np.allclose(dv, slope(y, v))

# %% [markdown]
# The package keeps the places and $v$. Before each forward it writes $W^0 + v$ into a private copy of $W$; after the backward it picks the numbers of $dW$.

# %%
show(minipeft.Sparse.finish)

# %% [markdown]
# None of the four sites is used: no door opens. The boxes themselves are orange, those whose own weights a method moves. Here are BitFit's, all that have a bias.

# %%
boxes = "ln_1", "c_attn", "attn.c_proj", "ln_2", "c_fc", "mlp.c_proj", "ln_f"
site_map(*boxes, finding="BitFit uses no door: it trains inside every box that has a bias.")

# %% [markdown]
# ## A bias needs no input, a norm's weight needs its own
#
# BitFit (Ben Zaken et al. 2022) trains every bias, LN-tuning (Zhao et al. 2024) weight and bias of every layer norm. For a linear layer $y = xW + b$ and a norm
# $y = \hat x\,w + b$:
#
# $$db = \sum_n dy_n \qquad dw = \sum_n dy_n\,\hat x_n$$
#
# | step | rule |
# |---|---|
# | $\partial y_{no} / \partial b_o = 1$ in every row $n$ | $b$ is added to each row |
# | $db_o = \sum_n dy_{no}$ | chain rule: add up over all $y$ that $b_o$ reaches |
# | $\partial y_{no} / \partial w_o = \hat x_{no}$ | $y$ is linear in $w$ |
# | $dw_o = \sum_n dy_{no}\,\hat x_{no}$ | as for $b$ |

# %%
w, c = rng.normal(size=(2, O))
z = rng.normal(size=(N, O))
xhat = (z - z.mean(1, keepdims=True)) / np.sqrt(z.var(1, keepdims=True) + 1e-5)
assert np.allclose(dy.sum(0), slope(lambda: x @ W0 + b, b))
assert np.allclose((dy * xhat).sum(0), slope(lambda: ops.layer_norm(z, w, c, 1e-5)[0], w))

# %% [markdown]
# There is no $x$ in $db$. So a linear layer whose bias trains keeps nothing of its input; one whose matrix trains keeps all of it.

# %%
_, (kept, *_) = ops.linear(x, W0, b, {"x", "bias"})
_, (kept_too, *_) = ops.linear(x, W0, b, {"x", "bias", "weight"})
print("for a bias it keeps", kept, "and for a matrix", kept_too.shape)
assert kept is None and kept_too is x

# %%
bitfit, ln = minipeft.BitFit(), minipeft.LNTuning()
by_hand = L * (C + 3 * C + C + C + F_ + C) + C, (2 * L + 1) * 2 * C
counts = [minipeft.PeftModel(model, method).num_trainable for method in (bitfit, ln)]
print("BitFit, LN-tuning by hand", list(by_hand), "by code", counts)
assert counts == list(by_hand)

# %% [markdown]
# One part of BitFit does nothing: the keys' third of `c_attn`'s bias. It adds the same $q \cdot b$ to all scores of a row, and softmax does not see what all have in common. Its
# true gradient is zero; where AdamW moves it all the same, it moves by rounding.

# %%
few = minipeft.pack([([5, 6, 7], [8, 9])])
_, grads = minipeft.PeftModel(model, bitfit).loss_and_grads(few)
q_part, k_part, v_part = np.abs(grads["h.1.attn.c_attn.bias"].reshape(3, C)).max(1)
print("zero for keys alone:", k_part < 1e-12 * max(q_part, v_part))
assert k_part < 1e-12 * max(q_part, v_part) and q_part > 0

# %% [markdown]
# **Predict:** what the methods must keep for the backward takes memory. Put full fine-tuning, BitFit, LN-tuning and one top block in order.
#
# <details><summary>Answer</summary>Full keeps most. BitFit keeps no input of a linear layer. LN-tuning is near it, and the top block keeps least: the blocks below have no backward.</details>

# %%
methods = {"full": minipeft.Full(), "LN-tuning": ln, "BitFit": bitfit}
methods["top block"] = minipeft.Layerwise(top=1)
batch = minipeft.pack(pairs[:8])

# %% times=true
parts = {key: predict(model.config, m, batch)["parts"] for key, m in methods.items()}
kept = {key: part["activations"]["in_all"] / 2**20 for key, part in parts.items()}
print({key: f"{size:.1f} MiB" for key, size in kept.items()})
assert kept["full"] > max(kept["BitFit"], kept["LN-tuning"]) > kept["top block"]

# %% times=true
with picture("Who trains matrices keeps their inputs; a bias does without.", 7, 2.4) as f:
    axes = f.subplots()
    axes.barh(list(kept)[::-1], list(kept.values())[::-1], color=TRAINED)
    axes.set(xlabel="kept for the backward, MiB (8 rows, float32)")

# %% [markdown]
# ## In layer-wise training depth decides price and rate
#
# Whole blocks train, the top ones or others. Layer $l$ of $L$ may have its own rate; the factor $\xi$ is at most 1 (Howard & Ruder 2018):
#
# $$\eta_l = \eta\,\xi^{L-l}$$
#
# AdamW's first step moves every number by its rate, whatever the gradient's size. So one step with gradients of 1 measures $\eta_l$.

# %%
eta, rates = 1e-2, {}
for xi in (1.0, 0.8, 0.5):
    method = minipeft.Layerwise(top=L, lr_decay=xi)
    weights = {f"h.{l}.ln_1.bias": np.zeros(C) for l in range(L)}  # block l is layer l + 1
    adam = minipeft.AdamW(eta, lr_scale=lambda name, m=method: m.lr_scale(name, model.config))
    adam.step(weights, {name: np.ones(C) for name in weights})
    rates[xi] = np.array([-w[0] for w in weights.values()])
    assert np.allclose(rates[xi], eta * xi ** np.arange(L - 1, -1, -1.0))

# %%
with picture("With ξ below 1, lower layers move in smaller steps.", 7, 2.6) as f:
    axes = f.subplots()
    shades = "#f9ddc5", "#f2a563", TRAINED
    for shift, colour, (xi, rate) in zip((-0.27, 0, 0.27), shades, rates.items(), strict=True):
        where, look = np.arange(1, L + 1) + shift, {"color": colour, "edgecolor": "black"}
        axes.bar(where, rate, 0.25, label=f"ξ = {xi}", **look)
    axes.set(xlabel="layer", ylabel="first step", xlim=(0.4, L + 1.9), xticks=range(1, L + 1))
    axes.legend(loc="right")

# %% [markdown]
# **Predict:** the top two and the bottom two blocks have as many numbers. Is a step equally expensive?
#
# <details><summary>Answer</summary>No. For the bottom two the gradient must come down through the whole model; for the top two the backward ends half-way.</details>

# %%
places = {f"top {n}": minipeft.Layerwise(top=n) for n in range(1, L + 1)}
places["bottom 2"] = minipeft.Layerwise(top=0, bottom=2)
cost = {}
for key, method in places.items():
    flops = step_flops(minipeft.PeftModel(model, method), batch)
    cost[key] = flops["backward"] / flops["forward"]
print(f"top 2: {cost['top 2']:.2f} forwards, bottom 2: {cost['bottom 2']:.2f}")
assert cost["top 2"] < cost["bottom 2"]

# %%
with picture("The backward's price depends on how deep it must go.", 7, 2.5) as f:
    axes = f.subplots()
    axes.barh(list(cost)[::-1], list(cost.values())[::-1], color=TRAINED)
    axes.axvline(1, color=FROZEN, linestyle="--")
    axes.set(xlabel="products of the backward, in forwards")

# %% [markdown]
# ## Fisher information says how far a weight moves the answers
#
# Move one weight by $\delta$, and the model's probabilities change from $p$ to $p(\delta)$. How much, is measured by the KL divergence $D(\delta)$:
#
# $$D(\delta) \approx \tfrac12\,\delta^2 F \qquad F = \sum_y p_y\,\bigl((\log p_y)'\bigr)^2$$
#
# | step | rule |
# |---|---|
# | $D(\delta) = \sum_y p_y\,(\log p_y - \log p_y(\delta))$, $D(0) = 0$ | the definition |
# | $D'(\delta) = -\sum_y p_y\,(\log p_y(\delta))'$ | only the last term depends on $\delta$ |
# | $D'(0) = -\sum_y p_y' = 0$ | $p\,(\log p)' = p'$; probabilities always add up to 1 |
# | $D''(0) = -\sum_y p_y\,(\log p_y)''$ | differentiate once more |
# | $D''(0) = \sum_y p_y\,((\log p_y)')^2 - \sum_y p_y''$ | $(\log p)'' = p''/p - ((\log p)')^2$ |
# | $D''(0) = F$ | the last sum is zero, for the same reason |
# | $D(\delta) \approx \tfrac12\,\delta^2 F$ | Taylor, to second order |

# %%
head, row = rng.normal(size=(I, O)), rng.normal(size=I)  # a model: probabilities of O answers


def p_after(delta, at=(1, 2)):
    moved = head.copy()
    moved[at] += delta
    return ops.softmax(row @ moved)


p = p_after(0)
dlogp = row[1] * ((np.arange(O) == 2) - p[2])  # of log p_y by head[1, 2], for every y
fisher = (p * dlogp**2).sum()

# %%
D = lambda delta: (p * np.log(p / p_after(delta))).sum()
assert np.isclose(D(1e-3), 0.5 * 1e-6 * fisher, rtol=1e-2)
deltas = np.linspace(-1.5, 1.5, 61)
with picture("Near zero the divergence is the parabola that F gives.", 7, 2.7) as f:
    axes = f.subplots()
    axes.plot(deltas, [D(d) for d in deltas], "-", marker="", label="D(δ)")
    axes.plot(deltas, 0.5 * deltas**2 * fisher, "--", marker="", label="½ δ² F")
    axes.set(xlabel="δ", ylabel="KL divergence")
    axes.legend()

# %% [markdown]
# A true $F$ asks the model for its own answers. The FISH mask (Sung et al. 2021) takes those of the data, which is cheaper and is called the empirical Fisher
# information: the mean of $(\nabla \log p(y|x))^2$ over examples.
#
# **Predict:** could one square the gradient of the whole batch, and save the loop?
#
# <details><summary>Answer</summary>No. Gradients of two examples may cancel, and then a weight that matters to both looks unimportant: (a + b)² is not a² + b².</details>

# %%
show(fisher_information)

# %%
name, full = "ln_f.bias", minipeft.PeftModel(model, minipeft.Full())
gradient = lambda some: full.loss_and_grad_sums(minipeft.pack(some))[2][name]
each = [gradient([pair]) for pair in pairs[:4]]
squares = np.mean([g**2 for g in each], axis=0)
assert np.allclose(squares, fisher_information(model, [name], pairs[:4])[name])
assert np.allclose(
    gradient(pairs[:4]), sum(each)
)  # the batch's is the sum: its square is another
assert not np.allclose(squares, gradient(pairs[:4]) ** 2 / 4, rtol=0.1)

# %% [markdown]
# ## Three masks of one size lie in very different places
#
# One weight in 200 may train, chosen among all weights of the model together: by chance, by magnitude $|W|$, or by Fisher information over 16 examples. In the picture
# each panel has a scale of its own; the dashed line is chance.

# %%
names, fraction = list(model.weights), 0.005
fisher = fisher_information(model, names, pairs[:16])
K = int(fraction * model.num_parameters)
masks = {
    kind: choose(model, names, K, kind, pairs[:16], np.random.default_rng(0))
    for kind in ("random", "magnitude", "fisher")
}
assert all(sum(map(len, mask.values())) == K for mask in masks.values())


# %%
def by_kind(numbers):
    """{"h.0.ln_1.bias": n, ...} -> {"ln_1.bias": the sum over blocks, ...}."""
    total = Counter()
    for name, n in numbers.items():
        total[name.split(".", 2)[-1] if name.startswith("h.") else name] += n
    return total


sizes = by_kind({name: model.weights[name].size for name in names})
found = {kind: by_kind({n: len(i) for n, i in mask.items()}) for kind, mask in masks.items()}
density = {kind: [n[k] / sizes[k] for k in sizes] for kind, n in found.items()}

# %%
with picture(
    f"Where each mask lies: the share of each kind that trains; chance gives {fraction:.1%}.",
    8.5,
    4.4,
) as f:
    for axes, (kind, share) in zip(f.subplots(1, 3, sharey=True), density.items(), strict=True):
        axes.barh(list(sizes)[::-1], [100 * s for s in share][::-1], color=TRAINED)
        axes.axvline(100 * fraction, color="black", linestyle="--", linewidth=1)
        axes.set(title=kind, xlabel="% trains")

# %% [markdown]
# Now inside one matrix, the one in which Fisher information picks most: every dot is a weight that trains. Look for rows and columns: a row belongs to one
# input, a column to one output. In a `c_attn` the three thirds of the outputs are queries, keys and values; in an `attn.c_proj` each 32 inputs are one head.
# A panel may be empty: that mask has nothing there.

# %%
inner = [f"{layer}.weight" for layer in model.config.linear_layers()]
most = max(inner, key=lambda name: len(masks["fisher"].get(name, ())))
shape = model.weights[most].shape

# %%
none = np.array([], int)
dots = {kind: np.unravel_index(mask.get(most, none), shape) for kind, mask in masks.items()}
numbers = ", ".join(f"{kind} {len(at[0])}" for kind, at in dots.items())
with picture(f"Weights that train in {most}: {numbers}.", 8.5, 3.6) as f:
    for axes, (kind, (down, across)) in zip(
        f.subplots(1, 3, sharey=True), dots.items(), strict=True
    ):
        axes.plot(across, down, ".", color=TRAINED, markersize=2, markevery=1)
        axes.set(title=kind, xlabel="output", xlim=(0, shape[1]), ylim=(shape[0], 0))
        axes.grid(False)
    f.axes[0].set(ylabel="input")

# %% [markdown]
# Is a large weight an important one? Each dot is a weight of the whole model, drawn by chance; those in Fisher's mask are orange. If magnitude told the importance,
# the cloud would be a line.

# %%
size = np.concatenate([np.abs(model.weights[name]).ravel() for name in names])
information = np.concatenate([fisher[name].ravel() for name in names])
least = np.sort(information)[-K]
common = np.mean(size[information >= least] >= np.sort(size)[-K])
print(f"of Fisher's mask {common:.1%} is in that of magnitude, too; chance: {fraction:.1%}")

# %%
drawn = np.random.default_rng(1).choice(size.size, 4000, replace=False)
orange = information[drawn] >= least
with picture(f"Fisher against magnitude: the masks share {common:.1%}.", 7, 3.4) as f:
    axes = f.subplots()
    for which, colour in ((~orange, FROZEN), (orange, TRAINED)):
        s, i_ = size[drawn][which], np.maximum(information[drawn][which], 1e-12)
        axes.loglog(s, i_, ".", color=colour, markersize=4, markevery=1)
    axes.set(xlabel="|W|", ylabel="Fisher information", xlim=(1e-5, None))

# %% [markdown]
# ## The choice decides how much the same number of weights can do
#
# First what must hold at the start: nothing has been moved. And `gradcheck`, on the whole model. (A mask of chance may hold a key's bias alone. Its gradient is zero, and the check would
# compare nothing but rounding; Fisher information never picks it.)

# %%
settings = {"fraction": fraction, "samples": 16, "examples": pairs}
runs = {kind: minipeft.Sparse(importance=kind, **settings) for kind in masks}
runs |= {"LN-tuning": ln, "BitFit": bitfit, "top block": minipeft.Layerwise(top=1)}
pefts = {key: minipeft.PeftModel(model, method) for key, method in runs.items()}
base = model.logits(few.sequences)[0]
for peft in pefts.values():
    assert np.array_equal(peft.logits(few.sequences)[0], base)

# %%
for key in ("fisher", "BitFit", "LN-tuning"):
    worst = max(minipeft.gradcheck(pefts[key], few, elements=1).values())
    assert worst < 1e-7, key
print("unchanged at the start, bit for bit; gradients right")

# %% [markdown]
# **Predict:** 60 steps each. Which of the three masks comes furthest, and does a mask beat the layer norms, which are fewer numbers?

# %%
before = minipeft.evaluate(minipeft.PeftModel(model), held_out)["loss"]
after = {}
for key, peft in pefts.items():
    settings = {"steps": 60, "batch_size": 4, "learning_rate": runs[key].about.learning_rate}
    minipeft.train(peft, pairs, progress=False, **settings)
    after[key] = minipeft.evaluate(peft, held_out)["loss"]

# %% tolerance=0.05
best = min(masks, key=after.get)
for key, peft in pefts.items():
    print(f"{key:10}{peft.num_trainable:8,} numbers  loss {before:.2f} -> {after[key]:.2f}")

# %% [markdown]
# <details><summary>Answer</summary>Of the three masks, {{best}} ends lowest, at {{after[best]:.2f}}. LN-tuning, with {{pefts['LN-tuning'].num_trainable:,}} numbers, ends at {{after['LN-tuning']:.2f}}. Each method has the rate that the package's comparison uses.</details>

# %% tolerance=0.05
with picture(f"Of three masks of one size, {best} ends lowest on held-out rows.", 7, 3) as f:
    axes = f.subplots()
    labels = [f"{key}: {peft.num_trainable:,}" for key, peft in pefts.items()]
    axes.barh(labels[::-1], list(after.values())[::-1], color=TRAINED)
    axes.axvline(before, color=FROZEN, linestyle="--")
    axes.set(xlabel="loss, held out; dashed: before")

# %% [markdown]
# Looking inside: how large is what each mask's weights gained, against what they were? AdamW moves all numbers by steps of like size. For the largest weights that is a small
# change, for small ones a large one.


# %% tolerance=0.3
def joined(key, end):
    tensors = pefts[key].tensors.items()
    return np.concatenate([np.abs(tensor) for name, tensor in tensors if name.endswith(end)])


change = {k: joined(k, "_values") / np.maximum(joined(k, "_start"), 1e-6) for k in masks}
print({key: f"{np.median(c):.2f} at the median" for key, c in change.items()})

# %% tolerance=0.3
widest = max(change, key=lambda key: np.median(change[key]))
with picture(
    f"Relative to what it was, a weight of the {widest} mask moves most.", 7, 2.8
) as f:
    axes = f.subplots()
    bins = np.logspace(-5, 4, 46)
    for key, c in change.items():
        axes.hist(np.maximum(c, 1e-5), bins, histtype="step", linewidth=1.8, label=key)
    axes.set(xscale="log", xlabel="|v| / |W0|", ylabel="weights")
    axes.legend()

# %% [markdown]
# ## Merging is nothing to do, and the saving is in state and file
#
# What trained are the base's own numbers, so a merged model has them, bit for bit, and no extra work. While training, a sparse mask still pays for
# all of $dW$; what it saves is AdamW's two numbers for each weight, and the file.

# %%
peft = pefts["fisher"]
merged = peft.merge_and_unload()
assert np.array_equal(merged.logits(few.sequences)[0], peft.logits(few.sequences)[0])
moved = sum(int((merged.weights[n] != model.weights[n]).sum()) for n in names)
assert moved <= K and step_flops(peft, batch) == step_flops(full, batch)

# %%
state = {"full": 8 * model.num_parameters, "a sparse mask": 8 * K}  # m and v, float32
file = {"full": 4 * model.num_parameters, "a sparse mask": (4 + 4) * K}  # v and int32 places
for key in state:
    print(f"{key:14} state {state[key]:12,} bytes, file {file[key]:11,} bytes")
assert peft.num_trainable == K

# %%
with picture("The optimiser's state and the file shrink with the mask.", 7, 2.2) as f:
    axes = f.subplots()
    axes.barh(
        [0.2, 1.2], [n / 1024 for n in state.values()], 0.38, color=TRAINED, label="state"
    )
    axes.barh(
        [-0.2, 0.8], [n / 1024 for n in file.values()], 0.38, color="#f6c39a", label="file"
    )
    axes.set_yticks(range(2), list(state))
    axes.set(xlabel="KiB")
    log_scale(axes, "x")
    axes.legend()

# %% [markdown]
# ## What was shown
#
# 1. A mask's gradient is a part of $dW$: $dv_k = dW_{i_k}$. All these methods begin as the base, exactly.
# 2. $db = \sum_n dy_n$ has no $x$ in it, so BitFit keeps no input of a linear layer.
# 3. Depth is price: the top two blocks cost {{cost['top 2']:.1f}} forwards going back, the bottom two {{cost['bottom 2']:.1f}}.
# 4. Fisher information is the curvature of the KL divergence; it must be squared example by example.
# 5. Fisher's mask and that of magnitude share {{common:.1%}}, and with one size the masks end at different losses.
#
# **Three changes to try.** Set `fraction = 0.05`: the random mask's loss falls far, for ten times the weights make the choice matter less. Set `"samples": 1` in `settings`: a mask from one example
# ends higher, and still well below chance. Give "top block" `top=0, bottom=1`: as many numbers, a backward through the whole model, and here a higher loss.
#
# **Read next:** `minipeft/methods/select/importance.py`, then `sparse.py` beside it. **Write it yourself:** `minipeft check 01` asks for $dW$ and $db$, of which all
# these methods take a part.
#
# One honest limit: one task, one seed, 60 steps, and a rate for each method. A mask that learns fast here need not be the best one at the end of a long training.
