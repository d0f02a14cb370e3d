"""What the methods that only train parameters of the base have in common."""

from ..base import Method


class Selection(Method):
    """No tensors of its own: `trains_base` says what of the base trains, in the model's own copies."""

    def merge(self, weights, tensors):
        """Nothing to do: what trained are the base's own parameters."""
        return {}

    def unmerge(self, weights, tensors):
        """Nothing to do: `PeftModel.unmerge` puts the base's own back."""
        return {}
