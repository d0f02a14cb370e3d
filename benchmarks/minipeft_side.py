"""What is timed of this package. `pytorch_side.py` has the same functions, and does the same work.

base: the folder of a GPT-2. adapter: the folder of what the method starts from, None for methods that only
select base parameters. Nothing but what is timed is imported here: the import is part of a cold start.
"""

from minipeft import GPT2, METHODS, AdamW, PeftModel, pack
from minipeft.backend import synchronize, xp_for


def use_threads(threads):
    """Nothing to do: the environment has said it (MINIPEFT_THREADS)."""


def load(base, method, adapter, device, form=None):
    """The model under the method. form: of the base, as `--base` takes it."""
    model = GPT2.from_pretrained(base, device=device, base=form)
    peft = PeftModel.from_pretrained(model, adapter) if adapter else PeftModel(model, METHODS[method]())
    peft.give_up_base()  # as the other side has it: what trains is there once
    return peft


def trainer(base, method, adapter, device, form=None):
    """-> a function that takes one training step on a list of pairs and returns its loss; how much trains."""
    peft, optimizer = load(base, method, adapter, device, form), AdamW(learning_rate=1e-3, weight_decay=0.01)

    def step(pairs):
        loss, grads = peft.loss_and_grads(pack(pairs))
        optimizer.step(peft.trainable, grads)
        synchronize(device)
        return float(loss)

    return step, peft.num_trainable


def generator(base, method, adapter, device, form=None):
    """-> a function that continues prompts greedily by so many tokens each, whatever they are."""
    peft = load(base, method, adapter, device, form)
    return lambda prompts, n: peft.generate_ids(prompts, max_new_tokens=n, eos_token_id=[])


def gpu_memory_mb():
    """The most memory that was taken of the GPU."""
    return xp_for("cuda").get_default_memory_pool().total_bytes() / 1e6
