# %% [markdown]
# # The backward pass: every derivative of GPT-2, first the long way, then the short one
#
# A backward pass answers one question for every number of a model: if it grew a little, how would the loss move? Here each
# operation's answer is derived line by line, written out in code, and compared with the package's short formula.
#
# Runs in {{runtime}} on one core. You need matrices and the chain rule. Forward values are black, gradients red.
#
# A model comes in half-way. For the real GPT-2 change the line with `from_pretrained` there; nothing here is large enough for a GPU.

# %%
import numpy as np

import minipeft
from minipeft import gpt2, ops
from minipeft.gradcheck import check_array
from minipeft.step import Step
from minipeft.teaching import BASE, FROZEN, GRADIENT, TRAINED
from minipeft.teaching import graph, heat, log_scale, picture, show

# %% [markdown]
# ## A gradient adds up over paths, and multiplies along each
#
# Take $u = x w$, $y = u + x$ and $\ell = \tfrac12 y^2$. From $x$ two paths lead to $\ell$, as around every sublayer of GPT-2. We go
# backwards, and write $dy$ for $\partial\ell/\partial y$.
#
# $$dx = \underbrace{dy \cdot w}_{\text{through } u} + \underbrace{dy}_{\text{beside it}}$$

# %%
x, w = 2.0, -3.0
u = x * w
y = u + x
loss = lambda x: (x * w + x) ** 2 / 2
# %%
dy = y  # the slope of y^2 / 2
du = dy  # y = u + x: a sum passes its gradient on, to both
dw = du * x  # u = x w
dx = du * w + dy  # two paths, two terms
print(f"dw = {dw:g}, dx = {du * w:g} + {dy:g} = {dx:g}")
assert abs((loss(x + 1e-6) - loss(x - 1e-6)) / 2e-6 - dx) < 1e-6  # how the loss moves if x does

# %% [markdown]
# The whole graph, with the value that goes forward on each edge in black, and the gradient that comes back in red. Each node knows
# its own slope and nothing else: that is all there is to backpropagation.

# %%
nodes = {"x": (0, 0), "w": (0, 1), "×": (1, 1), "+": (2, 0), "½y²": (3.2, 0), "ℓ": (4.4, 0)}
edges = [("w", "×", w, dw), ("x", "×", x, du * w), ("x", "+", x, dy), ("×", "+", u, du)]
edges += [("+", "½y²", y, dy), ("½y²", "ℓ", loss(x), 1)]
with picture(f"Two red numbers arrive at x, and add up to {dx:g}.", 7, 2.6) as f:
    graph(f.subplots(), nodes, [(a, b, f"{v:g}", f"{g:g}") for a, b, v, g in edges])

# %% [markdown]
# ## A linear layer needs two products and one sum
#
# | step | rule |
# |---|---|
# | $y_{no} = \sum_i x_{ni} W_{io} + b_o$ | the forward, with its indices |
# | $\partial y_{no}/\partial W_{io} = x_{ni}$, in every row $n$ | $y$ is linear in $W$ |
# | $dW_{io} = \sum_n x_{ni}\,dy_{no}$ | chain rule: add up over all $y$ that $W_{io}$ reaches |
# | $dx_{ni} = \sum_o dy_{no} W_{io}$ | the same for $x_{ni}$, which reaches all columns $o$ |
# | $db_o = \sum_n dy_{no}$ | $b_o$ is added to every row |
#
# The long way is these sums as they stand:


# %%
def linear_backward_long(dy, x, W):
    dx, dW, db = np.zeros_like(x), np.zeros_like(W), np.zeros(W.shape[1])
    for n, o in np.ndindex(*dy.shape):
        db[o] += dy[n, o]
        for i in range(len(W)):
            dW[i, o] += x[n, i] * dy[n, o]
            dx[n, i] += dy[n, o] * W[i, o]
    return dx, dW, db


rng = np.random.default_rng(0)
x, W, b, dy = (rng.normal(size=size) for size in [(4, 3), (3, 5), 5, (4, 5)])
long = linear_backward_long(dy, x, W)

# %% [markdown]
# Where one factor ends with an index and the next begins with it, the sum over it is a matrix product. So the loops become
#
# $$dx = dy\,W^T \qquad dW = x^T dy \qquad db = \sum_n dy_n$$

# %%
short = dy @ W.T, x.T @ dy, dy.sum(0)
for name, a, other in zip(("dx", "dW", "db"), long, short, strict=True):
    print(name, a.shape, "equal:", np.allclose(a, other))
    assert np.allclose(a, other)
# %%
show(ops.linear_backward)

# %% [markdown]
# That is the package's. `wants` is where fine-tuning saves: a frozen `W` needs no `dW`, so one of the two products is never done. To
# trust a gradient, we compare it with differences of the loss $\ell = \sum y \cdot dy$.


# %%
def right(f, array, grad):
    """Is grad the derivative of the number f() with respect to each entry of array?"""
    return check_array(f, array, grad, np.random.default_rng(1)) < 1e-7


loss = lambda: float((ops.linear(x, W, b)[0] * dy).sum())
verdicts = [right(loss, array, g) for array, g in zip((x, W, b), short, strict=True)]
print("dx, dW, db are derivatives:", verdicts)
assert all(verdicts)

# %% [markdown]
# An embedding is a linear layer in disguise: looking up row $v$ is the product of a one-hot row with the table. So its gradient is
# $\text{onehot}^T dy$. **Predict:** token 2 occurs twice below. What does its row of the gradient hold?
#
# <details><summary>Answer</summary>The sum of both rows of dy. A table's row collects from every place where it was used.</details>

# %%
ids, table, dy = np.array([2, 0, 2]), rng.normal(size=(4, 5)), rng.normal(size=(3, 5))
onehot = np.eye(4)[ids]  # (N, V)
dtable = ops.embedding_backward(dy, ops.embedding(ids, table, {"weight"})[1])["weight"]
assert np.allclose(dtable, onehot.T @ dy) and np.allclose(dtable[2], dy[0] + dy[2])
print("row 2 is dy[0] + dy[2]; rows of unseen tokens are zero:", not dtable[[1, 3]].any())

# %% [markdown]
# GELU works on each number alone, so its backward is a factor (dropout's too: the same mask again): $du = dy \cdot y'(u)$. With $t = \tanh(k(u + a u^3))$,
# $k = \sqrt{2/\pi}$ and $a = 0.044715$:
#
# | step | rule |
# |---|---|
# | $y = \tfrac12 u\,(1 + t)$ | the forward |
# | $y' = \tfrac12 (1 + t) + \tfrac12 u\,t'$ | product rule |
# | $t' = (1 - t^2) \cdot (k(u + a u^3))'$ | chain rule, $\tanh' = 1 - \tanh^2$ |
# | $t' = (1 - t^2)\,k\,(1 + 3 a u^2)$ | the derivative of a polynomial |

# %%
u = np.linspace(-4, 4, 161)
y, cache = ops.gelu(u, {"x"})
slope = ops.gelu_backward(np.ones_like(u), cache)
assert right(lambda: float(ops.gelu(u)[0].sum()), u, slope)
# %%
with picture(
    f"GELU's slope is not between 0 and 1: it reaches {slope.max():.2f}.", 7, 2.8
) as f:
    axes = f.subplots()
    axes.plot(u, y, "-", color=BASE, marker="", label="GELU")
    axes.plot(u, slope, "--", color=GRADIENT, marker="", label="its slope")
    axes.set(xlabel="u", ylim=(-0.5, 3))
    axes.legend()

# %% [markdown]
# ## Softmax ties all entries together
#
# One logit up, all other probabilities down. With $p_i = e^{z_i}/S$ and $S = \sum_j e^{z_j}$:
#
# | step | rule |
# |---|---|
# | $\partial e^{z_i}/\partial z_j = \delta_{ij}\,e^{z_i}$ | only $z_i$ occurs in $e^{z_i}$; $\delta_{ij}$ is 1 for $i = j$, else 0 |
# | $\partial S/\partial z_j = e^{z_j}$ | one term of the sum |
# | $\partial p_i/\partial z_j = (\delta_{ij} e^{z_i} S - e^{z_i} e^{z_j})/S^2$ | quotient rule |
# | $\partial p_i/\partial z_j = p_i\,(\delta_{ij} - p_j)$ | cancel $S$, twice |
#
# $$J = \mathrm{diag}(p) - p\,p^T$$

# %%
z = rng.normal(size=6)
p = ops.softmax(z)
J = np.diag(p) - np.outer(p, p)  # (6, 6)
assert all(right(lambda i=i: float(ops.softmax(z)[i]), z, J[i]) for i in range(6))
print("each column adds up to zero:", np.allclose(J.sum(0), 0))

# %%
with picture(
    "Off the diagonal it is negative: one entry's gain is the others' loss.", 7, 3
) as f:
    left, right_one = f.subplots(1, 2)
    heat(left, J, 0.25, title="diag(p) − p pᵀ", xlabel="z", ylabel="p")
    image = heat(right_one, np.diag(np.diag(J)), 0.25, title="the diagonal only", xlabel="z")
    f.colorbar(image, ax=f.axes, ticks=[-0.2, 0, 0.2])

# %% [markdown]
# A backward pass never forms $J$. It multiplies by $J^T$. This $J$ is symmetric, so $dz = J\,dp$, and that has a short form:
#
# $$dz = p \odot (dp - \textstyle\sum_j dp_j\,p_j)$$
#
# **Predict:** adding a constant to all logits changes nothing. So what must the entries of $dz$ add up to?
#
# <details><summary>Answer</summary>Zero, for every dp. With the diagonal only they do not: this is how to catch that mistake.</details>

# %%
dp = rng.normal(size=6)
dz = p * (dp - (dp * p).sum())
assert np.allclose(dz, J @ dp) and abs(dz.sum()) < 1e-12
mistake = p * (1 - p) * dp  # the diagonal only
print(f"sums: right {abs(dz.sum()):.3f}, diagonal only {mistake.sum():.3f}")

# %% [markdown]
# ## Softmax and cross-entropy together collapse into p − onehot
#
# The loss of a row is $\log S - z_{\text{label}}$. First the long way: the forward is cut into single operations, and every line of
# the backward undoes one of them, from the last to the first.

# %%
z, labels = rng.normal(size=(3, 6)), np.array([2, 0, 5])  # (M, V), (M,)
e = np.exp(z)
S = e.sum(1, keepdims=True)  # (M, 1)
log_S, at_label = np.log(S), z[np.arange(3), labels]  # (M, 1), (M,)
loss = log_S.sum() - at_label.sum()

# %%
dlog_S, dat_label = np.ones((3, 1)), -np.ones(3)  # a sum and a difference: slopes 1 and -1
dS = dlog_S / S  # log' = 1 / S
de = np.broadcast_to(dS, e.shape)  # a sum hands its gradient to each term
dz = de * e  # exp' = exp
dz[np.arange(3), labels] += dat_label  # z was used twice: add

# %% [markdown]
# $dS \cdot e$ is $e/S$, which is $p$. So all of this is
#
# $$dz = p - \text{onehot}(\text{label})$$

# %%
short = ops.softmax(z) - np.eye(6)[labels]
assert np.allclose(dz, short) and np.allclose(dz.sum(1), 0)
loss_of = lambda: float(-ops.log_softmax(z)[np.arange(3), labels].sum())
assert right(loss_of, z, short)
print("negative entries in each row:", (short < 0).sum(1))

# %% [markdown]
# The same on a real sentence, at the place where the label's probability is nearest to one half. The bars are the likeliest tokens and the
# label. A negative bar is a score that should rise, a positive one a score that should fall.

# %%
model = minipeft.GPT2.from_pretrained("weights/tiny", dtype="float64")
ids = model.tokenizer.encode("The White Oak is a pub near the river").ids
p = ops.softmax(model.logits([ids])[0][:-1])  # (T - 1, V): row t predicts token t + 1
t = 1 + np.abs(p[range(1, len(p)), ids[2:]] - 0.5).argmin()  # one token alone says little
dz, label = p[t].copy(), ids[t + 1]
dz[label] -= 1
top = [*[i for i in np.argsort(-dz) if i != label][:7], label]
words = [repr(model.tokenizer.decode([i])) for i in top]
assert abs(dz.sum()) < 1e-9 and (dz < 0).sum() == 1

# %%
with picture(f"Of {len(dz):,} entries one is negative, the label's: {words[-1]}.", 7, 3) as f:
    axes = f.subplots()
    axes.bar(range(len(top)), dz[top], color=GRADIENT)
    axes.set_xticks(range(len(top)), words, rotation=15)
    axes.set(ylabel="dz")

# %% [markdown]
# ## In a layer norm x goes three ways
#
# $y = \hat x\,w + b$ with $\hat x = (x - \mu)/\sigma$. But $\mu$ and $\sigma$ are made of $x$, too. The long way again, one operation a
# line; `c` is the centred row, `rstd` is $1/\sigma$.

# %%
x, w, b, eps = 3 * rng.normal(size=(4, 6)) + 1, rng.normal(size=6), rng.normal(size=6), 1e-5
dy, mean = rng.normal(size=(4, 6)), lambda a: a.mean(1, keepdims=True)
mu = mean(x)
c = x - mu
var = mean(c * c)
rstd = (var + eps) ** -0.5
xhat = c * rstd
y = xhat * w + b

# %%
g = dy * w  # y = xhat w + b
dc = g * rstd  # xhat = c rstd, by c ...
drstd = (g * c).sum(1, keepdims=True)  # ... and by rstd, one number for the row
dvar = drstd * -0.5 * (var + eps) ** -1.5  # power rule
dc = dc + dvar * 2 * c / 6  # var = mean(c c): the second path into c
dmu = -dc.sum(1, keepdims=True)  # c = x - mu: mu is taken from every entry
dx_long = dc + dmu / 6  # x by c, and by mu = mean(x)

# %% [markdown]
# | step | rule |
# |---|---|
# | $dx = dc - \overline{dc}$ | the last two lines; the bar is the row's mean |
# | $dc = g/\sigma + 2c\,dvar/C$ | the two paths into $c$ |
# | $2c\,dvar/C = -c\,\overline{g c}/\sigma^3$ | put $drstd$ and $dvar$ in |
# | $= -\hat x\,\overline{g \hat x}/\sigma$ | $c = \hat x \sigma$, twice |
# | $dx = \tfrac1\sigma (g - \bar g - \hat x\,\overline{g\hat x})$ | the mean of $\hat x$ is zero |
#
# $$dx = \frac1\sigma\,(g - \bar g - \hat x\,\overline{g \hat x}) \qquad dw = \sum_n dy_n \hat x_n \qquad db = \sum_n dy_n$$

# %%
short = rstd * (g - mean(g) - xhat * mean(g * xhat))
_, cache = ops.layer_norm(x, w, b, eps, {"x", "weight", "bias"})
dx, grads = ops.layer_norm_backward(dy, cache)
assert np.allclose(dx_long, short) and np.allclose(short, dx)
loss = lambda: float((ops.layer_norm(x, w, b, eps)[0] * dy).sum())
verdicts = [right(loss, x, dx), right(loss, w, grads["weight"]), right(loss, b, grads["bias"])]
print("dx, dw, db are derivatives:", verdicts)
assert all(verdicts)

# %% [markdown]
# Adding a constant to a row changes nothing, and stretching it changes almost nothing ($\epsilon$ is the rest). So $dx$ must be
# orthogonal to both directions. Leave out one path, and one of the two tests fails; which, tells you the path.

# %%
paths = {"neither path": rstd * g, "no path by μ": rstd * (g - xhat * mean(g * xhat))}
paths |= {"no path by σ": rstd * (g - mean(g)), "right": dx}
sums = [np.abs(mean(d)).max() for d in paths.values()]
alongs = [np.abs(mean(d * xhat)).max() for d in paths.values()]
assert sums[-1] < 1e-12 and alongs[-1] < 1e-5

# %%
with picture(
    "The right gradient passes both tests; a failing one names its path.", 7, 2.8
) as f:
    axes, places = f.subplots(), np.arange(4)
    axes.bar(places - 0.2, sums, 0.4, color=GRADIENT, label="|mean of a row of dx|")
    axes.bar(
        places + 0.2, alongs, 0.4, color=BASE, hatch="//", fill=False, label="|mean(dx x̂)|"
    )
    axes.set_xticks(places, list(paths))
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)

# %% [markdown]
# ## Attention has two products and a softmax, and so has its backward
#
# | forward | its gradient | rule |
# |---|---|---|
# | $o = p\,v$ | $dv = p^T do$, $dp = do\,v^T$ | a product: as for a linear layer |
# | $p = \mathrm{softmax}(s + \text{mask})$ | $ds = p \odot (dp - \sum_j dp_j p_j)$ | softmax, row by row; a constant mask drops out |
# | $s = q k^T / \sqrt D$ | $dq = ds\,k/\sqrt D$ | a product, and the factor again |
# | | $dk = ds^T q/\sqrt D$ | $k$ stands transposed in the forward |
#
# The long way goes through all pairs of query $i$ and key $j$:

# %%
T, D = 6, 3
q, k, v, do = rng.normal(size=(4, T, D))
p = ops.softmax(q @ k.T / D**0.5 + np.triu(np.full((T, T), -np.inf), 1))
dq, dk, dv, ds = (np.zeros((T, n)) for n in (D, D, D, T))
for i in range(T):
    dp_i = do[i] @ v[: i + 1].T  # query i sees keys up to i
    ds[i, : i + 1] = p[i, : i + 1] * (dp_i - dp_i @ p[i, : i + 1])
    for j in range(i + 1):
        dv[j] += p[i, j] * do[i]
        dq[i] += ds[i, j] * k[j] / D**0.5
        dk[j] += ds[i, j] * q[i] / D**0.5

# %% [markdown]
# The package does this with matrices, for all heads and sequences at once. **Predict:** key 0 is seen by all queries, key
# {{T - 1}} by one. What does this say about `dv`?
#
# <details><summary>Answer</summary>dv of token 0 is a sum over all rows of do; dv of the last token is p times its own row only.</details>

# %%
spans = [(0, T)]
_, cache = ops.attention(q, k, v, spans, spans, 1, wants={"x"})
package = ops.attention_backward(do, cache)
assert all(np.allclose(a, b) for a, b in zip((dq, dk, dv), package, strict=True))
assert np.allclose(dv[-1], p[-1, -1] * do[-1])
# %%
loss = lambda: float((ops.attention(q, k, v, spans, spans, 1)[0] * do).sum())
verdicts = [right(loss, array, g) for array, g in zip((q, k, v), package, strict=True)]
print("dq, dk, dv are derivatives:", verdicts)
assert all(verdicts) and np.allclose(ds.sum(1), 0) and np.allclose(p.sum(1), 1)

# %%
with picture("Rows of p add up to one, rows of ds to zero; both are causal.", 7, 3) as f:
    left, middle = f.subplots(1, 2)
    heat(left, p, 1, title="p", xlabel="key", ylabel="query")
    f.colorbar(heat(middle, ds, 1, title="ds", xlabel="key"), ax=f.axes, ticks=[-1, 0, 1])

# %% [markdown]
# ## Down a block the stream passes the gradient on, and each sublayer adds its own
#
# $x' = x + f(x)$, so $dx = dx' + J_f^T dx'$: the first term arrives whole. Here is the package's block, backwards. We write
# the same with a note of every part, and hand it in.

# %%
show(gpt2.block_backward)

# %%
seen, handed = [], []


def noted_backward(dx, cache, step):
    attention, mlp_cache = cache
    dx_mlp, grads = gpt2.mlp_backward(dx, mlp_cache, step)
    dx_attn, more = gpt2.attn_backward(dx + dx_mlp, attention, step)
    seen.append([dx, dx_mlp, dx + dx_mlp, dx_attn, dx + dx_mlp + dx_attn])
    return seen[-1][-1], grads | more


# %%
batch = minipeft.pack([(ids[:1], ids[1:])])
step = model.step(trains=frozenset(model.weights), grad_enabled=True)
gpt2.loss_and_grads(batch, step, handed.append, blocks=(gpt2.block, noted_backward))
truth = model.grad_sums(batch, list(model.weights))

# %% [markdown]
# The gradients come in pieces, block by block from the top, and are added up by name. `wte` is used twice, as the table below and as the
# head above: it is the one name with two pieces.

# %%
pieces = {name: [g[name] for g in handed if name in g] for name in truth}
assert all(np.allclose(sum(pieces[name]), truth[name]) for name in truth)
twice = [name for name, found in pieces.items() if len(found) == 2]
print(f"{len(truth)} gradients, as the package has them; in two pieces: {twice}")
assert twice == ["wte.weight"]

# %%
size = np.array([[float((part**2).mean() ** 0.5) for part in layer] for layer in seen[::-1]])
above, by_mlp, between, by_attn, below = size[-1]  # the top block
stream = [(0, 2, below), (2, 4, between), (4, 6.8, above)]
branches = [(2, "attention", by_attn), (4, "MLP", by_mlp)]

# %%
with picture("The top block: red lines are as wide as the gradients are large.", 7.5, 2.7) as f:
    axes, wide = f.subplots(), 12 / size[-1].max()
    for x0, x1, s in stream:
        axes.plot([x0, x1], [0, 0], "-", marker="", color=GRADIENT, linewidth=wide * s)
        axes.text((x0 + x1) / 2, -0.4, f"{s:.2g}", ha="center", color=GRADIENT)
    for x0, name, s in branches:
        axes.plot([x0 + 1, x0 + 1], [0, 1], "-", marker="", color=FROZEN)  # what it reads
        axes.plot(
            [x0, x0, x0 + 1], [0, 1, 1], "-", marker="", color=GRADIENT, linewidth=wide * s
        )
        axes.text(x0 + 0.6, 1, name, ha="center", va="center", bbox=dict(facecolor="white"))
        axes.text(x0 + 0.12, 0.45, f"{s:.2g}", color=GRADIENT)
    axes.text(0, 0.25, "← to the block below", ha="left")
    axes.text(6.8, 0.25, "← from the loss", ha="right")
    axes.set(xlim=(-0.1, 6.9), ylim=(-0.6, 1.4))
    axes.axis("off")

# %% [markdown]
# The numbers are root mean squares. Each branch reads what arrives in the stream (grey) and adds what it makes of it. Two gradients need
# not point the same way, so sizes do not add up as numbers do. Over the whole model:

# %%
edges = [*size[:, 4], size[-1, 0]]  # below block 0, 1, ..., and above the top one
times, blocks = edges[0] / edges[-1], np.arange(len(size))
with picture(
    f"Below all blocks the gradient is {times:.1f} times as large as above.", 7, 3
) as f:
    axes = f.subplots()
    axes.plot(
        [*blocks - 0.5, blocks[-1] + 0.5], edges, "o-", color=GRADIENT, label="the stream"
    )
    axes.plot(blocks, size[:, 1], "s", color=BASE, label="what the MLP adds")
    axes.plot(blocks, size[:, 3], "^", color=FROZEN, label="what attention adds")
    axes.set(xlabel="block", ylabel="RMS of the gradient", xticks=blocks)
    log_scale(axes, "y")
    axes.legend()

# %% [markdown]
# ## The backward stops where nothing below it trains
#
# This is half of fine-tuning's saving. Two questions decide: does this weight train, and does anything below it?
#
# **Predict:** of the methods below prompt tuning trains the fewest numbers. Does its backward stop early?
#
# <details><summary>Answer</summary>No: its rows stand below the first block, so the gradient must come down the whole way. No dW is formed, though.</details>

# %%
show(Step.wants)

# %%
top = model.config.n_layer - 1
methods = {
    "full": minipeft.Full(),
    "LoRA": minipeft.LoRA(r=4, target_modules="all-linear"),
    "LoRA, top block": minipeft.LoRA(r=4, layers_to_transform=top),
    "BitFit": minipeft.BitFit(),
    "prefix tuning": minipeft.PrefixTuning(num_virtual_tokens=4),
    "prompt tuning": minipeft.PromptTuning(num_virtual_tokens=4),
}

# %%
pefts = {name: minipeft.PeftModel(model, method) for name, method in methods.items()}
steps = [peft.step(grad_enabled=True) for peft in pefts.values()]
layers = list(model.config.linear_layers())
grid = np.array([[len(s.wants(n) & {"x", "weight"}) for n in layers] for s in steps])
for (name, peft), row in zip(pefts.items(), grid, strict=True):
    print(
        f"{name:16}{peft.num_trainable:10,} train, {row.sum():2} of {2 * len(layers)} products"
    )
assert grid[0].min() == 2 and grid[-1].sum() == len(
    layers
)  # full: all; prompt: every dx, no dW
assert grid[2, : 4 * top].sum() == 0  # LoRA in the top block: nothing below it

# %% [markdown]
# The products counted are those with a frozen or trained $W$: $dy\,W^T$ and $x^T dy$ of each linear layer. Here is where they
# are done. The data enter at the left; the backward comes from the right.

# %%
owners = [{t.rpartition(".")[0] for t in peft.trainable} for peft in pefts.values()]
dots = [(i, m) for (m, i), n in np.ndenumerate(grid) if layers[i] in owners[m] and n < 2]

# %%
paint = np.array([[1, 1, 1], [0.72, 0.74, 0.76], [0.91, 0.44, 0.04]])  # none; dx; dx and dW
finding = "White: neither dx nor dW. Grey: dx. Orange: dx and dW. Dots: small tensors train."
with picture(finding, 7.5, 3) as f:
    axes = f.subplots()
    axes.imshow(paint[grid], aspect="auto")
    axes.plot(*zip(*dots, strict=True), "o", color=TRAINED, markersize=7)
    axes.set_yticks(range(len(grid)), list(pefts))
    axes.set_xticks(range(0, len(layers), 4), [f"block {i}" for i in range(top + 1)])
    axes.grid(False)

# %% [markdown]
# The dots of prompt and prefix tuning are missing, for their tensors are at no linear layer: the one's stand left of the picture,
# the other's between `c_attn` and `c_proj` of each block. So the first `c_attn` needs no $dx$ for a prefix.

# %% [markdown]
# ## What was shown
#
# 1. A gradient adds up over paths, and multiplies along each; the backward undoes the forward's lines from the last to the first.
# 2. A product gives two products, a sum gives copies, and a copy gives a sum: this is all of linear layers, embeddings and streams.
# 3. Softmax and layer norm tie entries together. Their gradients have sums that must be zero, and a mistake breaks them.
# 4. $p - \text{onehot}$ is softmax and cross-entropy in one; one entry in each row is negative.
# 5. What nobody asks for is not formed: LoRA in the top block needs {{grid[2].sum()}} of {{2 * len(layers)}} products.
#
# **Three changes to try.** Set `eps = 0.1` in the layer norm: its last assert fails, for the black bar over "right" is no longer zero. Drop `/ D**0.5` in the line of
# `dq`: the comparison with the package fails, by the factor $\sqrt D$. Give "LoRA" `target_modules=("c_attn",)`: three of four dots go, and not one product.
#
# **Read next:** `minipeft/ops.py`, all the pairs of this page. **Write them yourself:** `minipeft check 01`, and 02, 03, 04, 06, 07, 08.
#
# One honest limit: a derivation that agrees with differences at a few random points is well tested, not proven. The next notebook shows what such a test can miss.
