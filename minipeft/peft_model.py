"""PeftModel: a frozen GPT-2 and one or more fine-tuning methods."""

from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial

import numpy as np

from . import gpt2
from .attached import Attached
from .backend import like, to_host
from .config import check_sequences
from .errors import InputError, choose_from, counted
from .files.adapters import load_adapter, save_adapter
from .files.content import configuration_of, content_of
from .methods.chain import Chain, in_short
from .methods.linear.combine import combined_adapter
from .mixed_model import BASE, MixedModel
from .model import GPT2
from .optim import divide
from .settings import check_range, seeded
from .speed.checkpointing import CHECKPOINTED
from .speed.gradients import Gradients
from .speed.parallel import map_shards, num_shards
from .speed.quantized import dequantized


class PeftModel:
    """A GPT-2 that stays as it is, and one or more adapters, of which one at a time is active.

    model     the base; its arrays are never written to (but see `give_up_base`)
    adapters  {name: Attached}

    `method`, `tensors`, `selected`, `weights`, `trainable` and `unread` are those of the active adapter.
    """

    def __init__(self, model, methods=(), seed=0, adapter_name="default"):
        if isinstance(model, PeftModel) or not hasattr(model, "with_weights"):
            raise InputError(
                f"want a GPT2, not {type(model).__name__}: several methods are a list, or add_adapter's"
            )
        self.model, self.config, self.tokenizer = model, model.config, model.tokenizer
        self.adapters, self._disabled = {}, 0  # in how many `disable_adapter` blocks we are
        self._stands_alone = False  # did the adapter bring a part of the base with it?
        self.add_adapter(adapter_name, methods, seed)
        self.set_adapter(adapter_name)

    # ------------------------------------------------------------------------------------ several adapters

    def add_adapter(self, adapter_name, methods, seed=0):
        """Put one more adapter beside the others; `set_adapter` makes it the active one.

        Raises InputError beside one whose file brought embeddings or a head: the base is not the others'.
        """
        self._attach(adapter_name, Attached.on(self.model, methods, seed))

    def load_adapter(self, folder, adapter_name):
        """`add_adapter`, from a folder that `save_pretrained` or Hugging Face PEFT wrote.

        Raises InputError, too, for an adapter that needs a head of its own: the base is shared.
        """
        attached = load_adapter(self.model, folder, Attached.on)
        if attached.model is not self.model:
            raise InputError(
                f"{folder}: this adapter brings embeddings or a head of its own, and so cannot stand "
                "beside others, nor beside the base: load it alone (PeftModel.from_pretrained)"
            )
        self._attach(adapter_name, attached)

    def add_weighted_adapter(
        self, adapters, weights, adapter_name, combination_type="svd", svd_rank=None,
        *, density=None, majority_sign_method="total", seed=0,
    ):  # fmt: skip
        """Put a LoRA adapter beside the others that is the weighted sum of some of them, by name.

        combination_type: the kind of sum, with what the other settings mean: see `methods.linear.combine`.
        seed: of what DARE keeps. Raises InputError where these adapters cannot be added up in this way.
        """
        alone = lambda m: m.methods[0] if type(m) is Chain and len(m.methods) == 1 else m
        parts = [(name, alone(self.adapter(name).method), self.adapter(name).tensors) for name in adapters]
        rng = seeded(seed)
        method, tensors = combined_adapter(
            parts, weights, combination_type, svd_rank, density, majority_sign_method, rng
        )
        self.add_adapter(adapter_name, method)
        for name, tensor in self.adapter(adapter_name).tensors.items():
            tensor[...] = like(tensor, tensors[name])

    def set_adapter(self, adapter_name):
        """Make this adapter the active one: it generates, is evaluated, trained, saved and merged."""
        adapter = self.adapter(adapter_name)
        if not self._disabled:  # else it is shown when the block ends
            self._show(adapter)
        self.active_adapter = adapter_name

    def delete_adapter(self, adapter_name):
        """Forget an adapter. Raises InputError for the active one: switch first; and for the base."""
        if adapter_name == BASE:
            raise InputError(f"{BASE!r} is the base itself, no adapter: it cannot be deleted")
        if adapter_name == self.active_adapter:
            raise InputError(f"the adapter {adapter_name!r} is active: set another one before deleting it")
        self.adapter(adapter_name)
        del self.adapters[adapter_name]

    @contextmanager
    def disable_adapter(self):
        """`with peft.disable_adapter():` the base alone, whatever is active."""
        self._disabled += 1
        self._show(self.adapter(BASE))
        try:
            yield
        finally:
            self._disabled -= 1
            if not self._disabled:
                self.set_adapter(self.active_adapter)

    def adapter(self, adapter_name):
        """The adapter of that name; BASE: none at all. Raises InputError with the names there are."""
        if adapter_name == BASE:
            return Attached.on(self.model, [], 0)
        if adapter_name not in self.adapters:
            raise InputError(
                f"no adapter is called {adapter_name!r}: {choose_from(adapter_name, self.adapters)}"
            )
        return self.adapters[adapter_name]

    def _attach(self, adapter_name, adapter):
        if adapter_name in self.adapters or adapter_name == BASE:
            raise InputError(f"there is an adapter {adapter_name!r} already: choose another name")
        if self._stands_alone:
            raise InputError(
                f"the adapter {next(iter(self.adapters))!r} brought embeddings or a head of its own, and "
                "what stands beside it is saved without: put others on the base, by PeftModel(base, ...)"
            )
        self.adapters[adapter_name] = adapter

    def _show(self, adapter):
        self.method, self.tensors, self.selected = adapter.method, adapter.tensors, adapter.selected
        self.weights, self.trainable = adapter.weights, adapter.trainable
        self.unread = adapter.unread

    def mixed(self, adapter_names):
        """This model with an adapter for each sequence of a call: see `MixedModel`."""
        return MixedModel(self, adapter_names)

    # ------------------------------------------------------------------------------ counting, describing

    def __repr__(self):
        share = 100 * self.num_trainable / self.num_parameters
        lines = ["PeftModel", f"  base     {self.model!r}"]
        for name, adapter in self.adapters.items():
            active = ", active" if name == self.active_adapter else ""
            lines.append(f"  adapter  {name}{active}: {in_short(adapter.method)}")
        lines.append(
            f"  trains   {self.num_trainable:,} of {self.num_parameters:,} parameters, {share:.2f} %"
        )
        return "\n".join(lines)

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
        """The base's numbers, and those of the methods that an optimizer changes.

        What a method keeps besides is none of them: VeRA's A and B, Sparse's choice, a fusion's adapters.
        """
        own = (t.size for name, t in self.tensors.items() if self.method.optimizer_changes(name))
        return self.model.num_parameters + sum(own)

    def identity(self):
        """What is frozen, as a fingerprint, and the method in full: what a run that goes on must find."""
        frozen = {name: W for name, W in self.model.weights.items() if name not in self.selected}
        base = content_of([asdict(self.config), frozen])
        return {"base": base, "method": configuration_of(self.method)}

    def print_trainable_parameters(self):
        """Print the counts in Hugging Face PEFT's words."""
        share = 100 * self.num_trainable / self.num_parameters
        print(
            f"trainable params: {self.num_trainable:,} || all params: {self.num_parameters:,} "
            f"|| trainable%: {share:.4f}"
        )

    # ------------------------------------------------------------------------------- forward and backward

    def step(self, **fields):
        """What a forward pass needs, the method's `start` done: see `step.Step`."""
        return self._start(**fields)[0]

    def _start(self, **fields):
        own = {"method": self.method, "tensors": self.tensors, "trains": frozenset(self.selected)}
        step = replace(self.model.step(**own, **fields), weights=self.weights)
        tensors, cache = self.method.start(self.tensors, step)
        return replace(step, tensors=tensors), cache

    def loss_and_grads(self, batch, seed=None, dropout=0.0, checkpointing=False):
        """The mean loss over the batch's labelled tokens, and its gradients by the names in `trainable`.

        seed: of this step's dropout (the methods' own, and GPT-2's with probability `dropout`);
        None: no dropout at all. checkpointing: keep each block's input alone, and run the block again
        before its backward: the same numbers in less memory, and more time. Raises InputError where a
        sequence does not fit the model.
        """
        loss, count, grads = self.loss_and_grad_sums(batch, seed, dropout, checkpointing)
        check_labelled(count)
        divide(grads, count)
        return loss / count, grads

    def loss_and_grad_sums(self, batch, seed=None, dropout=0.0, checkpointing=False, first_shard=0):
        """Sums over the labelled tokens, and their number: what shards, micro-batches and machines add up.

        The batch is split into one shard per core, each with a forward and backward of its own. Their numbers
        are part of the seed of their dropout, from first_shard on: on several machines no two are the same.
        """
        self.check_batch(batch)
        check_range("dropout", dropout, least=0, below=1)
        step, cache = self._start(grad_enabled=True, p_drop=dropout)
        blocks = CHECKPOINTED if checkpointing else (gpt2.block, gpt2.block_backward)
        shards = batch.split(self.num_shards)
        gradients = Gradients(len(shards))

        def run(i):
            own = replace(step, dropout_seeds=None if seed is None else [seed, first_shard + i])
            return self.shard_loss_and_grads(shards[i], own, partial(gradients.add, shard=i), blocks)

        losses, counts = zip(*map_shards(run, range(len(shards))), strict=True)
        loss, count = sum(losses), sum(counts)
        grads = self.method.finish(gradients.totals(), cache)
        if missing := [name for name in self.trainable if name not in grads]:
            others = f" and {counted(len(missing) - 1, 'more tensor')}" if missing[1:] else ""
            raise InputError(
                f"no gradient came back for {missing[0]!r}{others}, which should train: "
                "does the method's backward return it, under this name?"
            )
        if unknown := [name for name in grads if name not in self.tensors and name not in self.weights]:
            raise InputError(f"a gradient came back for {unknown[0]!r}, and there is no tensor of that name")
        return loss, count, {name: g for name, g in grads.items() if name in self.trainable}

    def shard_loss_and_grads(self, shard, step, collect, blocks):
        """One shard's sum of the loss and number of labelled tokens; `Distilled` has its own."""
        return gpt2.loss_and_grads(shard, step, collect, blocks=blocks)

    def scores(self, batch):
        """The log-probability of each labelled token, and whether it was the likeliest; (M,) on the host.

        In the order of the batch, although each core has a shard of it.
        """
        self.check_batch(batch)
        return self.scores_in(self.step(), batch)

    def scores_in(self, step, batch, numbers=None):
        """`scores`, in a step that is there already: of several adapters at once, say.

        numbers: where each sequence of the batch stands among the results (None: where it stands now).
        """
        numbers = np.arange(len(batch)) if numbers is None else np.asarray(numbers)

        def run(part):
            a, labels, sequences = gpt2.predictions(batch.take(part), step)
            logprob, best = step.ops.lm_scores(a, step.weights[f"{self.config.head}.weight"], labels)
            return to_host(logprob), to_host(best == labels), numbers[part][sequences]

        shards = map_shards(run, batch.parts(self.num_shards))
        logprobs, hits, places = (np.concatenate(each) for each in zip(*shards, strict=True))
        order = np.argsort(places, kind="stable")
        return logprobs[order], hits[order]

    def attention_to_virtual_tokens(self, batch):
        """The share of attention that goes to virtual tokens, keys of a prefix or rows of a prompt: (L, H).

        For each layer and head the mean over the batch's tokens of text. It is read from what attention
        keeps for its backward; the step is one in which wte would train, so that every layer keeps it.
        """
        self.check_batch(batch)
        step = replace(self.step(grad_enabled=True), trains=frozenset({"wte.weight"}))
        ids = like(self.weights["wte.weight"], batch.ids)
        _, layout, (_, *blocks) = gpt2.forward(ids, batch.layout, step)
        share = np.zeros((self.config.n_layer, self.config.n_head))
        for layer, ((_, _, _, attention, *_), _) in enumerate(blocks):
            weights = step.ops.attention_weights(attention)
            for p, rows in zip(weights, layout.virtual, strict=True):  # p (H, rows + T, keys)
                text = p[:, rows:]  # the queries that are text: as many as keys that are
                keys = p.shape[2] - text.shape[1]
                share[layer] += to_host(text[:, :, :keys].sum((1, 2), dtype="float64"))
        return share / len(batch.ids)

    def loss(self, batch):
        """The mean loss over the batch's labelled tokens, as a float, without gradients or dropout."""
        logprob, _ = self.scores(batch)
        check_labelled(len(logprob))
        return -float(logprob.mean(dtype="float64"))

    @property
    def num_shards(self):
        """Into how many parts a batch is split: one for each core, one in all on a GPU."""
        return num_shards(self.weights["wte.weight"])

    def check_batch(self, batch):
        """Raise InputError where a sequence, with what the method puts in front, does not fit the model."""
        check_sequences(batch.sequences, self.config, self.num_virtual_tokens)

    # ----------------------------------------------------------------------------------------- generation

    logits, generate_ids, generate = GPT2.logits, GPT2.generate_ids, GPT2.generate

    # ------------------------------------------------------------------------------------ files, merging

    def save_pretrained(self, folder):
        """Write the adapter alone, as Hugging Face PEFT does: see `files/adapters`.

        Raises InputError inside `disable_adapter`, where there is none to write.
        """
        if self._disabled:
            raise InputError("the adapter is disabled here, so nothing is saved: save it after this block")
        save_adapter(self, folder)

    @classmethod
    def from_pretrained(cls, model, folder, adapter_name="default", is_trainable=True):
        """`model` with the adapter of a folder: see `files/adapters`.

        is_trainable: may it be trained on? True here, where nothing trains until it is told to; in Hugging
        Face PEFT the default is False. False: `trainable` is empty, and `train` refuses.
        """
        attached = load_adapter(model, folder, Attached.on)
        if not is_trainable:
            attached.trainable = {}
        peft = cls(attached.model, adapter_name=adapter_name)
        peft.adapters[adapter_name] = attached
        peft.set_adapter(adapter_name)
        peft._stands_alone = attached.model is not model
        return peft

    def give_up_base(self):
        """Let go of the base's own arrays of what trains in it: full fine-tuning takes one model less.

        From here on `model` has the trained arrays in their place, and nobody can go back: not
        `disable_adapter`, and no other adapter that is put on it.
        """
        self.model.weights.update(self.selected)

    def merge_and_unload(self):
        """A plain GPT2 with the same logits. Raises InputError where a method cannot be merged.

        A quantised base is dequantised first: what comes out has floats for all weights.
        """
        weights = {name: dequantized(W) for name, W in self.weights.items()}
        weights = weights | {name: weights[name].copy() for name in self.selected}  # training may go on
        weights |= self.method.merge(weights, self.tensors)
        return self.model.with_weights(weights)

    def unmerge(self, merged):
        """What `merge_and_unload` merged into, from what it gave; to rounding.

        That is the base, `model`; but of PiSSA, which starts by taking a part out of the base and into A and
        B, it is the base without that part: `weights`, as long as the adapter is there.
        """
        weights = merged.weights | self.method.unmerge(merged.weights, self.tensors)
        weights |= {name: self.model.weights[name] for name in self.selected}
        return merged.with_weights(weights)


def check_labelled(count):
    """Raise InputError where the tokens with a label, whose mean is to be taken, are none."""
    if count == 0:
        raise InputError("no token of the batch has a label: nothing to learn from")
