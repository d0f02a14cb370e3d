"""BitFit: every bias of the base trains, and nothing else."""

from dataclasses import dataclass

from ..base import Method


@dataclass
class BitFit(Method):
    r"""$b \leftarrow b - \eta\,\nabla_b \ell$ for every bias b: (O,) in a linear layer, (C,) in a layer norm.

    A linear layer's gradient is $db = \sum_n dy_n$: there is no x in it. So no layer keeps its input for
    the weights' sake, and there are no matrix products but those that carry dy down.

    GPT-2 small: 102,144 parameters, 0.08 %.

    Source: Ben Zaken et al. 2022, "BitFit: Simple Parameter-efficient Fine-tuning for Transformer-based
    Masked Language-models", section 3. It wants a higher learning rate than full fine-tuning.
    """

    def select(self, name, config):
        """The biases."""
        return name.endswith(".bias")

    def merge(self, weights, tensors):
        """Nothing to do: the trained biases are the base's."""
        return {}

    def unmerge(self, weights, tensors):
        """Nothing to do: `PeftModel.unmerge` puts the base's own back."""
        return {}
