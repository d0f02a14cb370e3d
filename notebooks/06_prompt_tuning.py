# %% [markdown]
# # Prompt tuning and P-tuning: words that are in no vocabulary
#
# Prompt tuning (Lester et al. 2021) trains the rows that stand in front of the text, and nothing else. P-tuning makes the same rows with a small
# network. Here is how they begin, how their gradient is found, how far they move, and which words they are near.
#
# Runs in {{runtime}} on one core. In pictures grey is frozen and orange is trained.
#
# For the real GPT-2 change the line that loads the model to `from_pretrained("gpt2")`; on a GPU add `device="cuda"`.

# %%
import numpy as np

import minipeft
from minipeft import gpt2
from minipeft.cost.flops import step_flops
from minipeft.layout import Layout
from minipeft.ops import prepend_backward
from minipeft.tasks import TASKS
from minipeft.teaching import FROZEN, TRAINED, picture, show, site_map, to_scale

# %%
model = minipeft.GPT2.from_pretrained("weights/tiny", dtype="float64")
encode = lambda text: model.tokenizer.encode(text).ids
rows = TASKS["data-to-text"].rows("train", 400)
held_out = TASKS["data-to-text"].rows("validation", 24)
wte, C = model.weights["wte.weight"], model.config.n_embd

# %% [markdown]
# ## A soft prompt is rows where words would be
#
# A word enters the model as a row of the table `wte`. Prompt tuning puts $P$ rows of its own in front of them, and trains these rows. They need not be
# the row of any word. Then positions are added, and the model goes on as always.
#
# $$x' = [E\,; wte_{ids}] + wpe_{0, 1, 2, \dots}$$

# %%
ids = encode(rows[0]["prompt"])
soft = minipeft.PeftModel(model, minipeft.PromptTuning(20))
E = soft.tensors["prompt_embeddings"]  # (P, C)
x = np.vstack([E, wte[ids]]) + model.weights["wpe.weight"][: 20 + len(ids)]

# %%
embedded, layout, _ = gpt2.embed(np.array(ids), minipeft.pack([([], ids)]).layout, soft.step())
print("text", len(ids), "rows, with the prompt", layout.lengths[0])
assert np.allclose(embedded, x)

# %%
site_map(
    "embed", finding="A soft prompt comes in at the first site, before positions are added."
)

# %% [markdown]
# It is among the smallest of all methods: $P$ rows of width $C$, whatever the number of layers. Above it everything is frozen.

# %%
print(f"by hand 20 x {C} = {20 * C:,}, by code {soft.num_trainable:,}")
assert soft.num_trainable == 20 * C

# %%
with picture(
    f"To scale: the prompt, and the {len(wte):,} rows of the table of words.", 6.5, 3.4
) as f:
    to_scale(f.subplots(), ("E", 20, C, TRAINED), "", ("wte", len(wte), C, FROZEN))

# %%
show(minipeft.PromptTuning.embed)

# %% [markdown]
# ## The loss may start anywhere, for the base is never the beginning
#
# **Predict:** LoRA starts exactly as the base. Is there a prompt with which the model says what it said without one?
#
# <details><summary>Answer</summary>Not in general. Rows in front are attended to, whatever they hold, and the text moves P positions on. So the first loss depends on the rows.</details>
#
# Three beginnings are in use: random numbers, words drawn from the vocabulary, and a text. We take a finished example for the text.

# %%
example = rows[1]["prompt"] + rows[1]["completion"]
text = tuple(encode(example)[:20])
starts = {
    "random": minipeft.PromptTuning(20),
    "words": minipeft.PromptTuning(20, "SAMPLE_VOCAB"),
    "text": minipeft.PromptTuning(20, "TEXT", text),
}

# %%
lengths = {
    key: np.linalg.norm(minipeft.PeftModel(model, m).tensors["prompt_embeddings"], axis=1)
    for key, m in starts.items()
}
usual = np.linalg.norm(wte, axis=1)
longer = lengths["random"].mean() / usual.mean()
print(f"a random row is {longer:.1f} times as long as the mean word")

# %%
with picture(f"Random rows are {longer:.1f} times as long as words.", 7.5, 2.8) as f:
    axes = f.subplots()
    axes.hist(usual, 40, color=FROZEN, density=True, label="all words")
    for (key, values), height in zip(lengths.items(), (0.3, 0.6, 0.9), strict=True):
        axes.plot(
            values, np.full(20, height * axes.get_ylim()[1]), ".", color=TRAINED, markevery=1
        )
        axes.text(values.max() * 1.03, height * axes.get_ylim()[1], key, va="center")
    axes.set(
        xlabel="length of the row", ylabel="density", xlim=(0, 1.25 * lengths["random"].max())
    )
    axes.legend()

# %% [markdown]
# The third beginning is more than a good guess: the model is exactly where it would be if it had read the text. Rows of words are words.

# %%
as_text = minipeft.PeftModel(model, starts["text"])
read = model.logits([[*text, *ids]])[0][20:]  # the rows of the prompt, after the text
gap = np.abs(as_text.logits([ids])[0] - read).max()
print("a prompt from a text is that text:", bool(gap < 1e-9))
assert gap < 1e-9

# %% tolerance=0.02
losses = {"no prompt": minipeft.evaluate(minipeft.PeftModel(model), held_out)["loss"]}
for key, method in starts.items():
    losses[key] = minipeft.evaluate(minipeft.PeftModel(model, method), held_out)["loss"]
print("loss before training:", {key: round(loss, 2) for key, loss in losses.items()})

# %% tolerance=0.02
lowest = min(losses, key=losses.get)
with picture(f"Before any training the lowest loss is that of {lowest!r}.", 7, 2.4) as f:
    axes = f.subplots()
    axes.barh(list(losses)[::-1], list(losses.values())[::-1], color=[TRAINED] * 3 + [FROZEN])
    axes.set(xlabel="loss per token, held out")

# %% [markdown]
# ## The gradient is a sum over sequences
#
# The same rows stand in front of every sequence of the batch. Let $dx'$ be the gradient of the longer matrix, which the layers above hand down.
#
# | step | rule |
# |---|---|
# | $x'_{s,i} = E_i$ for $i < P$, in every sequence $s$ | the definition |
# | $\partial x'_{s,i} / \partial E_i = 1$ | a copy |
# | $dE_i = \sum_s dx'_{s,i}$ | chain rule: add up over all places that $E_i$ reaches |
# | $dx_{s,t} = dx'_{s,P+t}$ | the rows of the text are copies, too |

# %%
rng = np.random.default_rng(0)
P, D, texts = 2, 3, (4, 1, 2)  # rows, width, and three sequences of unequal length
E_ = rng.normal(size=(P, D))
words = [rng.normal(size=(T, D)) for T in texts]
d_all = rng.normal(size=(sum(texts) + len(texts) * P, D))  # what comes from above
joined = lambda: np.vstack([part for x in words for part in (E_, x)])  # (N + S P, D)


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
dE_long, at = np.zeros_like(E_), 0  # the long way: one sequence after another
for T in texts:
    dE_long += d_all[at : at + P]
    at += P + T
assert np.allclose(dE_long, slope(lambda: (joined() * d_all).sum(), E_))

# %% [markdown]
# The package does the same by slices: the rows of the prompt are added up over the sequences, and what belongs to words is handed on. Random numbers
# from above, of unequal lengths, leave no room for a lucky answer.

# %%
dx, dE = prepend_backward(d_all, P, Layout.of(texts))  # the package's way
print("dE", dE.shape, "dx", dx.shape)
assert np.allclose(dE, dE_long) and len(dx) == sum(texts)

# %% [markdown]
# A common mistake is to take the rows of the first sequence alone. With one sequence in the batch nobody would see it. The package's lines, and the check of the whole model:

# %%
show(minipeft.PromptTuning.embed_backward)

# %%
batch = minipeft.pack([([5, 6, 7], [8, 9]), ([9], [6, 8, 7])])
errors = minipeft.gradcheck(soft, batch, elements=6)
print("gradcheck below 1e-7:", max(errors.values()) < 1e-7)
assert max(errors.values()) < 1e-7

# %% [markdown]
# ## Whether the beginning decides can be measured
#
# **Predict:** all three prompts train, once at a high rate and once at a low one. Lester et al. find that on small models the beginning decides. Will it here, and at which rate?
#
# <details><summary>Answer</summary>More at the low rate. A step of AdamW is about as long as the rate, so in sixty steps at the low rate no number goes far, and a prompt stays near its beginning.</details>


# %%
def trained(method, learning_rate=1e-1):
    peft = minipeft.PeftModel(model, method)
    before = {k: p.copy() for k, p in peft.trainable.items()}
    settings = {"steps": 60, "batch_size": 4, "learning_rate": learning_rate}
    history = minipeft.train(peft, rows, progress=False, **settings)
    return peft, before, [step["loss"] for step in history.steps]


# %% tolerance=0.05
runs = {key: trained(method) for key, method in starts.items()}
slow = {key: trained(method, 1e-2) for key, method in starts.items()}

# %% tolerance=0.05
loss_of = lambda group: {
    k: minipeft.evaluate(run[0], held_out)["loss"] for k, run in group.items()
}
ends = {"high rate": loss_of(runs), "low rate": loss_of(slow)}
for key, after in ends.items():
    print(f"{key:9}", {k: round(loss, 2) for k, loss in after.items()})

# %% [markdown]
# The curves show the way there. Left and right have the same scale, so the same height is the same loss.

# %% tolerance=0.1
high, low = (max(after.values()) - min(after.values()) for after in ends.values())
with picture(
    f"The ends lie {high:.1f} apart at the high rate, {low:.1f} at the low one.", 8, 3
) as f:
    for axes, title, group in zip(
        f.subplots(1, 2, sharey=True), ends, (runs, slow), strict=True
    ):
        for (key, (_, _, path)), dash in zip(group.items(), ("-", "--", ":"), strict=True):
            smooth = np.convolve(path, np.ones(5) / 5, "valid")
            axes.plot(smooth, dash, color=TRAINED, marker="", label=key)
        axes.set(title=title, xlabel="step (mean of five)")
    f.axes[0].set(ylabel="loss", ylim=(0, None))
    f.axes[0].legend()

# %% [markdown]
# {{"Where the steps are small, the beginning decides more." if low > 1.5 * high else "Here the rate makes little difference to that."}} A low rate leaves a prompt
# nearer to where it began, whether that was a good place or not.
#
# How far did the rows go? We measure the straight line from where each row began to where it ended, and hold it against the length of a usual word.
# The dashed line in the picture is that length.

# %% tolerance=0.1
moved = {}
for key, (peft, before, _) in runs.items():
    table = peft.tensors["prompt_embeddings"]
    moved[key] = np.linalg.norm(table - before["prompt_embeddings"], axis=1)
print("mean distance:", {key: round(float(d.mean()), 2) for key, d in moved.items()})

# %% tolerance=0.1
ratio = np.mean([d.mean() for d in moved.values()]) / usual.mean()
with picture(
    f"Each row moves {ratio:.1f} times the length of a word, on average.", 7.5, 2.8
) as f:
    axes = f.subplots()
    for i, distance in enumerate(moved.values()):
        axes.plot(distance, np.full(20, i), ".", color=TRAINED, markevery=1)
    axes.set_yticks(range(3), list(moved))
    axes.set_ylim(-0.5, 2.9)
    axes.axvline(usual.mean(), color=FROZEN, linestyle="--", label="length of a mean word")
    axes.set(xlabel="distance from the start", xlim=(0, None))
    axes.legend()

# %% [markdown]
# ## After training, a row need not be near any word
#
# A row can be asked for its nearest words: those whose rows point most nearly the same way. The cosine is 1 for the same direction and 0 for nothing in common.
#
# $$\cos(E_i, w) = \frac{E_i \cdot w}{\lVert E_i \rVert\,\lVert w \rVert}$$


# %%
def nearest(E):
    """The nearest word of each row, and its cosine."""
    unit = lambda a: a / np.linalg.norm(a, axis=1, keepdims=True)
    cosine = unit(E) @ unit(wte).T  # (P, V)
    return cosine.argmax(1), cosine.max(1)


assert np.allclose(nearest(wte[list(text)])[1], 1)  # a word is its own nearest word

# %% tolerance=0.3
near = {}
for key, (peft, before, _) in runs.items():
    near[key] = (
        nearest(before["prompt_embeddings"])[1],
        nearest(peft.tensors["prompt_embeddings"])[1],
    )
    print(
        f"{key:7} mean cosine {near[key][0].mean():.2f} before, {near[key][1].mean():.2f} after"
    )

# %% tolerance=0.3
with picture("The cosine to the nearest word, before training and after it.", 7, 2.6) as f:
    axes, at = f.subplots(), np.arange(len(near))
    axes.bar(at - 0.2, [b.mean() for b, _ in near.values()], 0.4, color=FROZEN, label="before")
    axes.bar(at + 0.2, [a.mean() for _, a in near.values()], 0.4, color=TRAINED, label="after")
    axes.set_xticks(at, list(near))
    axes.set(ylabel="cosine", ylim=(0, 1))
    axes.legend()

# %% [markdown]
# What a row of random numbers is near to is chance: among so many words one is always a little nearer than the others. Rows that began as words are the
# fair test, for they began at one. Here they are, one by one.

# %% tolerance=0.3
found, cosines = nearest(runs["text"][0].tensors["prompt_embeddings"])
kept = int((found == np.array(text)).sum())
with picture(f"{kept} of 20 rows that began as a text still lie nearest to it.", 8, 4.6) as f:
    axes = f.subplots()
    name = lambda i: repr(model.tokenizer.decode([int(i)]).strip())[1:-1] or "space"
    labels = [f"{name(a)} → {name(b)}" for a, b in zip(text, found, strict=True)]
    axes.barh(range(20), cosines, color=TRAINED)
    axes.set_yticks(range(20), labels)
    axes.invert_yaxis()
    axes.set(xlabel="cosine to the nearest word", xlim=(0, 1))

# %% [markdown]
# Left of the arrow is the word with which the row began, right of it the word that is nearest now. Where they differ, or the cosine is far below one, the row
# has left the vocabulary: what it says cannot be read off. Prompts are trained to work, not to be read.
#
# ## P-tuning makes the same rows with a network
#
# P-tuning (Liu et al. 2021) makes the rows by an LSTM and a small MLP. Hugging Face PEFT's default, taken here, is a table and three linear layers with $\mathrm{relu}$ between them. Only what comes out, $E'$, stands in front of the text.
#
# $$E' = \mathrm{relu}(\mathrm{relu}(E W_0 + b_0)\,W_2 + b_2)\,W_4 + b_4$$

# %%
p_tuning = minipeft.PTuning(20)
network = minipeft.PeftModel(model, p_tuning)
t = {key.split("mlp_head.")[-1]: a for key, a in network.tensors.items()}
f0 = np.maximum(t["prompt_encoder.embedding"] @ t["0.weight"] + t["0.bias"], 0)  # (P, C)
f2 = np.maximum(f0 @ t["2.weight"] + t["2.bias"], 0)
made = f2 @ t["4.weight"] + t["4.bias"]
assert np.allclose(made, p_tuning.encode(network.tensors)[0])

# %% [markdown]
# | step, from the top | rule |
# |---|---|
# | $dW_4 = f_2^T dE'$, $df_2 = dE'\,W_4^T$ | a linear layer |
# | $dz_2 = df_2\,[f_2 > 0]$ | relu passes on where it was open |
# | $dW_2 = f_0^T dz_2$, $df_0 = dz_2\,W_2^T$ | a linear layer |
# | $dz_0 = df_0\,[f_0 > 0]$, $dW_0 = E^T dz_0$, $dE = dz_0\,W_0^T$ | the same once more |

# %%
d_made = rng.normal(size=made.shape)
dz2 = d_made @ t["4.weight"].T * (f2 > 0)
dz0 = dz2 @ t["2.weight"].T * (f0 > 0)
grads = p_tuning.encode_backward(d_made, p_tuning.encode(network.tensors)[1])
assert np.allclose(dz0 @ t["0.weight"].T, grads["prompt_encoder.embedding"])
assert max(minipeft.gradcheck(network, batch, elements=1).values()) < 1e-7

# %%
by_hand = 20 * C + 3 * (C * C + C)
print(f"{by_hand:,} numbers train, {20 * C:,} remain")
assert by_hand == network.num_trainable

# %%
with picture(
    "To scale: the table and three square matrices train; 20 rows remain.", 7.5, 2.6
) as f:
    square = [part for n in (0, 2, 4) for part in ("", (f"W_{n}", C, C, TRAINED))]
    to_scale(f.subplots(), ("E", 20, C, TRAINED), *square, "=", ("E'", 20, C, TRAINED))

# %% [markdown]
# It costs next to no time, for it runs on $P$ rows once per step, whatever the batch. Its purpose is to tie the rows together: one weight of the network
# moves them all.

# %% tolerance=0.05
learnt, _, path = trained(p_tuning, 3e-2)
end = minipeft.evaluate(learnt, held_out)["loss"]
print(f"P-tuning: loss {path[0]:.2f} in the first step, {end:.2f} on held-out rows at the end")

# %% [markdown]
# **Predict:** after training, is the network still needed?
#
# <details><summary>Answer</summary>No. It reads nothing of the text, so its output is the same for every input: E' is a soft prompt like any other.</details>

# %%
flat, tensors = p_tuning.without_encoder(learnt.tensors)
plain = minipeft.PeftModel(model, flat)
plain.tensors["prompt_embeddings"][...] = tensors["prompt_embeddings"]
gap = np.abs(plain.logits([ids])[0] - learnt.logits([ids])[0]).max()
print(
    f"{learnt.num_trainable:,} numbers, then {plain.num_trainable:,}; same:", bool(gap < 1e-9)
)
assert gap < 1e-9

# %% [markdown]
# ## A prompt cannot be merged, and its price is length
#
# A soft prompt is input, not weight: `merge_and_unload` refuses it. Every text is $P$ tokens longer at every call, in every layer. The adapter itself is tiny.

# %%
one = minipeft.pack([([], ids)])
work = [step_flops(peft, one)["forward"] for peft in (minipeft.PeftModel(model), soft)]
print(
    f"with 20 rows in front of {len(ids)} a forward costs {work[1] / work[0]:.1f} times as much"
)

# %% [markdown]
# ## What was shown
#
# 1. A soft prompt is rows of width $C$ in front of the words of every text.
# 2. It never begins as the base; where the loss starts depends on the rows.
# 3. Its gradient is the sum over the sequences of the batch.
# 4. A prompt from a text is that text; after training its rows need not be near any word.
# 5. P-tuning's network reads no text, so it goes when training is over.
#
# **Three changes to try.** Set `texts = (4,)`: with one sequence in the batch the sum has one part, and whoever forgot it would not notice. Set the low rate to
# `1e-3`: after 60 steps the losses of all three are higher than those in the right picture. Take another row than `rows[1]` for the text: the prompt is that text again, to rounding.
#
# **Read next:** `minipeft/methods/embed/prompt_tuning.py`. **Write it yourself:** `minipeft check 12` (the prompt) and `minipeft check 14` (P-tuning's network).
#
# One honest limit: prompt tuning is slow to learn, and the paper finds that it needs large models. After 60 steps on a small model none of
# these numbers is an end.
