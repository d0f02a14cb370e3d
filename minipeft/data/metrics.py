r"""Metrics of text: (outputs, references) -> a number between 0 and 1, where 1 is best.

`outputs` are a model's answers, `references` the right ones, one for each answer, in the same order. Each
metric is exactly 1 where every output is its reference; for that BLEU needs a reference of four words or
more, ROUGE-L words of English letters or digits, and chrF any character that is no white space.
"""

import re
import string
from collections import Counter

from ..errors import InputError, counted


def accuracy(outputs, references):
    r"""The share of outputs that are their reference, white space around them aside.

    $\frac1n\sum_i[\,o_i = r_i\,]$. Nothing else is forgiven, so it suits labels, numbers and code.
    """
    return mean(outputs, references, lambda o, r: o.strip() == r.strip())


def macro_f1(outputs, references):
    r"""The F1 of each class, averaged over the classes: a rare class counts as much as a common one.

    $\frac1K\sum_k \frac{2\,TP_k}{2\,TP_k + FP_k + FN_k}$ over the K classes that outputs or references have,
    white space around them aside; as scikit-learn's `f1_score(average="macro")`. Where nine labels of ten
    are "no", always "no" has an accuracy of 0.9 and a macro F1 of 0.47.
    """
    check(outputs, references)
    pairs = Counter((o.strip(), r.strip()) for o, r in zip(outputs, references, strict=True))
    given, right = Counter(), Counter()
    for (o, r), n in pairs.items():
        given[o] += n  # TP + FP of the class o
        right[r] += n  # TP + FN of the class r
    classes = given | right
    return sum(2 * pairs[c, c] / (given[c] + right[c]) for c in classes) / len(classes)


def exact_match(outputs, references):
    r"""The share of outputs that are their reference once both are `normalised`.

    $\frac1n\sum_i[\,\mathrm{norm}(o_i) = \mathrm{norm}(r_i)\,]$ (Rajpurkar et al. 2016, section 6.1, SQuAD).
    """
    return mean(outputs, references, lambda o, r: normalised(o) == normalised(r))


def f1(outputs, references):
    r"""Precision and recall of an answer's words, their harmonic mean, averaged over the answers.

    Of texts; for classes there is `macro_f1`.

    $F_1 = \frac{2PR}{P + R}$, with $P = |o \cap r| / |o|$ and $R = |o \cap r| / |r|$ over the bags of
    `normalised` words (Rajpurkar et al. 2016, section 6.1, SQuAD). Where one of the two has no words left,
    it is 1 if both have none, else 0, as in SQuAD 2.0.
    """
    return mean(outputs, references, word_f1)


def word_f1(output, reference):
    """F1 of one answer."""
    o, r = normalised(output).split(), normalised(reference).split()
    if not o or not r:
        return float(o == r)
    common = sum((Counter(o) & Counter(r)).values())
    return 2 * common / (len(o) + len(r))  # 2PR / (P + R), the fractions cleared


def normalised(text):
    """Lower case, without ASCII punctuation and English articles, one space between words.

    As in SQuAD's evaluation script, and in its order. Made for English: "a" is a word in French.
    """
    text = "".join(c for c in text.lower() if c not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def bleu(outputs, references):
    r"""BLEU of the whole set: the precisions of 1- to 4-grams, their geometric mean, a penalty for brevity.

    $\min(1, e^{1 - |r|/|o|}) \, (p_1 p_2 p_3 p_4)^{1/4}$ (Papineni et al. 2002, section 2.3), by sacrebleu
    with its defaults (Post 2018), divided by 100. Counts are summed over the set before they are divided:
    it is no mean over answers. A set without four words in a row anywhere has BLEU 0.
    """
    from sacrebleu import corpus_bleu

    check(outputs, references)
    return clipped(corpus_bleu(list(outputs), [list(references)]).score)


def chrf(outputs, references):
    r"""chrF of the whole set: precision P and recall R of 1- to 6-grams of characters, recall counting more.

    $(1 + \beta^2) \frac{PR}{\beta^2 P + R}$ with $\beta = 2$ (Popović 2015, section 2), by sacrebleu with its
    defaults, divided by 100. It knows no words, so it suits any language, and short answers.
    """
    from sacrebleu import corpus_chrf

    check(outputs, references)
    return clipped(corpus_chrf(list(outputs), [list(references)]).score)


def rouge_l(outputs, references):
    r"""ROUGE-L, its F-measure, averaged over the answers: the longest common subsequence (LCS) of words.

    $F = \frac{2PR}{P + R}$, with $P = \mathrm{LCS}(o, r) / |o|$ and $R = \mathrm{LCS}(o, r) / |r|$ (Lin 2004,
    section 3.1, both weighted alike), by rouge-score without stemming. Its words are runs of a-z and 0-9:
    of text in other letters it sees nothing.
    """
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"])
    return mean(outputs, references, lambda o, r: scorer.score(r, o)["rougeL"].fmeasure)


METRICS = {
    "accuracy": accuracy,
    "macro_f1": macro_f1,
    "exact_match": exact_match,
    "f1": f1,
    "bleu": bleu,
    "chrf": chrf,
    "rouge_l": rouge_l,
}


# metrics that are of all answers together; the others are means over the answers
OF_THE_WHOLE_SET = ("macro_f1", "bleu", "chrf", "slots", "facts")


def standard_error(metric, outputs, references, groups=20):
    r"""How far the choice of rows moves a metric, as a standard deviation: the jackknife by groups.

    $\sqrt{\frac{g-1}{g} \sum_j (\theta_j - \bar\theta)^2}$, where $\theta_j$ is the metric without the rows
    j, j + g, j + 2g, ... (Efron 1982, "The jackknife, the bootstrap and other resampling plans", chapter 3).
    It needs no formula for the metric. One row says nothing of chance: 0.
    """
    n = len(references)
    g = min(groups, n)
    if g < 2:
        return 0.0
    without = lambda texts, j: [text for i, text in enumerate(texts) if i % g != j]
    scores = [metric(without(outputs, j), without(references, j)) for j in range(g)]
    middle = sum(scores) / g
    return ((g - 1) / g * sum((score - middle) ** 2 for score in scores)) ** 0.5


def mean(outputs, references, score):
    """The mean of score(output, reference)."""
    check(outputs, references)
    return sum(map(score, outputs, references)) / len(references)


def check(outputs, references):
    """Raise InputError unless there is one output for each reference, and at least one."""
    if not references or len(outputs) != len(references):
        raise InputError(
            f"{counted(len(outputs), 'output')} for {counted(len(references), 'reference')}: "
            "want one for each, and some"
        )


def clipped(percent):
    """0 ... 100 -> 0 ... 1; rounding may put sacrebleu's best a little above 100."""
    return min(1.0, percent / 100)
