# %% [markdown]
# # Adapters: small networks that edit the stream
#
# An adapter is a small MLP beside or behind a sublayer (Houlsby et al. 2019). Its kinds differ in what they read and where they write. Here are four of
# them, AdapterFusion, which mixes trained ones, and how far each moves the stream.
#
# Runs in {{runtime}} on one core. In pictures grey is frozen and orange is trained.
#
# For the real GPT-2 change the line that loads the model to `from_pretrained("gpt2")`; on a GPU add `device="cuda"`.

# %%
from dataclasses import replace

import numpy as np

import minipeft
from minipeft import gpt2
from minipeft.cost.flops import step_flops
from minipeft.methods.sublayer.bottleneck import bottleneck
from minipeft.reports.tune_report.probe import Watched, measure
from minipeft.tasks import TASKS
from minipeft.teaching import FROZEN, TRAINED, picture, show, site_map, to_scale

# %%
model = minipeft.GPT2.from_pretrained("weights/tiny", dtype="float64")
encode = lambda text: model.tokenizer.encode(text).ids
rows = TASKS["data-to-text"].rows("train", 400)
held_out = TASKS["data-to-text"].rows("validation", 24)
C, L, R_ = model.config.n_embd, model.config.n_layer, model.config.n_embd // 8

# %% [markdown]
# ## A bottleneck reads a row, narrows it, and adds to it
#
# Down to $R$ columns, an activation, up again to $C$. The letters: $u$ is what it reads, $D$ and $U$ are the two matrices, $d$ and $e$ their biases, $s$ a number.
#
# $$f(u) = s\,\bigl(\mathrm{relu}(u D + d)\,U + e\bigr)$$

# %%
rng = np.random.default_rng(0)
N, K, R, s = 5, 6, 2, 1.5  # rows, width, bottleneck
x, h, dy = (rng.normal(size=(N, K)) for _ in range(3))
D, d, U, e = (rng.normal(size=shape) for shape in [(K, R), R, (R, K), K])
f = lambda u: s * (np.maximum(u @ D + d, 0) @ U + e)

# %%
parts = {"down": D, "down_bias": d, "up": U, "up_bias": e}
theirs, _ = bottleneck(x, parts, "relu", s)
assert np.allclose(theirs, f(x))
show(bottleneck)

# %% [markdown]
# Its size is set by the reduction factor: $R = C / 8$ here. We count one by hand, and draw it to scale beside the MLP that it follows.

# %%
one = 2 * C * R_ + R_ + C
pfeiffer = minipeft.Adapter(reduction_factor=8)
count = minipeft.PeftModel(model, pfeiffer).num_trainable
print(f"one: {one:,} numbers; {L} layers by hand {L * one:,}, by code {count:,}")
assert L * one == count

# %%
with picture("To scale: an MLP of the model, and the bottleneck behind it.", 8, 2.8) as fig:
    mlp = ("c_fc", C, 4 * C, FROZEN), "", ("c_proj", 4 * C, C, FROZEN)
    to_scale(fig.subplots(), *mlp, "", ("D", C, R_, TRAINED), "", ("U", R_, C, TRAINED))

# %%
site_map(
    "sublayer",
    finding="Adapters come in at the fourth site, where a sublayer meets the stream.",
)

# %% [markdown]
# ## Three taps: behind the sum, behind the sublayer, or beside it
#
# Let $x$ be the stream before a sublayer and $h$ what the sublayer adds. What may an adapter read?
#
# $$Pfeiffer:\ h' = h + f(x + h) \qquad Houlsby:\ h' = h + f(h) \qquad parallel:\ h' = h + f(x)$$

# %%
kinds = {
    "Pfeiffer": minipeft.Adapter(reduction_factor=8),
    "Houlsby": minipeft.Houlsby(reduction_factor=16),
    "parallel": minipeft.ParallelAdapter(reduction_factor=8),
}
reads = {"Pfeiffer": lambda x, h: x + h, "Houlsby": lambda x, h: h, "parallel": lambda x, h: x}

# %% [markdown]
# Houlsby's stands behind both sublayers, so at half the width it has as many numbers. Each formula is computed by hand on random rows, and held against
# what the package makes of them:

# %%
for key, method in kinds.items():
    step = minipeft.PeftModel(model, method, seed=1).step()
    x_, h_ = rng.normal(size=(2, N, C))
    own = method.parts_at("h.0.mlp", step.tensors)
    change, _ = bottleneck(reads[key](x_, h_), own, method.non_linearity, method.scaling)
    there, _ = method.sublayer("h.0.mlp", x_, h_.copy(), step)
    assert np.allclose(there, h_ + change)
print("the three formulas are the package's")


# %% [markdown]
# Now drawn: the stream runs from left to right below, each sublayer reads it and adds to it. An adapter on the way down reads $h$; an arrow from the stream
# says that it reads $x$, too. The parallel one reads $x$ alone.


# %%
def box(axes, at, height, word, colour):
    edge = {"facecolor": colour, "edgecolor": "black"}
    axes.text(at, height, word, ha="center", va="center", bbox=edge, zorder=3)


def arrow(axes, begin, end):
    axes.annotate("", end, begin, arrowprops={"arrowstyle": "-|>", "color": TRAINED})


# %%
def tap(axes, title, places, read):
    axes.plot([0, 10], [0, 0], color="black", marker="")
    for name, at in (("attn", 1), ("mlp", 6)):
        axes.plot([at, at, at + 3, at + 3], [0, 2, 2, 0], color="black", marker="", linewidth=1)
        box(axes, at + 1.5, 2, name, FROZEN)
        if name in places:
            where = at + (1.5 if read == "x" else 3)
            box(axes, where, 1, "f", TRAINED)
            ends = {"x": [(at + 1.5, 0.8), (at + 3, 1)], "x + h": [(where, 0.8)], "h": []}[read]
            for begin, end in zip([(at + 1.5, 0), (at + 1.8, 1)], ends, strict=False):
                arrow(axes, begin, end)
    axes.set(title=f"{title}: f({read})", xlim=(-0.2, 10.2), ylim=(-0.5, 2.6))
    axes.axis("off")


# %%
with picture(
    "Pfeiffer has one tap a layer, Houlsby two, the parallel one stands beside the MLP.",
    8.5,
    2.4,
) as fig:
    panels = fig.subplots(1, 3)
    tap(panels[0], "Pfeiffer", ("mlp",), "x + h")
    tap(panels[1], "Houlsby", ("attn", "mlp"), "h")
    tap(panels[2], "parallel", ("mlp",), "x")

# %% [markdown]
# ## The gradient goes two ways: through the residual and through the bottleneck
#
# For Pfeiffer's, $y = h + f(u)$ with $u = x + h$. Write $z = uD + d$ and $a = \mathrm{relu}(z)$, so that $f = s\,(aU + e)$. From the last line to the first:
#
# | step | rule |
# |---|---|
# | $dg = s\,dy$ | $f = s\,g$ is linear in $g$ |
# | $dU = a^T dg$, $de = \sum_n dg$, $da = dg\,U^T$ | $g = aU + e$, a linear layer |
# | $dz = da\,[z > 0]$ | relu passes on where it was open |
# | $dD = u^T dz$, $dd = \sum_n dz$, $du = dz\,D^T$ | $z = uD + d$, a linear layer |
# | $dh = dy + du$, $dx = du$ | $h$ goes two ways, $x$ by way of $u$ alone |

# %%
u = x + h
z = u @ D + d
dz = s * dy @ U.T * (z > 0)  # (N, R)
dU, dD = np.maximum(z, 0).T @ (s * dy), u.T @ dz
dh, dx = dy + dz @ D.T, dz @ D.T


# %%
def slope(g, array, step=1e-6):
    """Differences of sum(g() * dy), one number of `array` at a time."""
    grad = np.zeros_like(array)
    for i in np.ndindex(array.shape):
        kept, values = array[i], []
        for t in (step, -step):
            array[i] = kept + t
            values.append((g() * dy).sum())
        array[i] = kept
        grad[i] = (values[0] - values[1]) / (2 * step)
    return grad


# %%
y = lambda: h + f(x + h)
for gradient, array in ((dU, U), (dD, D), (dh, h), (dx, x)):
    assert np.allclose(gradient, slope(y, array), atol=1e-7)
print("gradients of U, D, h and x equal differences")

# %% [markdown]
# **Predict:** someone forgets the residual and returns $dh = du$. Which gradients of the adapter at this place are wrong, and which in the layers below?
#
# <details><summary>Answer</summary>None at this place: D and U do not need it. Every one in the layers below: the frozen MLP now hears of the loss through the bottleneck alone, so its part is wrong. The stream still brings its own part down.</details>

# %%
print("dx is dh less the residual:", np.allclose(dh - dy, dx))
assert np.allclose(dh - dy, dx)
show(minipeft.Adapter.sublayer_backward)

# %%
batch = minipeft.pack([([5, 6, 7], [8, 9]), ([9], [6, 8, 7])])
reft = minipeft.LoReFT(r=8, prefix_positions=200, dropout=0)

# %% tolerance=1e9
for method in [*kinds.values(), reft]:
    worst = max(
        minipeft.gradcheck(minipeft.PeftModel(model, method), batch, elements=1).values()
    )
    print(f"{type(method).__name__:16} worst relative error {worst:.0e}")
    assert worst < 1e-7

# %% [markdown]
# ## Unchanged at the start? That depends on the first numbers
#
# **Predict:** three initialisations are in use. "bert" and "houlsby" draw small numbers for both matrices, "mam_adapter" sets $U$ to zero. Which begin as the base?
#
# <details><summary>Answer</summary>Only the last one, and that one exactly. Small numbers move the model a little.</details>

# %%
base = model.logits(batch.sequences)[0]
change = {}
for init in ("bert", "houlsby", "mam_adapter"):
    peft = minipeft.PeftModel(model, minipeft.Adapter(reduction_factor=8, init_weights=init))
    change[init] = np.abs(peft.logits(batch.sequences)[0] - base).max()

# %%
assert change["mam_adapter"] == 0 < min(change["bert"], change["houlsby"])
with picture(
    "Only with U = 0 does the model begin as the base, and then exactly.", 7, 2.2
) as fig:
    axes = fig.subplots()
    axes.barh(list(change)[::-1], list(change.values())[::-1], color=TRAINED)
    axes.set(xlabel="largest change of a logit, before training")

# %% [markdown]
# ## LoReFT edits the stream in a few directions alone
#
# LoReFT (Wu et al. 2024) takes the stream $y = x + h$ behind the MLP and replaces what lies in a subspace of $R$ directions, the orthonormal columns of $Q$:
#
# $$y' = y + (y W + b - y Q)\,Q^T \qquad Q^T Q = I_R$$

# %%
W, b = rng.normal(size=(K, R)), rng.normal(size=R)
Q, _ = np.linalg.qr(rng.normal(size=(K, R)))

# %%
edit = lambda: x + (x @ W + b - x @ Q) @ Q.T
assert np.allclose(edit() @ Q, x @ W + b)  # inside the subspace: replaced
assert np.allclose(
    edit() @ (np.eye(K) - Q @ Q.T), x @ (np.eye(K) - Q @ Q.T)
)  # outside: as it was

# %% [markdown]
# | step, with $t = yW + b - yQ$ | rule |
# |---|---|
# | $dt = dy'\,Q$ | $y' = y + t Q^T$ is linear in $t$ |
# | $dW = y^T dt$, $db = \sum_n dt$ | $t$ is linear in both |
# | $dQ = dy'^T t - y^T dt$ | $Q$ is used twice: in $tQ^T$ and in $-yQ$ |
# | $dy = dy' + dt\,W^T - dt\,Q^T$ | $y$ is used three times |
#
# This is the gradient of a $Q$ that is free. A step along it would end $Q^T Q = I_R$. So the package makes $Q$ out of $R$ reflections, trains their
# vectors, and takes $dQ$ back through them (`minipeft/methods/sublayer/reflections.py`).

# %%
t, dt = x @ W + b - x @ Q, dy @ Q
derived = {
    "W": (x.T @ dt, W),
    "Q": (dy.T @ t - x.T @ dt, Q),
    "y": (dy + dt @ W.T - dt @ Q.T, x),
}
for gradient, array in derived.values():
    assert np.allclose(gradient, slope(edit, array), atol=1e-7)
print("gradients of W, Q and y equal differences")
by_hand = L * (2 * C * reft.r + reft.r)
print(f"LoReFT by hand {by_hand:,}, by code {minipeft.PeftModel(model, reft).num_trainable:,}")
assert by_hand == minipeft.PeftModel(model, reft).num_trainable

# %% [markdown]
# ## Sixty steps, and how far each moves the stream
#
# All four train with the rates that the package's comparison uses. The three bottlenecks have nearly as many numbers; LoReFT has far fewer.


# %%
def trained(method, learning_rate, rows=rows):
    peft = minipeft.PeftModel(model, method)
    settings = {"steps": 60, "batch_size": 4, "learning_rate": learning_rate}
    minipeft.train(peft, rows, progress=False, **settings)
    return peft, minipeft.evaluate(peft, held_out)["loss"]


# %% tolerance=0.05
methods = {**kinds, "LoReFT": reft}
runs = {key: trained(m, m.about.learning_rate) for key, m in methods.items()}
before = minipeft.evaluate(minipeft.PeftModel(model), held_out)["loss"]
for key, (peft, loss) in runs.items():
    print(f"{key:9} {peft.num_trainable:7,} numbers  loss {before:.2f} -> {loss:.2f}")

# %% [markdown]
# So few steps favour what learns fast, and each rate is a choice. The bars say which came furthest here; they are not a ranking of the methods.

# %% tolerance=0.05
lowest = min(runs, key=lambda key: runs[key][1])
with picture(f"After 60 steps the lowest held-out loss is that of {lowest}.", 7, 2.4) as fig:
    axes = fig.subplots()
    labels = [f"{key}: {peft.num_trainable:,}" for key, (peft, _) in runs.items()]
    axes.barh(labels[::-1], [loss for _, loss in runs.values()][::-1], color=TRAINED)
    axes.set(xlabel="loss, held out")

# %% [markdown]
# Looking inside: how large is the edit $\lVert h' - h \rVert$, as a share of the stream $\lVert x + h \rVert$ that it is added to? The package measures it at every place, on
# held-out rows.

# %% tolerance=0.1
pairs = [(encode(row["prompt"]), encode(row["completion"])) for row in held_out]
many = minipeft.pack(pairs)
edits = {key: measure(peft, peft.step(), pairs).edits for key, (peft, _) in runs.items()}
share = {}
for key, places in edits.items():
    share[key] = {place: relative for place, (relative, tokens) in places.items() if tokens}
print({key: f"{max(places.values()):.0%} at most" for key, places in share.items()})

# %% tolerance=0.1
furthest = max(share, key=lambda key: max(share[key].values()))
with picture(
    f"How far each moves the stream by layer: {furthest} moves it furthest.", 8.5, 2.8
) as fig:
    for axes, (key, places) in zip(fig.subplots(1, 4, sharey=True), share.items(), strict=True):
        for kind, shift, colour in (("attn", -0.2, "#f6c39a"), ("mlp", 0.2, TRAINED)):
            heights = [100 * places.get(f"h.{i}.{kind}", 0) for i in range(L)]
            axes.bar(
                np.arange(L) + shift, heights, 0.4, color=colour, edgecolor="black", label=kind
            )
        axes.set(title=key, xlabel="layer", xticks=range(L))
    fig.axes[0].set(ylabel="edit, % of the stream")
    fig.axes[0].legend(title="after")

# %% [markdown]
# In how many directions does each edit? We collect $h' - h$ at one place for all words of the held-out rows, as a matrix, and look at its rank. LoReFT's must be $R = 8$;
# an adapter's is at most its width, and one more for the bias: relu may keep a column shut for all words.


# %%
def edits_at(peft, place="h.1.mlp"):
    """h' - h at one place (N, C), for every word of the held-out rows."""
    seen = []
    note = lambda name, x, before, after: seen.append((name, after - before))
    step = replace(peft.step(), method=Watched(peft.method, note))
    gpt2.forward(many.ids, many.layout, step)
    return dict(seen)[place]


# %%
ranks = {
    key: np.linalg.matrix_rank(edits_at(peft), tol=1e-9) for key, (peft, _) in runs.items()
}
print("directions of the edits:", {key: int(rank) for key, rank in ranks.items()})
assert ranks["LoReFT"] <= 8 and ranks["Pfeiffer"] <= R_ + 1

# %% tolerance=0.3
with picture(
    "Singular values of the edits at one place: LoReFT's end after eight.", 7.5, 3
) as fig:
    axes = fig.subplots()
    for key, (peft, _) in runs.items():
        values = np.linalg.svd(edits_at(peft), compute_uv=False)[:32]
        axes.semilogy(range(1, 33), np.maximum(values, 1e-9), ".-", label=key, markevery=1)
    axes.set(xlabel="direction", ylabel="singular value", ylim=(1e-2, None))
    axes.legend()

# %% [markdown]
# ## Fusion is attention over adapters that are there already
#
# AdapterFusion (Pfeiffer et al. 2021) keeps several trained adapters frozen and learns, at every place and for every word, how much of each to take:
#
# $$h' = h + \sum_i p_i\,a_i V \qquad p = \mathrm{softmax}_i\bigl((u Q + b) \cdot (a_i W + c)\bigr)$$
#
# Here $u = x + h$, and $a_i = f_i(u)$ is all that adapter $i$ would add. $Q$, $W$, $V$, $b$ and $c$ train.
#
# A second adapter is trained on another task, dialogue. Then both are fused.

# %% tolerance=0.05
other, _ = trained(
    minipeft.Adapter(reduction_factor=16), 2e-2, TASKS["dialogue"].rows("train", 400)
)
fusion = minipeft.AdapterFusion.of({"this": runs["Pfeiffer"][0], "other": other})
fused = minipeft.PeftModel(model, fusion)
by_hand = L * (3 * C * C + 2 * C)
print(f"{by_hand:,} numbers train by hand, by code {fused.num_trainable:,}")
assert by_hand == fused.num_trainable

# %%
with picture(
    "To scale: what fusion trains at a place, beside the two adapters that it weighs.", 8, 2.6
) as fig:
    square = [part for name in "QWV" for part in ((name, C, C, TRAINED), "")]
    pair = ("D_1", C, R_, FROZEN), "", "", ("D_2", C, C // 16, FROZEN)
    to_scale(fig.subplots(), *square, *pair)

# %% [markdown]
# Fusion trains more than what it fuses. It pays where several tasks have adapters already, and a new one may draw on all of them. The formula, once more by
# hand, at one place and on random rows:

# %%
x, h = rng.normal(size=(2, N, C))
t = {part: fused.tensors[f"h.0.mlp.fusion_{part}"] for part in ("query", "key", "value")}
a = np.array(
    [
        bottleneck(x + h, each.parts_at("h.0.mlp", fused.tensors), "relu", 1.0)[0]
        for each in fusion.adapters.values()
    ]
)  # (2, N, C)

# %%
scores = ((x + h) @ t["query"] * (a @ t["key"])).sum(2)  # (2, N); b and c are zero at first
p = np.exp(scores) / np.exp(scores).sum(0)
there, _ = fusion.sublayer("h.0.mlp", x, h.copy(), fused.step())
assert np.allclose(there, h + (p[:, :, None] * a).sum(0) @ t["value"])

# %% [markdown]
# **Predict:** the bias $c$ adds the same number to every score of a word. What is its gradient?
#
# <details><summary>Answer</summary>Zero, always: softmax does not see what all scores have in common. The cell asks the package.</details>

# %%
_, grads = fused.loss_and_grads(batch)
print("gradient of c is zero:", not grads["h.0.mlp.fusion_key_bias"].any())
assert not grads["h.0.mlp.fusion_key_bias"].any()
assert max(minipeft.gradcheck(fused, batch, elements=1).values()) < 1e-7

# %% tolerance=0.1
settings = {"steps": 60, "batch_size": 4, "learning_rate": 2e-3, "progress": False}
minipeft.train(fused, rows, **settings)
end = minipeft.evaluate(fused, held_out)["loss"]
print(f"loss {runs['Pfeiffer'][1]:.2f} with the first alone, {end:.2f} fused")

# %% tolerance=0.3
step = fused.step(grad_enabled=True)  # a site keeps its p for a backward
_, _, (_, *blocks) = gpt2.forward(many.ids, many.layout, step)
p = np.array([mlp_cache[-1][6].mean(0) for _, mlp_cache in blocks])  # (L, 2)
assert np.allclose(p.sum(1), 1)
print(f"mean weight of this task's adapter: {p[:, 0].mean():.0%}")

# %% [markdown]
# Which adapter does it listen to? The weights of every word and layer are kept for the backward; the bars are their means over the held-out rows.
# The loss is {{"lower" if end < runs["Pfeiffer"][1] else "higher"}} now than with the first alone. Both the mixing and the 60 steps more may have a part in that.

# %% tolerance=0.3
with picture(
    f"This task's adapter gets {p[:, 0].mean():.0%} of the weight, the other the rest.", 7, 2.6
) as fig:
    axes = fig.subplots()
    axes.barh(range(L), p[:, 0], color=TRAINED, edgecolor="black", label="this task's")
    axes.barh(
        range(L), p[:, 1], left=p[:, 0], color=FROZEN, edgecolor="black", label="dialogue's"
    )
    axes.set(xlabel="mean weight p", ylabel="layer", yticks=range(L), xlim=(0, 1.35))
    axes.set_xticks([0, 0.5, 1])
    axes.legend(loc="right")

# %% [markdown]
# ## None of them merges, so each costs a little at every call
#
# Between the two matrices stands an activation, and no weight of a plain GPT-2 computes that. LoReFT's edit is linear, but it comes behind the sum, where GPT-2 has no
# weight. So the work stays.

# %%
plain = step_flops(minipeft.PeftModel(model), many)["forward"]
extra = step_flops(runs["Pfeiffer"][0], many)["forward"] / plain - 1
print(f"Pfeiffer's adapters add {extra:.1%} to the products of a forward")
try:
    runs["Pfeiffer"][0].merge_and_unload()
except minipeft.InputError as error:
    print(error)

# %% [markdown]
# ## What was shown
#
# 1. An adapter is a bottleneck that adds to the stream; its kinds differ in what they read and where they stand.
# 2. The gradient goes through the residual and through the bottleneck; forget one, and only the layers below notice.
# 3. With $U = 0$ the model begins as the base; with small numbers it does not quite.
# 4. LoReFT edits in $R$ directions and leaves the others as they were.
# 5. Fusion weighs trained adapters word by word. None of these methods merges.
#
# **Three changes to try.** In `kinds`, give Pfeiffer's adapter `reduction_factor=64`: three columns wide, it makes edits in four directions at most, and ends at a higher loss. Set
# LoReFT's `r=1`: one direction, and a higher loss. Set its `prefix_positions=3`: only the first three tokens of a text are edited, and the loss is far higher.
#
# **Read next:** `minipeft/methods/sublayer/bottleneck.py`, then `adapter.py` beside it. **Write it yourself:** `minipeft check 15`.
#
# One honest limit: one task, one seed, 60 steps. How far an adapter moves the stream says little about how much that helps.
