"""Method: where a fine-tuning method can act on GPT-2. Every site is the identity here. Read this first.

The model calls a method at four sites:

    embed         once: the token embeddings of all sequences, before positions are added
    linear        each linear layer: `linear_input` is what enters it, `linear` is what leaves it
    keys_values   keys and values of one layer, before attention
    sublayer      the output of attention ("h.3.attn") and of the MLP ("h.3.mlp"), before it is added
                  to the residual stream

In a block: linear (c_attn), keys_values, linear (c_proj), sublayer; linear (c_fc), linear (c_proj), sublayer.

Each is given the `step`: the weights, the method's tensors, and from `embed` on the batch's layout, which
says where sequences begin and end.

A site returns what it was given, changed or not, and a cache; its `_backward` stands right under it and
returns the gradients of what the site was given, and a dict of the gradients of the method's tensors.
A site may change in place the array it is there for (y, h): the model made it for the site. It must not
write into anything else.

Besides the sites a method says which base parameters train (`trains_base`), and may compute something once
per step for all layers (`start`, `finish`).

Tensors are named by where they act: "h.3.attn.c_attn.lora_A" acts at the linear layer "h.3.attn.c_attn".
From that the model knows where its backward pass may stop.
"""

from dataclasses import dataclass

from ..errors import InputError
from ..settings import check_fields


@dataclass
class Method:
    """A fine-tuning method: its configuration (the fields) and its code. This one changes nothing."""

    about = None  # what it says of itself: an `About`, see about.py

    def __post_init__(self):
        """Raises SettingError for a setting that is not of its type."""
        check_fields(self)

    @property
    def num_virtual_tokens(self):
        """How many positions the method takes in front of every sequence."""
        return 0

    def trains_base(self, name, config):
        """Does the base parameter `name` ("h.0.ln_1.bias") train? The model then makes a copy of it."""
        return False

    def init(self, model, rng):
        """The method's own tensors, name -> array, made with the NumPy generator `rng`.

        Raises InputError where the configuration does not fit the model.
        """
        return {}

    def use_training_data(self, data):
        """Called once, before `init`, with the training data, in any form that `train` takes."""

    @classmethod
    def from_saved(cls, settings, tensors):
        """The method of a saved adapter: its settings, and the tensors of its file."""
        return cls(**settings)

    def change_base(self, weights, tensors):
        """{name: new weight}, asked once, right after `init`, by a method that starts from a changed base.

        PiSSA moves a part of W into A and B here. DoRA and Sparse change no weight, and fill in tensors of
        theirs, in place, from what W is.
        """
        return {}

    def optimizer_changes(self, name):
        """Does the optimizer change `name`, one of the method's tensors or of the base parameters that train?

        False for a tensor that stays as `init` made it. A base parameter of `trains_base` gets its gradient
        either way: `finish` may need it for a tensor of the method (Sparse does).
        """
        return True

    def lr_scale(self, name, config):
        """The factor on the learning rate of the tensor `name`."""
        return 1.0

    def start(self, tensors, step):
        """Once per step, before the forward: the tensors that train -> the tensors that the sites read."""
        return tensors, None

    def finish(self, dtensors, cache):
        """Once per step, after the backward: gradients of what the sites read -> of what trains."""
        return dtensors

    def with_constants_held(self, weights, tensors):
        """This method, with what its backward treats as a constant (DoRA's norms) kept as it is now.

        `gradcheck` uses it: the gradient is the derivative of this.
        """
        return self

    def embed(self, x, layout, step):
        """x (N, C) token embeddings -> x' (N', C) and its layout: rows may be put in front of sequences."""
        return x, layout, None

    def embed_backward(self, dx, cache, step):
        """dx' (N', C) -> dx (N, C)."""
        return dx, {}

    def linear_input(self, name, x, step):
        """x (N, I): what enters the linear layer `name`. -> x' (N, I)."""
        return x, None

    def linear_input_backward(self, dx, cache, step):
        """dx' (N, I) -> dx (N, I)."""
        return dx, {}

    def linear(self, name, x, y, step):
        """x (N, I), y = x W + b (N, O) -> y' (N, O). W is step.weights[name + ".weight"]."""
        return y, None

    def linear_backward(self, dy, cache, step):
        """dy' (N, O) -> dy (N, O), and dx (N, I) where y' depends on x by another way than y, else None."""
        return dy, None, {}

    def keys_values(self, layer, k, v, key_layout, x, step):
        """k, v (N, C) of the layer and their layout `key_layout` -> k', v' (N', C) and their layout.

        x (N, C): what k and v were computed from. A prefix puts rows in front of k and v alone.
        """
        return k, v, key_layout, None

    def keys_values_backward(self, dk, dv, cache, step):
        """dk', dv' (N', C) -> dk, dv (N, C), and dx (N, C) or None."""
        return dk, dv, None, {}

    def sublayer(self, name, x, h, step):
        """x (N, C) the residual stream before the sublayer, h (N, C) its output -> h' (N, C)."""
        return h, None

    def sublayer_backward(self, dh, cache, step):
        """dh' (N, C) -> dh (N, C), and dx (N, C) or None."""
        return dh, None, {}

    def merge(self, weights, tensors):
        """{name: new weight} that give a plain GPT-2 the logits that `weights` have under the method.

        Raises InputError where no weights can.
        """
        name = type(self).__name__
        raise InputError(f"{name} cannot be merged: it adds a computation that is in no weight of a GPT-2")

    def unmerge(self, weights, tensors):
        """What `merge` was given, from what it made, to rounding. Raises InputError where that is lost."""
        raise InputError(f"{type(self).__name__} cannot be taken out of merged weights again")


def add_grads(grads, more):
    """grads += more, name by name; a tensor used in two places gets both gradients."""
    for name, g in more.items():
        grads[name] = grads[name] + g if name in grads else g
    return grads


def add_dx(dx, more):
    """The sum of two gradients of x, either of which may be None: nothing flows that way."""
    return more if dx is None else dx if more is None else dx + more
