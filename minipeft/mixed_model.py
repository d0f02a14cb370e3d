"""MixedModel: one batch, an adapter of its own for each sequence, the base run once for all of them."""

from dataclasses import replace

from .config import check_sequences
from .errors import InputError, counted
from .generate import generate, generate_ids, logits
from .methods.mixed import Mixed

BASE = "__base__"  # the name of no adapter at all, as in Hugging Face PEFT


def changes_base(adapter, model):
    """Does this adapter compute with weights of its own in place of the base's (BitFit, PiSSA, ...)?"""
    return any(w is not model.weights[name] for name, w in adapter.weights.items())


class MixedModel:
    """The adapters of a PeftModel, one for each sequence of a call, in the sequences' order.

        peft.mixed(["food", "people", "__base__"]).generate([prompt, prompt, prompt])

    Sequences are sorted by adapter on the way in, so that each adapter's rows are a slice, and put back on
    the way out. Raises InputError for no name, for a name that is not known, and for an adapter that changes
    weights of the base (BitFit, PiSSA, ...): the others' sequences need them as they are.
    """

    def __init__(self, peft, adapter_names):
        if not len(adapter_names):
            raise InputError("no adapter is named: there is to be one for each sequence")
        self.config, self.weights, self.tokenizer = peft.config, peft.model.weights, peft.tokenizer
        self.peft, self.names = peft, list(dict.fromkeys(adapter_names))
        self.under = [peft.adapter(name) for name in self.names]
        for name, adapter in zip(self.names, self.under, strict=True):
            if changes_base(adapter, peft.model):
                raise InputError(f"the adapter {name!r} changes weights of the base: it cannot share a batch")
        numbers = [self.names.index(name) for name in adapter_names]
        self.order = sorted(range(len(numbers)), key=numbers.__getitem__)
        self.adapters = tuple(numbers[i] for i in self.order)

    @property
    def dtype(self):
        """The floating-point type of everything."""
        return self.peft.dtype

    @property
    def num_virtual_tokens(self):
        """The most positions that any adapter takes in front of a sequence."""
        return max(adapter.method.num_virtual_tokens for adapter in self.under)

    def step(self, **fields):
        """A step of the base with all adapters at its sites, each with its `start` done."""
        base = self.peft.model.step(**fields)
        steps = []
        for adapter in self.under:
            own = replace(base, method=adapter.method, tensors=adapter.tensors)
            steps.append(replace(own, tensors=adapter.method.start(adapter.tensors, own)[0]))
        return replace(base, method=Mixed(steps))

    def logits(self, sequences):
        """As PeftModel's."""
        return self._restored(logits(self, self._sorted(sequences), self.adapters))

    def generate_ids(self, prompts, on_token=None, **options):
        """As PeftModel's."""
        if on_token:
            options["on_token"] = lambda row, token: on_token(self.order[row], token)
        return self._restored(generate_ids(self, self._sorted(prompts), adapters=self.adapters, **options))

    def generate(self, prompts, **options):
        """As PeftModel's, of a list of texts."""
        return generate(self, prompts, **options)

    def scores(self, batch):
        """As PeftModel's."""
        self._check_number(len(batch))
        check_sequences(batch.sequences, self.config, self.num_virtual_tokens)
        batch = batch.take(self.order)
        batch.layout = replace(batch.layout, adapters=self.adapters)
        return self.peft.scores_in(self.step(), batch, self.order)

    def _check_number(self, number):
        if number != len(self.order):
            given = counted(number, "sequence")
            raise InputError(f"{given}, and names of adapters for {len(self.order)}")

    def _sorted(self, sequences):
        self._check_number(len(sequences))
        return [sequences[i] for i in self.order]

    def _restored(self, results):
        restored = dict(zip(self.order, results, strict=True))
        return [restored[i] for i in range(len(restored))]
