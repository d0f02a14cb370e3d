"""What a notebook shows of a model, an adapter and a training: one or two lines, with the numbers in them."""

from small import small_model

from minipeft import LoRA, PeftModel, train


def test_each_says_what_it_is_in_a_line():
    model = small_model("float32")
    assert repr(model).startswith("GPT2(no name: 3 layers, width 12, 3 heads, vocabulary 61; ")
    assert repr(model).endswith(f"{model.num_parameters:,} parameters, float32)")
    peft = PeftModel(model, LoRA(r=2))
    share = f"{peft.num_trainable:,} of {peft.num_parameters:,} parameters train"
    assert "LoRA(r=2" in repr(peft) and share in repr(peft) and "default is active" in repr(peft)
    assert "Chain([])" in repr(PeftModel(model))
    history = train(peft, [([1, 2], [3])] * 4, eval_data=[([1, 2], [3])], steps=3, progress=False)
    assert repr(history).startswith("History(3 steps, loss ") and "best evaluation loss" in repr(history)
    assert "\n" not in repr(model) + repr(peft) + repr(history)
