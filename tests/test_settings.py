"""Settings of a wrong type or out of range are one clear line, wherever they come from."""

import math
import re
from dataclasses import fields

import pytest

from minipeft import InputError, LoRA, PrefixTuning
from minipeft.app.cli import main
from minipeft.errors import SettingError
from minipeft.methods import METHODS
from minipeft.methods.named import make_method
from minipeft.settings import check_range, fits
from minipeft.train import RANGES, Training


@pytest.mark.parametrize(
    "value, kind, right",
    [
        (1, int, True), (True, int, False), (1.0, int, False), (2.5, int, False), ("1", int, False),
        (1, float, True), (math.inf, float, False), (math.nan, float, False), (True, float, False),
        (True, bool, True), (1, bool, False), ("maybe", bool, False),
        ((1, 2), tuple[int, ...], True), ([1, 2], tuple[int, ...], True), (("a",), tuple[int, ...], False),
        (None, int | None, True), (None, int, False), ({"a": 1}, dict[str, int], True),
        ({"a": "b"}, dict[str, int], False),
    ],
)  # fmt: skip
def test_what_is_of_a_type(value, kind, right):
    assert fits(value, kind) is right


@pytest.mark.parametrize("name", METHODS)
def test_every_field_of_every_method_has_a_type_that_its_default_fits(name):
    cls = METHODS[name]
    for f in fields(cls):
        wrong = object()
        if f.init and not isinstance(wrong, f.type if isinstance(f.type, type) else ()):
            with pytest.raises((SettingError, InputError, TypeError, AttributeError)):
                cls(**{f.name: wrong})


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: LoRA(use_rslora="maybe"), "use_rslora must be true or false, not 'maybe'"),
        (lambda: LoRA(r=2.5), "r must be a whole number, not 2.5"),
        (lambda: LoRA(lora_alpha=math.nan), "lora_alpha must be a finite number, not nan"),
        (lambda: LoRA(alpha_pattern="c_attn:4"), "alpha_pattern must be a dict, not 'c_attn:4'"),
        (lambda: LoRA(layers_to_transform="1,2"), "layers_to_transform must be a list or a whole number"),
        (lambda: PrefixTuning(prefix_projection=7), "prefix_projection must be true or false, not 7"),
        (lambda: Training(max_grad_norm=-1), "max_grad_norm must be 0 or more, not -1"),
        (lambda: Training(epochs=math.inf), "epochs must be a finite number, not inf"),
        (lambda: Training(learning_rate=math.nan), "learning_rate must be a finite number"),
        (lambda: Training(steps=2.5), "steps must be a whole number, not 2.5"),
        (lambda: Training(dropout=1), "dropout must be 0 or more and below 1, not 1"),
        (lambda: Training(on_long="cutt"), "on_long 'cutt' is not known: did you mean cut"),
    ],
)
def test_a_bad_setting_is_refused_by_name(make, message):
    with pytest.raises(SettingError, match=re.escape(message)):
        make()


@pytest.mark.parametrize("name", [n for n in RANGES if n != "learning_rate"])
def test_every_setting_of_a_training_has_a_floor(name):
    with pytest.raises(SettingError, match=f"{name} must be"):
        Training(**{name: -1})


def test_the_ends_of_a_range():
    check_range("x", 0, least=0, below=1)
    for value in (-1e-9, 1, math.nan, math.inf):
        with pytest.raises(SettingError, match="x must be 0 or more and below 1"):
            check_range("x", value, least=0, below=1)


@pytest.mark.parametrize(
    "words, message",
    [
        ("train --train x.jsonl --max-grad-norm -1 --out o", "--max-grad-norm must be 0 or more, not -1"),
        ("train --train x.jsonl --epochs inf --out o", "--epochs must be a finite number, not inf"),
        ("train --train x.jsonl --method lora --set r=2.5 --out o", "r must be a whole number, not 2.5"),
        ("train --train x.jsonl --method lora --set use_rslora=maybe --out o", "use_rslora must be true"),
        ("gradcheck --seed -1", "--seed"),
        ("gradcheck --elements -1", "--elements"),
        ("generate --model weights/tiny --seed -1 x", "--seed"),
        ("pretrain --out o --documents -1", "--documents"),
    ],
)  # fmt: skip
def test_the_command_line_names_the_option(words, message, capsys, tmp_path, monkeypatch):
    (tmp_path / "x.jsonl").write_text('{"prompt": "a", "completion": " b"}\n' * 4)
    monkeypatch.chdir(tmp_path)
    assert main(words.split()) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error and len(error.splitlines()) == 1


@pytest.mark.parametrize(
    "words, field, value",
    [
        ("lora target_modules=c_attn", "target_modules", ("c_attn",)),
        ("lora target_modules=c_attn,mlp.c_fc", "target_modules", ("c_attn", "mlp.c_fc")),
        ('lora target_modules=["c_attn","c_fc"]', "target_modules", ["c_attn", "c_fc"]),
        ("lora target_modules=all-linear", "target_modules", "all-linear"),
        (r"lora target_modules=h\.[01]\..*c_attn", "target_modules", r"h\.[01]\..*c_attn"),
        ("lora layers_to_transform=0,1", "layers_to_transform", [0, 1]),
        ("lora layers_to_transform=1", "layers_to_transform", 1),
        ("lora layers_to_transform=none", "layers_to_transform", None),
        ('lora rank_pattern={"c_fc":4}', "rank_pattern", {"c_fc": 4}),
        ("loreft layers=0,2", "layers", [0, 2]),
        ("loreft layers=all", "layers", "all"),
        ("adapter leave_out=0,1", "leave_out", [0, 1]),
        ("layerwise layers=0,1", "layers", ("0", "1")),
        ("prefix_tuning init_text=one, two", "init_text", "one, two"),
    ],
)
def test_a_setting_in_words(words, field, value):
    name, setting = words.split(" ", 1)
    assert getattr(make_method(name, [setting]), field) == value
