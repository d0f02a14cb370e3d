# %% [markdown]
# # Several methods at once, and a student with a teacher
#
# MAM joins a prefix and an adapter, UniPELT puts a gate before each of three methods. The gate of a well-known library reads the future; here you see which token tells whom.
# Then a small student learns from a large model's probabilities.
#
# Runs in {{runtime}} on one core. In pictures grey is frozen and orange is trained.
#
# For the real GPT-2 change the line that loads the model to `from_pretrained("gpt2")`; on a GPU add `device="cuda"`.

# %%
from unittest.mock import patch

import numpy as np

import minipeft
from minipeft import ops
from minipeft.cost.flops import step_flops
from minipeft.data.batches import load_pairs
from minipeft.distill import distill_loss, distill_loss_backward
from minipeft.methods.chain import Chain
from minipeft.methods.hybrid import gated
from minipeft.tasks import TASKS
from minipeft.teaching import FROZEN, TRAINED, picture, show, site_map

# %%
model = minipeft.GPT2.from_pretrained("weights/tiny", dtype="float64")
pairs, _ = load_pairs(TASKS["data-to-text"].rows("train", 300), model)
held_out, _ = load_pairs(TASKS["data-to-text"].rows("validation", 24), model)
C, L, V = model.config.n_embd, model.config.n_layer, model.config.vocab_size
few = minipeft.pack([([5, 6, 7], [8, 9]), ([9], [6, 8, 7])])

# %% [markdown]
# ## MAM is a prefix and an adapter that do not know of each other
#
# He et al. (2022) found that a prefix is good in attention and a parallel adapter good at the MLP. "Mix and match" takes both:
#
# $$K' = [P_k ; K] \qquad V' = [P_v ; V] \qquad h' = h + s\,f(x)$$
#
# (Here $s$ stands outside $f$.) Two sites are lit, the third and the fourth. Nothing joins the parts.

# %%
site_map("keys_values", "sublayer", finding="MAM comes in at two sites: attention and the MLP.")

# %%
P, H, R = 8, 64, C // 8  # rows of the prefix, width of its network, of the adapter
prefix = minipeft.PrefixTuning(P, True, H)
beside = minipeft.ParallelAdapter(reduction_factor=8)
peft = minipeft.PeftModel(model, minipeft.MAM(prefix, beside))
parts = minipeft.PeftModel(model, [prefix, beside])
assert np.array_equal(peft.logits(few.sequences)[0], parts.logits(few.sequences)[0])
print("MAM is the list of its parts, bit for bit")

# %% [markdown]
# As in the paper a small network makes the prefix's table while it trains: $\tanh(E W_0 + b_0)\,W_2 + b_2$. Afterwards the table alone stays. By hand that is:

# %%
network = P * C + (C * H + H) + (H * 2 * L * C + 2 * L * C)  # E, W_0 and b_0, W_2 and b_2
adapters = L * (2 * C * R + R + C)
by_hand = {"network": network, "adapters": adapters, "stays": adapters + P * 2 * L * C}
print(by_hand, "by code", peft.num_trainable)
assert network + adapters == peft.num_trainable

# %%
with picture("Most of MAM's numbers make the prefix, and go after training.", 7, 2) as f:
    axes = f.subplots()
    axes.barh(list(by_hand)[::-1], list(by_hand.values())[::-1], color=TRAINED)
    axes.set(xlabel="numbers")

# %% [markdown]
# **Predict:** the adapter begins with $U = 0$. Is MAM the base at the start?
#
# <details><summary>Answer</summary>No. The adapter alone is, exactly; but no prefix is nothing, whatever its numbers are: it takes a share of attention.</details>

# %% tolerance=0.05
base = model.logits(few.sequences)[0]
alone = minipeft.PeftModel(model, beside)
moved = [np.abs(m.logits(few.sequences)[0] - base).max() for m in (alone, peft)]
print(f"largest change of a logit: adapter {moved[0]}, MAM {moved[1]:.2f}")
assert moved[0] == 0 < moved[1]

# %% [markdown]
# The gradient needs no new formula but a sum. In a chain every part reads the same $x$. So for $y = xW + s f(x)$:
#
# | step | rule |
# |---|---|
# | $dx_1 = dy\,W^T$ | the way through the frozen layer |
# | $dx_2 = s\,(dy\,U^T\,[z > 0])\,D^T$, $z = xD$ | the way through the adapter |
# | $dx = dx_1 + dx_2$ | $x$ is used twice: gradients add up |

# %%
show(Chain.sublayer_backward)


# %%
def slope(f, array, step=1e-6):
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
rng = np.random.default_rng(0)
N, K = 4, 5  # rows, width
x, dy = rng.normal(size=(2, N, K))
W, D, U = (rng.normal(size=s) for s in [(K, K), (K, 2), (2, K)])
dx = dy @ W.T + 4 * (dy @ U.T * (x @ D > 0)) @ D.T
y = lambda: x @ W + 4 * np.maximum(x @ D, 0) @ U
assert np.allclose(dx, slope(lambda: (y() * dy).sum(), x))

# %% [markdown]
# ## UniPELT gives each part a gate, which reads its input
#
# A gate is one number between 0 and 1 for each row: how much of the part this token takes (Mao et al. 2022). In every layer there are four: for the prefix, for LoRA at
# queries and at values, and for the adapter.
#
# $$g = \sigma(u\,w + c) \qquad h' = h + g\,f(u)$$
#
# | step | rule |
# |---|---|
# | $dg_n = \sum_k dh'_{nk} f_{nk}$ | $h'$ is linear in $g$; the row shares one number |
# | $dz = dg\,g\,(1 - g)$ | $\sigma' = \sigma\,(1 - \sigma)$ |
# | $dw = \sum_n u_n\,dz_n$, $dc = \sum_n dz_n$ | $z = u\,w + c$ |
# | $du = dz\,w^T + du_f$ | $u$ goes two ways; $du_f$ is the part's, from $g\,dh'$ |

# %%
u, w, c = rng.normal(size=(N, K)), rng.normal(size=K), rng.normal(size=1)
f_of_u = rng.normal(size=(N, K))  # held still here: the part's own way is known
g, cache = gated.gate(u, w, c)
assert np.allclose(g[:, 0], 1 / (1 + np.exp(-(u @ w + c))))
loss = lambda: (gated.gate(u, w, c)[0] * f_of_u * dy).sum()

# %%
dg = (dy * f_of_u).sum(1)  # (N,) the long way, a line for a rule
dz = dg * g[:, 0] * (1 - g[:, 0])
mine = np.outer(dz, w), u.T @ dz, dz.sum()
for d, theirs, a in zip(mine, gated.gate_backward(dg[:, None], cache), (u, w, c), strict=True):
    assert np.allclose(d, theirs) and np.allclose(d, slope(loss, a))

# %%
show(gated.gate_backward)

# %% [markdown]
# In a layer there are a prefix, two LoRAs, an adapter, and a gate for each of them. We count by hand. A prefix is never nothing, so UniPELT does not begin as the base either.

# %%
unipelt = minipeft.UniPELT(prefix, minipeft.Adapter(reduction_factor=8), r=4)
uni, leaky = (minipeft.PeftModel(model, unipelt) for _ in range(2))
lora, gates = L * 2 * (C * 4 + 4 * C), L * 4 * (C + 1)
print(f"by hand {network + adapters + lora + gates:,}, by code {uni.num_trainable:,}")
assert network + adapters + lora + gates == uni.num_trainable

# %% tolerance=1e9
assert np.abs(uni.logits(few.sequences)[0] - base).max() > 0  # a prefix is never nothing
for p in (peft, uni):
    worst = max(minipeft.gradcheck(p, few, elements=1).values())
    print(f"{type(p.method).__name__:8} worst relative error {worst:.0e}")
    assert worst < 1e-7

# %% [markdown]
# ## A gate that averages over the text tells each token the future
#
# The paper was written for encoders. AdapterHub's library takes the mean of $\sigma$ over all tokens of a text, in GPT-2, too:
#
# $$\bar g = \frac1T \sum_{n=1}^{T} \sigma(u_n w + c) \qquad dz_n = \bigl(\textstyle\frac1T\sum_m dg_m\bigr)\,\sigma_n\,(1 - \sigma_n)$$
#
# Here it is, in six lines. (The library's prefix has such a gate, too; here the prefix reads the first token alone.)


# %%
def mean_gate(u, w, c):
    each = gated.sigmoid(u @ w + c)[:, None]  # (T, 1)
    return np.full_like(each, each.mean()), (u, w, each)


def mean_gate_backward(dg, cache):
    u, w, each = cache
    dz = dg.mean() * each * (1 - each)
    return dz * w, (u * dz).sum(0), dz.sum(0)


leaking = lambda: patch.multiple(gated, gate=mean_gate, gate_backward=mean_gate_backward)

# %%
loss = lambda: (mean_gate(u, w, c)[0] * f_of_u * dy).sum()
mine = mean_gate_backward(dg[:, None], mean_gate(u, w, c)[1])
for d, array in zip(mine, (u, w, c), strict=True):
    assert np.allclose(d, slope(loss, array))
print("the mean gate's gradient is right, too: no gradient check sees what is wrong with it")

# %% [markdown]
# Both train for 60 steps, one text at a time, four to a step, so that each mean is that of one text. MAM trains beside them.

# %% tolerance=0.05
settings = {"steps": 60, "batch_size": 1, "accumulation_steps": 4, "progress": False}
for one, rate in ((uni, 1e-2), (peft, 3e-3)):
    history = minipeft.train(one, pairs, learning_rate=rate, **settings)
with leaking():
    history = minipeft.train(leaky, pairs, learning_rate=1e-2, **settings)

# %% [markdown]
# On held-out rows the loss falls from {{minipeft.evaluate(minipeft.PeftModel(model), held_out)['loss']:.2f}} to {{minipeft.evaluate(peft, held_out)['loss']:.2f}} with MAM, and to {{minipeft.evaluate(uni, held_out)['loss']:.2f}} with UniPELT.
#
# Now change one word of a text, and see which outputs move. In a causal model a word may move its own row and those after it, and no other.
#
# **Predict:** with the mean gate, which rows move when the last word is changed, and which of them most?
#
# <details><summary>Answer</summary>All of them move. The last row moves most: it reads the word itself. And the last word is in every mean, so each earlier row hears of it, from the first layer on.</details>


# %%
def influence(peft, ids):
    """M[i, j]: how far the logits of row i move when token j is another one."""
    before, M = peft.logits([ids])[0], []
    for j in range(len(ids)):
        other = [*ids[:j], (ids[j] + 1) % V, *ids[j + 1 :]]
        M.append(np.abs(peft.logits([other])[0] - before).max(1))
    return np.array(M).T


# %%
prompt, completion = held_out[0]
text = [*prompt, *completion]
own = influence(uni, text[:16])
with leaking():
    told = influence(leaky, text[:16])
future = np.triu(np.ones_like(own, bool), 1)  # j after i
assert own[future].max() == 0 < told[future].min()
print("own gates: exactly 0 for each pair; mean gates: above 0 for each pair")

# %% tolerance=0.2
titles = "a gate for each token", "the mean of all tokens"
finding = "With its own gate no token hears of later ones; with the mean every one does."
with picture(finding, 8, 3.8) as f:
    for axes, title, M in zip(f.subplots(1, 2, sharey=True), titles, (own, told), strict=True):
        shades = np.log10(np.where(M > 0, M, np.nan))
        image = axes.imshow(shades, cmap="Oranges", vmin=-5, vmax=1)
        axes.set(title=title, xlabel="token that is changed")
        axes.grid(False)
    f.axes[0].set(ylabel="output that moves")
    f.colorbar(image, ax=f.axes, label="log10 of the change")

# %% [markdown]
# Does it matter? In training the model sees the whole text, in generation only its beginning. So we take the loss of one completion twice: from the whole
# text at once, and token by token, each time without what comes later.


# %%
def losses(peft, pair):
    """The loss per token with the whole text in sight, and with its beginning alone."""
    prompt, completion = pair
    ids, at = [*prompt, *completion], np.arange(len(prompt), len(prompt) + len(completion))
    whole = peft.logits([ids[:-1]])[0][at - 1]
    grown = np.array([peft.logits([ids[:t]])[0][-1] for t in at])
    return [-ops.log_softmax(z)[np.arange(len(at)), completion] for z in (whole, grown)]


# %% tolerance=0.2
seen = {"own gates": losses(uni, held_out[0])}
with leaking():
    seen["mean gates"] = losses(leaky, held_out[0])
for key, (whole, grown) in seen.items():
    print(f"{key:11} whole text {whole.mean():.4f}, token by token {grown.mean():.4f}")

# %% tolerance=0.5
gaps = {key: np.abs(whole - grown) for key, (whole, grown) in seen.items()}
most = gaps["mean gates"].max()
assert gaps["own gates"].max() < 1e-9 < 1e-6 < most
finding = f"A token's two losses: with mean gates up to {most:.3f} apart, with own gates equal."
with picture(finding, 7.5, 2.8) as f:
    axes = f.subplots()
    for (key, gap), colour in zip(gaps.items(), (FROZEN, TRAINED), strict=True):
        axes.semilogy(np.maximum(gap[:-1], 1e-17), "o-", color=colour, label=key)
    ticks = range(0, len(completion) - 1, 2)
    axes.set(
        xlabel="token of the completion", ylabel="difference", ylim=(1e-17, 10), xticks=ticks
    )
    axes.legend(loc="center right")

# %% [markdown]
# (The last token is left out: before it nothing is missing.) The model that generates is not the model that was trained: that is true of every mean gate, however small the
# difference may be on a given task, and here it is small. The package gives
# each token its own gate for this reason.
#
# Looking inside: how open are the gates after training? We note what each gate says on held-out rows, in the order in which a layer asks them.

# %% tolerance=0.1
noted, right = [], gated.gate
with patch.object(gated, "gate", lambda *given: noted.append(right(*given)) or noted[-1]):
    uni.logits([[*prompt, *completion] for prompt, completion in held_out])
opened = np.array([g.mean() for g, _ in noted]).reshape(L, 4)
assert opened.min() > 0 and opened.max() < 1

# %% tolerance=0.1
kinds = "LoRA, q", "LoRA, v", "prefix", "adapter"
widest = kinds[opened.mean(0).argmax()]
finding = f"Gates by layer: on average that of the {widest} part is open widest."
with picture(finding, 7.5, 2.9) as f:
    axes = f.subplots()
    for k, shade in enumerate(("#fbe3cf", "#f6c39a", "#ee924a", TRAINED)):
        where, look = np.arange(L) + 0.2 * (k - 1.5), {"color": shade, "edgecolor": "black"}
        axes.bar(where, opened[:, k], 0.19, label=kinds[k], **look)
    axes.hlines(0.5, -0.6, L - 0.4, color=FROZEN, linestyle="--")
    axes.set(xlabel="layer", ylabel="mean gate", xticks=range(L), xlim=(-0.6, L + 0.6))
    axes.legend(loc="right")

# %% [markdown]
# ## A teacher's probabilities say more than a label
#
# A label names one token. A teacher gives a probability to every token. A temperature $\tau > 1$, in $q_\tau = \mathrm{softmax}(z_t/\tau)$, makes the small ones visible (Hinton et al. 2015).
#
# The teacher is the base, fine-tuned in full. We ask it at the place of a held-out text where it is least sure.

# %% tolerance=0.05
teacher = minipeft.PeftModel(model, minipeft.Full())
history = minipeft.train(teacher, pairs, learning_rate=1e-3, **settings)

# %% tolerance=0.1
z = teacher.logits([text])[0]
doubt = -(ops.softmax(z) * ops.log_softmax(z)).sum(1)  # entropy
at = len(prompt) - 1 + int(doubt[len(prompt) - 1 : -1].argmax())  # where it is least sure
top = z[at].argsort()[::-1][:10]
words = [model.tokenizer.decode([int(t)]).strip() or "␣" for t in top]


# %% tolerance=0.1
def bars(axes, rows, colours):
    """Probabilities of the ten words, a bar for each of {label: p (V,)}."""
    for k, (label, p) in enumerate(rows.items()):
        axes.bar(np.arange(10) + 0.28 * (k - 1), p[top], 0.27, color=colours[k], label=label)
    axes.legend(ncols=3, loc="upper right")
    axes.set_xticks(range(10), words, rotation=45, ha="right")
    axes.set(ylabel="probability", yscale="log", ylim=(1e-4, 3))


soft = {f"τ = {tau}": ops.softmax(z[at] / tau) for tau in (1, 2, 4)}
held_by = ", ".join(f"{p[top].sum():.0%}" for p in soft.values())
with picture(f"Of all probability the ten likeliest hold {held_by} as τ grows.", 8, 3) as f:
    bars(f.subplots(), soft, ["black", "#5f6368", "#c4c7cb"])

# %% [markdown]
# The student's loss mixes both, with a weight $\lambda$. There $y$ is the label, one-hot, and $p_\tau = \mathrm{softmax}(z/\tau)$ the student's:
#
# $$\ell = (1-\lambda)\,CE(y, p_1) + \lambda\,\tau^2\,KL(q_\tau \| p_\tau) \qquad dz = (1-\lambda)(p_1 - y) + \lambda\,\tau\,(p_\tau - q_\tau)$$
#
# | step | rule |
# |---|---|
# | $KL = \sum_i q_i \log q_i - \sum_i q_i \log p_i$ | the definition; the first sum has no $z$ |
# | $\log p_i = z_i/\tau - \log \sum_k e^{z_k/\tau}$ | log of softmax |
# | $\partial \log p_i / \partial z_j = ([i = j] - p_j)/\tau$ | derivative of both terms |
# | $\partial KL / \partial z_j = -\sum_i q_i\,([i = j] - p_j)/\tau$ | linear in $\log p$ |
# | $\partial KL / \partial z_j = (p_j - q_j)/\tau$ | $\sum_i q_i = 1$ |
# | times $\lambda\tau^2$, and $(1-\lambda)(p_1 - y)$ added | the mixture; softmax with cross-entropy |

# %%
M, E, S = 3, 4, 6  # rows, width, vocabulary
a, a_t = rng.normal(size=(2, M, E))
head, head_t = rng.normal(size=(2, S, E))
labels, tau, lam = np.array([2, 0, 5]), 3.0, 0.7
softmax = ops.softmax
p_1, p_tau = softmax(a @ head.T), softmax(a @ head.T / tau)
q_tau = softmax(a_t @ head_t.T / tau)

# %%
dz = (1 - lam) * (p_1 - np.eye(S)[labels]) + lam * tau * (p_tau - q_tau)
CE = -np.log(p_1[range(M), labels]).sum()
KL = (q_tau * np.log(q_tau / p_tau)).sum()
theirs, cache = distill_loss(a, a_t, labels, head, head_t, tau, lam, {"x"})
assert np.isclose(theirs, (1 - lam) * CE + lam * tau**2 * KL)
da = slope(lambda: distill_loss(a, a_t, labels, head, head_t, tau, lam)[0], a)
assert np.allclose(dz @ head, da) and np.allclose(dz @ head, distill_loss_backward(1, cache)[0])

# %% [markdown]
# **Predict:** why is $\tau^2$ in the loss? What would the soft part's gradient do without it, when $\tau$ grows?
#
# <details><summary>Answer</summary>It would shrink like 1/τ²: one factor is the derivative of z/τ, the other is that p and q come together. The factor τ² holds it.</details>

# %%
taus = 2.0 ** np.arange(0, 8)
z_s, z_q = a @ head.T, a_t @ head_t.T
raw = [np.linalg.norm(softmax(z_s / t) - softmax(z_q / t)) / t for t in taus]
held = raw * taus**2
centred = (z_s - z_q) - (z_s - z_q).mean(1, keepdims=True)
assert np.isclose(held[-1], np.linalg.norm(centred) / S, rtol=0.05)  # Hinton's limit

# %%
with picture("Without τ² the soft gradient dies; with it, it comes to a limit.", 7, 2.6) as f:
    axes = f.subplots()
    axes.loglog(taus, raw, "o-", label="without τ²")
    axes.loglog(taus, held, "s-", label="with τ²")
    axes.axhline(np.linalg.norm(centred) / S, color=FROZEN, linestyle="--", label="limit")
    axes.set(xlabel="temperature τ", ylabel="norm of the gradient")
    axes.legend()

# %% [markdown]
# ## A student with half of the blocks learns from labels, or from its teacher, too
#
# The student takes half of the blocks, evenly spaced from the first to the last, and trains in full. Taken whole, it is the base itself.

# %%
assert np.array_equal(minipeft.student_of(model, L).logits(few.sequences)[0], base)
small = minipeft.student_of(model, L // 2)
block = sum(w.size for name, w in model.weights.items() if name.startswith("h.0."))
print(f"teacher's base {model.num_parameters:,}, student {small.num_parameters:,}")
assert model.num_parameters - small.num_parameters == (L - small.config.n_layer) * block

# %% tolerance=0.05
students, start = {}, minipeft.PeftModel(small)
for key, weight in (("labels alone", 0.0), ("teacher, too", 0.7)):
    students[key] = minipeft.PeftModel(small, minipeft.Full())
    distilled = minipeft.Distilled(students[key], teacher, temperature=2.0, weight=weight)
    minipeft.train(distilled, pairs, learning_rate=1e-3, **settings)
people = {"at the start": start, **students, "teacher": teacher}
loss = {key: minipeft.evaluate(one, held_out)["loss"] for key, one in people.items()}
print({key: round(value, 2) for key, value in loss.items()})

# %% tolerance=0.1
many, measured = minipeft.pack(held_out), {"temperature": 1.0, "weight": 1.0}  # the loss is KL
distance = {k: minipeft.Distilled(m, teacher, **measured).loss(many) for k, m in people.items()}
assert abs(distance["teacher"]) < 1e-9
near, far = distance["teacher, too"], distance["labels alone"]
finding = (
    f"Divergence from the teacher: {near:.2f} where it taught, {far:.2f} with labels alone."
)
with picture(finding, 8, 2.8) as f:
    shown = {"loss on the labels": loss, "KL(teacher, student)": distance}
    for axes, (label, v) in zip(f.subplots(1, 2, sharey=True), shown.items(), strict=True):
        axes.barh(list(v)[1:], list(v.values())[1:], color=["#f6c39a", TRAINED, "black"])
        axes.set(xlabel=label)

# %% [markdown]
# The loss of the student with a teacher is a mixture: it may end a little higher on the labels, and nearer to the teacher. How near it came to it, word by word, is seen at the place from before. The text is held out.

# %% tolerance=0.2
views = {k: ops.softmax(people[k].logits([text])[0][at]) for k in people}
gap = 0.5 * np.abs(views["teacher, too"] - views["teacher"]).sum()
with picture(
    f"Where the teacher doubts, its student puts {gap:.0%} of the probability elsewhere.", 8, 3
) as f:
    rows = {k: views[k] for k in ("teacher", "teacher, too", "labels alone")}
    bars(f.subplots(), rows, ["black", TRAINED, "#f6c39a"])

# %% [markdown]
# ## The hybrids stay beside the model, the student is a model
#
# MAM and UniPELT cannot be merged: a prefix and an activation are in no weight of GPT-2. A student needs nothing of the kind. It is a plain, smaller GPT-2.

# %%
for hybrid in (peft, uni):
    try:
        hybrid.merge_and_unload()
    except minipeft.InputError as error:
        print(error)


# %%
taught = students["teacher, too"]
merged = taught.merge_and_unload()
assert np.array_equal(merged.logits(few.sequences)[0], taught.logits(few.sequences)[0])

# %%
plain = step_flops(minipeft.PeftModel(model), few)["forward"]
costs = {"UniPELT": uni, "MAM": peft, "student": start}
price = {key: step_flops(one, few)["forward"] / plain for key, one in costs.items()}
print({key: f"{value:.2f} of the base's forward" for key, value in price.items()})
assert price["student"] < 1 < price["MAM"]

# %% [markdown]
# ## What was shown
#
# 1. MAM is the list of its parts; where two parts read one $x$, their gradients add up.
# 2. A gate is one number for each row: $dz = g(1-g) \sum_k dh'_k f_k$.
# 3. A gate that is a mean over the text lets every output hear of every later token; a gradient check cannot see that.
# 4. The gradient of distillation is $(1-\lambda)(p_1 - y) + \lambda\tau(p_\tau - q_\tau)$, and $\tau^2$ keeps it from dying.
# 5. A student of half the blocks is a plain GPT-2, at {{price['student']:.0%}} of the forward's products on such short texts.
#
# **Three changes to try.** In `mean_gate` take the mean of the tokens so far, `np.cumsum(each)[:, None] / np.arange(1, len(each) + 1)[:, None]`: the check of its gradient
# fails, for the backward is another mean's, but above the diagonal all is zero again. Give the second student the weight `1.0`: without labels its loss is higher, and it comes no nearer to
# the teacher in 60 steps. Make it `minipeft.student_of(model, 1)`: one block learns far less of both.
#
# **Read next:** `minipeft/methods/hybrid/gated.py`, then `minipeft/distill.py`. **Write it yourself:** `minipeft check 03`, the gradient of the cross-entropy, from which that of
# distillation is made; for MAM's parts `minipeft check 13` and `minipeft check 15`.
#
# One honest limit: 60 steps, one seed, and a teacher that itself has trained for 60 steps. How much a leak or a teacher matters on a large model is not shown here.
