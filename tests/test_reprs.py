"""What a notebook shows of a model, an adapter and a training: a few lines, with the numbers in them."""

import pytest
from small import small_model

from minipeft import IA3, LoRA, PeftModel, PrefixTuning, Sparse, train
from minipeft.methods import METHODS
from minipeft.methods.chain import in_short


def test_each_says_what_it_is_in_a_line():
    model = small_model("float32")
    assert repr(model).startswith("GPT2(no name: 3 layers, width 12, 3 heads, vocabulary 61; ")
    assert repr(model).endswith(f"{model.num_parameters:,} parameters, float32)")
    peft = PeftModel(model, LoRA(r=2))
    history = train(peft, [([1, 2], [3])] * 4, eval_data=[([1, 2], [3])], steps=3, progress=False)
    assert repr(history).startswith("History(3 steps, loss ") and "best evaluation loss" in repr(history)
    assert "\n" not in repr(model) + repr(history)
    assert repr(model.quantized("nf4")).endswith("parameters, float32, linear layers nf4)")


def test_a_peft_model_is_a_few_short_lines():
    model = small_model("float32")
    peft = PeftModel(model, LoRA(r=2))
    peft.add_adapter("both", [PrefixTuning(3), IA3()])
    share = 100 * peft.num_trainable / peft.num_parameters
    assert repr(peft).splitlines() == [
        "PeftModel",
        f"  base     {model!r}",
        "  adapter  default, active: LoRA(r=2)",
        "  adapter  both: PrefixTuning(num_virtual_tokens=3) and IA3()",
        f"  trains   {peft.num_trainable:,} of {peft.num_parameters:,} parameters, {share:.2f} %",
    ]
    assert "default, active: no method\n" in repr(PeftModel(model))


@pytest.mark.parametrize("name", METHODS)
def test_a_method_in_short_says_what_differs_from_its_defaults(name):
    cls = METHODS[name]
    small = cls.about.small
    said = in_short(cls(**small))
    assert said.startswith(f"{cls.__name__}(") and all(f"{key}=" in said for key in small)
    assert "\n" not in said and in_short(cls()) == f"{cls.__name__}()"


def test_a_long_setting_is_shortened():
    method = Sparse(importance="fisher", examples=[([1, 2], [3])] * 1000)
    assert in_short(method).startswith("Sparse(") and len(in_short(method)) < 300
