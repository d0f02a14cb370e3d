"""Write the stored references for virtual tokens: what `peft` computes with prompts and prefixes.

    PYTHONPATH=. python tests/reference/make_virtual.py

Made with torch 2.13, transformers 5.23, peft 0.21, on the checkpoint and the batches of make_reference.py, in
about a minute. For each method of METHODS it writes, beside itself:

    tiny-*/     the adapter as `peft` saves it: the finished table alone, without what made it
    tiny-*.npz  "init ...": the tensors that train, as `peft` drew them. From there: logits, loss, every
                gradient; ten AdamW steps; and what greedy search finds after generation.json's prompts
"""

import json
import os
from pathlib import Path

import make_reference
import numpy as np
import torch
import transformers
from make_reference import continuation, curve, fresh, load, logits_of, numbers, padded, plain, trainable
from peft import PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig, get_peft_model
from torch.nn.functional import cross_entropy

METHODS = {
    "tiny-prompt": PromptTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM"),
    "tiny-p-mlp": PromptEncoderConfig(num_virtual_tokens=3, encoder_hidden_size=10, task_type="CAUSAL_LM"),
    "tiny-p-lstm": PromptEncoderConfig(
        num_virtual_tokens=4,
        encoder_hidden_size=6,
        encoder_reparameterization_type="LSTM",
        task_type="CAUSAL_LM",
    ),
    "tiny-prefix": PrefixTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM"),
    "tiny-prefix-mlp": PrefixTuningConfig(
        num_virtual_tokens=3, encoder_hidden_size=10, prefix_projection=True, task_type="CAUSAL_LM"
    ),
}


def main():
    """Write everything."""
    os.chdir(Path(__file__).parent)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    batches = [[tuple(pair) for pair in batch] for batch in json.loads(Path("batches.json").read_text())]
    prompts = json.loads(Path("generation.json").read_text())["prompts"]
    make_reference.logits_and_loss = logits_and_loss  # `numbers`, `logits_of` and `curve` call it
    for folder, config in METHODS.items():
        model = with_prompt(config, torch.float32)
        model.save_pretrained(fresh(folder))
        Path(folder, "README.md").unlink()  # an empty model card
        values = {"logits32": logits_of(model, batches[0])}

        model = with_prompt(config, torch.float64)
        values |= {f"init {plain(name)}": p.detach().numpy().copy() for name, p in trainable(model)}
        values |= numbers(model, batches[0])
        values["generated"] = json.dumps([continuation(model, prompt, {}) for prompt in prompts])
        values["curve"] = curve(model, batches)
        np.savez_compressed(f"{folder}.npz", **values)


def with_prompt(config, dtype):
    """The tiny GPT-2 with the method of `config`, whose tensors are drawn in float32 whatever the dtype."""
    base = load("gpt2-tiny", dtype)
    torch.manual_seed(8)
    return get_peft_model(base, config).to(dtype).eval()


def logits_and_loss(model, pairs):
    """The logits of the batch's tokens (N, V), and the mean loss over its labelled tokens, as in `peft`.

    A prompt has rows of logits, a prefix has none. The rows' labels are -100; the last of them predicts the
    text's first token, which has a label where there is no (text) prompt.
    """
    ids, mask, labels = padded(pairs)
    logits = model(input_ids=ids, attention_mask=mask).logits
    P = logits.shape[1] - ids.shape[1]
    labels = torch.nn.functional.pad(labels, (P, 0), value=-100)
    loss = cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
    return logits[:, P:][mask.bool()], loss


if __name__ == "__main__":
    main()
