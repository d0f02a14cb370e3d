"""Full fine-tuning: every parameter of the base trains. What all the other methods are measured against."""

from dataclasses import dataclass

from ..about import About
from .selection import Selection


@dataclass
class Full(Selection):
    r"""$\theta \leftarrow \theta - \eta \nabla_\theta \ell$ for all $\theta$.

    GPT-2 small: 124,439,808 trainable parameters; the tied head counts once, its gradient is the sum of
    the embedding's and the head's.
    """

    about = About("full", learning_rate=5e-4)

    def trains_base(self, name, config):
        """Everything."""
        return True
