# %% [markdown]
# # LoRA in one hour: from a token to a trained and merged adapter
#
# This is the short path. Fine-tuning means: train a finished model a little further, on examples of one task. LoRA (Hu et al. 2021) does so with
# few numbers. You will derive its gradient on paper, check it, train it, look inside, and fold it into the weights. You need matrices and the chain rule.
#
# Runs in {{runtime}} on one core. In pictures grey is frozen and orange is trained.
#
# For the real GPT-2 change the line that loads the model to `from_pretrained("gpt2")`; on a GPU add `device="cuda"`.
# Here all is computed in float64, so that every machine prints the same numbers.

# %%
import numpy as np

import minipeft
from minipeft import ops
from minipeft.tasks import TASKS
from minipeft.teaching import FROZEN, TRAINED, log_scale, picture, show, site_map, to_scale

# %% [markdown]
# ## A language model gives every token a probability
#
# The model here is a small GPT-2 that comes with the package. Text goes in as tokens, which are pieces of words with a
# number each. Out comes one score for every token of the vocabulary, at every place. In comments stand the sizes of arrays: T tokens, V words of
# the vocabulary.

# %%
model = minipeft.GPT2.from_pretrained("weights/tiny", dtype="float64")
prompt = "name : The White Oak | food : Italian | near : Alder Station ||"
tokens = model.tokenizer.encode(prompt)
print(model)
print(len(tokens.ids), "tokens:", " ".join(tokens.tokens).replace("Ġ", "_"))

# %% [markdown]
# The scores are called logits. Softmax makes probabilities of them: $p_i = e^{z_i} / \sum_j e^{z_j}$. We take the last row, which
# scores what comes after the prompt.
#
# **Predict:** the model has never seen prompts of this form. Will its favourite be the beginning of a description?

# %%
z = model.logits([tokens.ids])[0]  # (T, V)
p = ops.softmax(z[-1])  # (V,)
print("logits", z.shape, "| probabilities add up to", round(float(p.sum()), 4))

# %%
best = p.argsort()[::-1][:5]
words = [model.tokenizer.decode([i]) for i in best]
print("favourite:", repr(words[0]))

# %%
finding = (
    f"Before fine-tuning the favourite is {words[0]!r}, with {p[best[0]]:.0%}: no description."
)
with picture(finding, 7, 2.6) as f:
    axes = f.subplots()
    axes.barh([repr(w) for w in words][::-1], p[best][::-1], color=FROZEN)
    axes.set(xlabel="probability of the next token")

# %% [markdown]
# ## The loss is one number: how surprised is the model by the right answer?
#
# Fine-tuning shows pairs of prompt and completion. The loss is minus the log-probability of the tokens of the completion, summed:
# $\ell = -\sum_m \log p_{m,\text{label}_m}$. The prompt's own tokens do not count. Training divides by the number $M$ of these tokens, and where a curve or a
# table says loss, it is this mean.

# %%
task = TASKS["data-to-text"]
row = task.rows("train", 2)[1]
encode = lambda text: model.tokenizer.encode(text).ids
batch = minipeft.pack([(encode(row["prompt"]), encode(row["completion"]))])
logprob, _ = minipeft.PeftModel(model).scores(
    batch
)  # (M,): one number for each token of the completion
print("prompt    :", row["prompt"], "\ncompletion:", row["completion"])
print(f"loss {-logprob.sum():.2f} over {len(logprob)} tokens, {-logprob.mean():.3f} each")

# %%
pieces = [model.tokenizer.decode([i]) for i in encode(row["completion"])]
hardest = pieces[logprob.argmin()].strip()
with picture(
    f"One part of the loss per token: {hardest!r} surprises this model most.", 7.5, 3
) as f:
    axes = f.subplots()
    axes.bar(range(len(pieces)), -logprob, color=FROZEN)
    axes.set_xticks(range(len(pieces)), [p.strip() for p in pieces], rotation=60, ha="right")
    axes.set(ylabel="−log p")

# %% [markdown]
# Its derivative with respect to the logits is short: $dz = p - \text{onehot}(\text{label})$. For one row, $-\log p_{label} = \log\sum_j e^{z_j} - z_{label}$. The derivative of the first
# part with respect to $z_i$ is $e^{z_i}/\sum_j e^{z_j} = p_i$; that of the second is 1 at the label and 0 elsewhere. So each row has one negative entry and adds up to zero: what
# the label gains, the others lose. (M rows are scored, C is the width of the model.)

# %%
rng = np.random.default_rng(0)
x, W_head = rng.normal(size=(3, 4)), rng.normal(size=(6, 4))  # (M, C), (V, C)
labels = np.array([2, 0, 5])
dz = ops.softmax(x @ W_head.T) - np.eye(6)[labels]  # (M, V)
print("sums of the rows are zero:", np.allclose(dz.sum(1), 0, rtol=0, atol=1e-12))
assert ((dz < 0).sum(1) == 1).all()

# %%
_, cache = ops.lm_loss(x, W_head, labels, {"x"})
dx, _ = ops.lm_loss_backward(1, cache)  # z = x W^T, so dx = dz W
print("dz W is the package's dx:", np.allclose(dz @ W_head, dx, rtol=0, atol=1e-12))
assert np.allclose(dz @ W_head, dx, rtol=0, atol=1e-12)

# %%
with picture("Each row has one negative entry: the label's.", 7, 2.6) as f:
    axes = f.subplots()
    bar = axes.imshow(dz, cmap="RdBu", vmin=-1, vmax=1)
    axes.set(xlabel="token of the vocabulary", ylabel="row", yticks=range(3))
    axes.grid(False)
    f.colorbar(bar, label="dz")

# %% [markdown]
# ## Fine-tuning everything is expensive, a low rank is not
#
# GPT-2 is made of linear layers, $y = x W + b$. Full fine-tuning changes every entry of every $W$, and the optimiser (AdamW, notebook 04) keeps two running
# means for each. LoRA leaves $W$ frozen and adds a change of low rank beside it. $A$ and $B$ together are called an adapter; $\alpha$ is a number that you choose, and dividing it
# by $R$ is meant to keep the size of the change alike when you change $R$:
#
# $$y = x W + b + s\,(x A)\,B \qquad A\ (I, R),\quad B\ (R, O),\quad s = \alpha / R$$

# %%
lora = minipeft.LoRA(r=4, lora_alpha=8, target_modules="all-linear")
peft = minipeft.PeftModel(model, lora)
I, O = model.weights["h.0.attn.c_attn.weight"].shape
R = lora.r
W_size, AB_size, share = I * O, R * (I + O), peft.num_trainable / peft.num_parameters
print(f"c_attn: W has {I} x {O} = {W_size:,} numbers, A and B together {AB_size:,}")
print(f"whole model: {peft.num_trainable:,} numbers train, {share:.2%}")

# %%
with picture(
    f"To scale: the frozen W beside the {AB_size:,} numbers that train.", 7.5, 2.4
) as f:
    A_and_B = ("A", I, R, TRAINED), "", ("B", R, O, TRAINED)
    to_scale(f.subplots(), ("W", I, O, FROZEN), "+  s", *A_and_B)

# %% [markdown]
# LoRA is one method among many. In the model there are four *sites*, doors at which a method may come in. LoRA uses the second one: it acts beside linear layers.

# %%
site_map("linear", finding="LoRA comes in beside the linear layers; all else stays frozen.")

# %% [markdown]
# ## The forward is two lines
#
# Here is LoRA from the formula, for a layer small enough to follow. Rows are tokens. The letters are the sizes: $N$ tokens, $I$ in, $O$
# out, $R$ rank. All are different on purpose, so that a transposed matrix cannot go unnoticed.


# %%
def lora_forward(x, W, b, A, B, s):
    h = s * (x @ A)  # (N, R)
    return x @ W + b + h @ B, h  # (N, O)


N, I, O, R, s = 4, 3, 5, 2, 3.0
x, W, b = rng.normal(size=(N, I)), rng.normal(size=(I, O)), rng.normal(size=O)
A, B = rng.normal(size=(I, R)), rng.normal(size=(R, O))
# %%
y, h = lora_forward(x, W, b, A, B, s)
print("x", x.shape, "-> h", h.shape, "-> y", y.shape)
assert np.allclose(y, x @ (W + s * A @ B) + b)

# %% [markdown]
# These are the lines that the package runs. `y` arrives as $x W + b$, and the small product $h$ is scaled, because it has only $R$ columns. What is said
# of `acts_on`, `dropout` and `mask` does nothing here: all linear layers are targets, and nothing is dropped.

# %%
show(minipeft.LoRA.linear)

# %% [markdown]
# **Predict:** $A$ begins with random numbers and $B$ with zeros. How far are the logits from those of the base, before any training?
#
# <details><summary>Answer</summary>Nothing moves: with B = 0 the change s A B is zero, whatever A is. The cell below prints the largest difference.</details>

# %%
moved = np.abs(peft.logits([tokens.ids])[0] - z).max()
print("largest change of a logit at the start:", moved)
assert moved == 0

# %% [markdown]
# ## The backward is five products, and each is derived
#
# Given is $dy = \partial\ell/\partial y$, of shape $(N, O)$. We look for the derivatives with respect to $B$, $A$ and $x$. Write the forward with its indices,
# $y_{no} = (xW)_{no} + b_o + \sum_r h_{nr} B_{ro}$ with $h_{nr} = s \sum_i x_{ni} A_{ir}$.
#
# | step | rule |
# |---|---|
# | $\partial y_{no} / \partial B_{ro} = h_{nr}$, in every row $n$ | $y$ is linear in $B$ |
# | $dB_{ro} = \sum_n h_{nr}\,dy_{no}$, so $dB = h^T dy$ | chain rule: add up over all $y$ that $B_{ro}$ reaches |
# | $dh_{nr} = s\sum_o dy_{no} B_{ro}$, so $dh = s\,dy\,B^T$ | chain rule; $s$ is put in here, once |
# | $dA_{ir} = \sum_n x_{ni}\,dh_{nr}$, so $dA = x^T dh$ | as for $B$, one product earlier |
# | $dx = dy\,W^T + dh\,A^T$ | $x$ goes two ways, so two gradients add up |


# %%
def lora_backward(dy, x, h, W, A, B, s):
    dh = s * (dy @ B.T)  # (N, R)
    dA, dB = x.T @ dh, h.T @ dy  # (I, R), (R, O)
    return dy @ W.T + dh @ A.T, dA, dB  # dx (N, I)


dy = rng.normal(size=(N, O))  # what comes from above: random, not ones
dx, dA, dB = lora_backward(dy, x, h, W, A, B, s)
print("dx", dx.shape, "dA", dA.shape, "dB", dB.shape)
assert (dx.shape, dA.shape, dB.shape) == (x.shape, A.shape, B.shape)

# %% [markdown]
# A shape that fits proves little. The true test is the definition of a derivative: move one number a little, and see how the loss
# moves. Choose $dy$ once and keep it fixed. Then $\ell = \sum y \cdot dy$ is a number whose derivative with respect to $y$ is $dy$.


# %%
def numeric(array, step=1e-5):
    grad = np.zeros_like(array)
    for i in np.ndindex(array.shape):
        kept, values = array[i], []
        for t in (step, -step):
            array[i] = kept + t
            values.append((lora_forward(x, W, b, A, B, s)[0] * dy).sum())
        array[i] = kept  # put it back
        grad[i] = (values[0] - values[1]) / (2 * step)
    return grad


# %%
worst = {
    name: np.abs(g - numeric(a)).max()
    for name, a, g in [("dx", x, dx), ("dA", A, dA), ("dB", B, dB)]
}
print("all below 1e-8:", {name: bool(error < 1e-8) for name, error in worst.items()})
assert max(worst.values()) < 1e-8

# %% [markdown]
# **Predict:** somebody forgets $s$ in $dh$. Which of the three are wrong, and how would you see the cause from the numbers?
#
# <details><summary>Answer</summary>dB is right: its s is in h already. All of dA is too small by the factor 1/s, and of dx the part that goes through A is.</details>

# %%
dh_wrong = dy @ B.T  # s is forgotten
ratio = (x.T @ dh_wrong) / dA
print("wrong dA / right dA, every entry:", np.unique(ratio.round(9)))
assert np.allclose(ratio, 1 / s)

# %% [markdown]
# The package's backward gives back three things: $dy$ as it is (the model itself multiplies it by $W^T$), the part $dh\,A^T$ of $dx$, and $dA$ and $dB$ by name. If no
# layer below trains, $dx$ is not needed and is None.

# %%
show(minipeft.LoRA.linear_backward)

# %% [markdown]
# `gradcheck` does for the whole model what we did for one layer. It needs float64, and it first puts noise on $A$ and $B$: with
# $B = 0$ every wrong $dA$ would pass, because the right one is zero. Afterwards it puts $A$ and $B$ back.

# %% tolerance=1e9
errors = minipeft.gradcheck(peft, batch, elements=1)
print(f"{len(errors)} tensors, worst relative error {max(errors.values()):.0e}")
assert max(errors.values()) < 1e-7

# %%
sizes = sorted(errors.values())
with picture(
    f"All {len(sizes)} gradients are right: below the limit of 1e-7.",
    7,
    2.8,
) as f:
    axes = f.subplots()
    axes.semilogy(sizes, ".", color=TRAINED)
    axes.axhline(1e-7, color=FROZEN, linestyle="--")
    axes.set(xlabel="tensor, best to worst", ylabel="relative error", ylim=(1e-14, 1e-5))

# %% [markdown]
# ## A minute of training
#
# 100 steps of 8 examples each, with AdamW. Only $A$ and $B$ are handed to the optimiser; the base cannot change. We keep a copy of one frozen
# matrix, to see that this is true.

# %%
before = model.weights["h.0.attn.c_attn.weight"].copy()
rows, held_out = task.rows("train", 800), task.rows("validation", 40)
start = minipeft.evaluate(peft, held_out)["loss"]
settings = dict(steps=100, learning_rate=1e-2, eval_every=25, progress=False)
history = minipeft.train(peft, rows, eval_data=held_out, **settings)

# %% tolerance=0.02
best = history.best["eval_loss"]
print(f"loss on held-out rows: {start:.2f} before, {best:.2f} at its best")
assert np.array_equal(before, model.weights["h.0.attn.c_attn.weight"])  # bit for bit

# %% [markdown]
# On rows that training has not shown the loss falls from {{start:.1f}} to {{best:.2f}}. The frozen matrix is the same, bit for bit.

# %%
with picture("The loss falls while the base stays as it was.", 7, 3) as f:
    axes = f.subplots()
    axes.plot(
        [s["step"] for s in history.steps],
        [s["loss"] for s in history.steps],
        "-",
        color=TRAINED,
        label="training",
        marker="",
    )
    axes.plot(
        [e["step"] for e in history.evals],
        [e["eval_loss"] for e in history.evals],
        "s--",
        color=FROZEN,
        label="held out",
    )
    axes.set(xlabel="step", ylabel="loss per token")
    log_scale(axes, "y")
    axes.legend()

# %% [markdown]
# Now the same prompt again, with the adapter and without. `disable_adapter` shows the base alone: it is still there, untouched.

# %%
answer = peft.generate(prompt, max_new_tokens=30).splitlines()[0]
with peft.disable_adapter():
    plain = peft.generate(prompt, max_new_tokens=12)
print("with LoRA:", answer, "\nbase     :", plain)

# %% [markdown]
# Training has shown two facts or more beside each name. Ask with one alone, without `food : Italian |`, and the sentence breaks: the adapter
# knows the task as it was shown, no more.
#
# ## Looking inside: what did it learn?
#
# The change of a layer is $s A B$. Its singular values say in how many directions it acts; at most $R = 4$ of them are not zero.
#
# **Predict:** will all four be used equally?
#
# <details><summary>Answer</summary>No. But all are used: the cell prints how much.</details>

# %% tolerance=0.2
name = "h.3.attn.c_attn"
A, B = peft.tensors[f"{name}.lora_A"], peft.tensors[f"{name}.lora_B"]
update = lora.scaling(name) * A @ B  # (I, O)
values = np.linalg.svd(update, compute_uv=False)
print("singular values:", values[:6].round(2), "of", len(values))
assert np.linalg.matrix_rank(update) <= lora.r

# %%
ratio = values[0] / values[lora.r - 1]
with picture(
    f"Rank {lora.r}: the first direction has {ratio:.1f} times the last one's.", 7, 2.6
) as f:
    axes = f.subplots()
    axes.bar(range(1, 11), values[:10], color=TRAINED)
    axes.set(xlabel="direction", ylabel="singular value", xticks=range(1, 11))

# %% [markdown]
# ## Merged, the adapter costs nothing
#
# $x W + b + s\,x A B = x\,(W + s A B) + b$. So after training the change can be added to $W$, once. The result is a plain GPT-2, with the same
# answers to rounding and no extra work.

# %%
merged = peft.merge_and_unload()
gap = np.abs(merged.logits([tokens.ids])[0] - peft.logits([tokens.ids])[0]).max()
print(f"{type(merged).__name__} with {merged.num_parameters:,} parameters")
print("the same logits:", bool(gap < 1e-9))
assert gap < 1e-9 and merged.num_parameters == model.num_parameters

# %% [markdown]
# ## What was shown
#
# 1. The loss is a sum of $-\log p$ over the completion, and its gradient at the logits is $p - \text{onehot}$.
# 2. LoRA adds $s\,(xA)B$ to a frozen layer. With $B = 0$ it begins as the base, exactly.
# 3. $dh = s\,dy\,B^T$, $dA = x^T dh$, $dB = h^T dy$, $dx = dy\,W^T + dh\,A^T$. Differences of the loss agree.
# 4. A forgotten $s$ is seen as one factor, $1/s$, in every entry of $dA$.
# 5. Training moved {{share:.1%}} of the numbers, and the result merges into $W$.
#
# **Three changes to try.** Set `r=1, lora_alpha=2`, so that $s$ stays 2: the update has one singular value, and the loss ends clearly higher. Set `target_modules=("c_attn",)`: fewer numbers
# train, and the loss ends higher still. Set `learning_rate=1e-4`: after 100 steps the loss has fallen a little, and the answer is not yet a description.
#
# **Read next:** `minipeft/methods/linear/lora.py`, the method in full. **Write it yourself**, in an empty file and from memory: `minipeft check 10`.
#
# One honest limit: the model has two million parameters and knows a small world. How ranks and losses look on a large model is another question.
