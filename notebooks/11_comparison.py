# %% [markdown]
# # All methods on one task: what the numbers say, and what they cannot say
#
# Every method of the package is trained on the same rows, with three seeds. Then we ask what blog posts claim, work out how much of a
# difference is chance, and draw a decision tree from the table.
#
# Runs in {{runtime}} on one core. In pictures grey is frozen and orange is trained.
#
# For the real GPT-2 change the line that loads the model to `from_pretrained("gpt2")`; on a GPU add `device="cuda"`.

# %%
import numpy as np

import minipeft
from minipeft.cost.flops import step_flops
from minipeft.methods.named import make_method
from minipeft.reports.compare import claims
from minipeft.reports.compare.labels import place_labels
from minipeft.reports.compare.recipes import RECIPES, method_of, recipe_of
from minipeft.reports.compare.table_rows import pareto
from minipeft.tasks import TASKS
from minipeft.teaching import FROZEN, TRAINED, log_scale, marks, picture, show, site_map

# %%
model = minipeft.GPT2.from_pretrained("weights/tiny", dtype="float64")
untrained = minipeft.GPT2.random(model.config, dtype="float64", tokenizer=model.tokenizer)
task = TASKS["translation"]
rows, test = task.rows("train", 800), task.rows("test", 200)
print(repr(test[0]["prompt"]), "->", repr(test[0]["completion"]))

# %% [markdown]
# The task: numbers, dates and times from English to German or French. The test rows hold combinations that training never shows. Each method
# comes with a recipe: its settings, and a learning rate that did best on validation rows of several tasks.


# %%
def put_on(name, seed=0, rows=rows[:32]):
    method = make_method(method_of(name), recipe_of(name)[0])
    method.use_training_data(rows)  # "sparse" chooses its weights by them
    return minipeft.PeftModel(untrained if name == "lora_random" else model, method, seed)


sizes = {name: put_on(name).num_trainable for name in RECIPES}

# %%
least, most = min(sizes, key=sizes.get), max(sizes, key=sizes.get)
ratio = sizes[most] / sizes[least]
with picture(f"{most} trains {ratio:.0f} times as many numbers as {least}.", 7.5, 5) as f:
    axes = f.subplots()
    names = sorted(sizes, key=sizes.get)
    axes.barh(names, [sizes[name] for name in names], color=TRAINED)
    axes.set(xlabel="numbers that train (log scale)", xlim=(1e3, 1e7))
    log_scale(axes, "x")
    axes.xaxis.set_major_formatter("{x:,.0f}")

# %% [markdown]
# Sizes differ far more than sites do: all of these methods come in at four doors of a block, or change the weights that are there already.
# `lora_random` is LoRA on a model of the same shape whose weights are random: what pre-training gives is missing there.

# %%
site_map(
    "embed", "linear", "keys_values", "sublayer", finding="Together they use all four sites."
)

# %% [markdown]
# ## A score is right answers out of two hundred
#
# An answer counts if it is right to the last token, the end included. Greedy generation gives exactly the completion $c$ if each of its tokens is
# the likeliest after those before it. So one forward pass over the completion says what generation would:
#
# $$\text{right} = \prod_t \left[\text{argmax}_v p(v \mid \text{prompt}, c_{<t}) = c_t\right]$$


# %%
def encoded(row):
    ids = lambda text: model.tokenizer.encode(text, add_special_tokens=False).ids
    return ids(row["prompt"]), [*ids(row["completion"]), model.config.end_token()]


# %%
def right_answers(peft, rows=test):
    pairs = [encoded(row) for row in rows]
    _, hits = peft.scores(minipeft.pack(pairs))  # (M,): one for each token of a completion
    ends = np.cumsum([len(answer) for _, answer in pairs])
    return np.array([h.all() for h in np.split(hits, ends[:-1])])  # (rows,)


# %%
prompt, answer = encoded(test[0])
z = model.logits([prompt + answer])[0]  # row t scores token t + 1
by_hand = z[len(prompt) - 1 : -1].argmax(1) == answer
_, hits = minipeft.PeftModel(model).scores(minipeft.pack([(prompt, answer)]))
assert np.array_equal(by_hand, hits)

# %% [markdown]
# Every run below is these lines: 36 steps of four rows. The seed sets the first values of the adapter and the order of the rows.

# %%
steps, scores, losses = 36, {}, {}


def run(name, seed=0, **settings):
    peft = put_on(name, seed)
    settings = recipe_of(name)[1] | {"steps": steps, "batch_size": 4} | settings
    settings |= {"warmup_steps": 10, "seed": seed, "progress": False}
    history = minipeft.train(peft, rows, **settings)
    losses[name, seed] = [step["loss"] for step in history.steps]
    return peft, right_answers(peft)


# %%
trained = {}
for name in RECIPES:
    trained[name], right = run(name)
    scores[name] = [right.mean()]

# %% [markdown]
# First the check of the score. For eight rows we let the trained LoRA write, token by token, and compare with what the one forward pass said.

# %%
few = [encoded(row) for row in test[:8]]
longest = max(len(answer) for _, answer in few)
written = trained["lora"].generate_ids([p for p, _ in few], max_new_tokens=longest)
end = model.config.end_token()
same = [w[: len(c)] == c or [*w, end] == c for w, (_, c) in zip(written, few, strict=True)]
assert same == right_answers(trained["lora"], test[:8]).tolist()
print("written out:", sum(same), "of 8 right, and the forward pass says the same of each")

# %% [markdown]
# ## The seed alone moves a score
#
# Every method is trained twice more, from other first values and in another order of rows.
#
# **Predict:** by how many points of a hundred will the same method differ from itself?
#
# <details><summary>Answer</summary>By several, and not equally for all. The cell prints the standard deviation of five of them.</details>

# %%
for name in RECIPES:
    scores[name] += [run(name, seed)[1].mean() for seed in (1, 2)]

# %% tolerance=0.05
spread = {name: 100 * np.std(scores[name], ddof=1) for name in RECIPES}
shown = ("full", "lora", "dora", "ia3", "prompt_tuning")
for name in shown:
    print(f"{name:14}", " ".join(f"{s:5.1%}" for s in scores[name]), f"± {spread[name]:.1f}")
widest = max(shown, key=spread.get)

# %% tolerance=0.05
with picture(f"Loss of every seed: of these, {widest}'s scores differ most.", 8, 3) as f:
    panels = f.subplots(1, len(shown), sharey=True)
    smooth = lambda loss: np.convolve(loss, np.ones(10) / 10, "valid")
    for axes, name in zip(panels, shown, strict=True):
        for seed in range(3):
            axes.plot(smooth(losses[name, seed]), "-", color=TRAINED, marker="")
        axes.set(title=name, xlabel="step")
    panels[0].set(ylabel="loss, mean of 10 steps")

# %% [markdown]
# ## Two hundred rows blur a score, too
#
# A score is a share: $k$ right of $n$. Other rows would have given another one. How far may two scores be apart by chance alone?
#
# | line | rule |
# |---|---|
# | $z_i \in \{0, 1\}$, mean $s$ | row $i$ is right or not |
# | variance of $z_i$ is $s - s^2$ | mean of the square, less the mean squared; here $z^2 = z$ |
# | variance of $\sum_i z_i$ is $n\,s\,(1 - s)$ | rows are independent: variances add up |
# | variance of $\frac1n \sum_i z_i$ is $s\,(1 - s)/n$ | a factor comes out squared |
# | variance of $s_1 - s_2$ is the sum of both | as if each method had rows of its own; the sign is squared away |
#
# Its root is the standard deviation. Of two equally good methods, nineteen differences of twenty lie within $1.96$ standard deviations of zero. For one share,
# Agresti and Coull (1998) add four rows, two of them right, so that a score of zero has a spread as well; we do so for both:
#
# $$m = 1.96 \sqrt{\frac{s_1'(1 - s_1') + s_2'(1 - s_2')}{n + 4}} \qquad s' = \frac{n s + 2}{n + 4}$$


# %%
def margin(s1, s2, n):
    more = [(n * s + 2) / (n + 4) for s in (s1, s2)]
    return 1.96 * (sum(s * (1 - s) for s in more) / (n + 4)) ** 0.5


# %%
n = len(test)
row_of = lambda s: {"score": s, "scored_rows": n}
assert np.isclose(margin(0.6, 0.7, n), claims.noise(row_of(0.6), row_of(0.7)))
print(f"scores near 60 %: differences below {margin(0.6, 0.6, n):.1%} may be chance")

# %%
show(claims.noise)

# %% [markdown]
# Is it true? We let chance play: two methods that are equally good, right in six rows of ten, are scored on 200 rows each, a hundred thousand times.
#
# Here all methods answer the *same* rows, and what is hard for one is often hard for the other. Then their errors go together, and the true margin is mostly smaller. So
# this one is on the safe side; a paired test (McNemar's) would tell more.

# %%
rng = np.random.default_rng(0)
difference = (rng.binomial(n, 0.6, 100_000) - rng.binomial(n, 0.6, 100_000)) / n
inside = np.mean(np.abs(difference) <= margin(0.6, 0.6, n))
print(f"within the margin: {inside:.1%}")
assert abs(inside - 0.95) < 0.02

# %%
m = 100 * margin(0.6, 0.6, n)
with picture(f"Equally good methods, and yet up to {m:.0f} points apart.", 7, 2.8) as f:
    axes = f.subplots()
    bins = (np.arange(-40, 41) + 0.5) * 100 / n  # a bar for each possible difference
    axes.hist(100 * difference, bins=bins, color=FROZEN)
    for x in (-m, m):
        axes.axvline(x, color="black", linestyle="--")
    axes.set(xlabel="difference of the two scores (points)", yticks=[])

# %% [markdown]
# Rows are cheap, so why not more? The margin falls with the root of their number: four times the rows for half of it.
#
# **Predict:** how many rows are needed to tell 60 from 62 of a hundred?
#
# <details><summary>Answer</summary>Thousands: 2 points is about a fifth of the margin at 200 rows, so 20 to 25 times as many. The cell counts.</details>

# %%
numbers = np.arange(50, 20_000)
margins = np.array([margin(0.60, 0.62, k) for k in numbers])
needed = int(numbers[np.argmax(margins < 0.02)])
print(f"rows needed: {needed:,}")
assert margin(0.60, 0.62, needed) < 0.02 <= margin(0.60, 0.62, needed - 1)

# %%
with picture(
    f"To tell 60 % from 62 % takes {needed:,} rows, if each has its own.", 7, 2.8
) as f:
    axes = f.subplots()
    axes.plot(numbers, 100 * margins, "-", color="black", marker="")
    axes.axhline(2, color=FROZEN, linestyle="--")
    axes.plot([n], [100 * margin(0.6, 0.62, n)], "o", color=TRAINED)
    axes.annotate("here", (n, m), xytext=(8, 4), textcoords="offset points")
    axes.set(xlabel="test rows (log scale)", ylabel="margin (points)", ylim=(0, None))
    log_scale(axes, "x")
    axes.xaxis.set_major_formatter("{x:,.0f}")

# %% [markdown]
# ## Few methods are on the front
#
# A method is on the Pareto front if no other is both as small and better, or smaller and as good. The long way asks every pair; the package
# sorts once and keeps what beats all before it.
#
# **Predict:** the sizes go over three powers of ten. Does the larger method score higher, on the whole?
#
# <details><summary>Answer</summary>Only loosely: where a method acts, and its learning rate, count as much. The picture shows it, and below is a number for it.</details>

# %%
mean = {name: float(np.mean(s)) for name, s in scores.items()}
own = [name for name in RECIPES if name != "lora_random"]
points = [(sizes[name], mean[name]) for name in own]
# %%
beaten = lambda p, q: q != p and q[0] <= p[0] and q[1] >= p[1]
front = [own[i] for i in pareto(points)]
long_way = {p for p in points if not any(beaten(p, q) for q in points)}
assert {(sizes[name], mean[name]) for name in front} == long_way
print(" -> ".join(front))

# %%
show(pareto)

# %% [markdown]
# A whisker goes from the lowest to the highest of three seeds. LoRA on random weights is left out: it has
# {{mean["lora_random"]:.0%}} right.

# %% tolerance=0.05
finding = f"{len(front)} of {len(own)} methods are on the front; whiskers: three seeds."
with picture(finding, 8.5, 5.5) as f:
    axes = f.subplots()
    axes.plot([sizes[k] for k in front], [100 * mean[k] for k in front], "-", marker="")
    for name in own:
        ends = [
            [100 * (mean[name] - min(scores[name]))],
            [100 * (max(scores[name]) - mean[name])],
        ]
        look = {"fmt": "o", "color": TRAINED, "ecolor": "black", "capsize": 3}
        axes.errorbar(sizes[name], 100 * mean[name], ends, **look)
    axes.set(xlabel="numbers that train (log scale)", ylabel="right answers (%)", title=" ")
    log_scale(axes, "x")
    axes.set(xmargin=0.12, ymargin=0.1)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    place_labels(f, axes, [(name, sizes[name], 100 * mean[name]) for name in own])

# %% [markdown]
# ## Common claims, held against the numbers
#
# Two claims are in the package, with the margin built in. The answer is yes, no, or that it cannot be told from so few rows. Beside them, the frozen model alone.

# %%
others = [name for name in own if name != "full"]
table = {
    name: {
        "task": "translation", "name": name, "score": mean[name], "scored_rows": len(test),
        "trainable": sizes[name], "parameters": trained[name].num_parameters,
    }
    for name in RECIPES
}  # fmt: skip
verdict = lambda claim: claims.WORDS[claim(table)[0]] + ": " + claim(table)[1]

# %% tolerance=0.05
print("Training 3 % or less gives 95 % of full:\n ", verdict(claims.small_reaches_full))
print("LoRA on random weights is worth less than half:\n ", verdict(claims.random_falls_short))
base = right_answers(minipeft.PeftModel(model)).mean()
print(f"The frozen model alone: {base:.1%} right")

# %% [markdown]
# Next: "the more numbers train, the better". We compare the order by size with the order by score. A rank correlation of 1 means the same order,
# 0 none, −1 the reverse.

# %% tolerance=0.1
by_size = sorted(others, key=sizes.get)
by_score = sorted(others, key=mean.get)
rank = lambda order: [order.index(name) for name in others]
correlation = np.corrcoef(rank(by_size), rank(by_score))[0, 1]
print(f"rank correlation of size and score, without full: {correlation:.2f}")

# %% tolerance=0.1
with picture(f"Order by size and by score: a correlation of {correlation:.2f}.", 7, 5) as f:
    axes = f.subplots()
    for name in others:
        i, j = by_size.index(name), by_score.index(name)
        axes.plot([0, 1], [i, j], "-", color=TRAINED, marker="o", markevery=1)
        axes.text(-0.03, i, name, ha="right", va="center")
        axes.text(1.03, j, f"{name} {mean[name]:.0%}", va="center")
    axes.set(xlim=(-0.5, 1.6), xticks=[0, 1], xticklabels=["by size", "by score"], yticks=[])
    axes.grid(False)

# %% [markdown]
# "DoRA beats LoRA", says the DoRA paper of large models. Here both have three seeds, so we look at the three differences and not at one. Beside it "the
# method matters most": LoRA again, with other learning rates.

# %% tolerance=0.05
gaps = 100 * (np.array(scores["dora"]) - np.array(scores["lora"]))
room = 100 * claims.noise(table["dora"], table["lora"])
print("DoRA minus LoRA, seed by seed:", " ".join(f"{g:+.1f}" for g in gaps), "points")
told = "more" if abs(gaps.mean()) > room else "less"
print(f"mean {gaps.mean():+.1f}: {told} than the margin of {room:.1f} for one seed's rows")

# %% tolerance=0.05
rate = recipe_of("lora")[1]["learning_rate"]
rates = {rate * k: run("lora", learning_rate=rate * k)[1].mean() for k in (0.03, 0.3, 3)}
rates[rate] = scores["lora"][0]
print({f"{r:.0e}": f"{rates[r]:.0%}" for r in sorted(rates)})

# %% tolerance=0.05
by_rate = 100 * (max(rates.values()) - min(rates.values()))
by_method = 100 * (max(mean[k] for k in others) - min(mean[k] for k in others))
finding = f"LoRA's rate alone: {by_rate:.0f} points; all methods but full: {by_method:.0f}."
with picture(finding, 7, 3) as f:
    axes = f.subplots()
    axes.plot(
        sorted(rates), [100 * rates[r] for r in sorted(rates)], "o-", color=TRAINED, markevery=1
    )
    for name in others:
        axes.axhline(100 * mean[name], color=FROZEN, linewidth=0.6)
    axes.set(
        xlabel="LoRA's learning rate (log scale); grey: the other methods", ylabel="right (%)"
    )
    log_scale(axes, "x")

# %% [markdown]
# So a table in which each method has one untuned rate ranks rates along with methods. This one is such a table, and the tree below inherits it.
#
# ## What trains little is not much faster
#
# A step of LoRA saves the gradients of the frozen weights and nothing else: the forward pass and the gradients of the activations
# stay. `step_flops` counts the matrix products.

# %%
batch = minipeft.pack([encoded(row) for row in rows[:4]])
flops = {name: sum(step_flops(trained[name], batch).values()) for name in own}
share = {name: flops[name] / flops["full"] for name in own}
print(f"LoRA trains {sizes['lora'] / sizes['full']:.1%}, and computes {share['lora']:.0%}")
assert share["lora"] > 0.5

# %%
more = sum(s > 1 for s in share.values())
finding = f"A step against full's: {more} methods compute more than it, not less."
with picture(finding, 7.5, 5) as f:
    axes = f.subplots()
    names = sorted(share, key=share.get)
    axes.barh(names, [share[name] for name in names], color=TRAINED)
    axes.axvline(1, color="black", linestyle="--")
    axes.set(xlabel="matrix products of a step, full = 1 (short prompts)")

# %% [markdown]
# Two things cost more: rows of a prompt are computed like text, and LoHa's update is as large as $W$. Here the text is short, {{np.mean([len(p) + len(c) for p, c in map(encoded, test)]):.0f}} tokens on average; on long texts the rows of a prompt weigh less. What small methods do save is
# memory of the optimiser and the size of the file.
#
# ## A decision tree from the same table
#
# Three questions can be answered by running: does it merge into a plain GPT-2? may it share a batch with other adapters? are its numbers few?


# %%
def can(action):
    try:
        return bool(action())
    except minipeft.InputError:
        return False


# %%
merges = {name: can(trained[name].merge_and_unload) for name in own}
shares = {name: can(lambda p=trained[name]: p.mixed(["default", "__base__"])) for name in own}
tiny = {name: sizes[name] <= 10_000 for name in own}

# %%
ordered = sorted(own, key=mean.get, reverse=True)
both = sum(merges[name] and shares[name] for name in own)
answers = {"merges": merges, "shares a batch": shares, "10,000 numbers or fewer": tiny}
with picture(f"Best score first: {both} methods both merge and share a batch.", 7, 5.5) as f:
    yes = np.array([[a[name] for a in answers.values()] for name in ordered])
    marks(f.subplots(), yes, [f"{name} {mean[name]:.0%}" for name in ordered], list(answers))

# %% [markdown]
# The tree asks one question after the other. At each leaf, take the methods that meet the demands, keep those within the margin of the best, and name the one with
# the fewest numbers. So a leaf does not pretend to know more than the table.


# %%
def leaf(wanted):
    left = [name for name in own if all(answers[question][name] for question in wanted)]
    best = max(left, key=mean.get)
    near = lambda k: mean[best] - mean[k] <= claims.noise(table[best], table[k])
    return min(filter(near, left), key=sizes.get), best


# %%
questions = list(answers)
paths = [[bool(i & 4), bool(i & 2), bool(i & 1)] for i in range(8)]
leaves = [leaf([q for q, yes in zip(questions, path, strict=True) if yes]) for path in paths]
assert all(mean[leaves[0][1]] >= mean[best] for _, best in leaves)  # a demand never helps

# %% tolerance=0.05
kinds = len({name for name, _ in leaves})
finding = f"The tree has eight leaves and {kinds} different answers."
middle = lambda i, depth: (i >> 3 - depth << 3 - depth) + 2 ** (3 - depth) / 2
with picture(finding, 9, 4.8) as f:
    axes = f.subplots()
    white = {"ha": "center", "va": "center", "backgroundcolor": "white"}
    for i, path in enumerate(paths):
        for depth, yes in enumerate(path):
            y0, y1 = middle(i, depth), middle(i, depth + 1)
            axes.plot([depth, depth + 1], [y0, y1], "-", color=FROZEN, marker="", zorder=0)
            axes.text(depth + 0.6, y0 + 0.6 * (y1 - y0), "yes" if yes else "no", **white)
        chosen = leaves[i][0]
        text = f"{chosen}  {mean[chosen]:.0%}"
        axes.text(3.05, i + 0.5, text, va="center", color=TRAINED)
    for depth, question in enumerate(questions):
        axes.text(depth + 0.5, 8.3, f"{question}?", ha="center")
    axes.set(xlim=(0, 4.1), ylim=(0, 8.8))
    axes.axis("off")

# %% [markdown]
# ## What was shown
#
# 1. Two scores of 200 rows each may be ten points apart by chance; a difference within the margin ranks nothing.
# 2. The seed moves a score as well, and another learning rate may move it further than another method does.
# 3. Of {{len(own)}} methods {{len(front)}} are on the Pareto front; more numbers are not by themselves better.
# 4. A step of LoRA computes {{share["lora"]:.0%}} of full fine-tuning's. What is small is the optimiser's state and the file.
# 5. A tree whose leaves respect the margin has {{kinds}} different answers to eight kinds of demand.
#
# **Three changes to try.** Set `steps = 20`: nearly all scores fall, and the order changes, for methods learn at different speeds. Set `task.rows("test", 800)`: the
# margins halve. Set `(0.03, 0.3, 3)` to `(0.03, 0.3, 30)`: at thirty times its rate LoRA has hardly an answer right.
#
# **Read next:** `minipeft/reports/compare/claims.py`, the claims and the margin. **Write it yourself:** `minipeft check 19`, a method of your own; register
# it, and it takes part in `minipeft compare`.
#
# One honest limit: two million parameters, one short task, {{steps}} steps, rates chosen for 150. The way to compare carries over; the order of the methods need not.
