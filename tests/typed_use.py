"""Code as a user writes it, for `mypy --strict`; it is read by the type checker and never run."""

import minipeft
from minipeft import GPT2, AdamW, BitFit, Distilled, GPT2Config, InputError, LoRA, PeftModel, PrefixTuning


def use(folder: str) -> float:
    model = GPT2.from_pretrained(folder, dtype="float64")
    small: GPT2 = GPT2.random(GPT2Config(n_layer=2), seed=1)
    peft = PeftModel(model, [LoRA(r=4, target_modules="all-linear"), BitFit()], seed=0)
    batch = minipeft.pack([([1, 2], [3]), ([4], [5, 6])])
    loss, grads = peft.loss_and_grads(batch)
    AdamW(learning_rate=1e-3).step(peft.trainable, grads)
    history = minipeft.train(peft, "train.jsonl", eval_data=[{"prompt": "a", "completion": "b"}], steps=3)
    worst = max(minipeft.gradcheck(peft, batch, elements=None).values())
    student = Distilled(PeftModel(minipeft.student_of(small, 1), PrefixTuning()), peft)
    with peft.disable_adapter():
        before = peft.logits([[1, 2, 3]])[0].shape
    peft.merge_and_unload().save_pretrained(folder)
    peft.mixed(["default"])
    try:
        print(minipeft.evaluate(peft, "test.csv")["loss"], before, history.tokens_per_second)
    except InputError as error:
        print(error)
    return loss + worst + student.loss(batch)
