"""Hugging Face PEFT's format, both ways: what PEFT 0.21 writes for a GPT-2 is read, what is written it reads.

adapter_config.json has the method's fields under PEFT's names, and every other key that PEFT has. A file's
keys are kept, and written again. adapter_model.safetensors has PEFT's names and its layouts: matrices are
torch.nn.Linear's (out, in), here GPT-2's (in, out). The transposes are in this module and nowhere else.

A chain is written where PEFT has it: one method, and beside it parameters of the base that train:
[LoRA(), Modules(("ln_f",))] is modules_to_save=["ln_f"], [LoRA(), BitFit()] is bias="all".

PEFT keeps of a prompt or a prefix the finished table alone. What the table came from, needed to go on
training, is written to encoder.safetensors beside it, which PEFT does not look at.
"""

from contextlib import suppress
from dataclasses import dataclass, field, fields

import numpy as np

from ...backend import like, to_host
from ...errors import InputError
from ...methods import (
    IA3,
    BitFit,
    Chain,
    DoRA,
    LNTuning,
    LoRA,
    LoRAPlus,
    Modules,
    PrefixTuning,
    PromptTuning,
    PTuning,
    VeRA,
)
from ...methods.about import is_registered
from ...methods.keys_values.prefix_tuning import TABLE
from ...methods.linear.targets import matches
from ...version import __version__
from ..json_files import parse_json, write_json
from ..tensors import check_tensors, read_safetensors, write_safetensors
from .config import CONFIG, TENSORS, check_kinds, peft_type, read_config, settings, with_tuples
from .converted import converted
from .peft_names import module_names, places_in_peft, saved_in_peft

# ------------------------------------------------------------------------------------------ configuration

VERSION = "0.21.2"  # of PEFT, whose keys these are
COMMON = {
    "auto_mapping": None, "base_model_name_or_path": None, "inference_mode": True, "modules_to_save": None,
    "peft_version": VERSION, "revision": None, "task_type": "CAUSAL_LM",
}  # fmt: skip
TARGETS = {"exclude_modules": None}
PROMPT = {"num_transformer_submodules": 1, "num_attention_heads": None, "num_layers": None, "token_dim": None}


@dataclass
class Form:
    """A `peft_type`: the method it is, and PEFT's keys beside the method's own, as PEFT has them by default.

    left_out: fields of the method that are no keys of PEFT.
    """

    method: type
    defaults: dict
    left_out: set = field(default_factory=set)


FORMS = {
    "LORA": Form(LoRA, COMMON | TARGETS | {
        "alora_invocation_tokens": None, "arrow_config": None, "bias": "none", "corda_config": None,
        "ensure_weight_tying": False, "eva_config": None, "fan_in_fan_out": True, "kasa_config": None,
        "layer_replication": None, "layers_pattern": None, "loftq_config": {}, "lora_bias": False,
        "lora_ga_config": None, "megatron_config": None, "megatron_core": "megatron.core",
        "monteclora_config": None, "qalora_group_size": 16, "target_parameters": None,
        "trainable_token_indices": None, "use_bdlora": None, "use_dora": False, "use_qalora": False,
        "velora_config": None,
    }, {"loraplus_lr_ratio"}),
    "IA3": Form(IA3, COMMON | TARGETS | {"fan_in_fan_out": True}),
    "LN_TUNING": Form(LNTuning, COMMON | TARGETS),
    "VERA": Form(VeRA, COMMON | {"bias": "none", "fan_in_fan_out": True, "layers_pattern": None}),
    "PROMPT_TUNING": Form(PromptTuning, COMMON | PROMPT | {
        "tokenizer_kwargs": None, "tokenizer_name_or_path": None
    }),
    "P_TUNING": Form(PTuning, COMMON | PROMPT | {"encoder_dropout": 0.0}),
    "PREFIX_TUNING": Form(PrefixTuning, COMMON | PROMPT, {"init_text"}),
}  # fmt: skip
UNREAD = {  # keys that say nothing about the function the adapter computes, on this model
    "auto_mapping", "base_model_name_or_path", "encoder_dropout", "ensure_weight_tying", "eva_config",
    "fan_in_fan_out", "inference_mode", "megatron_config", "megatron_core", "merge_weights",
    "num_attention_heads", "num_layers", "peft_type", "peft_version", "qalora_group_size", "revision",
    "runtime_config", "token_dim", "tokenizer_kwargs", "tokenizer_name_or_path",
}  # fmt: skip
KINDS = {  # of the keys that are no fields of the method
    "bias": str, "exclude_modules": tuple[str, ...] | str | None, "modules_to_save": tuple[str, ...] | None,
    "task_type": str | None, "use_dora": bool | None,
}  # fmt: skip
HOW_IT_BEGAN = {"eva", "orthogonal"}  # values of init_lora_weights that leave the base as it is
BEGINNINGS = {  # keys that PEFT reads for one value of init_lora_weights alone
    "corda_config": "corda", "loftq_config": "loftq", "lora_ga_config": "lora_ga",
}  # fmt: skip

LINEAR, NORMS = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"), ("ln_1", "ln_2", "ln_f")
LAYERS = [  # of the largest GPT-2, and more: a method is asked about them before there is a model
    f"h.{i}.{kind}" for i in range(100)
    for kind in ("ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj")
] + ["ln_f"]  # fmt: skip


def writes(method):
    """A method that PEFT has, alone or with `BitFit` and `Modules` where PEFT can say so."""
    return parts(method) is not None


def reads(folder):
    """A peft_type that is not this package's own."""
    kind = peft_type(folder)
    return kind is not None and not str(kind).startswith("MINIPEFT_")


def parts(method):
    """A method or chain -> (the adapter, PEFT's `bias`, the `Modules` or None); None if PEFT has no such."""
    methods = method.methods if type(method) is Chain else [method]
    kinds = [type(m) for m in methods]
    adapters = [m for m in methods if file_type(m) is not None]
    if (
        len(adapters) != 1
        or set(kinds) - {type(adapters[0]), BitFit, Modules}
        or len(set(kinds)) < len(kinds)
    ):
        return None
    adapter = adapters[0]
    bitfit, modules = (next((m for m in methods if type(m) is cls), None) for cls in (BitFit, Modules))
    targets = [name for name in LAYERS if acts_beside(adapter, name)]
    if modules and any(modules.trains_base(f"{name}.weight", None) for name in targets):
        return None  # PEFT puts no adapter beside what is in modules_to_save
    if modules and isinstance(modules.target_modules, str):
        return None  # it is a list there
    if modules and modules.trains_base("wte.weight", None) and reads_embeddings(adapter):
        return None  # PEFT reads the text from the base's wte
    if bitfit is None:
        return adapter, "none", modules
    own_biases = [name for name in LAYERS if bitfit.trains_base(f"{name}.bias", None)] == targets
    if file_type(adapter) not in ("LORA", "VERA") or not (bitfit.target_modules is None or own_biases):
        return None
    only = "lora_only" if file_type(adapter) == "LORA" else "vera_only"
    return adapter, "all" if bitfit.target_modules is None else only, modules


def reads_embeddings(adapter):
    """Does it put rows in front of the embeddings?"""
    return isinstance(adapter, PromptTuning | PTuning)


def file_type(method):
    """The `peft_type` of a method, or None. DoRA and LoRA+ are LoRA's files."""
    return method.about.peft_type if is_registered(type(method)) else None


def acts_beside(adapter, name):
    """Is the layer `name` a target of the adapter? A prompt or prefix has none."""
    own = vars(adapter)
    if "target_modules" not in own or not (name.startswith("h.") or own.get("layers_to_transform") is None):
        return False
    if name.split(".", 2)[-1] not in kinds(adapter):
        return False  # what else an expression fits
    return matches(name, own["target_modules"], own.get("layers_to_transform"))


def kinds(adapter):
    """The layers that it can act beside, by their names in a block."""
    return NORMS if isinstance(adapter, LNTuning) else LINEAR


def layers_for(adapter, model_config):
    """The names of all layers of a model that it can act beside."""
    layers = dict.fromkeys(name.rpartition(".")[0] for name in model_config.shapes())
    return [name for name in layers if name.split(".", 2)[-1] in kinds(adapter)]


def config_of(method, model):
    """A method or chain -> adapter_config.json."""
    adapter, bias, modules = parts(method)
    kind, C = file_type(adapter), model.config.n_embd
    form = FORMS[kind]
    config = form.defaults | {"peft_type": kind, "base_model_name_or_path": model.name}
    config |= {f.name: getattr(adapter, f.name) for f in fields(adapter) if f.name not in form.left_out}
    if "bias" in config:
        config["bias"] = bias
    if "use_dora" in config:
        config["use_dora"] = isinstance(adapter, DoRA)
    if modules:
        config["modules_to_save"] = saved_in_file(modules, model.config)
    if "target_modules" in config:
        config |= targets_in_file(adapter, config, model.config)
    if "token_dim" in config:
        config |= {"num_layers": model.config.n_layer, "token_dim": C}
        config |= {"num_attention_heads": model.config.n_head}
    if "encoder_hidden_size" in config and config["encoder_hidden_size"] is None:
        config["encoder_hidden_size"] = C
    if kind == "PROMPT_TUNING":
        config |= prompt_init(adapter, model)
    return with_tuples(config)


def trains_tied_head(modules, model_config):
    """Is the embedding that trains also the head?"""
    return model_config.head == "wte" and modules.trains_base("wte.weight", model_config)


def saved_in_file(modules, model_config):
    """modules_to_save: as here, if PEFT then copies these modules and no other; else each by its name.

    It copies a module whole and none within another, and not the list of blocks, "h".
    """
    names = [name for name in all_modules(model_config) if name != "h"]
    train = [name for name in names if modules.trains_base(f"{name}.weight", model_config)]
    train = [name for name in train if not any(name.startswith(f"{other}.") for other in train)]
    tied = ("lm_head",) if trains_tied_head(modules, model_config) else ()  # unnamed, PEFT parts the two
    own, named = (*modules.target_modules, *tied), (*train, *tied)
    return own if sorted(saved_in_peft(own, module_names(model_config))) == sorted(named) else named


def all_modules(model_config):
    """The names of all modules here: of those with parameters, and of what they lie in."""
    names = [name.split(".") for name in model_config.shapes()]
    return dict.fromkeys(".".join(parts[:n]) for parts in names for n in range(1, len(parts)))


def targets_in_file(adapter, config, model_config):
    """The keys that say where the adapter acts, in words by which PEFT acts there and nowhere else.

    Its own settings, if they say that; the same with "transformer." in front of an expression; an IA3 without
    feedforward_modules; or every layer by its name.
    """
    keys = ("target_modules", "feedforward_modules", "layers_to_transform")
    own = {key: getattr(adapter, key) for key in keys if key in vars(adapter)}
    here = layers, inputs = places(adapter, model_config)
    said = [own, {key: in_front(value) for key, value in own.items()}]
    if isinstance(adapter, IA3):
        said.append(own | {"feedforward_modules": ()})
    for words in said:
        with suppress(InputError):  # an expression that may have nothing in front
            if places_in_peft(config | words, module_names(model_config)) == here:
                return words
    return by_name(layers, inputs, own)


def in_front(value):
    """An expression for our names -> one for PEFT's, which begin with "transformer."; else as it is."""
    return rf"transformer\.({value})" if isinstance(value, str) and value != "all-linear" else value


def by_name(layers, inputs, keys):
    """The settings that name these layers one by one, as far as they are among `keys`."""
    words = {
        "target_modules": tuple(layers), "feedforward_modules": tuple(inputs), "layers_to_transform": None
    }  # fmt: skip
    return {key: value for key, value in words.items() if key in keys}


def places(adapter, model_config):
    """-> the layers beside which it acts, and those of them where the scale of an IA3 is on what enters."""
    layers = [name for name in layers_for(adapter, model_config) if acts_beside(adapter, name)]
    return layers, [name for name in layers if isinstance(adapter, IA3) and adapter.scales_input(name)]


def prompt_init(adapter, model):
    """How a prompt began. PEFT has a text as a text, which a tokenizer reads, and not as ids."""
    if not isinstance(adapter.prompt_tuning_init_text, str):
        init = "RANDOM" if adapter.prompt_tuning_init == "TEXT" else adapter.prompt_tuning_init
        return {"prompt_tuning_init": init, "prompt_tuning_init_text": None}
    return {"tokenizer_name_or_path": model.name or "gpt2"}


def methods_in(config, model_config, path):
    """adapter_config.json -> the methods it stands for: the adapter first; a table without its encoder.

    Raises InputError for a key that is not implemented here, unless its value switches it off.
    """
    form = FORMS.get(config.get("peft_type"))
    if form is None:
        known = ", ".join(FORMS)
        raise InputError(f"{path}: peft_type {config.get('peft_type')!r} is not one of {known}")
    known = {f.name for f in fields(form.method)} | UNREAD | KINDS.keys()
    for key, value in config.items():
        if key not in known and value and value != form.defaults.get(key) and not harmless(key, config):
            raise InputError(f"{path}: {key} = {value!r} is not implemented")
    if config.get("task_type") not in (None, "CAUSAL_LM", "FEATURE_EXTRACTION"):
        raise InputError(f"{path}: task_type = {config['task_type']!r} is not implemented")
    own = settings(form.method, config, path)
    if form.method in (PromptTuning, PTuning, PrefixTuning):
        if "num_virtual_tokens" not in own:
            raise InputError(f"{path}: num_virtual_tokens is missing")
        cls = PrefixTuning if form.method is PrefixTuning else PromptTuning
        adapter = cls(own["num_virtual_tokens"])
        saved = saved_in_peft(config.get("modules_to_save") or (), ("transformer.wte",))
        if reads_embeddings(adapter) and saved:
            raise InputError(
                f"{path}: modules_to_save: PEFT itself does not use wte beside a prompt; take it out"
            )
    else:
        if own.get("layers_to_transform") == ():  # as if there were none
            del own["layers_to_transform"]
        if own.get("init_lora_weights") in HOW_IT_BEGAN:
            del own["init_lora_weights"]
        adapter = (DoRA if config.get("use_dora") else form.method)(**own)
        act_as_in_peft(adapter, config, model_config)
    return [adapter, *biases(adapter, config, model_config, path), *modules(config, model_config)]


def harmless(key, config):
    """Does a value beside the default change nothing here? How to begin says nothing once it has begun."""
    if key in BEGINNINGS:
        return config.get("init_lora_weights") != BEGINNINGS[key]
    return key == "layers_pattern" and config[key] in ("h", ["h"])


def act_as_in_peft(adapter, config, model_config):
    """Name the targets one by one where PEFT's rules find others than ours.

    What is in exclude_modules or modules_to_save is none, and an expression sees whole names alone.
    """
    modules = [f"transformer.{name}" for name in layers_for(adapter, model_config)]
    theirs = places_in_peft(config | vars(adapter), modules)
    if theirs is not None and theirs != places(adapter, model_config):
        for key, value in by_name(*theirs, vars(adapter)).items():
            setattr(adapter, key, value)


def biases(adapter, config, model_config, path):
    """PEFT's `bias` -> [BitFit] or nothing. Raises InputError for another value than PEFT has."""
    bias = config.get("bias", "none")
    if bias == "none":
        return []
    if bias == "all":
        return [BitFit()]
    if bias not in ("lora_only", "vera_only"):
        raise InputError(f"{path}: bias = {bias!r} is not implemented; 'none', 'all' and 'lora_only' are")
    if not isinstance(adapter.target_modules, str) and getattr(adapter, "layers_to_transform", None) is None:
        return [BitFit(adapter.target_modules)]
    return [BitFit(tuple(name for name in model_config.linear_layers() if acts_beside(adapter, name)))]


def modules(config, model_config):
    """PEFT's `modules_to_save` -> [Modules] or nothing. A tied head is no module: it trains with wte.

    There an entry is the end of a name, of any letters: "_f" is ln_f. Here it is one behind a dot.
    """
    saved = [m for m in config.get("modules_to_save") or () if m != "lm_head" or model_config.head == m]
    listed = []
    for m in saved:
        ends = [name for name in all_modules(model_config) if f"transformer.{name}".endswith(m)]
        listed += [m] if not ends or all(matches(name, (m,)) for name in ends) else ends
    return [Modules(tuple(dict.fromkeys(listed)))] if saved else []


# ------------------------------------------------------------------------------------------------ tensors

LAYOUTS = {  # from here to the file, and back
    "same": (lambda a: a, lambda a: a),
    "transposed": (lambda a: a.T, lambda a: a.T),
    "column": (lambda a: a[:, None], lambda a: a[:, 0]),
    "row": (lambda a: a[None], lambda a: a[0]),
}
KEYS = (  # the end of a tensor's name here, of its key there, and its layout there
    (".lora_A", ".lora_A.weight", "transposed"),  # (R, I)
    (".lora_B", ".lora_B.weight", "transposed"),  # (O, R)
    (".lora_magnitude_vector", ".lora_magnitude_vector", "same"),  # (O,)
    (".input.ia3_l", ".ia3_l", "row"),  # (1, I)
    (".ia3_l", ".ia3_l", "column"),  # (O, 1)
    (".vera_lambda_d", ".vera_lambda_d", "same"),  # (R,)
    (".vera_lambda_b", ".vera_lambda_b", "same"),  # (O,)
)
SHARED = {  # tensors that belong to no layer
    "vera_A": ("base_model.vera_A", "transposed"),  # (R, I_max)
    "vera_B": ("base_model.vera_B", "transposed"),  # (O_max, R)
    PromptTuning.table: ("prompt_embeddings", "same"),  # (P, C)
    TABLE: ("prompt_embeddings", "same"),  # (P, 2 L C)
}
PICKLE = "adapter_model.bin"  # what the first versions of PEFT wrote
PARTED = "parted"  # in `unread`: wte and head, one in the base, are two in the file, and do not train
TWICE = (".original_module.", ".modules_to_save.")  # what PEFT adds to the file where bias and modules meet


def place(name, adapter):
    """Where the tensor `name` is in the file: its key, and its layout."""
    if name in SHARED:
        return SHARED[name]
    prefix = "base_model." if adapter.num_virtual_tokens else "base_model.model."
    for here, there, layout in KEYS:
        if name.endswith(here):
            return f"{prefix}transformer.{name.removesuffix(here)}{there}", layout
    module, _, kind = name.rpartition(".")  # a parameter of the base
    if isinstance(adapter, LNTuning) and adapter.trains_base(name, None):
        module += ".ln_tuning_layers"
    elif acts_beside(adapter, module):
        module += ".base_layer"
    return f"{prefix}{'' if module == 'lm_head' else 'transformer.'}{module}.{kind}", "same"


def in_file(adapter, tensors, selected):
    """{name: (key, layout)} of what the file holds of a method's tensors and of the base's parameters."""
    left_out = () if getattr(adapter, "save_projection", True) else ("vera_A", "vera_B")
    return {name: place(name, adapter) for name in tensors | selected if name not in left_out}


def without_prefix(key):
    """A key as it is below PEFT's model and, where there is one, below "transformer.".

    The name "default" of the adapter, which PEFT leaves out and other writers do not, is left out, too.
    """
    key = key.removeprefix("base_model.").removeprefix("model.").removeprefix("transformer.")
    return key.replace(".default.", ".").removesuffix(".default")


def save(peft, folder):
    """Write the adapter."""
    adapter, _, modules = parts(peft.method)
    tensors, metadata = peft.tensors, {"minipeft": __version__}
    if has_encoder(adapter):
        write_safetensors(folder / ENCODER, encoder_of(peft.tensors), metadata)
        _, tensors = adapter.without_encoder(peft.tensors)
    if isinstance(adapter, LoRAPlus):  # a rate of training, no key of PEFT's
        metadata["loraplus_lr_ratio"] = repr(float(adapter.loraplus_lr_ratio))
    places = in_file(adapter, tensors, peft.selected)
    everything = tensors | peft.selected
    stored = {key: LAYOUTS[layout][0](everything[name]) for name, (key, layout) in places.items()}
    if modules and trains_tied_head(modules, peft.config):
        stored[place("lm_head.weight", adapter)[0]] = everything["wte.weight"]
    for name, array in peft.unread.get(TENSORS, {}).items():
        stored[place(name, adapter)[0]] = array
    config = configuration(peft, folder / CONFIG)
    if peft.unread.get(PARTED):
        targets = config.get("target_modules")
        if isinstance(targets, str) and matches("wte", targets):
            raise InputError(f"{folder}: target_modules {targets!r} fits wte, whose LoRA was made part of it")
        saved = {*(config.get("modules_to_save") or ()), "wte", "lm_head"}
        config["modules_to_save"], metadata[PARTED] = sorted(saved), "wte and lm_head"
    write_safetensors(folder / TENSORS, stored, metadata)
    write_json(folder / CONFIG, config)


def configuration(peft, path):
    """What adapter_config.json is to say.

    As long as the file that the adapter came from stands for the same method, it is written as it was, with
    the keys that it lacks; else what it says beside the method is kept.
    """
    config, read = config_of(peft.method, peft.model), peft.unread.get(CONFIG, {})
    if not read:
        return config
    as_read = config_of(Chain(methods_in(read, peft.config, path)), peft.model)
    if as_read == config:  # the table of P-tuning is a PromptTuning here, and P-tuning's in the file
        form = FORMS[read["peft_type"]]
        known = form.defaults.keys() | {f.name for f in fields(form.method)} | {"peft_type"}
        return {key: value for key, value in config.items() if key in known} | read
    return config | {key: read[key] for key in read.keys() & UNREAD - {"peft_type"}}


def load(model, folder, attach):
    """The adapter on `model`. Raises InputError for a setting or a tensor that does not fit."""
    path = folder / TENSORS
    config = read_config(folder)
    check_kinds(config, KINDS, folder / CONFIG)
    if not path.is_file() and (folder / PICKLE).is_file():
        raise InputError(
            f"{folder}: only safetensors are read, and no pickle such as {PICKLE}; `peft` converts it: "
            "PeftModel.from_pretrained(BASE, FOLDER).save_pretrained(FOLDER, safe_serialization=True)"
        )
    stored, metadata = read_safetensors(path)
    if not any(".transformer." in f".{key}" for key in stored):  # of a model without a head
        words = ("target_modules", "feedforward_modules", "exclude_modules")
        config = config | {key: in_front(config[key]) for key in words if key in config}
    stored = {without_prefix(key): a for key, a in stored.items() if not any(t in key for t in TWICE)}
    if PARTED in metadata:  # they are there for PEFT's sake
        saved = [m for m in config.get("modules_to_save") or () if m not in ("wte", "lm_head")]
        config = config | {"modules_to_save": saved or None}
    given, (stored, config) = model, converted(stored, config, model, folder / CONFIG)
    model, beside = with_embeddings(stored, config, model, path)
    model = with_the_heads_of(stored, model)
    adapter, *others = methods_in(config, model.config, folder / CONFIG)
    adapter = adapter.from_saved(vars(adapter), stored)
    if "loraplus_lr_ratio" in metadata and type(adapter) is LoRA:
        ratio = parse_json(metadata["loraplus_lr_ratio"], f"{path}: loraplus_lr_ratio")
        adapter = LoRAPlus(**vars(adapter), loraplus_lr_ratio=ratio)
    attached = attach(model, [adapter, *others] if others else adapter)
    places = in_file(adapter, attached.tensors, attached.selected)
    everything = attached.tensors | attached.selected
    expected = {without_prefix(key): (name, layout) for name, (key, layout) in places.items()}
    shapes = {key: LAYOUTS[layout][0](everything[name]).shape for key, (name, layout) in expected.items()}
    check_tensors(stored, shapes, path)
    for key, (name, layout) in expected.items():
        everything[name][...] = like(everything[name], LAYOUTS[layout][1](stored[key]))
    if (folder / ENCODER).is_file():
        attached = with_encoder(attached, config, folder, attach)
    if (
        config.get("task_type") == "FEATURE_EXTRACTION"
    ):  # a model without a head; a save's keys are of one with it
        config = config | {"task_type": "CAUSAL_LM"}
    attached.unread[CONFIG], attached.unread[TENSORS] = config, beside
    attached.unread[PARTED] = given.config.head == "wte" != model.config.head and len(beside) == 2
    return attached


def with_embeddings(stored, config, model, path):
    """The base with the embeddings that the file holds beside the adapter; they are taken out of `stored`.

    PEFT writes them where the vocabulary was resized. They do not train. -> the model, {name: array}.
    """
    trained = saved_in_peft(config.get("modules_to_save") or (), ("transformer.wte", "lm_head"))
    names = [f"{m}.weight" for m in ("wte", "lm_head") if m not in trained]
    one = len(names) == 1 and np.array_equal(stored.get("wte.weight"), stored.get("lm_head.weight"))
    beside = {} if one else {name: stored.pop(name) for name in names if name in stored}
    if not beside:  # or they are one tensor, which trains
        return model, {}
    wte = model.weights["wte.weight"]
    check_tensors(beside, dict.fromkeys(beside, wte.shape), path)
    head = beside.get("lm_head.weight")
    parted = head is not None and not np.array_equal(head, beside.get("wte.weight"))
    if parted and model.config.head == "wte":
        model = model.untied()
    here = beside.keys() & model.weights.keys()  # a head that is wte itself is not there
    new = {name: like(wte, beside[name]).astype(wte.dtype) for name in here}
    return model.with_weights(model.weights | new), beside


def with_the_heads_of(stored, model):
    """A tied model, untied where the file trains one of wte and lm_head and not the other, as PEFT has it.

    Where both are there and equal they stay one, and lm_head is taken out of `stored`.
    """
    wte, head = stored.get("wte.weight"), stored.get("lm_head.weight")
    if model.config.head == "lm_head" or (wte is None and head is None):
        return model
    if wte is not None and head is not None and np.array_equal(wte, head):
        del stored["lm_head.weight"]
        return model
    return model.untied()


# ------------------------------------------------------------------------- what a finished table came from

ENCODER = "encoder.safetensors"  # PEFT's module `prompt_encoder`, its names and layouts
CLOSE = 1e-4  # of the largest entry: how far the encoder's table may be from the file's


def has_encoder(adapter):
    """Does its table come from a network?"""
    return isinstance(adapter, PTuning) or (isinstance(adapter, PrefixTuning) and adapter.prefix_projection)


def encoder_of(tensors):
    """{PEFT's name: tensor}: "prompt_encoder.mlp_head.0.weight" (I, O) -> "mlp_head.0.weight" (O, I)."""
    own = {name.partition(".")[2]: t for name, t in tensors.items() if "_encoder." in name}
    return {"embedding.weight": own.pop("embedding")} | {name: t.T for name, t in own.items()}


def with_encoder(attached, config, folder, attach):
    """The adapter with what its table came from, if that is beside it; with the table if the two differ."""
    path, methods = (
        folder / ENCODER,
        attached.method.methods if type(attached.method) is Chain else [attached.method],
    )
    cls = {"P_TUNING": PTuning, "PREFIX_TUNING": PrefixTuning}.get(config["peft_type"])
    if cls is None:
        return attached
    encoder = cls(**settings(cls, config, folder / CONFIG))
    if not has_encoder(encoder):
        return attached
    stored, _ = read_safetensors(path)
    whole = attach(attached.model, [encoder, *methods[1:]] if methods[1:] else encoder)
    check_tensors(stored, {name: t.shape for name, t in encoder_of(whole.tensors).items()}, path)
    for name, tensor in encoder_of(whole.tensors).items():
        tensor[...] = like(tensor, stored[name])  # views: a transpose writes through
    _, made = encoder.without_encoder(whole.tensors)
    (table,), (expected,) = made.values(), attached.tensors.values()
    table, expected = to_host(table), to_host(expected)
    if abs(table - expected).max() > CLOSE * abs(expected).max():
        return attached
    for name, weight in attached.selected.items():
        whole.selected[name][...] = weight
    return whole
