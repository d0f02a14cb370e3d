"""GPT2: a model to hold. Its weights, tokenizer, files; what it computes is in gpt2.py."""

from dataclasses import replace

import numpy as np

from .backend import xp_for
from .config import GPT2Config, check_sequences, config_of_size, published
from .errors import InputError, check_choice, counted
from .files.checkpoint import read_gpt2, write_gpt2
from .generate import KVCache, generate, generate_ids, logits, next_logits
from .gpt2 import loss_and_grads
from .settings import seeded
from .speed.bases import into_form
from .speed.choose import operations
from .speed.gradients import Gradients
from .speed.packed import KINDS as PACKED
from .speed.quantized import KINDS as QUANTIZED
from .speed.quantized import Held, dequantized
from .step import Step


class GPT2:
    """A GPT-2: its configuration, its parameters by checkpoint name, its tokenizer (or None).

    beside: {file: text} of what else its folder says to other software; saved again as it is.
    ops: "fast", "plain" or "bfloat16", the operations that it computes with: see speed/choose.py.
    The arrays may be read-only: those that are read from a file are.
    """

    def __init__(self, config, weights, tokenizer=None, name=None, ops="fast", beside=None):
        self.config, self.weights, self.tokenizer, self.name = config, weights, tokenizer, name
        self.beside, self.ops = beside or {}, ops

    def __repr__(self):
        c = self.config
        layers, heads = counted(c.n_layer, "layer"), counted(c.n_head, "head")
        shape = f"{layers}, width {c.n_embd}, {heads}, vocabulary {c.vocab_size:,}"
        kind = f"{self.dtype}, linear layers {self.quantization}" if self.quantization else self.dtype
        return f"GPT2({self.name or 'no name'}: {shape}; {self.num_parameters:,} parameters, {kind})"

    def with_weights(self, weights, config=None):
        """This model with other weights, and of another shape where one is given; all else as it is."""
        return GPT2(config or self.config, weights, self.tokenizer, self.name, self.ops, self.beside)

    @classmethod
    def random(
        cls, size="gpt2", seed=0, dtype="float32", device="cpu", tokenizer=None, ops="fast", std=0.02
    ):  # fmt: skip
        """GPT-2's initialisation: N(0, std), projections into the residual stream by 1/sqrt(2 L) less.

        size: a published name ("gpt2", "gpt2-medium", ...) or a GPT2Config. std: GPT-2's is 0.02, at its
        widths somewhat below 1/sqrt(width); a narrow model learns faster from numbers of that size.
        """
        config = size if isinstance(size, GPT2Config) else config_of_size(size)
        xp, rng = xp_for(device), seeded(seed)
        weights = {}
        for name, shape in config.shapes().items():
            if len(shape) == 1:
                value = np.full(shape, float(name.endswith("weight")), dtype)  # norms 1, biases 0
            else:
                less = (2 * config.n_layer) ** 0.5 if "c_proj" in name else 1.0
                value = rng.standard_normal(shape, dtype="float32").astype(dtype, copy=False)
                value *= np.asarray(std / less, dtype)
            weights[name] = xp.asarray(value)
        return cls(config, weights, tokenizer, ops=ops)

    @classmethod
    def from_pretrained(cls, name, dtype="float32", device="cpu", ops="fast", base=None):
        """Load a folder as on the Hugging Face hub, or a published size by name. See `read_gpt2`.

        base: the form to hold it in, as `held` takes it. Each weight is brought into it as it is read: the
        whole model is never in memory as arrays.
        """
        forms = base and (lambda config: into_form(base, config, xp_for(device).empty(0, dtype)))
        *parts, beside = read_gpt2(name, dtype, device, forms)
        return cls(*parts, name=str(name), ops=ops, beside=beside)

    def save_pretrained(self, folder, dtype=None):
        """Write config.json, model.safetensors and tokenizer.json, as `transformers` loads them.

        dtype: "float16", "float32" or "float64", to store in; None: as it is. Raises InputError where a
        number is too large for it, and for a model in 16 bits or fewer: its weights are not those of any
        file, and would be taken for them.
        """
        if self.quantization:
            raise InputError(
                f"{folder}: the weights are {self.quantization} and the file holds floats: save the model "
                "that this one was made from, or model.dequantized()"
            )
        weights = self.dequantized().weights
        write_gpt2(folder, self.config, weights, self.tokenizer, dtype, self.beside)

    def held(self, base):
        """This model with its base in one of the forms of speed/bases.py; None: as it is.

        All else is shared with this model, which need not be kept. Raises InputError for another form, for
        one that the type of the weights does not allow, and for a model that is in a form already.
        """
        if base is None:
            return self
        self._check_is_plain()
        make = into_form(base, self.config, self.weights["wte.weight"])
        return self.with_weights({name: make(name, W) for name, W in self.weights.items()})

    def quantized(self, kind):
        """This model with the linear layers' weights in fewer bits: `held` of "int8" or "nf4"."""
        check_choice("base", kind, QUANTIZED)
        return self.held(kind)

    def packed(self, kind="float32"):
        """This model with its matrices in the processor's order: `held` of "float32" or "bfloat16"."""
        check_choice("base", kind, PACKED)
        return self.held(kind)

    def _check_is_plain(self):
        if kind := next((W.kind for W in self.weights.values() if isinstance(W, Held)), None):
            raise InputError(f"this model is {kind} already: take the one it was made from")

    def dequantized(self):
        """This model with plain arrays for all weights, a quantised one as its codes have it."""
        weights = {name: dequantized(W) for name, W in self.weights.items()}
        return self.with_weights(weights)

    def untied(self):
        """This model with a head of its own, `lm_head`: where it had none, equal to wte until one trains."""
        if not self.config.tie_word_embeddings:
            return self
        config = replace(self.config, tie_word_embeddings=False)
        weights = self.weights | {"lm_head.weight": self.weights["wte.weight"]}  # a base is never written to
        return self.with_weights(weights, config)

    @property
    def quantization(self):
        """How the linear layers' weights are rounded: "bfloat16", "int8", "nf4", or None: not at all."""
        kinds = (W.kind for W in self.weights.values() if isinstance(W, Held) and W.kind != self.dtype.name)
        return next(kinds, None)

    @property
    def dtype(self):
        """The floating-point type of the parameters."""
        return self.weights["wte.weight"].dtype

    @property
    def num_parameters(self):
        """All parameters; a tied head is not counted twice."""
        return sum(w.size for w in self.weights.values())

    num_virtual_tokens = 0

    def step(self, **fields):
        """What a forward pass needs: see `Step`."""
        ops = operations(self.ops, self.weights["wte.weight"])
        return Step(self.config, self.weights, ops=ops, **fields)

    def grad_sums(self, batch, names):
        """{name: gradient} of the SUM of the loss over the batch's labelled tokens, by these parameters."""
        check_sequences(batch.sequences, self.config)
        gradients = Gradients()
        loss_and_grads(batch, self.step(trains=frozenset(names), grad_enabled=True), gradients.add)
        return gradients.totals()

    def keys_and_values(self, ids):
        """What attention knows of a text: [(k, v) (T, C) of each layer]."""
        check_sequences([ids], self.config)
        cache = KVCache(self.config, 1, len(ids), self.weights["wte.weight"])
        next_logits(self.step(kv_cache=cache), [ids])
        return list(zip(cache.k, cache.v, strict=True))

    def logits(self, sequences):
        """[ids, ...] -> [(T, V), ...]: row t scores the token after ids[: t + 1]."""
        return logits(self, sequences)

    def generate_ids(self, prompts, **options):
        """[ids, ...] -> [ids, ...]: see `minipeft.generate.generate_ids`."""
        return generate_ids(self, prompts, **options)

    def generate(self, prompt, **options):
        """Text (or a list of texts) -> its continuation(s): see `minipeft.generate.generate`."""
        return generate(self, prompt, **options)


def load_model(spec, dtype="float32", device="cpu", base=None, ops="fast"):
    """A folder or published name, as `GPT2.from_pretrained` takes it, or "random:" and one of those.

    "random:gpt2" has that shape, "random:weights/tiny" that folder's shape and tokenizer. base: as
    `GPT2.held` takes it. ops: as `GPT2` takes it.
    """
    if not spec.startswith("random:"):
        return GPT2.from_pretrained(spec, dtype=dtype, device=device, ops=ops, base=base)
    name = spec.removeprefix("random:")
    if published(name):
        model = GPT2.random(name, dtype=dtype, device=device, ops=ops)
    else:
        like = GPT2.from_pretrained(name)
        model = GPT2.random(like.config, dtype=dtype, device=device, tokenizer=like.tokenizer, ops=ops)
    model.name = spec  # the same every time: a run can say what it was trained on
    return model.held(base)
