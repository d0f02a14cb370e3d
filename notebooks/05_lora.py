# %% [markdown]
# # LoRA and its relatives: what a low rank can do, and what DoRA, IA3, VeRA and LoHa change
#
# A full fine-tuning is taken apart first: how many directions does its update need? Then five ways to train few numbers beside a frozen
# weight are written down, derived and measured on the same rows.
#
# Runs in {{runtime}} on one core. In pictures grey is frozen and orange is trained.
#
# For the real GPT-2 change the line that loads the model to `from_pretrained("gpt2")`; on a GPU add `device="cuda"`.

# %%
import numpy as np

import minipeft
from minipeft.tasks import TASKS
from minipeft.teaching import FROZEN, TRAINED, log_scale, picture, show, site_map, to_scale

model = minipeft.GPT2.from_pretrained("weights/tiny", dtype="float64")
task = TASKS["data-to-text"]
rows, held_out = task.rows("train", 400), task.rows("validation", 24)

# %% [markdown]
# Every method below is trained by these few lines: 60 steps of four examples, then the loss on rows that training has not shown.


# %%
def trained(method, learning_rate):
    peft = minipeft.PeftModel(model, method)
    settings = {"steps": 60, "batch_size": 4, "learning_rate": learning_rate}
    minipeft.train(peft, rows, progress=False, **settings)
    return peft, minipeft.evaluate(peft, held_out)["loss"]


# %% [markdown]
# ## A full fine-tuning's update lies mostly in a part of its directions
#
# All weights train for 60 steps on descriptions of places to eat. What is left of it is one matrix for each layer, $\Delta W = W_{after} - W_{before}$. How rich is it?

# %% tolerance=0.02
full, full_loss = trained(minipeft.Full(), 1e-3)
base_loss = minipeft.evaluate(minipeft.PeftModel(model), held_out)["loss"]
print(f"loss of held-out rows: {base_loss:.2f} before, {full_loss:.2f} after")

# %% [markdown]
# The singular value decomposition writes it as a sum of directions, the largest first:
#
# $$\Delta W = \sum_i \sigma_i\,u_i v_i^T \qquad \lVert\Delta W\rVert^2 = \sum_i \sigma_i^2$$
#
# **Predict:** the update below has 192 directions. How many of them hold nine tenths of it, and how many would it be for a random matrix?
#
# <details><summary>Answer</summary>Far fewer than half of the 192; a random matrix needs most of them. The cell prints both numbers.</details>

# %%
name = "h.1.mlp.c_fc"
update = full.weights[f"{name}.weight"] - model.weights[f"{name}.weight"]  # (I, O)
rng = np.random.default_rng(0)
noise = rng.normal(size=update.shape)
noise *= np.linalg.norm(update) / np.linalg.norm(noise)

# %% tolerance=0.1
singular = lambda M: np.linalg.svd(M, compute_uv=False)
sigma = {"update": singular(update), "noise": singular(noise)}
assert np.isclose((sigma["update"] ** 2).sum(), (update**2).sum())
below = {key: np.cumsum(s**2) < 0.9 * (s**2).sum() for key, s in sigma.items()}
print("directions for nine tenths:", {key: int(b.sum()) + 1 for key, b in below.items()})

# %% tolerance=0.1
with picture("The update's singular values fall fast; those of noise hardly fall.", 7, 3) as f:
    axes = f.subplots()
    count = np.arange(1, 193)
    axes.plot(count, sigma["update"], "-", color=TRAINED, marker="", label="update")
    axes.plot(count, sigma["noise"], "--", color=FROZEN, marker="", label="noise, same size")
    axes.axvline(4, color="black", linewidth=1, label="rank 4")
    axes.set(xlabel="direction", ylabel="singular value")
    axes.legend()

# %% [markdown]
# Directions that are large need not be the ones that matter. So we test it: in every linear layer the update is cut to its largest
# $R$ directions, and the loss is measured again. The rest of the model stays as it was trained.


# %%
def cut(rank):
    weights = dict(full.weights)
    for layer in model.config.linear_layers():
        W = model.weights[f"{layer}.weight"]
        U, S, Vt = np.linalg.svd(weights[f"{layer}.weight"] - W, full_matrices=False)
        weights[f"{layer}.weight"] = W + (U[:, :rank] * S[:rank]) @ Vt[:rank]
    return minipeft.evaluate(minipeft.PeftModel(model.with_weights(weights)), held_out)["loss"]


# %% tolerance=0.03
ranks = [1, 2, 4, 8, 16]
cut_loss = {rank: cut(rank) for rank in [0, *ranks, 64, 192]}
print({rank: round(loss, 2) for rank, loss in cut_loss.items()})
assert np.isclose(cut_loss[192], full_loss)

# %% [markdown]
# Nothing of the update gives {{cut_loss[0]:.2f}}: embeddings, biases and norms were trained, too. Rank 16 gives {{cut_loss[16]:.2f}},
# and all of it {{full_loss:.2f}}. Training did not know that it would be cut. To train at a low rank from the beginning is another thing.
#
# ## LoRA trains a low rank from the beginning, and starts as the base
#
# LoRA (Hu et al. 2021) freezes $W$ and trains two thin matrices. Their product has rank $R$ at most.
#
# $$y = x W + b + s\,(x A)\,B \qquad s = \alpha / R$$

# %%
N, I, O, R, s = 4, 3, 5, 2, 1.5  # all different, so that a transposed matrix is noticed
x, W, b, dy = (rng.normal(size=shape) for shape in [(N, I), (I, O), O, (N, O)])
A, B = rng.normal(size=(I, R)), rng.normal(size=(R, O))
y = x @ W + b + s * (x @ A) @ B
assert np.allclose(y, x @ (W + s * A @ B) + b)

# %%
site_map("linear", finding="All five methods of this page act beside the linear layers.")

# %%
lora = minipeft.LoRA(r=4, lora_alpha=8, target_modules="all-linear")
peft = minipeft.PeftModel(model, lora)
by_hand = sum(4 * (I_ + O_) for I_, O_ in model.config.linear_layers().values())
print(f"by hand {by_hand:,}, by code {peft.num_trainable:,}")
assert by_hand == peft.num_trainable

# %% [markdown]
# The share that trains is {{peft.num_trainable / peft.num_parameters:.1%}} of all numbers. Drawn to scale, the two thin matrices are hardly more than lines beside $W$,
# and that is the whole point.

# %%
with picture("To scale: W of c_fc, and the two matrices of rank 4 beside it.", 7.5, 2.3) as f:
    A_and_B = ("A", 192, 4, TRAINED), "", ("B", 4, 768, TRAINED)
    to_scale(f.subplots(), ("W", 192, 768, FROZEN), "+ s", *A_and_B)

# %% [markdown]
# Three ways to start are common: $A$ uniform or normal with $B = 0$, and PiSSA, which moves the largest part of $W$ into $A$ and $B$ and takes
# it off $W$. None of them changes what the model says, the last one up to rounding.

# %%
batch = minipeft.pack([([5, 6, 7], [8, 9, 7]), ([9, 5], [6, 8])])
z = model.logits(batch.sequences)
for init in (True, "gaussian", "pissa"):
    one = minipeft.PeftModel(model, minipeft.LoRA(r=4, init_lora_weights=init))
    moved = max(
        np.abs(a - c).max() for a, c in zip(one.logits(batch.sequences), z, strict=True)
    )
    print(f"{init!s:9} exactly 0: {moved == 0!s:6} below 1e-9: {moved < 1e-9}")
    assert moved < 1e-9

# %% [markdown]
# **Predict:** with $B = 0$, which of the two gets a gradient in the first step? And what if $A$ were zero, too?
#
# <details><summary>Answer</summary>dA = xᵀ(s dy Bᵀ) is zero, dB = (s x A)ᵀ dy is not: B moves first. With both zero nothing ever moves.</details>

# %%
keys = [f"{name}.lora_A", f"{name}.lora_B"]
_, grads = peft.loss_and_grads(batch)
print("B = 0      : gradient not zero:", [bool(grads[k].any()) for k in keys])
peft.tensors[keys[0]][...] = 0
_, grads = peft.loss_and_grads(batch)
print("A = B = 0  : gradient not zero:", [bool(grads[k].any()) for k in keys])
assert not grads[keys[0]].any() and not grads[keys[1]].any()

# %% [markdown]
# The gradients, by way of the large matrix $V = W + sAB$ first, then as the package forms them:
#
# | the long way | rule | the short way |
# |---|---|---|
# | $dV = x^T dy$, of shape $(I, O)$ | $y = xV + b$ is linear in $V$ | never formed |
# | $dB = s\,A^T dV$ | $V$ is linear in $B$ | $= (s\,xA)^T dy = h^T dy$: brackets moved |
# | $dA = s\,dV\,B^T$ | $V$ is linear in $A$ | $= x^T (s\,dy\,B^T) = x^T dh$: the same |


# %%
def slope(f, array, step=1e-5):
    """Differences of sum(f() * dy): what any gradient below has to equal."""
    grad = np.zeros_like(array)
    for i in np.ndindex(array.shape):
        kept, values = array[i], []
        for t in (step, -step):
            array[i] = kept + t
            values.append((f() * dy).sum())
        array[i] = kept
        grad[i] = (values[0] - values[1]) / (2 * step)
    return grad


# %%
dV = x.T @ dy  # (I, O), as large as W
dA_long, dB_long = s * dV @ B.T, s * A.T @ dV
f_lora = lambda: x @ W + b + s * (x @ A) @ B
h, dh = s * (x @ A), s * (dy @ B.T)  # (N, R), both
dA, dB = x.T @ dh, h.T @ dy
assert np.allclose(dA, dA_long) and np.allclose(dB, dB_long)
assert np.allclose(dA, slope(f_lora, A)) and np.allclose(dB, slope(f_lora, B))
print("long way = short way = differences")

# %% [markdown]
# Why divide $\alpha$ by $R$? Each entry of $sAB$ is a sum of $R$ terms, and such a sum grows with $R$. Kalajdzievski 2023 (rsLoRA) divides by $\sqrt R$ instead.
# We take one step of AdamW and look at the size of $sAB$ in one layer.


# %% tolerance=0.05
def first_step(rank, use_rslora, layer="h.1.attn.c_attn"):
    method = minipeft.LoRA(r=rank, lora_alpha=8, use_rslora=use_rslora)
    one = minipeft.PeftModel(model, method)
    minipeft.AdamW(1e-2).step(one.trainable, one.loss_and_grads(batch)[1])
    A_, B_ = one.tensors[f"{layer}.lora_A"], one.tensors[f"{layer}.lora_B"]
    return round(float(np.linalg.norm(method.scaling(layer) * A_ @ B_)), 2)


print("alpha / R    :", {rank: first_step(rank, False) for rank in (1, 4, 16, 64)})
print("alpha / √R   :", {rank: first_step(rank, True) for rank in (1, 4, 16, 64)})

# %% [markdown]
# After the first step, $A$ and $B$ are still nearly independent: the sum grows like $\sqrt R$. Divided by $R$ the update shrinks as the rank grows, divided by
# $\sqrt R$ it stays about as large. So with another rank the first needs another rate.
#
# ## More rank helps, up to a point
#
# Five ranks, each trained for the same 60 steps, with $\alpha = 2R$, so that $s$ is the same for all. The dashed line is the full update,
# cut to that rank afterwards.

# %% tolerance=0.05
lora_of = lambda r: minipeft.LoRA(r=r, lora_alpha=2 * r, target_modules="all-linear")
swept = {r: trained(lora_of(r), 1e-2) for r in ranks}
lora_loss = {rank: loss for rank, (_, loss) in swept.items()}
print({rank: round(loss, 2) for rank, loss in lora_loss.items()})
assert lora_loss[1] - lora_loss[4] > lora_loss[4] - lora_loss[16]

# %% tolerance=0.05
better = "lower" if lora_loss[1] < cut_loss[1] else "higher"
with picture(f"At rank 1, trained LoRA has a {better} loss than the cut update.", 7, 3) as f:
    axes = f.subplots()
    axes.plot(
        ranks, [lora_loss[r] for r in ranks], "o-", color=TRAINED, label="LoRA of this rank"
    )
    axes.plot(ranks, [cut_loss[r] for r in ranks], "s--", color=FROZEN, label="full, cut to it")
    axes.axhline(full_loss, color="black", linewidth=1, label="full")
    axes.set(xlabel="rank R", ylabel="loss, held out")
    log_scale(axes, "x")
    axes.set_xticks(ranks, ranks)
    axes.legend()

# %% [markdown]
# From rank 1 to 4 the loss falls by {{lora_loss[1] - lora_loss[4]:.2f}}, from 4 to 16 by {{lora_loss[4] - lora_loss[16]:.2f}}, with four times the numbers in both cases. Rank 8 ends at
# {{lora_loss[8]:.2f}} and rank 16 at {{lora_loss[16]:.2f}}: in so few steps, at one rate for all, twice the numbers do not always bring much.
#
# ## DoRA gives each column a length of its own
#
# DoRA (Liu et al. 2024) splits each column of the weight into a direction and a length. LoRA turns the direction, a vector $m$ sets the length.
#
# $$V = W + s A B \qquad n_j = \lVert V_j \rVert \qquad y = (x V)\,\frac{m}{n} + b$$

# %%
V = W + s * A @ B
n = np.linalg.norm(V, axis=0)  # (O,): one length for each column
m = n * rng.uniform(0.5, 2, O)
f_dora = lambda n=n: x @ (W + s * A @ B) * (m / n) + b
merged_W = V * (m / n)
assert np.allclose(np.linalg.norm(merged_W, axis=0), m)
assert np.allclose(f_dora(), x @ merged_W + b)
print("the columns have the lengths m; at the start m = |W_j|, so nothing changes")

# %% [markdown]
# | step | rule |
# |---|---|
# | $y = u\,g + b$, $u = xV$, $g = m/n$: $du = dy\,g$ | product, column by column |
# | $dg = \sum_{rows} dy\,u$, so $dm = dg / n$ | $g_j$ serves all rows; $g$ is linear in $m$ |
# | $dh = s\,du\,B^T$, $dA = x^T dh$, $dB = h^T du$ | as LoRA, with $du$ for $dy$ |
# | $n$ is taken for a constant | by design (the paper says why): not the true derivative |

# %%
u, g = x @ V, m / n
du = dy * g  # (N, O)
dm = (dy * u).sum(0) / n
dA, dB = x.T @ (s * du @ B.T), h.T @ du

# %%
for gradient, array in ((dm, m), (dA, A), (dB, B)):
    assert np.allclose(gradient, slope(f_dora, array))
print("equal to differences with n held still")

# %% [markdown]
# **Predict:** if $n$ moves with $A$ and $B$, as in the forward it does, which part of the gradient must go?
#
# <details><summary>Answer</summary>Making V_j longer changes nothing then, since n_j divides it out. So what lies along V_j goes, and the cell shows that no more does.</details>

# %%
f_true = lambda: x @ (W + s * A @ B) * (m / np.linalg.norm(W + s * A @ B, axis=0)) + b
dV = x.T @ du
dV_true = dV - V * (V * dV).sum(0) / n**2
assert np.allclose(s * A.T @ dV_true, slope(f_true, B))
gap = np.linalg.norm(s * A.T @ dV_true - dB) / np.linalg.norm(dB)
print(f"the true gradient of B differs from DoRA's by {gap:.0%} of its size here")

# %%
show(minipeft.DoRA.linear_backward)

# %% [markdown]
# Does it matter? We compare what training did to columns: by how many degrees each was turned, and by how much it grew. The paper reports that
# full tuning and DoRA turn columns more where they stretch them less, and that LoRA does not.


# %%
def turned_and_stretched(peft, layer="h.1.attn.c_attn"):
    W = model.weights[f"{layer}.weight"]
    new = peft.merge_and_unload().weights[f"{layer}.weight"]
    before, after = np.linalg.norm(W, axis=0), np.linalg.norm(new, axis=0)
    cosine = (W * new).sum(0) / (before * after)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1))), 100 * (after / before - 1)


# %% tolerance=0.3
dora, dora_loss = trained(minipeft.DoRA(r=4, lora_alpha=8, target_modules="all-linear"), 1e-2)
columns = {"full": full, "LoRA": swept[4][0], "DoRA": dora}
columns = {key: turned_and_stretched(peft) for key, peft in columns.items()}
together = {key: np.corrcoef(a, np.abs(l))[0, 1] for key, (a, l) in columns.items()}
print("correlation of turning and stretching:", {k: f"{c:+.1f}" for k, c in together.items()})

# %% tolerance=0.3
widest = max(columns, key=lambda key: np.median(columns[key][0]))
with picture(f"Columns of one weight, a point each: {widest} turns them most.", 8, 3) as f:
    panels = f.subplots(1, 3, sharex=True, sharey=True)
    for axes, (key, (angle, length)) in zip(panels, columns.items(), strict=True):
        axes.plot(angle, length, ".", color=TRAINED, alpha=0.4, markersize=5, markevery=1)
        axes.set(title=key, xlabel="turned by (degrees)")
    panels[0].set(ylabel="longer by (%)")

# %% [markdown]
# {{"All three signs are" if together["full"] < 0 and together["DoRA"] < 0 < together["LoRA"] else "Not all three signs are"}} as the paper has them. The paper took means over all columns of the query matrices of VL-BART, a point for each layer
# and training step. Our points are single columns of one matrix after 60 steps: another question, and a small sample.
#
# ## IA3 and VeRA train vectors alone
#
# IA3 (Liu et al. 2022) trains a vector $l$, all ones at first. At `c_attn` it scales what leaves, $y = (xW + b)\,l$, and merges into the columns of $W$ and into $b$. At the MLP's
# `c_proj` it scales what enters, and merges into the rows of $W$. Its gradient is one line: $l_j$ multiplies column $j$ in every row, so
# $dl = \sum_n dy\,y_0$, where $y_0$ is the output before scaling. Both are checked:

# %%
l = rng.normal(size=O)
y0 = x @ W + b
f_ia3 = lambda: (x @ W + b) * l
dl = (dy * y0).sum(0)
assert np.allclose(dl, slope(f_ia3, l)) and np.allclose(f_ia3(), x @ (W * l) + b * l)

# %% [markdown]
# VeRA (Kopiczko et al. 2024) keeps LoRA's two matrices, but random, frozen, and shared by all layers. Each layer trains a scale for every
# direction and one for every output; $l = 0$ at first.
#
# $$y = x W + b + ((x A)\,d\,B)\,l$$

# %%
d = rng.normal(size=R)
f_vera = lambda: x @ W + b + ((x @ A) * d @ B) * l
q = x @ A  # (N, R)
c = (q * d) @ B  # (N, O), wide
assert np.allclose(f_vera(), x @ (W + (A * d) @ (B * l)) + b)

# %%
dl_long = (dy * c).sum(0)  # y = c l: a product
dh = (dy * l) @ B.T  # c is linear in h = q d
dd = (dh * q).sum(0)  # h = q d: a product again
assert np.allclose(dd, slope(f_vera, d)) and np.allclose(dl_long, slope(f_vera, l))
assert np.allclose(
    dl_long, (B * ((q * d).T @ dy)).sum(0)
)  # the package's way, without the wide c

# %%
with picture(
    "VeRA, to scale: the grey is shared by all layers; two lines train.", 7.5, 2.6
) as f:
    A_and_d = ("A", 192, 64, FROZEN), "", ("d", 1, 64, TRAINED), ""
    to_scale(f.subplots(), *A_and_d, ("B", 64, 768, FROZEN), "", ("l", 1, 768, TRAINED))

# %% [markdown]
# ## LoHa reaches a higher rank with as many numbers
#
# LoHa (Hyeon-Woo et al. 2022) multiplies two low-rank matrices entry by entry. The rank of such a product may be $R^2$.
#
# $$\Delta W^T = s\,(A_1 B_1) * (A_2 B_2)$$

# %%
shapes = [(30, 3), (3, 20), (30, 3), (3, 20)]
A1, B1, A2, B2 = (rng.normal(size=shape) for shape in shapes)
M1, M2 = A1 @ B1, A2 @ B2
print(
    "rank of each:",
    np.linalg.matrix_rank(M1),
    "- of the product:",
    np.linalg.matrix_rank(M1 * M2),
)
assert np.linalg.matrix_rank(M1 * M2) == 9

# %% [markdown]
# Its gradient: with $G = s\,(x^T dy)^T$, the gradient of the product, each factor gets $G$ times the other one ($dM_1 = G * M_2$), and from there it is
# LoRA's rule, $dA_1 = dM_1 B_1^T$ and $dB_1 = A_1^T dM_1$. The price is that $G$ is as large as $W$.

# %%
A1, B1, A2, B2 = (rng.normal(size=k) for k in [(O, R), (R, I), (O, R), (R, I)])
f_loha = lambda: x @ W + b + x @ (s * (A1 @ B1) * (A2 @ B2)).T
G = s * (dy.T @ x)  # (O, I)
dM1 = G * (A2 @ B2)
assert np.allclose(dM1 @ B1.T, slope(f_loha, A1)) and np.allclose(A1.T @ dM1, slope(f_loha, B1))
show(minipeft.LoHa.linear_backward)

# %% [markdown]
# ## All five merge, and each trains a small part of the numbers
#
# Now the package's own five, on the whole model: `gradcheck` for each, then 60 steps, then merged into a plain GPT-2.

# %% tolerance=1e9
kinds = minipeft.LoRA, minipeft.DoRA, minipeft.VeRA, minipeft.LoHa
small = [kind(r=2, target_modules=("mlp.c_fc",)) for kind in kinds]
for method in [*small, minipeft.IA3()]:
    errors = minipeft.gradcheck(minipeft.PeftModel(model, method), batch, elements=1)
    print(
        f"{type(method).__name__:5} {len(errors):2} tensors, worst {max(errors.values()):.0e}"
    )
    assert max(errors.values()) < 1e-7

# %% tolerance=0.05
runs = {"Full": (full, full_loss), "LoRA": swept[4], "DoRA": (dora, dora_loss)}
runs["LoHa"] = trained(minipeft.LoHa(r=2, alpha=4, target_modules="all-linear"), 3e-2)
runs["VeRA"] = trained(minipeft.VeRA(r=64, target_modules="all-linear"), 2e-1)
runs["IA3"] = trained(minipeft.IA3(), 2e-1)

# %% tolerance=0.05
for key, (peft, loss) in runs.items():
    merged = peft.merge_and_unload().logits(batch.sequences)
    pairs = zip(merged, peft.logits(batch.sequences), strict=True)
    assert all(np.allclose(a, c, rtol=0, atol=1e-8) for a, c in pairs)
    print(f"{key:5} trains {peft.num_trainable:9,}  loss {loss:.2f}  merged: the same")

# %% [markdown]
# Those that train vectors alone have the fewest numbers. Whether that is enough depends on the task, and on how many steps there are. Shorter bars are better.

# %% tolerance=0.05
with picture(f"What trains, and the loss; before training it was {base_loss:.1f}.", 7, 3) as f:
    axes = f.subplots()
    labels = [f"{key}: {peft.num_trainable:,}" for key, (peft, _) in runs.items()]
    axes.barh(labels[::-1], [loss for _, loss in runs.values()][::-1], color=TRAINED)
    axes.set(xlabel="loss, held out")

# %% [markdown]
# Looking inside, we see the rank of each update of one layer. LoRA's four directions and LoHa's four ($R^2$ with $R = 2$) end abruptly. DoRA scales whole
# columns, and VeRA's rank is 64, so theirs do not.

# %% tolerance=0.3
name = "h.1.attn.c_attn"
with picture("Singular values of each update: LoRA and LoHa stop at four.", 7, 3.2) as f:
    axes = f.subplots()
    for key, (peft, _) in list(runs.items())[:5]:
        change = (
            peft.merge_and_unload().weights[f"{name}.weight"] - model.weights[f"{name}.weight"]
        )
        values = np.linalg.svd(change, compute_uv=False)
        axes.semilogy(range(1, 13), np.maximum(values[:12], 1e-6), ".-", label=key, markevery=1)
    axes.set(xlabel="direction", ylabel="singular value", ylim=(1e-2, None))
    axes.legend(ncols=3)

# %% [markdown]
# AdamW keeps two numbers, $m$ and $v$, for each one that trains. So the optimiser's state shrinks by the same factor as what trains. We count it on
# the real arrays.

# %%
state = {}
for key in ("Full", "LoRA", "IA3"):
    peft, optimizer = runs[key][0], minipeft.AdamW()
    optimizer.step(
        {k: p.copy() for k, p in peft.trainable.items()}, peft.loss_and_grads(batch)[1]
    )
    state[key] = sum(a.nbytes for kept in (optimizer.m, optimizer.v) for a in kept.values())
    assert state[key] == 2 * 8 * peft.num_trainable  # float64 has 8 bytes
print({key: f"{size / 1e6:.2f} MB" for key, size in state.items()})

# %%
share = state["LoRA"] / state["Full"]
with picture(f"LoRA's optimiser state is {share:.1%} of full tuning's.", 7, 2.2) as f:
    axes = f.subplots()
    axes.barh(list(state)[::-1], [state[k] / 1e6 for k in state][::-1], color=TRAINED)
    axes.set(xlabel="m and v of AdamW, float64 (MB)")

# %% [markdown]
# ## What was shown
#
# 1. A full update needs a part of its directions for nine tenths of its size, noise needs most of them.
# 2. LoRA starts as the base because one factor is zero; with both zero it would never move.
# 3. DoRA's gradient holds the lengths still: it lacks nothing but the correction along each column.
# 4. IA3 and VeRA train vectors; LoHa's $R$ gives a rank of up to $R^2$, at the price of a matrix as large as $W$.
# 5. All merge into $W$; the optimiser's state is two numbers for each that trains.
#
# **Three changes to try.** In `lora_of`, set `target_modules=("c_attn",)`: fewer numbers train, and at every rank the loss is higher. Train it at `1e-3` instead of `1e-2`: after 60
# steps the loss is higher at every rank, and the assert under it fails, for more rank now helps as much from 4 to 16 as from 1 to 4. Set `name = "h.3.mlp.c_proj"` where the update is taken apart: another shape, and again far fewer
# directions than noise needs.
#
# **Read next:** `minipeft/methods/linear/dora.py`. **Write it yourself:** `minipeft check 09` (IA3), `minipeft check 10` and `minipeft check 11` (LoRA, merging),
# `minipeft check 16` (DoRA).
#
# One honest limit: 60 steps, one task, one seed and one rate for each method. The order of the methods is no ranking.
