"""What every method promises: exact gradients, frozen weights, its claim at init, merging."""

from dataclasses import fields, replace

import numpy as np
import pytest
from every_method import (
    ALMOST_NOTHING_AT_INIT,
    CASES,
    FAINT_AT_INIT,
    LAST_TOKENS,
    MERGING,
    NOTHING_AT_INIT,
    ROUNDED_AT_INIT,
    SMALL,
    THROUGH_AN_LSTM,
    UNMERGING,
    VIRTUAL,
    WITH_VIRTUAL_TOKENS,
    without_effect,
)
from small import CONFIG, count_products, logits, scramble, small_batch, small_model, snapshot, texts

from minipeft import (
    GPT2,
    IA3,
    MAM,
    Adapter,
    AdapterFusion,
    BitFit,
    DoRA,
    Full,
    GPT2Config,
    Houlsby,
    InputError,
    Layerwise,
    LNTuning,
    LoHa,
    LoRA,
    LoRAPlus,
    LoReFT,
    Modules,
    ParallelAdapter,
    PeftModel,
    PrefixTuning,
    PromptTuning,
    PTuning,
    Sparse,
    UniPELT,
    VeRA,
    gpt2,
    gradcheck,
    train,
)
from minipeft.gradcheck import TOLERANCE, check_array
from minipeft.methods import METHODS, Chain, Method
from minipeft.methods.base import add_grads


def each(names):
    """Run a test with each of these cases."""
    assert set(names) <= CASES.keys()
    chosen = {name: method for name, method in CASES.items() if name in names}
    return pytest.mark.parametrize("method", chosen.values(), ids=chosen)


every_case = each(CASES)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """Small as the model is here, threads cost more than they bring; one test is about them."""
    monkeypatch.setenv("MINIPEFT_THREADS", "1")


def noisy(method, scale=0.3, dtype="float64"):
    """A small model with the method, away from where it began."""
    peft = PeftModel(small_model(dtype), method)
    scramble(peft.trainable, scale=scale)
    return peft


def test_every_method_is_tested():
    assert {name: type(method) for name, method in SMALL.items()} == METHODS


# -------------------------------------------------------------------------------------------------- gradients


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_the_derivatives_of_the_loss(name):
    """Along a random direction of every tensor, and at single elements: the more, the fewer tensors.

    Of an LSTM's not: single elements are so faint in the loss that test_virtual.py checks them without it.
    """
    peft = noisy(CASES[name], scale=0.3 if name in FAINT_AT_INIT else 0)
    elements = 0 if name in THROUGH_AN_LSTM else min(3, max(1, 40 // len(peft.trainable)))
    errors = gradcheck(peft, small_batch(), elements)
    assert max(errors.values()) < TOLERANCE, max(errors, key=errors.get)


@pytest.mark.parametrize("name", ["full", "lora", "dora", "prefix_tuning", "p_tuning", "adapter", "unipelt"])
def test_gradients_with_plain_operations_are_the_derivatives_too(name):
    """A method of every site; what is fast is tested everywhere else."""
    peft = noisy(SMALL[name], scale=0.3 if name in FAINT_AT_INIT else 0)
    peft.model.ops = "plain"
    assert max(gradcheck(peft, small_batch(), elements=1).values()) < TOLERANCE


class OneScale(Method):
    """One number, at every site of every layer: x -> x s."""

    def init(self, model, rng):
        return {"scale": np.ones(1)}

    def scaled(self, x, step):
        s = step.tensors["scale"]  # (1,)
        return x * s, (x, s)

    def scaled_backward(self, dx, cache):
        x, s = cache
        return dx * s, {"scale": (dx * x).sum(keepdims=True).reshape(1)}

    def embed(self, x, layout, step):
        x, cache = self.scaled(x, step)
        return x, layout, cache

    def embed_backward(self, dx, cache, step):
        return self.scaled_backward(dx, cache)

    def linear_input(self, name, x, step):
        return self.scaled(x, step)

    def linear_input_backward(self, dx, cache, step):
        return self.scaled_backward(dx, cache)

    def linear(self, name, x, y, step):
        return self.scaled(y, step)

    def linear_backward(self, dy, cache, step):
        dy, grads = self.scaled_backward(dy, cache)
        return dy, None, grads

    def keys_values(self, layer, k, v, key_layout, x, step):
        (k, k_cache), (v, v_cache) = self.scaled(k, step), self.scaled(v, step)
        return k, v, key_layout, (k_cache, v_cache)

    def keys_values_backward(self, dk, dv, cache, step):
        (dk, grads), (dv, g) = map(self.scaled_backward, (dk, dv), cache)
        return dk, dv, None, add_grads(grads, g)

    def sublayer(self, name, x, h, step):
        return self.scaled(h, step)

    def sublayer_backward(self, dh, cache, step):
        dh, grads = self.scaled_backward(dh, cache)
        return dh, None, grads


@pytest.mark.parametrize("ops", ["plain", "fast"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_gradient_of_a_tensor_in_many_places_is_the_sum_over_them(ops, checkpointing):
    peft = noisy(OneScale())
    peft.model.ops = ops
    assert max(gradcheck(peft, small_batch()).values()) < TOLERANCE
    loss_at = lambda: peft.loss_and_grads(small_batch(), checkpointing=checkpointing)
    grad, s, h = loss_at()[1]["scale"], peft.trainable["scale"], 1e-6
    s += h
    above = loss_at()[0]
    s -= 2 * h
    assert grad == pytest.approx((above - loss_at()[0]) / (2 * h), rel=1e-6)


@pytest.mark.parametrize("pissa_first", [True, False])
def test_chosen_weights_and_pissa_begin_as_the_base_in_either_order(pissa_first):
    chain = [LoRA(r=2, init_lora_weights="pissa"), Sparse(fraction=0.3, target_modules=("c_attn",))]
    peft = PeftModel(small_model(), chain if pissa_first else chain[::-1])
    assert np.allclose(logits(peft), logits(small_model()), rtol=0, atol=1e-12)


@pytest.mark.parametrize("other", [IA3(("c_attn",), ()), VeRA(r=3)], ids=type)
def test_dora_stands_first_beside_a_layer_so_that_what_is_merged_is_what_was_trained(other):
    with pytest.raises(InputError, match=r"h.0.attn.c_attn: DoRA comes before"):
        PeftModel(small_model(), [other, DoRA(r=2)])
    peft = noisy([DoRA(r=2), other])
    assert np.allclose(logits(peft.merge_and_unload()), logits(peft), rtol=0, atol=1e-12)
    elsewhere = noisy([replace(other, target_modules=("c_fc",)), DoRA(r=2), BitFit()])
    assert np.allclose(logits(elsewhere.merge_and_unload()), logits(elsewhere), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "nested, flat",
    [
        ([IA3(("c_attn",), ()), Chain([LoRA(r=2)])], [IA3(("c_attn",), ()), LoRA(r=2)]),
        ([Sparse(0.2), Chain([LoRA(r=2, init_lora_weights="pissa")])],
         [Sparse(0.2), LoRA(r=2, init_lora_weights="pissa")]),
        ([Chain([DoRA(r=2), Chain([])]), Sparse(0.2)], [DoRA(r=2), Sparse(0.2)]),
    ],
)  # fmt: skip
def test_a_chain_in_a_chain_is_one_chain(nested, flat):
    one, other = (PeftModel(small_model(), methods) for methods in (nested, flat))
    assert repr(one.method) == repr(other.method) and np.array_equal(logits(one), logits(other))


@pytest.mark.parametrize("method", [LoRA, "lora", [LoRA], [LoRA(), None]])
def test_what_is_no_method_is_refused(method):
    with pytest.raises(InputError, match="want a method, or a list of methods, not "):
        PeftModel(small_model(), method)


def test_numbers_of_numpy_leave_the_types_of_arrays_alone():
    for method in (
        DoRA(r=np.int64(2)), LoRA(r=2, lora_dropout=np.float64(0.1), rank_pattern={"c_attn": np.int64(3)}),
        Adapter(scaling=np.float64(2), leave_out=(np.int64(1),)), LoHa(r=np.int64(2)),
    ):  # fmt: skip
        peft = PeftModel(small_model("float32"), method)
        _, grads = peft.loss_and_grads(small_batch(), seed=0)
        assert {g.dtype for g in grads.values()} == {np.dtype("float32")}, method


def with_dropout(method):
    """The method, or each of a chain, with dropout of its own where it has one."""
    if isinstance(method, list):
        return [with_dropout(m) for m in method]
    own = {f.name: 0.3 for f in fields(method) if f.name.endswith("dropout")}
    return replace(method, **own) if own else method


@every_case
def test_gradients_are_right_with_dropout(method):
    """The masks come from the seed, so that the loss with dropout is a function, too.

    It is followed along one line, p + t d of all tensors at once: a function of the number t.
    """
    peft, batch = noisy(with_dropout(method), scale=0.05), small_batch()
    peft.method = peft.method.with_constants_held(peft.weights, peft.tensors)
    loss_and_grads = lambda: peft.loss_and_grads(batch, seed=3, dropout=0.2)
    rng, t = np.random.default_rng(0), np.zeros(1)
    start = {name: p.copy() for name, p in peft.trainable.items()}
    line = {name: rng.standard_normal(p.shape) / p.size**0.5 for name, p in start.items()}

    def loss():
        for name, p in peft.trainable.items():
            p[...] = start[name] + t * line[name]
        return loss_and_grads()[0]

    slope = sum((g * line[name]).sum() for name, g in loss_and_grads()[1].items())
    assert check_array(loss, t, np.array([slope]), rng, elements=0) < TOLERANCE


@every_case
def test_every_trainable_tensor_gets_a_gradient_of_its_shape_and_its_own(method):
    peft = PeftModel(small_model(), method)
    _, grads = peft.loss_and_grads(small_batch())
    assert {n: g.shape for n, g in grads.items()} == {n: p.shape for n, p in peft.trainable.items()}
    every = list(grads.values())  # the optimizer clips in place: no two may share memory
    assert not any(np.shares_memory(a, b) for i, a in enumerate(every) for b in every[:i])


@every_case
def test_no_backward_of_a_method_writes_into_the_gradient_that_it_was_given(method, monkeypatch):
    peft = noisy(method)

    def read_only(backward):
        def called(*arguments):
            given = [a for a in arguments if isinstance(a, np.ndarray) and a.flags.writeable]
            for a in given:
                a.setflags(write=False)
            try:
                return backward(*arguments)
            finally:
                for a in given:
                    a.setflags(write=True)

        return called

    for part in getattr(peft.method, "methods", [peft.method]):
        for site in ("embed", "linear_input", "linear", "keys_values", "sublayer"):
            name = f"{site}_backward"
            monkeypatch.setattr(part, name, read_only(getattr(part, name)), raising=False)
    peft.loss_and_grads(small_batch())


@every_case
def test_loss_and_gradients_do_not_depend_on_the_number_of_threads(method, monkeypatch):
    peft, results = noisy(method), []
    for threads in (1, 3):
        monkeypatch.setenv("MINIPEFT_THREADS", str(threads))
        results.append(peft.loss_and_grads(small_batch()))
    (loss, grads), (sharded_loss, sharded) = results
    assert sharded_loss == pytest.approx(loss, rel=1e-13)
    for name, g in grads.items():
        size = 1 if without_effect(name) else np.abs(g).max()
        np.testing.assert_allclose(sharded[name], g, rtol=0, atol=1e-12 * size, err_msg=name)


# ---------------------------------------------------------------------------- what trains, and what is frozen


@every_case
def test_training_lowers_the_loss_and_moves_what_trains_and_nothing_else(method):
    model, batch = small_model(), small_batch(shapes=((0, 6),))
    peft = PeftModel(model, method)
    base, before, loss = snapshot(model.weights), snapshot(peft.weights | peft.tensors), peft.loss(batch)
    train(peft, [([], batch.ids.tolist())], steps=20, batch_size=1, learning_rate=5e-2, progress=False)
    assert peft.loss(batch) < loss - 0.05
    assert snapshot(model.weights) == base
    moved = {n for n, after in snapshot(peft.weights | peft.tensors).items() if after != before[n]}
    follow = peft.selected.keys() - peft.trainable.keys()  # a sparse method writes its values into these
    assert moved - follow == {n for n in peft.trainable if not without_effect(n)}


@every_case
def test_the_method_is_in_the_path(method):
    """As a whole, and each of its tensors."""
    peft = PeftModel(small_model(), method)
    before = logits(peft)
    scramble(peft.trainable, seed=3)  # not 0: that leaves a layer of ReLUs all dead
    scrambled = logits(peft)
    assert np.abs(scrambled - before).max() > 0.01
    for name, tensor in peft.trainable.items():
        kept = tensor.copy()
        scramble({name: tensor})
        assert without_effect(name) or np.abs(logits(peft) - scrambled).max() > 1e-6, name
        tensor[...] = kept


@pytest.mark.parametrize("name", CASES)
def test_what_changes_at_init(name):
    """Nothing where the method begins with zero, or with what was there; a little where it is drawn small."""
    model = small_model()
    change = np.abs(logits(PeftModel(model, CASES[name])) - logits(model)).max()
    if name in ROUNDED_AT_INIT:
        assert change < 1e-13
    elif name in NOTHING_AT_INIT:
        assert change == 0
    elif name in ALMOST_NOTHING_AT_INIT:
        assert 0 < change < 0.1
    else:
        assert change > 0.1


COUNTS = {  # what trains in GPT-2 small; with default settings a docstring says it, too: see test_complete.py
    "full": (Full(), 124_439_808),
    "bitfit": (BitFit(), 102_144),
    "ln_tuning": (LNTuning(), 38_400),
    "layerwise": (Layerwise(), 14_177_280),
    "layerwise, top 1": (Layerwise(top=1), 7_089_408),
    "layerwise, everything": (Layerwise(top=12, embeddings=True), 124_439_808),
    "modules": (Modules(), 1_536),
    "modules, embeddings": (Modules(("wte",)), 38_597_376),
    "bitfit, some": (BitFit(("c_attn",)), 27_648),
    "sparse": (Sparse(), 622_199),
    "prompt_tuning": (PromptTuning(), 15_360),
    "p_tuning": (PTuning(), 1_787_136),
    "p_tuning, 128 wide": (PTuning(encoder_hidden_size=128), 229_376),
    "p_tuning, lstm": (PTuning(encoder_reparameterization_type="LSTM"), 27_174_144),
    "prefix_tuning": (PrefixTuning(), 368_640),
    "prefix_tuning, projection": (PrefixTuning(prefix_projection=True), 14_780_160),
    "lora": (LoRA(), 294_912),
    "lora, rank pattern": (LoRA(rank_pattern={r"h\.[0-5]\..*": 4}), 294_912 * 3 // 4),
    "lora, two layers": (LoRA(layers_to_transform=(0, 11)), 294_912 // 6),
    "lora_plus": (LoRAPlus(), 294_912),
    "dora": (DoRA(), 322_560),
    "ia3": (IA3(), 64_512),
    "vera": (VeRA(), 30_720),
    "adapter": (Adapter(), 894_528),
    "houlsby": (Houlsby(), 1_789_056),
    "parallel_adapter": (ParallelAdapter(), 7_091_712),
    "parallel_adapter, learned scaling": (ParallelAdapter(scaling="learned"), 7_091_724),
    "fusion of two": (AdapterFusion({"a": Adapter(), "b": Adapter()}), 21_252_096),
    "fusion of one, static": (AdapterFusion({"a": Adapter()}, value=False), 14_174_208),
    "loreft": (LoReFT(), 18_444),
    "mam": (MAM(), 22_493_984),
    "unipelt": (UniPELT(), 11_083_376),
}


@pytest.mark.parametrize("method, count", COUNTS.values(), ids=COUNTS)
def test_parameter_count_of_gpt2_small(method, count):
    """Counted on shapes alone: arrays that take no memory stand in for the weights."""
    config, one = GPT2Config(), np.ones((), np.float32)
    model = GPT2(config, {n: np.broadcast_to(one, shape) for n, shape in config.shapes().items()})
    everything = method.init(model, np.random.default_rng(0))
    everything |= {n: w for n, w in model.weights.items() if method.trains_base(n, config)}
    assert sum(a.size for n, a in everything.items() if method.optimizer_changes(n)) == count


@every_case
def test_what_a_method_keeps_besides_is_no_parameter(method):
    """VeRA's A and B, the places that Sparse chose, a fusion's adapters: PEFT does not count such, either."""
    peft = PeftModel(small_model(), method)
    own = [p for name, p in peft.trainable.items() if name in peft.tensors]
    assert peft.num_parameters == peft.model.num_parameters + sum(p.size for p in own)


# ---------------------------------------------------------------------------------------------------- merging


@each(MERGING)
@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("float64", 1e-12)])
def test_merged_and_unmerged_agree(method, dtype, tolerance):
    """Merged right after a change: no forward has come between."""
    peft = noisy(method, dtype=dtype)
    merged = peft.merge_and_unload()
    expected = logits(peft)
    assert np.abs(logits(merged) - expected).max() / np.abs(expected).max() < tolerance
    assert type(merged) is GPT2 and merged.weights.keys() == peft.model.weights.keys()


@each(MERGING)
def test_a_merged_model_stays_as_it_is_when_training_goes_on(method):
    peft = PeftModel(small_model(), method)
    merged = peft.merge_and_unload()
    before = snapshot(merged.weights)
    train(peft, [([], ids) for ids in texts((6, 5))], steps=2, progress=False)
    assert snapshot(merged.weights) == before


@each(UNMERGING)
def test_unmerge_gives_back_what_was_merged_into(method):
    peft = PeftModel(small_model(), method)
    before = {n: w.copy() for n, w in peft.weights.items()}
    scramble(peft.trainable)
    merged = peft.merge_and_unload()
    assert not all(np.allclose(merged.weights[n], w) for n, w in before.items())
    again = peft.unmerge(merged).weights
    assert all(np.allclose(again[n], w, rtol=0, atol=1e-12) for n, w in before.items())


@each(MERGING - UNMERGING)
def test_what_cannot_be_taken_out_again_says_so(method):
    peft = PeftModel(small_model(), method)
    with pytest.raises(InputError, match=r"^\w+ cannot be taken out of merged weights again$"):
        peft.unmerge(peft.merge_and_unload())


@each(CASES.keys() - MERGING)
def test_what_cannot_be_merged_says_so(method):
    with pytest.raises(InputError, match="cannot be merged"):
        PeftModel(small_model(), method).merge_and_unload()


def test_a_method_that_does_not_know_how_to_merge_says_so():
    with pytest.raises(InputError, match="Method cannot be merged"):
        PeftModel(small_model(), Method()).merge_and_unload()


# ------------------------------------------------------------------------------------------ texts, generation


@every_case
def test_a_batch_gives_what_its_sequences_give_alone(method):
    peft = noisy(method)
    for together, ids in zip(peft.logits(texts()), texts(), strict=True):
        np.testing.assert_allclose(together, peft.logits([ids])[0], rtol=0, atol=1e-12)


@each(CASES.keys() - LAST_TOKENS)
def test_no_token_sees_the_ones_to_come(method):
    peft, (ids,) = noisy(method), texts((8,))
    np.testing.assert_allclose(peft.logits([ids])[0][:5], peft.logits([ids[:5]])[0], rtol=0, atol=1e-12)


@each(CASES.keys() - LAST_TOKENS)
def test_generation_is_the_same_with_and_without_a_cache_and_one_by_one(method):
    """And it is the likeliest token of the logits that comes next."""
    peft, prompts = noisy(method), texts()
    together = peft.generate_ids(prompts, max_new_tokens=8)
    assert together == peft.generate_ids(prompts, max_new_tokens=8, use_cache=False)
    assert together == [peft.generate_ids([p], max_new_tokens=8)[0] for p in prompts]
    for prompt, new in zip(prompts, together, strict=True):
        (z,) = peft.logits([prompt + new])
        assert z[len(prompt) - 1 : -1].argmax(1).tolist() == new


@each(WITH_VIRTUAL_TOKENS)
def test_texts_may_be_shorter_by_the_virtual_tokens(method):
    peft = PeftModel(small_model(), method)
    P = peft.num_virtual_tokens
    room = CONFIG.n_positions - P
    assert P == sum(m.num_virtual_tokens for m in (method if isinstance(method, list) else [method])) > 0
    assert len(peft.logits(texts((room,)))[0]) == room
    for refused in (
        lambda: peft.logits(texts((room + 1,))),
        lambda: peft.generate_ids(texts((room,)), max_new_tokens=1),
        lambda: peft.loss(small_batch(shapes=((room, 1),))),
        lambda: peft.loss_and_grads(small_batch(shapes=((room, 1),))),
    ):
        with pytest.raises(InputError, match=rf"{P} virtual \+ {room}|{P} virtual \+ {room + 1}"):
            refused()
    peft.loss_and_grads(small_batch(shapes=((room - 1, 1),)))


@each(VIRTUAL)
def test_beams_carry_virtual_tokens(method):
    assert any(PeftModel(small_model(), method).generate_ids(texts(), max_new_tokens=8, num_beams=2))


# ---------------------------------------------------------------------------------------------- what it costs


def test_full_fine_tuning_forms_every_gradient(monkeypatch):
    formed = count_products(monkeypatch)
    PeftModel(small_model(), Full()).loss_and_grads(small_batch())
    assert formed == {"x": 12, "weight": 12, "bias": 12}  # 3 layers of 4


@pytest.mark.parametrize("targets, products", [(("attn.c_attn",), 11), (("h.2.mlp.c_proj",), 0)])
def test_lora_forms_no_gradient_of_a_frozen_weight_and_stops_at_its_lowest_layer(
    targets, products, monkeypatch
):
    """Not through h.0.attn.c_attn, the lowest, or not through any."""
    formed = count_products(monkeypatch)
    PeftModel(small_model(), LoRA(r=2, target_modules=targets)).loss_and_grads(small_batch())
    assert formed["x"] == products and formed["weight"] == formed["bias"] == 0


def arrays_in(cache):
    if isinstance(cache, np.ndarray):
        yield cache
    elif isinstance(cache, tuple | list):
        for item in cache:
            yield from arrays_in(item)


def test_the_cache_of_a_frozen_model_is_small():
    """Evaluation keeps nothing but weights and row scales; LoRA keeps less than full fine-tuning."""

    def kept(method, grad_enabled):
        peft, batch = PeftModel(small_model(), method), small_batch()
        _, _, caches = gpt2.forward(batch.ids, batch.layout, peft.step(grad_enabled=grad_enabled))
        weights = {id(w) for w in [*peft.weights.values(), *peft.tensors.values()]}
        return sum(a.nbytes for a in arrays_in(caches) if id(a) not in weights) / len(batch.ids) / 8

    L = CONFIG.n_layer
    assert kept(LoRA(r=2), grad_enabled=False) < 4 * L
    assert kept(LoRA(r=2), grad_enabled=True) < 0.75 * kept(Full(), grad_enabled=True)
    assert kept(LoRA(r=2, target_modules=("h.2.mlp.c_proj",)), grad_enabled=True) < 0.1 * kept(
        Full(), grad_enabled=True
    )
