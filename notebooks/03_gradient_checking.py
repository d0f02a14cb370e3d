# %% [markdown]
# # Gradient checking: how to trust a derivative, and what hides a bug
#
# A wrong gradient rarely crashes: the model trains, only worse. Here you will measure derivatives by differences, choose the step and the
# numbers so that a mistake must show, and find bugs that are planted in the package's own lines.
#
# Runs in {{runtime}} on one core. Gradients are red, what is measured is black.
#
# For the real GPT-2 change both lines with `from_pretrained`. A gradient check wants float64, so a GPU gains little.

# %%
import numpy as np

import minipeft
from minipeft import gradcheck, ops
from minipeft.gradcheck import check_array, derivative
from minipeft.teaching import BASE, FROZEN, GRADIENT, TRAINED, marks, picture, planted, show

# %% [markdown]
# ## A wrong gradient can pass a test
#
# Here is a backward for layer norm that returns zeros, and a test of it: take the sum of the outputs as the loss, so that ones come from above,
# move each entry of $x$, and compare. **Predict:** does it pass?
#
# <details><summary>Answer</summary>It does. Rows of a layer norm add up to a constant, so the true gradient of that sum is zero. With random numbers from above it fails.</details>


# %%
def numeric(f, x, h=1e-4):  # the derivative of f() with respect to x
    return np.array([derivative(f, x, one, h) for one in np.eye(x.size).reshape(-1, *x.shape)])


rng = np.random.default_rng(0)
x, w, b = rng.normal(size=(2, 6)), np.ones(6), np.zeros(6)  # as a layer norm begins
above = {"ones": np.ones((2, 6)), "random": rng.normal(size=(2, 6))}
# %%
loss = lambda dy: float((ops.layer_norm(x, w, b, 1e-5)[0] * dy).sum())
found = {name: numeric(lambda dy=dy: loss(dy), x) for name, dy in above.items()}
for name, slope in found.items():
    print(f"{name:7} from above: is zero the right gradient? {np.abs(slope).max() < 1e-9}")
assert np.abs(found["ones"]).max() < 1e-9 < np.abs(found["random"]).max()

# %%
with picture("With ones from above a layer norm has no gradient to be tested.", 7, 2.5) as f:
    axes = f.subplots()
    axes.bar(
        np.arange(12) - 0.2, found["random"], 0.4, color=GRADIENT, label="random from above"
    )
    axes.bar(np.arange(12) + 0.2, found["ones"], 0.4, color=BASE, label="ones: all zero")
    axes.set(xlabel="entry of x", ylabel="derivative")
    axes.legend()

# %% [markdown]
# ## Differences measure a derivative, and symmetry makes them good
#
# Write $\ell(h)$ for the loss after a step $h$. All of what follows is Taylor's series:
#
# | step | rule |
# |---|---|
# | $\ell(h) = \ell + h \ell' + \tfrac{h^2}{2} \ell'' + \tfrac{h^3}{6} \ell''' + \dots$ | Taylor |
# | $\ell(h) - \ell(-h) = 2h\,\ell' + \tfrac{h^3}{3} \ell''' + O(h^5)$ | even powers cancel |
# | $(\ell(h) - \ell(-h))/2h = \ell' + \tfrac{h^2}{6} \ell''' + O(h^4)$ | divide: the two-point rule |
# | $\ell(2h) - \ell(-2h) = 4h\,\ell' + \tfrac{8h^3}{3} \ell''' + O(h^5)$ | $2h$ in place of $h$ |
# | $8(\ell(h) - \ell(-h)) - (\ell(2h) - \ell(-2h)) = 12h\,\ell' + O(h^5)$ | eight of the one, less the other: $\ell'''$ goes |
#
# $$\ell' \approx \frac{8(\ell(h) - \ell(-h)) - (\ell(2h) - \ell(-2h))}{12\,h}$$

# %%
two = lambda f, h: (f(h) - f(-h)) / (2 * h)
five = lambda f, h: (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h)
for name, rule, power in [("two-point", two, 4), ("five-point", five, 16)]:
    fall = (rule(np.exp, 0.02) - 1) / (rule(np.exp, 0.01) - 1)  # the slope of exp at 0 is 1
    print(f"{name}: half the step, the error is {fall:.1f} times smaller")
    assert abs(fall / power - 1) < 1e-2

# %% [markdown]
# The package uses five points, along any direction $d$ of a tensor: one number tells about all entries at once.

# %%
show(derivative)

# %% [markdown]
# ## The step must be neither large nor small, and float32 is not enough
#
# A smaller step should be better, until rounding speaks: a computed loss is off by about $\varepsilon |\ell|$, and we divide by $h$.
# For two points
#
# $$\text{error} \approx \frac{h^2}{6} |\ell'''| + \frac{\varepsilon |\ell|}{h}$$

# %%
steps = np.geomspace(1e-12, 1, 37)
errors = np.array([abs(two(np.exp, h) - 1) for h in steps])
eps = np.finfo(float).eps / 2
promised = steps**2 / 6 + eps / steps  # for exp at 0 all derivatives are 1
assert (errors < 4 * promised).all() and abs(errors[-9] / promised[-9] - 1) < 0.1

# %%
with picture("Left rounding, right curvature: the error against the step is a V.", 7, 3) as f:
    axes = f.subplots()
    axes.loglog(steps, promised, "--", color=FROZEN, marker="", label="the formula")
    axes.loglog(
        steps, np.maximum(errors, 1e-17), "o", color=BASE, markersize=4, label="measured"
    )
    axes.set(xlabel="step h", ylabel="error")
    axes.legend()

# %% [markdown]
# Now the same for a whole model: the loss of a sentence along a random direction of one bias, in float64 and in float32. The truth
# is the backward pass in float64, which the five-point rule will have to confirm.
#
# **Predict:** float32 has 7 digits, float64 has 16. How many right digits of a derivative can each give?
#
# <details><summary>Answer</summary>Fewer than it has, by far: the difference of two nearly equal losses loses digits. The picture below shows how many are left.</details>

# %%
kinds = ("float64", "float32")
models = {kind: minipeft.GPT2.from_pretrained("weights/tiny", dtype=kind) for kind in kinds}
ids = models["float64"].tokenizer.encode("The White Oak is a pub.").ids
batch = minipeft.pack([(ids[:1], ids[1:])])
pefts = {kind: minipeft.PeftModel(model, minipeft.BitFit()) for kind, model in models.items()}


# %%
name = "h.1.mlp.c_fc.bias"
direction = rng.normal(size=pefts["float64"].trainable[name].shape)


def along(peft):  # t -> the loss when the bias has moved by t along the direction
    p, kept = peft.trainable[name], peft.trainable[name].copy()

    def loss(t):
        p[...] = kept + t * direction
        value = peft.loss(batch)
        p[...] = kept
        return value

    return loss


# %% [markdown]
# Each curve is the relative error of one rule in one precision. The step runs over seven orders of magnitude.

# %%
truth = float((pefts["float64"].loss_and_grads(batch)[1][name] * direction).sum())
steps = np.geomspace(1e-7, 1, 22)
errors = lambda rule, kind: [abs(rule(along(pefts[kind]), h) / truth - 1) for h in steps]
curves = {(kind, "two points"): errors(two, kind) for kind in kinds}
curves |= {(kind, "five points"): errors(five, kind) for kind in kinds}

# %% tolerance=1e9
best = {key: min(curve) for key, curve in curves.items()}
for (kind, rule), error in best.items():
    print(f"{kind}, {rule:11}: at best {error:.0e} relative error")
assert best["float64", "five points"] < 1e-9 < 1e-6 < best["float32", "two points"]

# %%
with picture("Float64 and five points: many right digits. Float32: a few.", 7.5, 3.4) as f:
    axes = f.subplots()
    for (kind, rule), curve in curves.items():
        style = "-" if rule == "five points" else "--"
        colour = BASE if kind == "float64" else FROZEN
        axes.loglog(steps, curve, style, color=colour, marker="", label=f"{kind}, {rule}")
    axes.set(xlabel="step h", ylabel="relative error")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))

# %% [markdown]
# This is why `gradcheck` wants float64, and why it tries several steps and takes the best: no one step suits all tensors. An error
# is relative to the larger of both numbers:

# %%
show(check_array)

# %% [markdown]
# ## One direction sees what single elements miss
#
# A tensor of $n$ entries has $n$ derivatives, each costs four losses. A check of a few random entries is cheap, and may miss. Take the classic mistake
# with an embedding: `grad[ids] += dy` keeps only one of the places where a token occurs. Only the repeated token's row is wrong.


# %%
def overwritten(ids, dy, V):  # the mistake
    table = np.zeros((V, dy.shape[1]))
    table[ids] += dy
    return table


summed = lambda ids, dy, V: ops.embedding_backward(dy, (ids, np.zeros((V, 4)), {"weight"}))
V, ids, dy = 40, [7, 3, 7, 12, 30], rng.normal(size=(5, 4))  # token 7 occurs twice
off = (summed(ids, dy, V)["weight"] - overwritten(ids, dy, V)).ravel()
print(f"wrong entries: {(off != 0).sum()} of {off.size}")

# %%
tried = np.array([1, 2, 5, 10, 20, 40, 80, 160])
draws = [rng.permutation(off) for _ in range(2000)]
caught = [np.mean([draw[:n].any() for draw in draws]) for n in tried]
by_direction = np.mean(np.abs(rng.normal(size=(2000, off.size)) @ off) > 1e-7)
assert by_direction == 1

# %% tolerance=0.1
with picture(
    f"Ten random elements catch it {caught[3]:.0%} of the time, a direction always."
) as f:
    axes = f.subplots()
    axes.plot(tried, caught, "o-", color=BASE, label="random single elements")
    axes.axhline(by_direction, color=GRADIENT, linestyle="--", label="one random direction")
    axes.set(xlabel="elements checked", ylabel="share that catches it", ylim=(0, 1.1))
    axes.legend(loc="lower right")

# %% [markdown]
# Random directions see every entry, but all at once: they say that a tensor is wrong, not where. So `gradcheck` does both, a direction and a few
# elements.
#
# ## Each convenient probe hides a mistake
#
# A probe is the set of numbers that a test uses. We take six mistakes that people make, and compute right and wrong gradient under each probe.

# %%
x, dy, parts = rng.normal(size=(4, 3)), rng.normal(size=(4, 4)), rng.normal(size=(3, 2, 4))
good = {
    "dy": dy,
    "s": 3.0,
    "B": rng.normal(size=(2, 4)),
    "S": 3,
    "dloss": 0.5,
    "ids": [2, 0, 2, 1],
}
probes = {"a good probe": good, "ones from above": good | {"dy": np.ones((4, 4))}}
probes |= {"s = 1": good | {"s": 1.0}, "B = 0": good | {"B": np.zeros((2, 4))}}
probes |= {"one sequence": good | {"S": 1}, "dloss = 1": good | {"dloss": 1.0}}
probes |= {"no token twice": good | {"ids": [2, 0, 3, 1]}}

# %% [markdown]
# Each line of `mistakes` gives two gradients, the right one and the wrong one. $dz = p - \text{onehot}$ is cross-entropy's; `parts` are
# what three sequences send back to a prompt that they share.

# %%
_, normed = ops.layer_norm(rng.normal(size=(4, 4)), np.ones(4), np.zeros(4), 1e-5, {"x"})
dz = ops.softmax(rng.normal(size=(4, 4))) - np.eye(4)[[1, 0, 3, 2]]
dA = lambda k: x.T @ (k["dy"] @ k["B"].T)  # without s

# %%
mistakes = {
    "layer norm: zeros": lambda k: (ops.layer_norm_backward(k["dy"], normed)[0], 0),
    "LoRA: dA without s": lambda k: (k["s"] * dA(k), dA(k)),
    "LoRA: dA is zero": lambda k: (k["s"] * dA(k), 0),
    "prompt: mean, not sum": lambda k: (parts[: k["S"]].sum(0), parts[: k["S"]].mean(0)),
    "loss: dloss ignored": lambda k: (k["dloss"] * dz, dz),
    "embedding: overwritten": lambda k: [
        f(k["ids"], k["dy"], 4) for f in (lambda *a: summed(*a)["weight"], overwritten)
    ],
}

# %%
shows = lambda mistake, probe: np.abs(np.subtract(*mistake(probe))).max() > 1e-9
seen = np.array([[shows(m, k) for k in probes.values()] for m in mistakes.values()])
assert seen[:, 0].all()  # the good probe sees all
assert not seen[:, 1:].all(0).any()  # every other one misses something
with picture("Orange: the mistake shows. White: the test passes wrong code.", 7.5, 3.2) as f:
    marks(f.subplots(), seen, list(mistakes), list(probes))

# %% [markdown]
# So in a good probe all sizes differ and none is one; no factor is one; nothing is zero that training will move; what comes from above is random;
# tokens repeat; there are several sequences.
#
# ## Planted bugs are found, and the highest failing tensor says where
#
# Bugs come from the package itself: `planted` takes a function's source, changes one piece of it, and puts all back at the end.

# %%
show(planted)

# %% [markdown]
# A small random model is enough: three blocks, with the plain operations of `minipeft/ops.py`. Its weights get noise: with those of a
# fresh GPT-2 all scores are nearly equal, and a mistake in attention hardly counts.

# %%
config = minipeft.GPT2Config(vocab_size=23, n_positions=16, n_embd=12, n_layer=3, n_head=3)
small = minipeft.GPT2.random(config, dtype="float64", ops="plain")
for W in small.weights.values():
    W += 0.3 * rng.normal(size=W.shape)
peft = minipeft.PeftModel(small, minipeft.Full())
texts = [([1, 2, 1], [3, 4, 2, 22]), ([5, 6], [7, 5, 22])]
check = lambda: gradcheck(peft, minipeft.pack(texts), elements=1)
print("unchanged, all right:", max(check().values()) < 1e-7)

# %% [markdown]
# Six backwards are changed, one at a time: each bug is the operation, a piece of its source, and what stands there instead.
#
# **Predict:** one is in GELU's. Which gradients stay right?
#
# <details><summary>Answer</summary>Those above it: the final norm, and the second linear layer of the top MLP. The mistake is in all that flows further down.</details>

# %%
bugs = {
    "loss: label forgotten": ("lm_loss", "dz[at_label] -= dloss", "pass"),
    "GELU: inner slope": ("gelu", " * (1 + 3 * GELU_A * u * u)", ""),
    "layer norm: no σ path": ("layer_norm", " - xhat * along", ""),
    "attention: no scale": ("attention", "keepdims=True)) * scale", "keepdims=True))"),
    "linear: dW a mean": ("linear", "x.T @ dy", "x.T @ dy / len(dy)"),
    "embedding: overwritten": (
        "embedding",
        'xp.add.at(grads["weight"], ids, dy)',
        'grads["weight"][ids] += dy',
    ),
}

# %%
reports = {}
for bug, (operation, old, new) in bugs.items():
    with planted(ops, f"{operation}_backward", old, new):
        reports[bug] = check()
order = ["ln_f.weight", "ln_f.bias", *[n for n in reversed(peft.trainable) if n[:2] == "h."]]
order += ["wpe.weight", "wte.weight"]
# %%
for bug, errors in reports.items():
    failing = [n for n in order if not errors[n] < 1e-7]
    print(f"{bug:24}{len(failing):3} of {len(order)} fail; the highest is {failing[0]}")
assert max(check().values()) < 1e-7  # all is as it was

# %% [markdown]
# The whole report as a picture: a row for each bug, a column for each tensor, in the order in which the backward comes to them.

# %%
wrong = np.array([[not report[n] < 1e-7 for n in order] for report in reports.values()])
begins = {f"h.{i}.mlp.c_proj.bias": f"block {i}" for i in range(3)}
with picture("Red fails. From the top (left) down, all is right until the bug.", 7.5, 3) as f:
    marks(f.subplots(), wrong, list(bugs), [begins.get(n, "") for n in order], GRADIENT)

# %% [markdown]
# Read such a report from the top. Everything that the gradient reaches after the bug is wrong, so the highest failing tensor is the place to
# look. A mistake in a `dW` alone is different: it spreads to nothing, and spots the picture.
#
# A convenient probe hides planted bugs, too. In LoRA's real backward, leave out the scale of `dh`:

# %%
settings = {
    "gradcheck's own way": (6, 0.1),
    "no noise, so B = 0": (6, 0.0),
    "lora_alpha = r, so s = 1": (2, 0.1),
}
worst = {}
with planted(minipeft.LoRA, "linear_backward", "dh *= self.scaling(name)", "pass"):
    for words, (alpha, noise) in settings.items():
        lora = minipeft.PeftModel(small, minipeft.LoRA(r=2, lora_alpha=alpha))
        errors = gradcheck(lora, minipeft.pack(texts), elements=2, scramble=noise)
        worst[words] = max(errors.values())
        print(f"{words:26} {'found' if worst[words] > 1e-7 else 'NOT FOUND'}")
assert [error > 1e-7 for error in worst.values()] == [True, False, False]

# %% [markdown]
# ## The numbers say which kind of mistake it is
#
# Do not stop at "wrong". Draw the claimed gradient against the right one, entry by entry.
#
# **Predict:** which picture belongs to a forgotten factor, which to a matrix that is transposed?
#
# <details><summary>Answer</summary>A factor keeps all points on one line, of another slope. Transposed, the same numbers stand in other places: a cloud that sorting would put in order.</details>

# %%
x, dy = rng.normal(size=(8, 6)), rng.normal(size=(8, 6))
_, cache = ops.layer_norm(x, np.ones(6), np.zeros(6), 1e-5, {"x"})
xhat, rstd, dx = cache[0], cache[1], ops.layer_norm_backward(dy, cache)[0]
cases = {
    "right": (dx, dx),
    "factor forgotten": (3 * x.T @ dy, x.T @ dy),
    "path missing": (dx, rstd * (dy - dy.mean(1, keepdims=True))),
    "transposed": (x.T @ dy, dy.T @ x),
}

# %%
with picture("Points on the grey line are right.", 7.5, 2.4) as f:
    for axes, (words, (right, claimed)) in zip(f.subplots(1, 4), cases.items(), strict=True):
        far = np.abs(right).max()
        axes.plot([-far, far], [-far, far], "-", color=FROZEN, marker="")
        axes.plot(right.ravel(), claimed.ravel(), ".", color=GRADIENT, markersize=4)
        axes.set(title=words, xticks=[], yticks=[])
    f.supxlabel("right")
    f.supylabel("claimed")

# %% [markdown]
# Three questions in numbers, for a claimed gradient $g$ and a measured one $t$: is $g/t$ one number? Is $g$ the transpose of $t$? Which sums should
# be zero, and are not?

# %%
factor = np.divide(*cases["factor forgotten"][::-1])
print("one factor:", np.unique(factor.round(9)))
right, claimed = cases["transposed"]
print("equal after transposing:", np.allclose(claimed.T, right))
# %%
along_xhat = lambda g: np.abs((g * xhat).mean(1)).max()
right, wrong = map(along_xhat, cases["path missing"])
print(f"along x̂: right {right:.3f}, claimed {wrong:.3f}")
assert right < 1e-4 < wrong

# %% [markdown]
# At last the real model, in the real configuration, all tensors. It costs four losses for each direction and element.

# %%
lora = minipeft.PeftModel(models["float64"], minipeft.LoRA(r=4, target_modules="all-linear"))
errors = gradcheck(lora, batch, elements=1)
print(f"{len(errors)} tensors, all below 1e-7: {max(errors.values()) < 1e-7}")
assert max(errors.values()) < 1e-7

# %%
with picture("Every LoRA gradient of the real model is right.", 7, 2.6) as f:
    axes = f.subplots()
    axes.semilogy(sorted(errors.values()), ".", color=TRAINED)
    axes.axhline(1e-7, color=FROZEN, linestyle="--")
    axes.set(xlabel="tensor, best to worst", ylabel="relative error", ylim=(1e-14, 1e-5))

# %% [markdown]
# ## What was shown
#
# 1. Symmetric differences cancel even powers; with five points the error falls as $h^4$.
# 2. Rounding grows as $1/h$. Float32 leaves a few digits of a derivative, float64 many.
# 3. One direction sees all entries of a tensor at once; single elements say where.
# 4. Ones, zeros, a factor of one, one sequence: each hides a mistake, and none hides from a good probe.
# 5. Highest failing tensor: the place. Line, cloud, sums: the kind.
#
# **Three changes to try.** In the first test, set `w = 2 * np.ones(6)`: nothing changes, for the rows still add up to a constant; with a random `w` the zeros are found out.
# Set the noise `0.1` to 0 in "s = 1": still not found, now for two reasons. Give the embedding 400 tokens (`V = 400`): single elements catch it ten times less often, a direction always.
#
# **Read next:** `minipeft/gradcheck.py`. **Write it yourself:** `minipeft check 05`.
#
# One honest limit: a check at random points says nothing about what those points never do, such as a branch that is not taken. Which lines a probe reaches is a question of its own.
