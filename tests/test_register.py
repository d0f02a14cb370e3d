"""A method of one's own: registered, it works everywhere; what is wrong with it is said."""

import json
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from small import logits, scramble, small_batch, small_model, texts

import minipeft
from minipeft import InputError, LoRA, Method, PeftModel, gradcheck, register, train
from minipeft.app.cli import main
from minipeft.files.tensors import read_safetensors
from minipeft.methods import METHODS, about
from minipeft.methods.linear.ia3 import IA3

ROOT = Path(__file__).parent.parent
SCALE = '''
from dataclasses import dataclass

import numpy as np

from minipeft import Method


@dataclass
class ColumnScale(Method):
    """y' = y g beside c_fc.  g (O,), 1 at first."""

    start_at: float = 1.0

    def init(self, model, rng):
        layers = model.config.linear_layers().items()
        return {f"{n}.column_scale": np.full(O, self.start_at) for n, (_, O) in layers if n.endswith("c_fc")}

    def linear(self, name, x, y, step):
        g = step.tensors.get(f"{name}.column_scale")
        return (y, None) if g is None else (y * g, (name, y, g))

    def linear_backward(self, dy, cache, step):
        """forward: y' = y g."""
        if cache is None:
            return dy, None, {}
        name, y, g = cache
        return dy * g, None, {f"{name}.column_scale": (dy * y).sum(0)}
'''


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """What a test registers is forgotten after it."""
    kept = dict(METHODS)
    yield
    METHODS.clear()
    METHODS.update(kept)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a method in it, and data; another process finds the package, too."""
    (tmp_path / "my_scale.py").write_text(SCALE)
    rows = [{"prompt": f"{i} ->", "completion": f" {i + 1}"} for i in range(12)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.syspath_prepend(str(ROOT))
    yield tmp_path
    sys.modules.pop("my_scale", None)


def command(*words):
    """A command of a process of its own."""
    words = [sys.executable, "-m", "minipeft", *words, "--quiet", "--json"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


TINY = ("--model", str(ROOT / "weights" / "tiny"))
DATA = ("--train", "rows.jsonl", "--eval", "rows.jsonl")


# --------------------------------------------------------------------------------------- it works everywhere


def test_a_method_made_in_a_notebook_trains_is_saved_and_read(tmp_path):
    space = {"__name__": "a_notebook"}
    sys.modules["a_notebook"] = type(sys)("a_notebook")  # dataclasses look there
    exec(SCALE, space)
    cls = minipeft.register(space["ColumnScale"])
    assert METHODS["column_scale"] is cls and about.site(cls) == "linear"
    peft = PeftModel(small_model(), cls())
    assert max(gradcheck(peft, small_batch()).values()) < 1e-7
    before = peft.loss(small_batch())
    train(peft, [([], ids) for ids in texts((6, 5))], steps=5, progress=False)
    assert peft.loss(small_batch()) != before
    scramble(peft.trainable)
    peft.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(small_model(), tmp_path)
    assert type(again.method) is cls and np.array_equal(logits(again), logits(peft))
    exec(SCALE, space)  # the cell runs again
    assert register(space["ColumnScale"]) is METHODS["column_scale"] is not cls
    peft.save_pretrained(tmp_path)  # an adapter of before is saved all the same
    assert type(PeftModel.from_pretrained(small_model(), tmp_path).method) is space["ColumnScale"]


def test_a_method_in_a_file_of_ones_own_goes_through_the_command_line(folder):
    name = "my_scale:ColumnScale"
    assert command("gradcheck", *TINY, "--method", name, "--elements", "1")["passed"]
    options = ("--set", "start_at=0.9", "--test", "rows.jsonl", "--steps", "2", "--out", "run")
    result = command("train", *TINY, "--method", name, *DATA, *options)
    assert result["configuration"] == {"start_at": 0.9} and result["trainable"] == 4 * 768
    evaluate = ("evaluate", *TINY, "--adapter", "run", "--register", name, "--data", "rows.jsonl")
    assert command(*evaluate)["eval_loss"] == pytest.approx(result["eval_loss"])
    report = command("tune-report", "run", "--register", name)
    assert report["method"] == "ColumnScale"


def test_a_method_in_a_file_of_ones_own_is_compared_in_processes_of_their_own(folder):
    result = command("compare", *TINY, "--methods", "my_scale:ColumnScale,bitfit", *DATA, "--steps", "2",
                     "--out", "both")  # fmt: skip
    rows = {row["name"]: row for row in result["rows"]}
    assert not any("failed" in row for row in rows.values())
    assert rows["my_scale:ColumnScale"]["site"] == "linear" and rows["bitfit"]["site"] == "base weights"
    assert " --method my_scale:ColumnScale " in result["runs"][0]["command"]
    assert Path("both/rows/my_scale.ColumnScale/seed-0/adapter_model.safetensors").is_file()


def test_settings_of_a_method_in_a_file_can_be_swept(folder, monkeypatch):
    from minipeft.reports.compare.sweep import read_sweep

    sweep = read_sweep(["start_at=0.9,1.1"], ["my_scale:ColumnScale"])
    assert sweep == {"start_at": ("0.9", "1.1")}


def test_an_adapter_of_a_method_that_is_not_registered_says_what_to_do(folder, capsys):
    command("train", *TINY, "--method", "my_scale:ColumnScale", *DATA, "--steps", "1", "--out", "run")
    assert main(["evaluate", *TINY, "--adapter", "run", "--data", "rows.jsonl"]) == 2
    assert "give --register module:Class" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name, message",
    [
        ("lara", "no method is called 'lara': did you mean lora?"),
        ("xyz", "no method is called 'xyz': choose from full, "),
        ("nowhere_at_all:Magic", "cannot import nowhere_at_all: ModuleNotFoundError"),
        ("my_scale:Magic", "there is no Magic in my_scale"),
        ("my_scale:np", "register takes a class made from minipeft.Method"),
    ],
)
def test_what_is_wrong_with_a_name_is_one_line(name, message, folder, capsys):
    assert main(["train", *TINY, "--method", name, *DATA]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


# ------------------------------------------------------------------------------------- loud where it is wrong


class Lame(Method):
    """A tensor beside each c_fc, and a forward that reads it."""

    place = "h.{}.mlp.c_fc.extra"

    def init(self, model, rng):
        return {self.place.format(i): np.ones(20) for i in range(model.config.n_layer)}

    def linear(self, name, x, y, step):
        return (y * step.tensors[f"{name}.extra"], y) if name.endswith("c_fc") else (y, None)

    def linear_backward(self, dy, cache, step):
        return dy, None, {}


@pytest.mark.parametrize(
    "place", ["h.{}.mlp.fc.extra", "h.{}.extra", "h.x{}.mlp.c_fc.extra", "h.9{}.mlp.extra"]
)
def test_a_tensor_named_for_no_place_says_where_places_are(place):
    method = Lame()
    method.place = place
    with pytest.raises(InputError) as refused:
        PeftModel(small_model(), method)
    said = str(refused.value)
    assert said.startswith(f"the tensor {place.format(0)!r}: ")
    assert "is no place in the model" in said and "h.0 ... h.2" in said and "mlp.c_proj.input" in said


def test_a_trainable_tensor_without_a_gradient_is_named():
    peft = PeftModel(small_model(), Lame())
    with pytest.raises(
        InputError, match=r"no gradient came back for 'h.0.mlp.c_fc.extra' and 2 more tensors"
    ):
        peft.loss_and_grads(small_batch())
    with pytest.raises(InputError, match="no gradient came back"):
        gradcheck(peft, small_batch())


FORWARDS = ("embed", "linear_input", "linear", "keys_values", "sublayer", "start")


@pytest.mark.parametrize("forward", FORWARDS)
def test_half_of_a_pair_is_refused_by_name(forward):
    backward = about.PAIRS[forward]
    for there, missing in ((forward, backward), (backward, forward)):
        half = type("Half", (Method,), {there: lambda self, *args: args})
        message = f"Half defines `{there}` but not `{missing}`"
        for use in (
            register,
            lambda cls: PeftModel(small_model(), cls()),
            lambda cls: PeftModel(small_model(), [cls()]),
        ):
            with pytest.raises(InputError, match=re.escape(message)):
                use(half)
    same = type("Same", (Method,), {forward: lambda self, *args: args, backward: getattr(Method, backward)})
    register(same)  # who means the identity says so


def test_a_subclass_may_inherit_both_or_change_one_of_them():
    register(type("Inherits", (IA3,), {}))
    register(type("Scales", (IA3,), {"linear": IA3.linear}))


def test_an_unregistered_method_says_so_when_it_is_saved(tmp_path):
    class Own(LoRA):
        pass

    for methods in (Own(), [Own(), minipeft.BitFit()]):
        with pytest.raises(
            InputError, match=r"Own is no registered method: call minipeft.register\(Own\) first"
        ):
            PeftModel(small_model(), methods).save_pretrained(tmp_path)
    register(Own)
    assert METHODS["own"] is Own and Own.about.section == "updates"
    PeftModel(small_model(), Own()).save_pretrained(tmp_path)
    assert type(PeftModel.from_pretrained(small_model(), tmp_path).method) is Own
    assert LoRA.about.name == "lora" and METHODS["lora"] is LoRA


# ----------------------------------------------------------------------------- a save can be read, or is none


def with_tensor(name, value):
    """A registered method with one trained tensor, and one of this name that does not train."""

    class Own(Method):
        def init(self, model, rng):
            return {"h.0.mlp.c_fc.own_values": np.ones(2), f"h.0.mlp.c_fc.{name}": np.array(value)}

        def optimizer_changes(self, tensor):
            return tensor.endswith("_values")

    return register(Own)()


@pytest.mark.parametrize(
    "name, value",
    [
        ("own_indices", np.arange(3)),  # int64
        ("own_indices", np.arange(3, dtype="uint8")),
        ("own_start", np.ones(3)),
        ("own_mask", np.array([True, False])),
        ("own_half", np.ones(3, "float16")),
    ],
)
def test_a_tensor_of_ones_own_comes_back(name, value, tmp_path):
    peft = PeftModel(small_model(), with_tensor(name, value))
    name = f"h.0.mlp.c_fc.{name}"
    peft.tensors[name][...] = peft.tensors[name][::-1].copy()
    peft.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(small_model(), tmp_path).tensors
    assert again.keys() == peft.tensors.keys() and again[name].dtype == peft.tensors[name].dtype
    assert np.array_equal(again[name], peft.tensors[name])


def test_only_of_a_choice_of_weights_the_start_is_taken_from_the_base(tmp_path):
    own = with_tensor("own_indices", np.arange(3))
    init = own.init
    own.init = lambda model, rng: init(model, rng) | {"h.0.mlp.c_fc.own_start": np.zeros(3)}
    peft = PeftModel(small_model(), [own, minipeft.Sparse(0.1, target_modules=("ln_f",))])
    peft.save_pretrained(tmp_path)
    stored = read_safetensors(tmp_path / "adapter_model.safetensors")[0]
    assert "h.0.mlp.c_fc.own_start" in stored and "ln_f.weight_start" not in stored


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("own_indices", np.ones(3), "own_indices is of float32: a file has whole numbers in tensors called"),
        ("own_count", np.arange(3), "own_count is of int64: a file has whole numbers in tensors called"),
        ("own_indices", np.array([2**40]), "own_indices has a number that is too large for int32"),
        ("own_deep", np.ones((1,) * 9), "own_deep has 9 dimensions, more than 8"),
    ],
)
def test_a_tensor_that_could_not_be_read_is_refused_when_it_is_saved(name, value, message, tmp_path):
    PeftModel(small_model(), LoRA(r=2)).save_pretrained(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    peft = PeftModel(small_model("float32"), with_tensor(name, value))
    with pytest.raises(InputError, match=rf"adapter_model.safetensors: tensor h.0.mlp.c_fc.{message}"):
        peft.save_pretrained(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    "method", [LoRA(r=2), minipeft.BitFit(), minipeft.Adapter(), minipeft.PTuning(2)], ids=lambda m: str(m)
)
def test_a_number_that_is_not_finite_is_refused_when_it_is_saved(method, tmp_path):
    peft = PeftModel(small_model(), method)
    next(reversed(peft.trainable.values()))[-1] = np.nan
    with pytest.raises(InputError, match="has a number that is not finite"):
        peft.save_pretrained(tmp_path)
    assert not any(tmp_path.iterdir())


@dataclass
class Settings(minipeft.BitFit):
    """Fields of kinds that JSON has, and of others."""

    listed: list = field(default_factory=list)
    numbered: dict[int, int] = field(default_factory=dict)
    other: object = None


@pytest.mark.parametrize(
    "values", [{}, {"listed": [1, [2, 3]]}, {"listed": ["a"], "other": (1, "b")}, {"other": {"a": [1.5]}}]
)
def test_a_setting_of_ones_own_comes_back(values, tmp_path):
    register(Settings)
    peft = PeftModel(small_model(), Settings(**values))
    peft.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(small_model(), tmp_path).method
    assert again.listed == peft.method.listed and json.dumps(again.other) == json.dumps(peft.method.other)


@pytest.mark.parametrize(
    "values",
    [
        {"other": {1, 2}},
        {"numbered": {1: 2}},
        {"other": Path("a")},
        {"other": float("inf")},
        {"other": np.ones(2)},
    ],
    ids=str,
)
@pytest.mark.parametrize("beside", [(), (LoRA(r=2), minipeft.Sparse(0.1, target_modules=("wte",)))])
def test_a_setting_that_could_not_be_read_is_refused_when_it_is_saved(values, beside, tmp_path):
    register(Settings)
    peft = PeftModel(small_model(), [Settings(**values), *beside])
    with pytest.raises(InputError, match=rf"adapter_config.json: Settings's {min(values)} = .* JSON"):
        peft.save_pretrained(tmp_path)
    assert not any(tmp_path.iterdir())


# --------------------------------------------------------------------------------- what cannot be registered


def test_what_cannot_be_registered():
    class Forgot(Method):
        r: int = 3

    class Lora(Method):
        pass

    with pytest.raises(InputError, match="Forgot has settings: write @dataclass above the class"):
        register(Forgot)
    with pytest.raises(InputError, match="the method LoRA is called 'lora' already"):
        register(Lora)
    for thing in (3, int, LoRA()):
        with pytest.raises(InputError, match=r"a class made from minipeft\.Method"):
            register(thing)


def test_an_init_that_returns_nothing_is_named():
    @dataclass
    class Forgetful(Method):
        def init(self, model, rng):
            {"h.0.attn.c_attn.gain": np.ones(12)}

    with pytest.raises(InputError, match=r"Forgetful\.init must return {name: array}, not NoneType"):
        PeftModel(small_model(), Forgetful())


def test_register_is_a_decorator():
    @register
    @dataclass
    class Decorated(Method):
        size: int = 2

    assert METHODS["decorated"] is Decorated and Decorated(5).size == 5
