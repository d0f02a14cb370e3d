# %% [markdown]
# # GPT-2's forward pass, shape by shape, on one sentence
#
# You will follow twelve tokens through a whole language model, do every step by hand, and get the package's numbers. On the way you
# see what attention looks at, what each layer would answer, and the four places where fine-tuning methods come in.
#
# Runs in {{runtime}} on one core. You need matrices, nothing else.
#
# For the real GPT-2 change the line with `from_pretrained` to `"gpt2"`; one sentence is no work for a GPU.

# %%
import numpy as np

import minipeft
from minipeft import gpt2, ops
from minipeft.layout import Layout
from minipeft.methods.base import Method
from minipeft.teaching import BASE, FROZEN, heat, marks, picture, show, site_map, to_scale

# %%
model = minipeft.GPT2.from_pretrained("weights/tiny", dtype="float64")
sentence = "The White Oak is a pub near the river. The White"
ids = model.tokenizer.encode(sentence).ids
p = ops.softmax(model.logits([ids])[0][-1])
best = p.argsort()[::-1][:6]
words = [model.tokenizer.decode([i]).strip() for i in ids]
# %%
expected = [model.tokenizer.decode([i]) for i in best]
with picture(f"After {' '.join(words[-2:])!r} the model expects {expected[0]!r}.", 7, 2.4) as f:
    axes = f.subplots()
    axes.barh([repr(word) for word in expected][::-1], p[best[::-1]], color=FROZEN)
    axes.set(xlabel="probability of the next token", xlim=(0, 1))

# %% [markdown]
# How does it get there? This is one block of the model. There are {{model.config.n_layer}} of them, one after another, and between them
# flows one matrix of {{len(ids)}} rows: the stream.

# %%
site_map(finding="One block of GPT-2: two branches read the stream and add to it.")

# %% [markdown]
# ## A text becomes rows of numbers
#
# The tokenizer cuts the text into tokens, pieces that have a row each in a table `wte`. A second table `wpe` has a row for each position,
# for without it the order of the words would be lost.
#
# $$x_n = \text{wte}[\text{id}_n] + \text{wpe}[n]$$

# %%
W, T = model.weights, len(ids)
C, H = model.config.n_embd, model.config.n_head
D = C // H  # width of one head
x = W["wte.weight"][ids] + W["wpe.weight"][:T]  # (T, C)
print(" ".join(f"{word}:{i}" for word, i in zip(words, ids, strict=True)))
# %%
step = model.step(layout=Layout.of([T]))  # what the package's functions need to know
assert np.allclose(x, gpt2.embed(np.array(ids), step.layout, step)[0])
print("x", x.shape, "| wte", W["wte.weight"].shape, "| wpe", W["wpe.weight"].shape)

# %%
with picture(
    f"Both rows of {words[-1]!r} are equal in wte; their positions differ.", 7.5, 2.8
) as f:
    left, middle = f.subplots(1, 2)
    heat(left, W["wte.weight"][ids][:, :24], title="wte[ids]", xlabel="first columns")
    heat(
        middle,
        W["wpe.weight"][:T, :24],
        title="wpe[0 ... T - 1]",
        xlabel="first columns",
        yticks=[],
    )
    left.set_yticks(range(T), words)

# %% [markdown]
# ## A layer norm gives every row the same size
#
# Before a branch reads the stream, each row is centred and divided by its standard deviation. Then each column gets a
# weight $w$ and a bias $b$, which were learnt.
#
# $$y = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}}\,w + b$$

# %%
mean, var = x.mean(1, keepdims=True), x.var(1, keepdims=True)  # of each row
w, b = W["h.0.ln_1.weight"], W["h.0.ln_1.bias"]
a = (x - mean) / np.sqrt(var + model.config.layer_norm_epsilon) * w + b  # (T, C)
assert np.allclose(a, gpt2.layer_norm_at("h.0.ln_1", x, step)[0])
# %%
norm = lambda x, name: gpt2.layer_norm_at(name, x, step)[0]
linear = lambda x, name: x @ W[f"{name}.weight"] + W[f"{name}.bias"]
size = lambda x: np.sqrt((x * x).mean(1))  # (T,)
xhat = (x - mean) / np.sqrt(var)

# %%
with picture("Rows of x differ in size; after the norm all have size one.", 7, 2.6) as f:
    axes = f.subplots()
    axes.plot(size(x) / size(x).mean(), "o--", color=FROZEN, label="x, relative to the mean")
    axes.plot(size(xhat), "s-", color=BASE, label="normed, before w and b")
    axes.set_xticks(range(T), words)
    axes.set(ylabel="size of the row", ylim=(0, 1.15 * (size(x) / size(x).mean()).max()))
    axes.legend(loc="lower right")

# %% [markdown]
# ## Attention is the only place where tokens meet
#
# One linear layer, `c_attn`, makes three rows out of each: a query (what am I looking for?), a key (what can I be found by?) and a
# value (what do I pass on?). They are cut into {{H}} heads of {{D}} columns.

# %%
qkv = linear(a, "h.0.attn.c_attn")  # (T, 3C)
q, k, v = (ops.heads(part, H) for part in np.split(qkv, 3, axis=1))  # (H, T, D) each
print("a", a.shape, "-> qkv", qkv.shape, "-> q, k, v", q.shape)

# %% [markdown]
# The score of query $i$ and key $j$ is their product. A mask forbids to look ahead, and softmax turns scores into shares. Each head's output
# is a mean of values, weighted by these shares.
#
# $$o = \mathrm{softmax}\Big(\frac{q\,k^T}{\sqrt D} + \text{mask}\Big)\,v$$
#
# **Predict:** what does the first token look at?
#
# <details><summary>Answer</summary>At itself, with all of its attention: it is the only one it may see.</details>

# %%
mask = np.triu(np.full((T, T), -np.inf), 1)  # 0 where i sees j, else -inf
p = ops.softmax(q @ k.transpose(0, 2, 1) / D**0.5 + mask)  # (H, T, T)
o = (p @ v).transpose(1, 0, 2).reshape(T, C)  # the heads side by side again
h = linear(o, "h.0.attn.c_proj")  # (T, C)
assert np.allclose(h, gpt2.attn(x, 0, step)[0])
assert np.allclose(p.sum(-1), 1) and (p[:, 0, 0] == 1).all()

# %% [markdown]
# To see all layers we need the stream above each: the package's `block` takes it there. `looks` repeats the formula for any layer.


# %%
def looks(x, layer):
    qkv = linear(norm(x, f"h.{layer}.ln_1"), f"h.{layer}.attn.c_attn")
    q, k, _ = (ops.heads(part, H) for part in np.split(qkv, 3, axis=1))
    return ops.softmax(q @ k.transpose(0, 2, 1) / D**0.5 + mask)


L, stream = model.config.n_layer, [x]
for layer in range(L):
    stream.append(gpt2.block(stream[-1], layer, step)[0])
patterns = np.array([looks(stream[layer], layer) for layer in range(L)])  # (L, H, T, T)

# %%
with picture("All heads: each row looks at itself and at columns to its left.", 7.5, 5.6) as f:
    for (layer, head), axes in np.ndenumerate(f.subplots(L, H)):
        heat(axes, patterns[layer, head], 1, xticks=[], yticks=[])
        axes.set_title(f"layer {layer}, head {head}", fontsize=8)

# %% [markdown]
# Three habits have names. The last word was said before, so we ask of its row: which head looks most at the token before it, which at its
# earlier self, which at what came *after* its earlier self?
#
# **Predict:** which of the three answers the question by itself?
#
# <details><summary>Answer</summary>The third. It finds what followed last time, and its value can be copied to the output. A head that does so with any words is called an induction head; one in layer 0, where rows know no neighbours yet, can only have learnt the pair.</details>

# %%
earlier = ids.index(ids[-1])
habits = {
    "the token before": T - 2,
    "itself, earlier": earlier,
    "what came after it": earlier + 1,
}
strongest = {}
for habit, j in habits.items():
    layer, head = np.unravel_index(patterns[:, :, -1, j].argmax(), (L, H))
    strongest[habit] = layer, head
    print(f"{habit:19} layer {layer}, head {head}: {patterns[layer, head, -1, j]:.0%}")

# %%
layer, head = strongest["what came after it"]
row = patterns[layer, head, -1]
finding = (
    f"Layer {layer}, head {head}: the last row sees {words[row.argmax()]!r} ({row.max():.0%})."
)
with picture(finding, 7, 4.2) as f:
    axes = f.subplots()
    heat(axes, patterns[layer, head], 1, ylabel="looks from", xlabel="to")
    axes.set_xticks(range(T), words, rotation=45, ha="right")
    axes.set_yticks(range(T), words)

# %% [markdown]
# Because of the mask, nothing flows to the left. **Predict:** we replace the fourth token by another. Which rows of the stream change, after the
# embedding and after each block?
#
# <details><summary>Answer</summary>At first its own row alone; after one block its row and all to the right of it; those to the left never.</details>

# %%
other = [*ids[:3], ids[5], *ids[4:]]
first = next(i for i in range(T) if other[i] != ids[i])
y = W["wte.weight"][other] + W["wpe.weight"][:T]
changed = [np.abs(y - x).max(1) > 1e-12]
for layer in range(L):
    y, _ = gpt2.block(y, layer, step)
    changed.append(np.abs(y - stream[layer + 1]).max(1) > 1e-12)
# %%
rows = ["embedding", *(f"after block {layer}" for layer in range(L))]
with picture("What a changed word changes: itself, then all to its right.", 7, 2.8) as f:
    marks(f.subplots(), np.array(changed), rows, words, BASE)
assert changed[0].sum() == 1 and all((c == (np.arange(T) >= first)).all() for c in changed[1:])

# %% [markdown]
# ## The MLP works on each row alone
#
# It is two linear layers with GELU between them, four times as wide inside. Rows do not meet: in another order they
# give the same rows, in that order.
#
# $$h = \mathrm{gelu}(a\,W_1 + b_1)\,W_2 + b_2$$

# %%
x1 = x + h  # the stream after attention
u = linear(norm(x1, "h.0.ln_2"), "h.0.mlp.c_fc")  # (T, 4C)
h_mlp = linear(ops.gelu(u)[0], "h.0.mlp.c_proj")  # (T, C)
assert np.allclose(h_mlp, gpt2.mlp(x1, 0, step)[0])
assert np.allclose(h_mlp[::-1], gpt2.mlp(x1[::-1], 0, step)[0])

# %%
with picture(
    f"GELU passes what is well above zero; {(u > 0).mean():.0%} of the entries are above.",
    7,
    2.6,
) as f:
    axes = f.subplots()
    axes.hist(u.ravel(), bins=60, color=FROZEN)
    axes.set(xlabel="u, what enters GELU", ylabel="entries")

# %% [markdown]
# ## Everything is added to one stream
#
# A block is two additions: $x' = x + \text{attn}(\text{ln}_1(x))$, then $x'' = x' + \text{mlp}(\text{ln}_2(x'))$. What comes in is never
# overwritten. These are the package's lines, and the shapes on the way:

# %%
show(gpt2.block)

# %%
assert np.allclose(x1 + h_mlp, stream[1])
shapes = {"x": x, "ln_1": a, "q, k, v": qkv, "heads' output": o, "c_proj": h}
shapes |= {"x + attention": x1, "ln_2": norm(x1, "h.0.ln_2"), "c_fc": u, "c_proj ": h_mlp}
# %%
with picture(
    f"Along a block: always {T} rows; bars are as long as the rows are wide.", 7, 3.2
) as f:
    axes = f.subplots()
    for i, (name, array) in enumerate(shapes.items()):
        axes.barh(name, array.shape[1], color=FROZEN)
        axes.text(array.shape[1] + 8, i, f"{array.shape[0]} × {array.shape[1]}", va="center")
    axes.set(xlabel="columns", xlim=(0, 1.15 * u.shape[1]), ylim=(len(shapes) - 0.4, -0.6))

# %% [markdown]
# The weights of a block, to scale. With biases and norms they are $12 C^2 + 13 C$ numbers, and the whole model has
#
# $$L\,(12 C^2 + 13 C) + (V + P)\,C + 2 C$$
#
# where $V$ is the vocabulary, $P$ the number of positions, and the last norm has $2 C$.

# %%
V, P = model.config.vocab_size, model.config.n_positions
blocks, tables = L * (12 * C**2 + 13 * C), (V + P) * C
print(
    f"blocks {blocks:,} + tables {tables:,} + last norm {2 * C} = {blocks + tables + 2 * C:,}"
)
assert blocks + tables + 2 * C == model.num_parameters

# %%
with picture(
    "The four linear layers of a block, to scale: two thirds are the MLP's.", 7.5, 2.6
) as f:
    names = [n for n in model.config.linear_layers() if n.startswith("h.0.")]
    parts = [(n[4:], *W[f"{n}.weight"].shape, FROZEN) for n in names]
    to_scale(f.subplots(), parts[0], "", parts[1], "", parts[2], "", parts[3])

# %% [markdown]
# ## The head asks the stream for the next token, and can ask every layer
#
# After the last block comes one more norm. Then each row is compared with all rows of `wte`, the same table that
# made the input. That is the head: $z = \text{ln}_f(x)\,\text{wte}^T$.
#
# $$z_{nv} = \text{ln}_f(x)_n \cdot \text{wte}[v]$$

# %%
z = norm(stream[-1], "ln_f") @ W["wte.weight"].T  # (T, V)
assert np.allclose(z, model.logits([ids])[0])
print("logits", z.shape)

# %% [markdown]
# Nothing forbids to ask earlier. **Predict:** what is the best guess of the last row before any block?
#
# <details><summary>Answer</summary>Most often the token itself: its own row of wte is still in the stream, almost alone, and is most like itself.</details>

# %%
guesses = [ops.softmax(gpt2.logits(x[-1:], step)[0]) for x in stream]
top = np.array([g.argsort()[::-1][:5] for g in guesses])  # (L + 1, 5)
word = lambda i: model.tokenizer.decode([i]).strip()
print("best guesses:", " -> ".join(word(i) for i in top[:, 0]))

# %%
with picture(
    f"Five best words, layer by layer: {word(top[0, 0])!r} becomes {word(top[-1, 0])!r}.",
    7.5,
    2.8,
) as f:
    axes = f.subplots()
    shares = np.array([g[t] for g, t in zip(guesses, top, strict=True)])
    heat(axes, shares, 1.6, xticks=[], aspect="auto")
    axes.set_yticks(range(L + 1), rows)
    for (i, j), share in np.ndenumerate(shares):
        axes.text(j, i, f"{word(top[i, j])} {share:.2f}", ha="center", va="center", fontsize=9)

# %% [markdown]
# To generate is to do this again and again: take the best token, put it behind the text, ask again. Rows to the left do not change, so
# the package keeps their keys and values and computes one new row each time.

# %%
text = list(ids)
for _ in range(6):
    text.append(int(model.logits([text])[0][-1].argmax()))
print(sentence, "|", model.tokenizer.decode(text[T:]))
assert text[T:] == model.generate_ids([ids], max_new_tokens=6)[0]

# %% [markdown]
# ## Four sites are where fine-tuning comes in
#
# The model calls a *method* at four sites. The base method changes nothing. In the real code of attention, three lines are marked:

# %%
show(gpt2.attn)

# %% [markdown]
# So a method is an object with these functions. Ours only writes down where it was called, and passes everything on.


# %%
class Watch(Method):
    def __init__(self):
        self.calls = []

    def embed(self, x, layout, step):
        self.calls.append(f"embed        x {x.shape}")
        return x, layout, None

    def linear(self, name, x, y, step):
        self.calls.append(f"linear       {name}: x {x.shape} -> y {y.shape}")
        return y, None

    def keys_values(self, layer, k, v, key_layout, x, step):
        self.calls.append(f"keys_values  layer {layer}: k {k.shape}, v {v.shape}")
        return k, v, key_layout, None

    def sublayer(self, name, x, h, step):
        self.calls.append(f"sublayer     {name}: h {h.shape}")
        return h, None


# %%
watch = Watch()
watched, *_ = gpt2.forward(np.array(ids), step.layout, model.step(method=watch))
print("\n".join(watch.calls[:8]))
assert np.array_equal(watched, stream[-1])  # unchanged, to the last bit
assert len(watch.calls) == 1 + 7 * L

# %%
site_map(
    "embed",
    "linear",
    "keys_values",
    "sublayer",
    finding="All four doors: each fine-tuning method uses some of them.",
)

# %% [markdown]
# ## What was shown
#
# 1. Text is rows of numbers; a block reads the stream twice and adds to it twice.
# 2. Only attention moves information between rows, and only to the right. The MLP works row by row.
# 3. All shapes are (tokens, columns); only inside attention are there heads and pairs of tokens.
# 4. Input table and head are one matrix, so each layer of the stream can be read as words.
# 5. A method has four doors: embed, linear, keys_values and sublayer. The one that does nothing leaves the output equal to the last bit.
#
# **Three changes to try.** Leave `mask` at zeros (`np.zeros((T, T))`): the assert that compares with the package fails. Write `other = [*ids[:-1], ids[3]]`: only
# the last column is marked. Drop `+ W["wpe.weight"][:T]`: the comparison with `gpt2.embed` fails.
#
# **Read next:** `minipeft/gpt2.py`, the whole model on few pages. **Write it yourself:** `minipeft check 02` (GELU's slope), then notebook 02.
#
# One honest limit: that a head "looks at" a word says where its values come from, not what the model does with them.
