r"""Knowledge distillation: a small student learns from labels, and from its teacher's probabilities.

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

from . import gpt2
from .backend import like, xp_of
from .errors import InputError, SettingError
from .files.content import content_of
from .layout import Layout
from .model import GPT2
from .ops import log_softmax
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
    return GPT2(config, weights, teacher.tokenizer, ops=getattr(teacher, "ops", "fast"))


# ---------------------------------------------------------------------------------------------- the loss


def distill_loss(x, x_t, labels, W, W_t, temperature, weight, wants=frozenset()):
    r"""$\ell = \sum_m (1-\lambda)\,CE(y_m, p_1) + \lambda\,\tau^2\,KL(q_\tau \| p_\tau)$, heads and all.

    x (M, C), W (V, C): the student's rows and head; x_t (M, C'), W_t (V, C'): the teacher's, for the same
    tokens; labels (M,) -> the SUM over rows, a 0-d array.
    """
    xp, tau, lam = xp_of(x), temperature, weight
    z, at_label = x @ W.T, (xp_of(x).arange(len(x)), labels)  # (M, V)
    log_p1, log_p, log_q = log_softmax(z), log_softmax(z / tau), log_softmax(x_t @ W_t.T / tau)
    q = xp.exp(log_q)  # (M, V)
    loss = -(1 - lam) * log_p1[at_label].sum(dtype=np.float64)
    loss += lam * tau**2 * (q * (log_q - log_p)).sum(dtype=np.float64)
    if not wants:
        return loss, None
    dz = (1 - lam) * xp.exp(log_p1) + lam * tau * (xp.exp(log_p) - q)
    dz[at_label] -= 1 - lam
    return loss, (x, W, dz, wants)


def distill_loss_backward(dloss, cache):
    """dloss, a number -> dx (M, C), or None if not wanted, and the gradient of W (V, C).

    forward: dz is formed where p and q are at hand; nothing flows into the teacher.
    """
    if cache is None:
        return None, {}
    x, W, dz, wants = cache
    dz = dloss * dz
    return dz @ W if "x" in wants else None, {"weight": dz.T @ x} if "weight" in wants else {}


# --------------------------------------------------------------------------------- the student in training


class Distilled(PeftModel):
    """The PeftModel `student` with another loss: it learns from `teacher` too. In all else it is the student.

    student      a PeftModel, trained in full or by any method; its arrays are those that train here
    teacher      a GPT2 or a PeftModel of the same vocabulary, which is only read
    temperature  τ, above 0;  weight  λ, from 0, ordinary training, to 1, the teacher alone

    `train` and `gradcheck` take it as they take any PeftModel; `scores`, and so `evaluate`, measure the
    student on the labels alone. An adapter's file holds no base: keep a new student's with
    `student.model.save_pretrained`.

    Rows are compared where they predict the same token; virtual ones are not compared at all. A model
    with a prompt in front of a text predicts the text's first token, too; a model without one cannot. Where
    only one of the two has a prompt, first tokens count for neither, whatever the weight.
    """

    def __init__(self, student, teacher, temperature=2.0, weight=0.5):
        super().__init__(student.model)
        self.adapters = student.adapters  # the same arrays: what trains here trains there
        self._stands_alone = student._stands_alone
        self.set_adapter(student.active_adapter)
        self.teacher = teacher if isinstance(teacher, PeftModel) else PeftModel(teacher)
        self.temperature, self.weight = temperature, weight
        if not 0 < temperature < math.inf:
            raise SettingError("temperature", f"{{}} must be above 0, not {temperature}")
        if not 0 <= weight <= 1:
            raise SettingError("weight", f"{{}} must be from 0 to 1, not {weight}")
        check_same_vocabulary(student, self.teacher)
        with_prompt = [rows_in_front(model) > 0 for model in (student, self.teacher)]
        self.compares_first = with_prompt[0] == with_prompt[1]

    @property
    def num_virtual_tokens(self):
        """The student's positions that no text may take, so that every text fits student and teacher."""
        room = self.teacher.config.n_positions - self.teacher.num_virtual_tokens
        return max(super().num_virtual_tokens, self.config.n_positions - room)

    def identity(self):
        """The student's, and the teacher."""
        teacher = content_of([self.teacher.identity(), self.teacher.tensors, self.teacher.weights])
        settings = {"temperature": self.temperature, "distill_weight": self.weight}
        return super().identity() | {"teacher": teacher} | settings

    def shard_loss_and_grads(self, shard, step, collect, blocks):
        """As in PeftModel. The teacher reads the shard first, without dropout, and keeps nothing."""
        shard = self._compared(shard)
        return gpt2.loss_and_grads(shard, step, collect, self._head_loss(shard, step), blocks)

    def loss(self, batch):
        """The mean mixed loss over the batch's labelled tokens, as a float, without gradients or dropout."""
        self.check_batch(batch)
        batch = self._compared(batch)
        step = self.step()
        x, labels, _ = gpt2.predictions(batch, step)
        mixed_loss, _ = self._head_loss(batch, step)
        loss, _ = mixed_loss(x, step.weights[f"{self.config.head}.weight"], labels)
        return float(loss) / len(labels)

    def _head_loss(self, batch, step):
        """`distill_loss` with the teacher's part filled in, as `ops.lm_loss` is called, and its backward."""
        x_t, _, _ = gpt2.predictions(batch, self.teacher.step())
        mixed_loss, backward = step.ops.in_chunks(distill_loss, distill_loss_backward)
        shared = {
            "W_t": self.teacher.weights[f"{self.teacher.config.head}.weight"],
            "temperature": self.temperature,
            "weight": self.weight,
        }
        forward = lambda x, W, labels, wants=frozenset(): mixed_loss(
            x, x_t, labels, W=W, wants=wants, **shared
        )
        return forward, backward

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
    """Raise InputError where the two have different tokens: their logits could not be compared."""
    ours, theirs = student.config.vocab_size, teacher.config.vocab_size
    if ours != theirs:
        raise InputError(f"the student has a vocabulary of {ours} tokens, its teacher one of {theirs}")
    ours, theirs = student.tokenizer, teacher.tokenizer
    if ours is not theirs and ours and theirs and ours.get_vocab() != theirs.get_vocab():
        raise InputError("student and teacher have different tokenizers: a token id is not the same word")
