r"""P-tuning: prompt tuning whose virtual tokens come from a small network, which makes them easier to train.

    E' = encoder(E)        E (P, C) trains, and so does the encoder;  E' (P, C) is put in front of the text
    encoder "MLP":         relu(relu(E W_0 + b_0) W_2 + b_2) W_4 + b_4
    encoder "LSTM":        relu(lstm(E) W_0 + b_0) W_2 + b_2, the LSTM reading E in both directions

The encoder runs once per step, whatever the batch; when training is over, E' is all that is kept.

Source: Liu et al. 2021, "GPT Understands, Too", section 3.2. Defaults and names as in Hugging Face PEFT,
which added the plain MLP and puts all virtual tokens in front; its matrices are the transposes of these.
"""

from dataclasses import dataclass

from ...errors import InputError
from ..about import About
from ..base import Method
from .lstm import bidirectional, bidirectional_backward, init_lstm
from .mlp import init_mlp, mlp, mlp_backward
from .prompt_tuning import PromptTuning, check_num_virtual_tokens

OWN = "prompt_encoder."  # what the names of the tensors that train begin with


@dataclass
class PTuning(Method):
    """num_virtual_tokens: P. encoder_reparameterization_type: "MLP" or "LSTM".

    encoder_hidden_size: the encoder's inner width; None: the model's. encoder_num_layers: of the LSTM.

    GPT-2 small, P = 20: 1,787,136 parameters with the MLP, 27,174,144 with the LSTM; 15,360 remain.
    """

    about = About(
        "p_tuning", learning_rate=3e-2, section="soft_prompts", peft_type="P_TUNING",
        small={"num_virtual_tokens": 3, "encoder_hidden_size": 7},
    )  # fmt: skip

    num_virtual_tokens: int = 20
    encoder_reparameterization_type: str = "MLP"
    encoder_hidden_size: int | None = None
    encoder_num_layers: int = 2

    table = OWN + "output"  # the name of E'

    def init(self, model, rng):
        """E, normal with standard deviation 1, and the encoder. Raises InputError for a bad setting."""
        P, C = self.num_virtual_tokens, model.config.n_embd
        H = C if self.encoder_hidden_size is None else self.encoder_hidden_size
        check_num_virtual_tokens(P)
        if self.encoder_reparameterization_type not in ("MLP", "LSTM"):
            raise InputError(
                "encoder_reparameterization_type must be 'MLP' or 'LSTM', "
                f"not {self.encoder_reparameterization_type!r}"
            )
        if H < 1 or self.encoder_num_layers < 1:
            raise InputError(
                f"encoder_hidden_size ({H}) and encoder_num_layers ({self.encoder_num_layers}) "
                "must be 1 or more"
            )
        tensors = {OWN + "embedding": rng.standard_normal((P, C))}
        if self.encoder_reparameterization_type == "MLP":
            return tensors | init_mlp(OWN + "mlp_head", (C, H, H, C), rng)
        tensors |= init_lstm(OWN + "lstm_head", C, H, self.encoder_num_layers, rng)
        return tensors | init_mlp(OWN + "mlp_head", (2 * H, 2 * H, C), rng)

    def encode(self, tensors):
        """E (P, C) -> E' (P, C)."""
        x, lstm = tensors[OWN + "embedding"], None
        if self.encoder_reparameterization_type == "LSTM":
            x, lstm = bidirectional(OWN + "lstm_head", x, tensors, self.encoder_num_layers)  # (P, 2H)
        x, head = mlp(OWN + "mlp_head", x, tensors, "relu")
        return x, (lstm, head)

    def encode_backward(self, dx, cache):
        """dE' (P, C) -> gradients by name."""
        lstm, head = cache
        dx, grads = mlp_backward(dx, head)
        if lstm is not None:
            dx, own = bidirectional_backward(dx, lstm)
            grads |= own
        return {OWN + "embedding": dx} | grads

    def start(self, tensors, step):
        """E and the encoder -> E'."""
        table, cache = self.encode(tensors)
        others = {name: t for name, t in tensors.items() if not name.startswith(OWN)}
        return others | {self.table: table}, cache

    def finish(self, dtensors, cache):
        """dE' -> dE and the encoder's gradients."""
        others = {name: d for name, d in dtensors.items() if name != self.table}
        return others | self.encode_backward(dtensors[self.table], cache)

    embed, embed_backward = PromptTuning.embed, PromptTuning.embed_backward  # from here on it is the same

    def without_encoder(self, tensors):
        """What remains after training: prompt tuning, and its tensors, under which the model is the same."""
        table, _ = self.encode(tensors)
        return PromptTuning(self.num_virtual_tokens), {PromptTuning.table: table}
