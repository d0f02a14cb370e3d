"""Write the references for distillation: what PyTorch and `peft` compute with a student of gpt2-tiny.

    PYTHONPATH=. python tests/reference/make_distill.py

The teacher is the checkpoint of make_reference.py, the student its first block with its embeddings and final
norm. Writes, beside itself, for each way to train the student, in float64:

    distill-*.npz  "init ...": an adapter's tensors, random. From there, on the first batch: the mixed loss
                   and every gradient; ten AdamW steps over all three batches
"""

import json
import os
from pathlib import Path

import make_reference
import numpy as np
import torch
import transformers
from make_reference import HERE, curve, load, numbers, padded, plain, trainable
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from torch.nn.functional import cross_entropy, kl_div, log_softmax
from transformers import GPT2Config, GPT2LMHeadModel

TEMPERATURE, WEIGHT = 2.5, 0.7
STUDENTS = {
    "full": None,
    "lora": LoraConfig(
        r=4, lora_alpha=6, target_modules=["attn.c_attn"], fan_in_fan_out=True, task_type="CAUSAL_LM"
    ),
    "prompt": PromptTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM"),
}


def main():
    """Write everything."""
    os.chdir(HERE)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    batches = json.loads(Path("batches.json").read_text())
    make_reference.logits_and_loss = logits_and_loss  # `numbers` and `curve` call it
    for name, config in STUDENTS.items():
        model = student(config)
        values = {"temperature": TEMPERATURE, "weight": WEIGHT}
        if config is not None:
            values |= {f"init {plain(key)}": p.detach().numpy().copy() for key, p in trainable(model)}
        values |= numbers(model, batches[0])
        del values["logits"]  # of no interest here
        values["curve"] = curve(model, batches)
        np.savez_compressed(f"distill-{name}.npz", **values)


def student(config):
    """The first block of gpt2-tiny, all of it training, or with a random adapter of `config`."""
    teacher = load("gpt2-tiny")
    small = GPT2Config(**teacher.config.to_dict() | {"n_layer": 1})
    small._attn_implementation = "eager"
    model = GPT2LMHeadModel(small).double().eval()
    kept = {name: w for name, w in teacher.state_dict().items() if ".h.1." not in name}
    model.load_state_dict(kept)
    if config is None:
        return model
    model = get_peft_model(model, config).double().eval()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for _, p in trainable(model):
            p.normal_(0, 0.3, generator=generator)
    return model


def logits_and_loss(model, pairs):
    """The student's logits of the batch's tokens (N, V), and the mixed loss.

    The P rows of a prompt are dropped, the last of them too, although it predicts the first token: the
    teacher predicts none.
    """
    ids, mask, labels = padded(pairs)
    logits = model(input_ids=ids, attention_mask=mask).logits[:, -ids.shape[1] :]
    with torch.no_grad():
        of_teacher = TEACHER(input_ids=ids, attention_mask=mask).logits
    kept = labels[:, 1:] != -100
    z_s, z_t, y = logits[:, :-1][kept], of_teacher[:, :-1][kept], labels[:, 1:][kept]
    log_p, log_q = (log_softmax(z / TEMPERATURE, -1) for z in (z_s, z_t))
    soft = kl_div(log_p, log_q, log_target=True, reduction="batchmean")
    loss = (1 - WEIGHT) * cross_entropy(z_s, y) + WEIGHT * TEMPERATURE**2 * soft
    return logits[mask.bool()], loss


TEACHER = load(str(HERE / "gpt2-tiny"))

if __name__ == "__main__":
    main()
