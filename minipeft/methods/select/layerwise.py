"""Layer-wise fine-tuning: whole blocks train, the top ones or any others, each layer at its own rate."""

from dataclasses import dataclass

from ...errors import InputError
from ..about import About
from .selection import Selection


@dataclass
class Layerwise(Selection):
    r"""$\theta_l \leftarrow \theta_l - \eta\,\xi^{L-l}\,\nabla_{\theta_l} \ell$ for the layers l that train.

    l = 0: the embeddings; l = 1 ... L: the blocks h.0 ... h.(L-1); the final norm has the rate of block L.

    top, bottom     so many blocks from the top, and from the bottom
    layers          if given: these blocks and no others; 0 is the first, -1 the last
    ln_f            the final layer norm trains, too, and the head where it is not tied
    embeddings      wte and wpe train, too. A tied wte is also the head, and its gradient the sum of both.
    lr_decay        $\xi$. It goes by the layer alone: tensors of other methods in a chain decay with theirs.

    Where only upper blocks train, the backward pass ends at the lowest of them: the blocks below cost a
    forward, keep nothing for a backward, and have none. That is what the top is chosen for.

    GPT-2 small: 14,177,280 parameters, 11.4 %, in the top two blocks and ln_f.

    Sources: the default is FT-Top2 of Li & Liang 2021, "Prefix-Tuning", section 5.2; the decay is that of
    Howard & Ruder 2018, "Universal Language Model Fine-tuning for Text Classification", section 3.2.
    """

    about = About("layerwise", recipe=("top=2",), learning_rate=1e-3)

    top: int = 2
    bottom: int = 0
    layers: tuple[int | str, ...] = ()
    ln_f: bool = True
    embeddings: bool = False
    lr_decay: float = 1.0

    def init(self, model, rng):
        """No tensors of its own. Raises InputError for blocks that are not there, and for a bad lr_decay."""
        L = model.config.n_layer
        for name in ("top", "bottom"):
            if not 0 <= getattr(self, name) <= L:
                raise InputError(f"{name} must be 0 ... {L}, the model's blocks, not {getattr(self, name)}")
        for i in self.layers:
            if not str(i).removeprefix("-").isdecimal() or not -L <= int(i) < L:
                raise InputError(f"layers must be numbers in {-L} ... {L - 1}, the model's blocks, not {i!r}")
        if not 0 < self.lr_decay <= 1:
            raise InputError(f"lr_decay must be above 0 and at most 1, not {self.lr_decay}")
        return {}

    def trains_base(self, name, config):
        """Everything in the blocks that train; the final norm and the embeddings if asked for."""
        L, l = config.n_layer, layer_of(name, config)
        if l == 0:
            return self.embeddings
        if not name.startswith("h."):
            return self.ln_f
        if self.layers:
            return l - 1 in {int(i) % L for i in self.layers}
        return l > L - self.top or l <= self.bottom

    def lr_scale(self, name, config):
        """xi^(L - l)."""
        return self.lr_decay ** (config.n_layer - layer_of(name, config))


def layer_of(name, config):
    """l of the tensor `name`: 0 in the embeddings, 1 ... L in the blocks, L above them."""
    if name.startswith("h."):
        return 1 + int(name.split(".")[1])
    return config.n_layer if name.startswith(("ln_f", "lm_head")) else 0
