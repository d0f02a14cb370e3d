"""What a soft prompt says: the words that its virtual tokens lie nearest to."""

import numpy as np

from ...errors import counted
from ...speed.quantized import dequantized
from ..pictures import figure, save
from .section import Section

WORDS = 5  # that are shown for each virtual token
TEXT = """
A virtual token is a row like an embedding, so one can ask for the words whose embeddings point most nearly
the same way: by the cosine of the angle, 1 for the same direction, 0 for none in common (Lester et al.
2021, section 7). It is usual that no word is near: training is free to leave the words behind.

```
token     norm   nearest words, each with its cosine
{lines}
```

![The length of each virtual token beside those of the vocabulary](prompt-norms.svg)

The points are the lengths (Euclidean norms) of the virtual tokens; the grey band holds nine tenths of the
vocabulary's, the line in it is their median. Points far above it: the prompt speaks louder than any word.
"""


def section(run):
    """Of a run with PromptTuning or PTuning; else None."""
    prompts = run.with_section("soft_prompts")
    if not prompts:
        return None
    E = np.concatenate([run.step.tensors[m.table] for m in prompts])  # (P, C)
    wte = dequantized(run.step.weights["wte.weight"])
    ids, cosines = nearest(E, wte, WORDS)
    norms, usual = np.linalg.norm(E, axis=1), np.percentile(np.linalg.norm(wte, axis=1), (5, 50, 95))
    draw(run, norms, usual)
    rows = [
        {"norm": float(n), "words": [{"id": int(i), "text": word(run.peft, i), "cosine": float(c)}
                                     for i, c in zip(own, near, strict=True)]}
        for n, own, near in zip(norms, ids, cosines, strict=True)
    ]  # fmt: skip
    lines = [
        f"{i:>5}  {row['norm']:7.3f}   " + "   ".join(f"{w['text']} {w['cosine']:.2f}" for w in row["words"])
        for i, row in enumerate(rows)
    ]
    text = TEXT.format(lines="\n".join(lines))
    likest = int(cosines[:, 0].argmax())
    first = rows[likest]["words"][0]
    summary = (
        f"{counted(len(E), 'virtual token')}; the nearest to a word is {likest}: {first['text']}, "
        f"cosine {first['cosine']:.2f}"
    )
    return Section(
        "What the soft prompt says", text, summary, {"tokens": rows, "vocabulary_norms": [*map(float, usual)]}
    )


def nearest(E, wte, count):
    """E (P, C), wte (V, C) -> ids of the `count` words nearest to each row, and the cosines; (P, count)."""
    unit = lambda x: x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    cosines = unit(E.astype("float64")) @ unit(wte.astype("float64")).T  # (P, V)
    ids = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
    return ids, np.take_along_axis(cosines, ids, axis=1)


def word(peft, i):
    """A word of the vocabulary, in quotes: its blanks and line ends show."""
    return repr(peft.tokenizer.decode([int(i)])) if peft.tokenizer else f"id {i}"


def draw(run, norms, usual):
    """prompt-norms.png, prompt-norms.svg."""
    low, median, high = usual
    with figure(9, 4) as f:
        axes = f.subplots()
        axes.axhspan(low, high, color="#e4e4e4", label="nine tenths of the vocabulary")
        axes.axhline(median, color="#777777", linestyle="--", label="its median")
        axes.plot(norms, linestyle="", marker="o", markevery=1, color="#0055a4", label="virtual tokens")
        axes.set(xlabel="virtual token", ylabel="norm of the embedding", ylim=(0, None))
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend()
        save(f, run.out, "prompt-norms")
