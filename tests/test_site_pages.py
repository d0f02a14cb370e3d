"""The pages of methods: both sides of every formula are evaluated, and what is coloured is really there."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from every_method import SMALL, fused
from small import scramble, small_batch, small_model

pytest.importorskip("mkdocs", reason='the site needs `pip install -e ".[docs]"`')
sys.path.append(str(Path(__file__).parents[1] / "docs" / "site"))

from coloured import Terms
from gradient_check import curves
from measured import filled, results
from method_pages import code_places, formula_lines, function_at, said
from reach import reach

from minipeft import AdamW, LoReFT, PeftModel, gpt2, ops
from minipeft.app.catalogue import described
from minipeft.layout import Layout
from minipeft.methods import METHODS
from minipeft.methods.linear.dora import magnitude
from minipeft.methods.sublayer.activations import ACTIVATIONS
from minipeft.methods.sublayer.bottleneck import bottleneck

T = 5  # tokens of the one sequence
LAYER = "h.1.attn.c_attn"


def on_model(method):
    """The method on a model, no tensor of it where it began, and a step with one sequence."""
    peft = PeftModel(small_model(), method)
    scramble(peft.trainable)
    return peft, replace(peft.step(grad_enabled=True), layout=Layout.of([T]))


def normal(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape)


def linear(method, layer=LAYER):
    """What all methods beside a linear layer have: x, W, b, what the layer gives, and the step."""
    peft, step = on_model(method)
    W, b = step.weights[f"{layer}.weight"], step.weights[f"{layer}.bias"]
    x = normal(T, len(W))
    y, _ = gpt2.linear_at(layer, x.copy(), step)
    return peft, step, {"x": x, "W": W, "b": b}, y


def lora(name):
    peft, step, names, y = linear(SMALL[name])
    A, B = (step.tensors[f"{LAYER}.lora_{m}"] for m in "AB")
    return names | {"A": A, "B": B, "s": peft.method.scaling(LAYER)}, peft, step, y


def case_lora():
    names, *_, y = lora("lora")
    return names, [y]


def case_dora():
    names, peft, step, y = lora("dora")
    names["m"] = peft.tensors[magnitude(LAYER)]
    V = names["W"] + dict(peft.method._updates(peft.tensors))[LAYER]
    n = peft.method.norms(peft.weights, peft.tensors)[LAYER]
    return names, [V, n, step.tensors[magnitude(LAYER)], y]


def case_ia3():
    _, step, out, y = linear(SMALL["ia3"])
    _, _, into, z = linear(SMALL["ia3"], "h.1.mlp.c_proj")
    l_out, l_in = step.tensors[f"{LAYER}.ia3_l"], step.tensors["h.1.mlp.c_proj.input.ia3_l"]
    return [out | {"l": l_out}, into | {"l": l_in}], [y, z]


def case_vera():
    peft, step, names, y = linear(SMALL["vera"])
    A, d, B, l = peft.method.parts(LAYER, *names["W"].shape, step.tensors)
    return names | {"A": A, "d": d, "B": B, "l": l}, [y]


def case_loha():
    peft, step, names, y = linear(SMALL["loha"])
    factors = {"A1": "w1_a", "B1": "w1_b", "A2": "w2_a", "B2": "w2_b"}
    names |= {letter: step.tensors[f"{LAYER}.hada_{key}"] for letter, key in factors.items()}
    return names | {"s": peft.method.scaling(LAYER)}, [y, peft.method.update(LAYER, step.tensors)[0]]


def bottleneck_names(parts):
    return {"D": parts["down"], "d": parts["down_bias"], "U": parts["up"], "e": parts["up_bias"]}


def sublayer(name, method=None, s=1.0):
    """h' and f of a method behind the MLP: what it gives for a stream x and an output h."""
    method = method or SMALL[name]
    _, step = on_model(method)
    x, h, u = normal(T, 12), normal(T + 1, 12)[1:], normal(T + 2, 12)[2:]
    parts = method.parts_at("h.1.mlp", step.tensors)
    act = lambda z: ACTIVATIONS[method.non_linearity](z)[0]
    names = bottleneck_names(parts) | {"x": x, "h": h, "u": u, "s": s, "act": act, "relu": act}
    code = list(said()[name]["numpy"].values())[1]
    names["f"] = lambda u: eval(code, {}, names | {"u": u})
    changed, _ = method.sublayer("h.1.mlp", x, h.copy(), step)
    return names, [changed, bottleneck(u, parts, method.non_linearity, 1.0)[0]]


def case_adapter():
    return sublayer("adapter")


def case_houlsby():
    return sublayer("houlsby")


def case_parallel_adapter():
    return sublayer("parallel_adapter", s=4.0)


def case_fusion():
    peft, step = on_model(fused())
    x, h = normal(T, 12), normal(T + 1, 12)[1:]
    changed, (_, _, a, _, _, _, p, _, t) = peft.method.sublayer("h.1.mlp", x, h.copy(), step)
    names = {"h": h, "u": x + h, "K": 2, "a": [a[:, 0], a[:, 1]], "p": p, "Q": t["query"]}
    names |= {"b": t["query_bias"], "W": t["key"], "V": t["value"], "softmax": ops.softmax}
    return names | {"c": step.tensors["h.1.mlp.fusion_key_bias"]}, [changed, p]


def case_loreft():
    peft, step = on_model(LoReFT(r=2, prefix_positions=200, dropout=0))
    x, h = normal(T, 12), normal(T + 1, 12)[1:]
    changed, _ = peft.method.sublayer("h.1.mlp", x, h.copy(), step)
    W, b, Q = (step.tensors[f"h.1.mlp.reft_first_{k}"] for k in ("source", "source_bias", "subspace"))
    names = {"x": x, "y": x + h, "y_new": x + changed, "W": W, "b": b, "Q": Q, "act": lambda z: z}
    return names, [x + changed, changed]


def case_prompt_tuning():
    _, step = on_model(SMALL["prompt_tuning"])
    ids, E = np.array([3, 1, 4, 1, 5]), step.tensors["prompt_embeddings"]
    x, *_ = gpt2.embed(ids, step.layout, step)
    wte, wpe = step.weights["wte.weight"], step.weights["wpe.weight"]
    return {"E": E, "ids": ids, "wte": wte, "wpe": wpe, "P": len(E), "T": T}, [x]


def case_p_tuning():
    peft, step = on_model(SMALL["p_tuning"])
    named = lambda name: peft.tensors[f"prompt_encoder.{name}"]
    names = {"E": named("embedding"), "relu": lambda z: z * (z > 0)}
    for i in (0, 2, 4):
        names |= {f"W_{i}": named(f"mlp_head.{i}.weight"), f"b_{i}": named(f"mlp_head.{i}.bias")}
    return names, [step.tensors[peft.method.table]]


def prefix(peft, step, part):
    x, k, v = normal(T, 12), normal(T + 1, 12)[1:], normal(T + 2, 12)[2:]
    P_k, P_v = (step.tensors[f"h.1.attn.keys_values.prefix_{kind}"] for kind in ("key", "value"))
    longer_k, longer_v, *_ = part.keys_values(1, k, v, step.layout, x, step)
    return {"K": k, "V": v, "P_k": P_k, "P_v": P_v, "x": x}, (longer_k, longer_v)


def case_prefix_tuning():
    peft, step = on_model(SMALL["prefix_tuning"])
    names, longer = prefix(peft, step, peft.method)
    return names, [longer]


def case_mam():
    peft, step = on_model(SMALL["mam"])
    names, longer = prefix(peft, step, peft.method.methods[0])
    adapter, h = peft.method.methods[1], normal(T + 3, 12)[3:]
    parts = adapter.parts_at("h.1.mlp", step.tensors)
    f = lambda x: bottleneck(x, parts, adapter.non_linearity, 1.0)[0]
    changed, _ = adapter.sublayer("h.1.mlp", names["x"], h.copy(), step)
    return names | {"h": h, "s": adapter.scaling, "f": f}, [longer, changed]


def case_unipelt():
    peft, step = on_model(SMALL["unipelt"])
    gated_prefix, gated_lora, adapter = peft.method.methods
    sigma = lambda z: (1 / (1 + np.exp(-z)))[:, None]
    gate = lambda place, u: sigma(u @ step.tensors[f"{place}gate"] + step.tensors[f"{place}gate_bias"])
    names, longer = prefix(peft, step, gated_prefix)
    names["g"] = gate("h.1.attn.keys_values.", names["x"][:1])

    u, y = normal(T, 12), normal(T, 36)
    changed_y, _ = gated_lora.linear(LAYER, u, y.copy(), step)
    A, B = (step.tensors[f"{LAYER}.gated_q_{m}"] for m in "AB")
    beside = {"u": u, "q": y[:, :12], "A": A, "B": B, "g": gate(f"{LAYER}.gated_q_", u)}

    x, h = normal(T, 12), normal(T + 1, 12)[1:]
    parts = adapter.parts_at("h.1.mlp", step.tensors)
    f = lambda u: bottleneck(u, parts, adapter.non_linearity, adapter.scaling)[0]
    changed, _ = adapter.sublayer("h.1.mlp", x, h.copy(), step)
    behind = {"x": x, "h": h, "f": f, "g": gate("h.1.mlp.adapter_", x + h)}
    return [names, beside, behind], [longer, changed_y[:, :12], changed]


def case_sparse():
    peft = PeftModel(small_model(), SMALL["sparse"])
    scramble({n: t for n, t in peft.trainable.items() if n.endswith("_values")})
    name = f"{LAYER}.weight"
    i, v = peft.tensors[f"{name}_indices"], peft.tensors[f"{name}_values"]
    W0 = peft.model.weights[name].reshape(-1)
    return {"W0": W0, "i": i, "v": v}, [peft.step().weights[name].reshape(-1)[i]]


def case_ln_tuning():
    _, step = on_model(SMALL["ln_tuning"])
    x = normal(T, 12)
    y, _ = gpt2.layer_norm_at("h.1.ln_1", x, step)
    w, b = step.weights["h.1.ln_1.weight"], step.weights["h.1.ln_1.bias"]
    xhat = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
    return {"xhat": xhat, "w": w, "b": b}, [y]


ETA = 0.01


def trained(method):
    """(name, before, after, what AdamW makes of the gradient) of every tensor, in one step at rate ETA."""
    peft, _ = on_model(method)
    _, grads = peft.loss_and_grads(small_batch())
    before, unit = ({n: p.copy() for n, p in peft.trainable.items()} for _ in range(2))
    AdamW(learning_rate=1, weight_decay=0).step(unit, grads)
    scale = lambda name: method.lr_scale(name, peft.config)
    AdamW(ETA, weight_decay=0, lr_scale=scale).step(peft.trainable, grads)
    return [(n, before[n], p, before[n] - unit[n]) for n, p in peft.trainable.items()]


def selected(name, method=None):
    """A formula for each tensor that trains, and what training made of it."""
    names, after = [], []
    for tensor, theta, changed, g in trained(method or SMALL[name]):
        l = 1 + int(tensor.split(".")[1]) if tensor.startswith("h.") else 3
        names.append({"theta": theta, "b": theta, "eta": ETA, "g": g, "xi": 0.5, "L": 3, "l": l})
        after.append(changed)
    return names, after


def case_full():
    return selected("full")


def case_bitfit():
    return selected("bitfit")


def case_modules():
    return selected("modules")


def case_layerwise():
    return selected("layerwise", replace(SMALL["layerwise"], top=3, lr_decay=0.5))


def case_lora_plus():
    method = SMALL["lora_plus"]
    tensors = {tensor: rest for tensor, *rest in trained(method)}
    (A, A_new, dA), (B, B_new, dB) = (tensors[f"{LAYER}.lora_{m}"] for m in "AB")
    names = {"A": A, "B": B, "dA": dA, "dB": dB, "eta": ETA, "lam": method.loraplus_lr_ratio}
    return names, [(A_new, B_new)]


CASES = {key.removeprefix("case_"): f for key, f in globals().items() if key.startswith("case_")}


@pytest.mark.parametrize("name", METHODS)
def test_both_sides_of_the_formula_are_equal(name):
    """The formula, as its page has it in NumPy, against what the package computes: to 1e-12."""
    names, actual = CASES[name]()
    lines = list(said()[name]["numpy"].items())
    if len(lines) == 1:
        lines *= len(actual)  # one formula for many tensors
    per_line = names if isinstance(names, list) else [names] * len(lines)
    assert len(lines) == len(actual) == len(per_line)
    for (formula, code), values, right in zip(lines, per_line, actual, strict=True):
        value = eval(code, {"np": np} | values)
        if not isinstance(names, list):
            names.setdefault(re.match(r"\w+?(?=\b|_j)", formula)[0], value)  # V, n, g: a later line reads it
        pairs = zip(value, right, strict=True) if isinstance(value, tuple) else [(value, right)]
        for ours, theirs in pairs:
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", METHODS)
def test_the_formula_in_numpy_is_of_a_line_that_the_file_has(name):
    lines = formula_lines(described(name))
    for formula in said()[name]["numpy"]:
        assert any(line.startswith(formula) for line in lines), formula


@pytest.mark.parametrize("name", METHODS)
def test_every_letter_that_is_said_to_have_another_name_has_it_in_the_code(name):
    code = "\n".join(
        function_at(path, int(line))[0]
        for path, _, line in (place.partition(":") for place in code_places(name, described(name)))
    )
    own = said()[name]
    for letter, others in own.get("code", {}).items():
        for other in others:
            assert re.search(rf"(?<![A-Za-z0-9]){re.escape(other)}\b", code), (letter, other)
    assert len(Terms(own["numpy"], own.get("code", {})).used(code)) >= 2  # something is alike on both sides


@pytest.mark.parametrize("name", METHODS)
def test_what_a_page_says_is_filled_with_numbers_that_were_measured(name):
    for words in (said()[name]["good"], said()[name]["bad"]):
        assert words.count(". ") == 1 and words.endswith(".")  # two sentences
        assert "{" not in filled(name, words) and "±" not in filled(name, words)


def test_the_results_are_read_whole():
    assert len(results()) == 6
    lora = results()["translation"]["lora"]
    overview = (
        (Path(__file__).parents[1] / "RESULTS.md").read_text(encoding="utf-8").partition("## All tasks")[2]
    )
    row = next(line for line in overview.splitlines() if line.startswith("| lora "))
    assert row.split("|")[4].strip() == f"{lora['score']} ({lora['of full']})"  # the third task


@pytest.mark.parametrize("name", METHODS)
def test_what_the_page_says_is_formed_is_what_a_backward_forms(name):
    """Everything that trains has a gradient at a place that is lit, and below the lowest there is none."""
    found = reach(name)
    assert found.lit and found.lowest in found.formed
    formed = list(found.formed.items())
    below = formed[: [place for place, _ in formed].index(found.lowest)]
    assert all(kinds == set() for _, kinds in below)


# ------------------------------------------------------------------------------------ the live gradient check


@pytest.mark.parametrize("operation", curves()["operations"], ids=lambda operation: operation["name"])
def test_the_picture_shows_what_its_page_says(operation):
    """Right passes in float64 alone; every mistake is seen, and of each list the first is not, with ones."""
    right, hidden, *others = (claim["errors"] for claim in operation["claims"])
    assert min(right["float64 random"]) < -7 and min(right["float64 ones"]) < -7
    assert min(right["float32 random"]) > -7
    for wrong in (hidden, *others):
        assert min(wrong["float64 random"]) > -2
    assert min(hidden["float64 ones"]) < -7
    for seen in others:
        if seen is not others[0] or operation["name"] != "Layer norm: dx":  # its w is forgotten unseen, too
            assert min(seen["float64 ones"]) > -3


def test_the_error_falls_and_rises_again_with_the_step():
    """The V: of layer norm, which bends."""
    errors = curves()["operations"][0]["claims"][0]["errors"]["float64 random"]
    best = errors.index(min(errors))
    assert 3 < best < 22 and errors[0] > errors[best] + 5 and errors[-1] > errors[best] + 5
