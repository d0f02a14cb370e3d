r"""Knowledge distillation: a small student learns from labels, and from all that its teacher would have said.

    loss  = (1 - λ) CE(y, p_1) + λ τ² KL(q_τ || p_τ)               the mean over labelled tokens
    p_τ   = softmax(z_s / τ),  q_τ = softmax(z_t / τ)              (V,) a token: student, teacher
    dz_s  = (1 - λ) (p_1 - y) + λ τ (p_τ - q_τ)                    y: one-hot

The temperature τ > 1 brings out what the teacher thinks of the unlikely tokens. The soft part's gradient
shrinks as 1 / τ² then; the factor τ² makes up for it, so that λ means the same at every temperature.

Source: Hinton et al. 2015, "Distilling the Knowledge in a Neural Network", section 2. KL here is their soft
cross-entropy less the teacher's entropy, which no gradient sees; it is 0 where the two agree.

    teacher = GPT2.from_pretrained("gpt2")
    student = PeftModel(student_of(teacher, n_layer=6), Full())
    train(Distilled(student, teacher), "train.jsonl")              # trains `student`
"""

import math
from dataclasses import replace

import numpy as np

from . import gpt2, ops
from .backend import like, xp_of
from .errors import InputError
from .layout import Layout
from .model import GPT2
from .peft_model import PeftModel

# ------------------------------------------------------------------------------------------- the student


def student_of(teacher, n_layer):
    """A GPT2 of `n_layer` of the teacher's blocks, evenly spaced, the first and the last among them.

    One block alone is the first. Embeddings, final norm and head are the teacher's. Of 12 blocks, 6 are
    0, 2, 4, 7, 9, 11, from which DistilGPT-2 was trained (Sanh et al. 2019, "DistilBERT", section 3).
    The arrays are the teacher's own, not copies: a base is never written to.
    Raises InputError where the teacher has no such number of blocks.
    """
    L = teacher.config.n_layer
    if not 1 <= n_layer <= L:
        raise InputError(f"a student of this teacher has 1 to {L} layers, not {n_layer}")
    config = replace(teacher.config, n_layer=n_layer)
    taken = np.linspace(0, L - 1, n_layer).round().astype(int)
    weights = {}
    for name in config.shapes():
        _, layer, inside = name.split(".", 2) if name.startswith("h.") else (None, None, None)
        weights[name] = teacher.weights[f"h.{taken[int(layer)]}.{inside}" if layer else name]
    return GPT2(config, weights, teacher.tokenizer)


# ---------------------------------------------------------------------------------------------- the loss


def softmax(z):
    """Rows of scores (n, V) -> their probabilities and log-probabilities, (n, V) each."""
    xp = xp_of(z)
    log_p = z - z.max(1, keepdims=True)
    p = xp.exp(log_p)
    total = p.sum(1, keepdims=True)
    p /= total
    log_p -= xp.log(total)
    return p, log_p


def distill_loss(x, W, x_t, W_t, labels, temperature, weight, wants=frozenset()):
    r"""$\ell = \sum_m (1-\lambda)\,CE(y_m, p_1) + \lambda\,\tau^2\,KL(q_\tau \| p_\tau)$, heads and all.

    x (M, C), W (V, C): the student's rows and head; x_t (M, C'), W_t (V, C'): the teacher's, for the same
    tokens; labels (M,) -> the SUM over rows, a 0-d array.

    As in `ops.lm_loss`, logits of shape (M, V) never exist: rows go through in chunks, in which student and
    teacher meet, and the gradient dz of the student's logits is formed while both are at hand.
    """
    xp, tau = xp_of(x), temperature
    loss = xp.zeros((), dtype=np.float64)
    dx = xp.empty_like(x) if "x" in wants else None
    dW = xp.zeros_like(W) if "weight" in wants else None
    for i in range(0, len(x), ops.HEAD_ROWS):
        chunk, target = x[i : i + ops.HEAD_ROWS], labels[i : i + ops.HEAD_ROWS]
        z = chunk @ W.T  # (n, V)
        z_t = x_t[i : i + ops.HEAD_ROWS] @ W_t.T  # (n, V)
        for r in ops.row_blocks(z):
            at_label = xp.arange(len(target[r])), target[r]
            p_1, log_p_1 = softmax(z[r])
            p, log_p = softmax(z[r] / tau)
            q, log_q = softmax(z_t[r] / tau)
            loss -= (1 - weight) * log_p_1[at_label].sum(dtype=np.float64)
            loss += weight * tau**2 * (q * (log_q - log_p)).sum(dtype=np.float64)
            if wants:
                p_1[at_label] -= 1  # p_1 - y
                p -= q
                z[r] = (1 - weight) * p_1 + weight * tau * p  # dz
        if dx is not None:
            xp.matmul(z, W, out=dx[i : i + ops.HEAD_ROWS])
        if dW is not None:
            dW += z.T @ chunk
    return loss, (dx, dW)


def distill_loss_backward(dloss, cache):
    """dloss, a number -> dx (M, C), or None if not wanted, and the gradient of W (V, C).

    forward: formed dx and dW already; nothing flows into the teacher.
    """
    return ops.lm_loss_backward(dloss, cache)


# --------------------------------------------------------------------------------- the student in training


class Distilled(PeftModel):
    """The PeftModel `student` with another loss: it learns from `teacher` too. In all else it is the student.

    student      a PeftModel, trained in full or by any method; its arrays are those that train here
    teacher      a GPT2 or a PeftModel of the same vocabulary, which is only read
    temperature  τ, above 0;  weight  λ, from 0, ordinary training, to 1, the teacher alone

    `train` and `gradcheck` take it as they take any PeftModel; `scores`, and so `evaluate`, measure the
    student on the labels alone. An adapter's file holds no base: keep a new student's with
    `student.model.save_pretrained`.

    Rows are compared where they predict the same token; virtual ones are not compared at all. Behind a
    prompt the first token of a text is predicted too, else it is not: where one of the two has a prompt and
    the other has none, first tokens count for neither, whatever the weight.
    """

    def __init__(self, student, teacher, temperature=2.0, weight=0.5):
        vars(self).update(vars(student))  # the same arrays: what trains here trains there
        self.teacher = teacher if isinstance(teacher, PeftModel) else PeftModel(teacher)
        self.temperature, self.weight = temperature, weight
        if not 0 < temperature < math.inf:
            raise InputError(f"temperature must be above 0, not {temperature}")
        if not 0 <= weight <= 1:
            raise InputError(f"weight must be from 0 to 1, not {weight}")
        check_same_vocabulary(student, self.teacher)
        with_prompt = [rows_in_front(model) > 0 for model in (student, self.teacher)]
        self.compares_first = with_prompt[0] == with_prompt[1]

    @property
    def num_virtual_tokens(self):
        """Positions that no text can take, so that what is left has room in student and teacher."""
        room = self.teacher.config.n_positions - self.teacher.num_virtual_tokens
        return max(super().num_virtual_tokens, self.config.n_positions - room)

    def shard_loss_and_grads(self, shard, step, collect):
        """As in PeftModel. The teacher reads the shard first, without dropout, and keeps nothing."""
        shard = self._compared(shard)
        loss_op = self._loss_op(shard), distill_loss_backward
        return gpt2.loss_and_grads(shard, step, collect, loss_op)

    def loss(self, batch):
        """The mean mixed loss over the batch's labelled tokens, as a float, without gradients or dropout."""
        self.check_batch(batch, self.num_virtual_tokens)
        batch = self._compared(batch)
        x, labels, _ = gpt2.predictions(batch, self.step())
        loss, _ = self._loss_op(batch)(x, self.weights[f"{self.config.head}.weight"], labels)
        return float(loss) / len(labels)

    def _loss_op(self, batch):
        """`distill_loss` with the teacher's part filled in, to be called as `ops.lm_loss` is."""
        step = self.teacher.step()
        x_t, _, _ = gpt2.predictions(batch, step)
        W_t = step.weights[f"{step.config.head}.weight"]
        return lambda x, W, labels, wants=frozenset(): distill_loss(
            x, W, x_t, W_t, labels, self.temperature, self.weight, wants
        )

    def _compared(self, batch):
        """The batch without the labels of the tokens that only one of the two predicts."""
        if self.compares_first:
            return batch
        labelled = batch.labelled.copy()
        labelled[batch.layout.first_rows] = False
        return replace(batch, labelled=labelled)


def rows_in_front(model):
    """How many rows a model puts in front of a text: a prompt has rows, a prefix keys and values alone."""
    step = model.step()
    one = like(step.weights["wte.weight"], np.zeros(1, dtype=np.int64))
    _, layout, _ = gpt2.embed(one, Layout.of([1]), step)
    return layout.virtual[0]


def check_same_vocabulary(student, teacher):
    """Raise InputError where the two have tokens of their own: rows of logits would not be comparable."""
    ours, theirs = student.config.vocab_size, teacher.config.vocab_size
    if ours != theirs:
        raise InputError(f"the student has a vocabulary of {ours} tokens, its teacher one of {theirs}")
    ours, theirs = student.tokenizer, teacher.tokenizer
    if ours is not theirs and ours and theirs and ours.get_vocab() != theirs.get_vocab():
        raise InputError("student and teacher have different tokenizers: a token id is not the same word")
