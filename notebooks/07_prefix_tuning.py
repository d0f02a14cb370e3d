# %% [markdown]
# # Prefix tuning: keys and values that no token has made
#
# Prefix tuning (Li & Liang 2021) puts trained rows in front of the keys and values of every layer. This page shows what such rows are, why zeros
# are not nothing, how their gradient is found, and where attention goes after training.
#
# Runs in {{runtime}} on one core. In pictures grey is frozen and orange is trained.
#
# For the real GPT-2 change the line that loads the model to `from_pretrained("gpt2")`; on a GPU add `device="cuda"`.

# %%
import numpy as np

import minipeft
from minipeft import gpt2, ops
from minipeft.tasks import TASKS
from minipeft.teaching import FROZEN, TRAINED, picture, show, site_map, to_scale

# %%
model = minipeft.GPT2.from_pretrained("weights/tiny", dtype="float64")
encode = lambda text: model.tokenizer.encode(text).ids
rows = TASKS["data-to-text"].rows("train", 400)
held_out = TASKS["data-to-text"].rows("validation", 24)
H, C, L = model.config.n_head, model.config.n_embd, model.config.n_layer

# %% [markdown]
# ## Attention can read keys that have no token
#
# Attention does not ask where a key comes from. So $P$ rows are put in front of the keys and values of the text, in every layer; nothing
# else is changed:
#
# $$K' = [P_k ; K] \qquad V' = [P_v ; V] \qquad o = \mathrm{softmax}\left(\frac{q K'^T}{\sqrt D} + mask\right) V'$$

# %%
rng = np.random.default_rng(0)
T, P, D = 4, 3, 5  # words, rows of the prefix, width of a head
q, K, V, do = (rng.normal(size=(T, D)) for _ in range(4))
P_k, P_v = rng.normal(size=(P, D)), rng.normal(size=(P, D))
mask = np.triu(np.full((T, P + T), -np.inf), 1 + P)  # every word sees the whole prefix


# %%
def attend(q, K, V, P_k, P_v):
    K, V = np.vstack([P_k, K]), np.vstack([P_v, V])  # (P + T, D)
    p = ops.softmax(q @ K.T / D**0.5 + mask[:, -len(K) :])  # (T, P + T)
    return p @ V, p


# %%
o, p = attend(q, K, V, P_k, P_v)
theirs, _ = ops.attention(
    q, np.vstack([P_k, K]), np.vstack([P_v, V]), [(0, T)], [(0, P + T)], 1
)
assert np.allclose(o, theirs)

# %% [markdown]
# The mask is the causal one, moved to the right by $P$: word $i$ sees all rows of the prefix, and the words up to itself. A row of the prefix asks nothing;
# there are no queries for it.

# %%
with picture(
    "Every word sees the three rows of the prefix, and the words up to itself.", 6.5, 2.6
) as f:
    axes = f.subplots()
    axes.imshow(np.where(p > 0, 1.0, 0.0), cmap="Greys", vmin=0, vmax=2.5)
    axes.imshow(
        np.where(np.arange(P + T) < P, 0.6, np.nan) * np.ones((T, 1)),
        cmap="Oranges",
        vmin=0,
        vmax=1,
    )
    axes.set(xlabel="key", ylabel="query", yticks=range(T))
    axes.set_xticks(range(P + T), [f"P{i}" for i in range(P)] + [f"w{i}" for i in range(T)])
    axes.grid(False)

# %% [markdown]
# In the model that is the third of four doors: behind `c_attn`, which makes queries, keys and values, and before attention itself. It is open in every layer, so
# a prefix needs no way through the layers below.

# %%
site_map("keys_values", finding="A prefix comes in at the third site, before attention.")

# %% [markdown]
# The package's forward has two calls, one for keys and one for values. `prepend` puts the same rows in front of every sequence of the batch.

# %%
show(minipeft.PrefixTuning.keys_values)

# %%
peft = minipeft.PeftModel(model, minipeft.PrefixTuning(num_virtual_tokens=20))
by_hand = 20 * 2 * L * C
print(f"by hand 20 x 2 x {L} x {C} = {by_hand:,}, by code {peft.num_trainable:,}")
assert by_hand == peft.num_trainable

# %% [markdown]
# ## A prefix of zeros is not nothing
#
# **Predict:** LoRA with a factor of zeros is the base. Of the attention in layer 0, which share do 20 rows of zeros take: none, a hundredth, or more than a tenth?
#
# <details><summary>Answer</summary>More than a tenth. A key of zeros has the score 0, and e⁰ = 1 is not 0: each row takes its share of attention, and brings a value of zeros.</details>

# %%
ids = encode(rows[0]["prompt"])
zero = minipeft.PeftModel(model, minipeft.PrefixTuning(20, init_weights="zero"))
base_logits = model.logits([ids])[0]

# %% tolerance=0.02
moved = np.abs(zero.logits([ids])[0] - base_logits).max()
print(f"largest change of a logit under a prefix of zeros: {moved:.2f}")
assert moved > 1e-3

# %% [markdown]
# What part of attention do zeros take? All $P$ scores are 0, and the words' scores are $s_j$:
#
# $$share = \frac{P\,e^0}{P\,e^0 + \sum_j e^{s_j}} = \frac{P}{P + \sum_j e^{s_j}}$$
#
# We check it in layer 0, for each head, against what the package measures. The text begins at position $P$ now, so the queries and keys are taken there.

# %%
w = model.weights
x = w["wte.weight"][ids] + w["wpe.weight"][20 : 20 + len(ids)]  # (T, C)
a, _ = ops.layer_norm(x, w["h.0.ln_1.weight"], w["h.0.ln_1.bias"], 1e-5)
qkv = a @ w["h.0.attn.c_attn.weight"] + w["h.0.attn.c_attn.bias"]  # (T, 3C)

# %%
queries, keys = (ops.heads(part, H) for part in np.split(qkv, 3, axis=1)[:2])  # (H, T, D)
scores = queries @ keys.transpose(0, 2, 1) * (C // H) ** -0.5  # (H, T, T)
words = np.tril(np.exp(scores)).sum(2)  # (H, T): the sum over the words that each query sees
share = lambda P: P / (P + words)

# %%
measured = zero.attention_to_virtual_tokens(minipeft.pack([([], ids)]))[0]  # (H,)
assert np.allclose(share(20).mean(1), measured)
print("equal in all heads: share by the formula, and as measured")

# %% [markdown]
# A prefix of one row of zeros is the least there can be. Even that row is one key more, and its share falls only as the words that a query sees
# become more, or their scores larger.

# %%
with picture(
    "Zeros take a share at every word, and more of them take a larger one.", 7.5, 3
) as f:
    axes = f.subplots()
    for P_, dash in ((1, ":"), (5, "--"), (20, "-")):
        seen = np.arange(1, len(ids) + 1)
        axes.plot(seen, share(P_).mean(0), dash, color=TRAINED, marker="", label=f"P = {P_}")
        even = P_ / (P_ + seen)
        axes.plot(seen, even, dash, color=FROZEN, marker="", linewidth=1)
    axes.set(xlabel="words that the query sees", ylabel="share of attention", ylim=(0, 1))
    axes.legend()

# %% [markdown]
# Orange is the mean over the heads of layer 0; grey is what it were if every key got as much.
#
# Zeros are not the only change: the text also moves $P$ positions on. We run the base with shifted positions alone, to see how much is due to that.

# %% tolerance=0.02
ids_, layout = np.array(ids), minipeft.pack([([], ids)]).layout
shifted, _, _ = gpt2.forward(ids_, layout.shifted(20), model.step())
by_position = np.abs(gpt2.logits(shifted, model.step()) - base_logits).max()
print(f"positions alone {by_position:.2f}, positions and zeros {moved:.2f}")

# %% [markdown]
# Positions alone move a logit by up to {{by_position:.1f}}, both together by {{moved:.1f}}. So the change must not be put down to the zeros alone.
#
# ## A prefix made from a text is that text
#
# Keys and values of a text are all that later words ever see of it.
#
# **Predict:** we read a finished example first, or take its keys and values for a prefix. How far are the logits of the prompt apart?
#
# <details><summary>Answer</summary>They are equal, to rounding: it is the same computation. Positions agree too, because the prompt begins at P in both.</details>

# %%
example = rows[1]["prompt"] + rows[1]["completion"]
read = encode(example)[:20]
text = minipeft.PeftModel(model, minipeft.PrefixTuning(20, init_text=tuple(read)))
as_text = model.logits([read + ids])[0][20:]  # the rows of the prompt
gap = np.abs(text.logits([ids])[0] - as_text).max()
print("a prefix from a text is that text:", bool(gap < 1e-9))
assert gap < 1e-9

# %% tolerance=0.02
apart = {
    key: np.abs(run.logits([ids])[0] - as_text).max(1)
    for key, run in {"zeros": zero, "from the text": text}.items()
}
with picture(
    "Made from a text, the prefix says at every word what reading says.", 7.5, 2.6
) as f:
    axes = f.subplots()
    axes.plot(apart["zeros"], "o--", color=FROZEN, markersize=4, label="a prefix of zeros")
    axes.plot(apart["from the text"], "o-", color=TRAINED, markersize=4, label="from the text")
    axes.set(xlabel="token of the prompt", ylabel="largest difference\nof a logit")
    axes.set_ylim(top=1.4 * apart["zeros"].max())
    axes.legend()

# %% [markdown]
# ## The gradient is attention's own, with more keys than queries
#
# Let $do = \partial \ell / \partial o$. All sums below run over the $P + T$ keys; rows of a prefix are rows like others.
#
# | step | rule |
# |---|---|
# | $dV' = p^T do$, $dp = do\,V'^T$ | $o = p V'$: a product has two gradients |
# | $dz_i = \sum_j dp_j\,p_j\,([i = j] - p_i)$ | derivative of softmax: $\partial p_j / \partial z_i = p_j ([i=j] - p_i)$ |
# | $dz = p\,(dp - \sum_j dp_j\,p_j)$ | the sum is taken apart: $j = i$, and the rest |
# | $dK' = dz^T q / \sqrt D$ | $z = q K'^T / \sqrt D$ is linear in $K'$ |
# | $dP_k$, $dP_v$: the first $P$ rows; summed over sequences | the same rows stand before each of them |

# %%
dV_all, dp = p.T @ do, do @ np.vstack([P_v, V]).T  # (P + T, D), (T, P + T)
dz_long = np.array(
    [(np.diag(row) - np.outer(row, row)) @ d for row, d in zip(p, dp, strict=True)]
)
dz = p * (dp - (dp * p).sum(1, keepdims=True))  # (T, P + T)
assert np.allclose(dz, dz_long)
dP_k, dP_v = (dz.T @ q / D**0.5)[:P], dV_all[:P]


# %%
def slope(f, array, step=1e-5):
    """Differences of f(), one number of `array` at a time."""
    grad = np.zeros_like(array)
    for i in np.ndindex(array.shape):
        kept, values = array[i], []
        for t in (step, -step):
            array[i] = kept + t
            values.append(f())
        array[i] = kept
        grad[i] = (values[0] - values[1]) / (2 * step)
    return grad


# %%
loss = lambda: (attend(q, K, V, P_k, P_v)[0] * do).sum()
for gradient, array in ((dP_k, P_k), (dP_v, P_v)):
    assert np.allclose(gradient, slope(loss, array))
print("the gradients of keys and values equal differences")

# %% [markdown]
# The package takes the gradients of all keys and values, cuts off the rows of the prefix, and hands the rest on to the words. Nothing goes to $x$: no token
# had a part in the prefix.

# %%
show(minipeft.PrefixTuning.keys_values_backward)

# %% [markdown]
# One prefix serves the whole batch. So its gradient over two sequences is the sum of what each gives alone, each counted with its number of tokens.

# %%
two = [([5, 6, 7], [8, 9]), ([9], [6, 8, 7])]
sums = lambda pairs: peft.loss_and_grad_sums(minipeft.pack(pairs))[2]["prefix_embeddings"]
assert np.allclose(sums(two), sums(two[:1]) + sums(two[1:]))
print("two sequences at once give the sum of both")

# %%
errors = minipeft.gradcheck(peft, minipeft.pack(two), elements=4)
print("gradcheck of the whole model below 1e-7:", max(errors.values()) < 1e-7)
assert max(errors.values()) < 1e-7

# %%
_, grads = peft.loss_and_grads(minipeft.pack(two))
sizes = np.linalg.norm(grads["prefix_embeddings"].reshape(20, L, 2, C), axis=(0, 3))  # (L, 2)
with picture("Keys and values get gradients of their own, in every layer.", 7, 2.5) as f:
    axes = f.subplots()
    axes.bar(
        np.arange(L) - 0.2, sizes[:, 0], 0.4, color=TRAINED, edgecolor="black", label="keys"
    )
    axes.bar(
        np.arange(L) + 0.2, sizes[:, 1], 0.4, color="white", edgecolor=TRAINED, label="values"
    )
    axes.set(xlabel="layer", ylabel="norm of the gradient", xticks=range(L))
    axes.legend()

# %% [markdown]
# ## The network that makes the table goes after training
#
# Li & Liang found the table hard to train by itself, and let a small network make it: $table = \tanh(E W_0 + b_0) W_2 + b_2$. It runs once per step. Its
# backward is two linear layers with $\tanh' = 1 - f^2$ between them.
#
# $$dW_2 = f^T d_{table} \qquad dW_0 = E^T\left(d_{table} W_2^T\,(1 - f^2)\right)$$

# %%
E, W0, W2 = (rng.normal(size=size) for size in [(3, 4), (4, 6), (6, 5)])
dtable = rng.normal(size=(3, 5))
f_ = np.tanh(E @ W0)
dW2, dW0 = f_.T @ dtable, E.T @ (dtable @ W2.T * (1 - f_ * f_))

# %%
made = lambda: ((np.tanh(E @ W0) @ W2) * dtable).sum()
assert np.allclose(dW2, slope(made, W2)) and np.allclose(dW0, slope(made, W0))

# %%
network = minipeft.PrefixTuning(20, prefix_projection=True)
with_network = minipeft.PeftModel(model, network)
by_hand = 20 * C + (C * C + C) + (C * 2 * L * C + 2 * L * C)
assert by_hand == with_network.num_trainable
print(f"{by_hand:,} numbers train, {20 * 2 * L * C:,} remain")

# %% [markdown]
# With the sizes to scale one sees where the numbers are: nearly all in the last matrix, which makes every layer's keys and values from rows as wide
# as the model.

# %%
with picture(
    "To scale: E, W_0 and W_2 train and go; the table that they make stays.", 8, 2.6
) as f:
    gone = (
        ("E", 20, C, TRAINED),
        "",
        "",
        ("W_0", C, C, TRAINED),
        "",
        ("W_2", C, 2 * L * C, TRAINED),
    )
    to_scale(f.subplots(), *gone, "=", ("table", 20, 2 * L * C, TRAINED))

# %% [markdown]
# ## After training each head gives the prefix a share of its own
#
# Three beginnings, the same 60 steps: a table of random numbers, the text of an example, and random numbers through the network.


# %%
def trained(method, learning_rate):
    peft = minipeft.PeftModel(model, method)
    settings = {"steps": 60, "batch_size": 4, "learning_rate": learning_rate}
    history = minipeft.train(peft, rows, progress=False, **settings)
    return peft, [step["loss"] for step in history.steps]


# %% tolerance=0.05
start_text = minipeft.PrefixTuning(20, init_text=tuple(read))
methods = {
    "random": (peft.method, 1e-1),
    "text": (start_text, 1e-1),
    "network": (network, 1e-2),
}
runs = {key: trained(*each) for key, each in methods.items()}
after = {key: minipeft.evaluate(run[0], held_out)["loss"] for key, run in runs.items()}
print("loss of held-out rows:", {key: round(loss, 2) for key, loss in after.items()})

# %% tolerance=0.05
lowest = min(after, key=after.get)
with picture(
    f"Training losses; on held-out rows the lowest is that of {lowest!r}.", 7.5, 3
) as f:
    axes = f.subplots()
    for (key, (_, losses)), dash in zip(runs.items(), ("-", "--", ":"), strict=True):
        smooth = np.convolve(losses, np.ones(5) / 5, "valid")
        axes.plot(smooth, dash, color=TRAINED, marker="", label=key)
    axes.set(xlabel="step (mean of five)", ylabel="loss", ylim=(0, None))
    axes.legend()

# %% [markdown]
# The network has done its work: `without_encoder` keeps the table it makes, and the model says the same. What is saved is as small as
# a table that trained by itself.

# %%
learnt = runs["network"][0]
flat, tensors = network.without_encoder(learnt.tensors)
kept = minipeft.PeftModel(model, flat)
kept.tensors["prefix_embeddings"][...] = tensors["prefix_embeddings"]
gap = np.abs(kept.logits([ids])[0] - learnt.logits([ids])[0]).max()
print(f"{learnt.num_trainable:,} numbers, then {kept.num_trainable:,}; same:", bool(gap < 1e-9))
assert gap < 1e-9

# %% [markdown]
# Where does attention go? The package gives, for each layer and head, the mean share that goes to the prefix.
#
# **Predict:** is the share the same in all heads?
#
# <details><summary>Answer</summary>It need not be, and it is not: each head has queries of its own. The numbers in the tiles are per cent.</details>

# %% tolerance=0.3
batch = minipeft.pack([(encode(r["prompt"]), encode(r["completion"])) for r in held_out])
shares = {key: runs[key][0].attention_to_virtual_tokens(batch) for key in ("text", "random")}
means = {key: share_.mean() for key, share_ in shares.items()}
print("mean share:", {key: f"{mean:.0%}" for key, mean in means.items()})

# %% tolerance=0.3
with picture(
    f"Attention to the prefix by head: {means['random']:.0%} where it began at random.",
    8,
    2.8,
) as f:
    for axes, (key, share_) in zip(f.subplots(1, 2), shares.items(), strict=True):
        axes.imshow(share_, cmap="Oranges", vmin=0, vmax=1, aspect="auto")
        for (i, j), value in np.ndenumerate(share_):
            axes.text(j, i, f"{100 * value:.0f}", ha="center", va="center", fontsize=9)
        axes.set(title=f"began with {key}", xlabel="head", yticks=range(L))
        axes.grid(False)
    f.axes[0].set(ylabel="layer")


# %%
def attention_maps(peft, ids):
    """(L, T, P + T): the attention weights of each layer, the mean over heads."""
    step = peft.step(grad_enabled=True)  # attention keeps its weights for a backward
    _, _, (_, *blocks) = gpt2.forward(np.array(ids), minipeft.pack([([], ids)]).layout, step)
    kept = [attention[3][-1] for attention, _ in blocks]
    return np.array([weights[0][0].mean(0) for weights in kept])


# %% [markdown]
# The same, word by word, for one prompt. Each row is a query and adds up to one; its left part went to the prefix. The shades are square roots, so
# that small weights can be seen.

# %%
maps = attention_maps(runs["random"][0], ids[:12])
assert np.allclose(maps.sum(2), 1)
with picture(
    "One prompt, layer by layer: left of the line is the prefix, in orange.", 8, 2.9
) as f:
    for layer, axes in enumerate(f.subplots(1, L, sharey=True)):
        prefix = np.where(np.arange(maps.shape[2]) < 20, maps[layer], np.nan)
        axes.imshow(maps[layer] ** 0.5, cmap="Greys", vmin=0, vmax=1, aspect="auto")
        axes.imshow(prefix**0.5, cmap="Oranges", vmin=0, vmax=1, aspect="auto")
        axes.axvline(19.5, color="black", linewidth=1)
        axes.set(title=f"layer {layer}", xlabel="key")
        axes.grid(False)
    f.axes[0].set(ylabel="query")

# %% [markdown]
# ## A prefix cannot be merged, and costs keys
#
# No weight of a plain GPT-2 makes keys without tokens. The package says so in one line. The price is paid at every call: each query meets $P$ more keys, and the text loses $P$ positions.

# %%
try:
    peft.merge_and_unload()
except minipeft.InputError as error:
    print(error)
left = model.config.n_positions - 20
print(f"positions left for text: {left}; bytes of keys and values: {4 * 20 * 2 * L * C:,}")

# %% [markdown]
# ## What was shown
#
# 1. A prefix is rows of keys and values. Attention reads them like those of words.
# 2. Zeros take $P / (P + \sum e^s)$ of attention; a prefix is never "off".
# 3. A prefix filled from a text is that text, to rounding.
# 4. Its gradient is attention's, of which the first $P$ rows are kept, summed over sequences.
# 5. The network that makes the table trains more numbers, and is thrown away.
#
# **Three changes to try.** Begin the `random` run with `init_weights="zero"`: after the same 60 steps its loss is higher. Train it at `1e-2` instead of `1e-1`: its
# loss ends far higher. Take another row than `rows[1]` for the text: the prefix is that text again, to rounding.
#
# **Read next:** `minipeft/methods/keys_values/prefix_tuning.py`. **Write it yourself:** `minipeft check 13` (the prefix), after `minipeft check 08` (attention).
#
# One honest limit: 60 steps of one task and one seed. Which beginning wins may change with the rate, and with more steps.
