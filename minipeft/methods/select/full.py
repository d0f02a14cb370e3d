"""Full fine-tuning: every parameter of the base trains. What all the other methods are measured against."""

from dataclasses import dataclass

from ..base import Method


@dataclass
class Full(Method):
    r"""$\theta \leftarrow \theta - \eta \nabla_\theta \ell$ for all $\theta$.

    GPT-2 small: 124,439,808 trainable parameters; the tied head counts once, its gradient is the sum of
    the embedding's and the head's.
    """

    def select(self, name, config):
        """Everything."""
        return True

    def merge(self, weights, tensors):
        """Nothing to do: the trained weights are the base's."""
        return {}

    def unmerge(self, weights, tensors):
        """Nothing to do: `PeftModel.unmerge` puts the base's own back."""
        return {}
