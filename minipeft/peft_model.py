"""PeftModel: a frozen GPT-2 and one or more fine-tuning methods."""

from dataclasses import replace

import numpy as np

from . import gpt2, ops
from .backend import generator, to_host, xp_of
from .errors import InputError
from .gpt2 import GPT2, Step
from .methods import Chain, Method
from .parallel import map_shards, num_threads


class PeftModel:
    """A GPT-2 that stays as it is, the methods that act on it, and the tensors that train.

    model      the base; its arrays are never written to
    method     one Method, or a Chain of those in a list; an empty list is the frozen model alone
    tensors    the method's own tensors by name
    selected   copies of the base parameters that the method selects
    weights    the base parameters as the forward sees them, the selected ones among them
    trainable  those of `tensors` and `selected` that an optimizer changes, in place
    """

    def __init__(self, model, methods=(), seed=0):
        self.model, self.config, self.tokenizer = model, model.config, model.tokenizer
        self.method = methods if isinstance(methods, Method) else Chain(methods)
        if self.num_virtual_tokens >= model.config.n_positions:
            raise InputError(
                f"{self.num_virtual_tokens} virtual tokens leave no room for text: "
                f"the model has {model.config.n_positions} positions"
            )
        xp = xp_of(model.weights["wte.weight"])
        own = self.method.init(model, np.random.default_rng(seed))
        self.tensors = {name: xp.array(a, dtype=self._dtype_of(a)) for name, a in own.items()}
        self.weights = model.weights | self.method.rebase(model.weights, self.tensors)
        chosen = [name for name in self.weights if self.method.select(name, self.config)]
        self.selected = {name: self.weights[name].copy() for name in chosen}
        self.weights |= self.selected
        everything = self.tensors | self.selected
        self.trainable = {name: a for name, a in everything.items() if self.method.trains(name)}

    # ------------------------------------------------------------------------------ counting, describing

    @property
    def dtype(self):
        """The floating-point type of everything."""
        return self.model.dtype

    @property
    def num_virtual_tokens(self):
        """Positions that the methods take in front of every sequence."""
        return self.method.num_virtual_tokens

    @property
    def num_trainable(self):
        """How many numbers train."""
        return sum(p.size for p in self.trainable.values())

    @property
    def num_parameters(self):
        """How many numbers there are: the base's and the methods' own."""
        return self.model.num_parameters + sum(p.size for p in self.tensors.values())

    def print_trainable_parameters(self):
        """Print the counts in Hugging Face PEFT's words."""
        share = 100 * self.num_trainable / self.num_parameters
        print(
            f"trainable params: {self.num_trainable:,} || all params: {self.num_parameters:,} "
            f"|| trainable%: {share:.4f}"
        )

    # ------------------------------------------------------------------------------- forward and backward

    def step(self, **fields):
        """What a forward pass needs, the method's `start` done: see `gpt2.Step`."""
        return self._start(**fields)[0]

    def _start(self, **fields):
        step = Step(self.config, self.weights, self.method, self.tensors, frozenset(self.selected), **fields)
        tensors, cache = self.method.start(self.tensors, step)
        return replace(step, tensors=tensors), cache

    def loss_and_grads(self, batch, seed=None, dropout=0.0):
        """The mean loss over the batch's labelled tokens, and its gradients by the names in `trainable`.

        seed: of this step's dropout (the methods' own, and GPT-2's with probability `dropout`);
        None: no dropout at all. Raises InputError where a sequence does not fit the model.
        """
        loss, count, grads = self.loss_and_grad_sums(batch, seed, dropout)
        for g in grads.values():
            g /= count
        return loss / count, grads

    def loss_and_grad_sums(self, batch, seed=None, dropout=0.0):
        """Sums over the labelled tokens, and their number: what shards, micro-batches and machines add up.

        The batch is split into one shard per core, each with a forward and backward of its own.
        """
        self._check(batch)
        step, cache = self._start(learns=True, p_drop=dropout)

        def run(numbered):
            i, shard = numbered
            rng = None if seed is None else generator([seed, i], self.weights["wte.weight"])
            return self.shard_loss_and_grads(shard, replace(step, rng=rng))

        results = map_shards(run, list(enumerate(self._shards(batch))))
        loss, count, grads = results[0]
        for more_loss, more_count, more in results[1:]:
            loss, count = loss + more_loss, count + more_count
            for name in more:
                grads[name] += more[name]
        if count == 0:
            raise InputError("no token of the batch has a label: nothing to learn from")
        grads = self.method.finish(grads, cache)
        return loss, count, {name: g for name, g in grads.items() if name in self.trainable}

    def shard_loss_and_grads(self, shard, step):
        """One shard's sum of the loss, number of labelled tokens, and gradients; `Distilled` has its own."""
        return gpt2.loss_and_grads(shard, step)

    def scores(self, batch):
        """The log-probability of each labelled token, and whether it was the likeliest; (M,) on the host."""
        self._check(batch)
        step = self.step()

        def run(shard):
            a, labels = gpt2.predictions(shard, step)
            logprob, best = ops.lm_scores(a, self.weights[f"{self.config.head}.weight"], labels)
            return to_host(logprob), to_host(best == labels)

        logprobs, hits = zip(*map_shards(run, self._shards(batch)), strict=True)
        return np.concatenate(logprobs), np.concatenate(hits)

    def loss(self, batch):
        """The mean loss over the batch's labelled tokens, as a float, without gradients or dropout."""
        return -float(self.scores(batch)[0].mean(dtype="float64"))

    def _dtype_of(self, array):
        """Indices stay integers; everything else is of the model's type."""
        return array.dtype if array.dtype.kind in "iu" else self.dtype

    @property
    def _xp(self):
        return xp_of(self.weights["wte.weight"])

    def _shards(self, batch):
        return batch.split(num_threads()) if self._xp is np else [batch]

    def _check(self, batch):
        longest, P = max(batch.layout.lengths), self.num_virtual_tokens
        if P + longest > self.config.n_positions:
            raise InputError(
                f"{P} virtual + {longest} tokens do not fit the model's {self.config.n_positions} positions"
            )
        if batch.ids.max() >= self.config.vocab_size or batch.ids.min() < 0:
            raise InputError(f"a token id of the batch is not in 0 ... {self.config.vocab_size - 1}")

    # ----------------------------------------------------------------------------------------- generation

    logits, generate_ids, generate = GPT2.logits, GPT2.generate_ids, GPT2.generate

    # ------------------------------------------------------------------------------------ files, merging

    def save_pretrained(self, folder):
        """Write the adapter alone, as Hugging Face PEFT does: see `adapter_files.save_adapter`."""
        from .adapter_files import save_adapter

        save_adapter(self, folder)

    @classmethod
    def from_pretrained(cls, model, folder):
        """`model` with the adapter of a folder: see `adapter_files.load_adapter`."""
        from .adapter_files import load_adapter

        return load_adapter(model, folder)

    def merge_and_unload(self):
        """A plain GPT2 with the same logits. Raises InputError where a method cannot be merged."""
        weights = self.step().weights  # `start` may have to bring the selected ones up to date
        weights = weights | {name: weights[name].copy() for name in self.selected}  # training may go on
        weights |= self.method.merge(weights, self.tensors)
        return GPT2(self.config, weights, self.tokenizer, self.model.name)

    def unmerge(self, merged):
        """The base again, from what `merge_and_unload` gave; to rounding."""
        weights = merged.weights | self.method.unmerge(merged.weights, self.tensors)
        return GPT2(self.config, weights, self.tokenizer, merged.name)
