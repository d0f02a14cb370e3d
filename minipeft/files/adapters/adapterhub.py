"""AdapterHub's format: what its library `adapters` (1.3) writes is read, and what is written it reads.

    FOLDER/adapter_config.json, adapter.safetensors      one adapter, a MAM, a UniPELT or a LoReFT;
                                                         a prefix, too, is read (and written as PEFT's)

    FOLDER/NAME/adapter_config.json, adapter.safetensors                 a fusion: a folder for each adapter,
    FOLDER/NAME,NAME/adapter_fusion_config.json,                         one for what joins them,
                     model_adapter_fusion.safetensors
    FOLDER/adapter_setup.json                                            and the list of their names

There `model.load_adapter(folder, use_safetensors=True, set_active=True)` reads the first, and
`model.load_adapter_setup(...)`, with the same arguments, the second. (There the writers are `save_adapter`
and `save_adapter_setup`. A fusion's folders may also lie side by side without the list, as
`save_all_adapters` and `save_all_adapter_fusions` leave them.)

Matrices are torch.nn.Linear's (out, in) there and GPT-2's (in, out) here; the transposes of this format are
in `as_there` and nowhere else.

What of a file says nothing here is kept, and written back on a save: other keys, and tensors of places where
nothing happens.

MAM and UniPELT compute here and there the same only of texts whose positions begin at P behind the prefix;
there they begin at 0 unless `position_ids` says otherwise. UniPELT's gates are each token's own here, and
means over the text there, so only texts of one token have equal logits. The files are whole either way.
Neither can `adapters` write as safetensors: see PICKLES.

DiReFT differs from NoReFT by a setting, subtract_projection, that `adapters` neither writes nor reads: from
any file it makes a NoReFT. Here the setting is in the file, and must be; there, what is in the file is a
DiReFT if `add_adapter` makes one of the same name before `load_adapter` fills it.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...backend import like, to_host
from ...errors import InputError, counted
from ...methods import (
    MAM,
    Adapter,
    AdapterFusion,
    Chain,
    Houlsby,
    LoReFT,
    ParallelAdapter,
    PrefixTuning,
    UniPELT,
)
from ...methods.about import is_registered
from ...speed.quantized import dequantized
from ..json_files import read_object, write_json
from ..tensors import check_tensors, read_safetensors, write_safetensors
from .config import CONFIG, check_kinds, with_tuples

VERSION = "adapters.1.3.0"
NAME = "minipeft"  # of an adapter that was not read from a file, where it has one

TENSORS = "adapter.safetensors"
FUSION_CONFIG, FUSION_TENSORS = "adapter_fusion_config.json", "model_adapter_fusion.safetensors"
SETUP, HEAD = "adapter_setup.json", "model_head.safetensors"

PICKLES = {
    TENSORS: "pytorch_adapter.bin",
    FUSION_TENSORS: "pytorch_model_adapter_fusion.bin",
}  # docs/formats.md has the command that converts one


def writes(method):
    """Is this method written in this format?"""
    return is_registered(type(method)) and method.about.adapterhub


def reads(folder):
    """Does the folder hold an adapter, or a fusion and its adapters, in this format?"""
    folder = Path(folder)
    if (folder / SETUP).is_file() or (folder / FUSION_CONFIG).is_file() or fusions_in(folder):
        return True
    return (folder / CONFIG).is_file() and "config" in read_object(folder / CONFIG)


def save(peft, folder):
    """Write the adapter of `peft`, or the fusion and each of its adapters."""
    folder = Path(folder)
    method = peft.method.methods[0] if type(peft.method) is Chain else peft.method
    if isinstance(method, AdapterFusion):
        save_fusion(peft, method, folder)
        return
    name = peft.unread.get(CONFIG, {}).get("name", NAME)
    write_config(peft, folder, CONFIG, {"name": name}, lambda kept: config_of(method, peft.config, kept))
    write_tensors(peft, folder, TENSORS, in_adapters(peft.tensors, name))


def save_fusion(peft, fusion, folder):
    """A folder for each adapter, one for the fusion, and the list of them."""
    names = check_names(fusion.adapters)
    read = [file for file in peft.unread if file.endswith(FUSION_CONFIG)]
    file = read[0] if read else f"{','.join(names)}/{FUSION_CONFIG}"
    name = peft.unread.get(file, {}).get("name", ",".join(names))
    tensors = in_adapters(peft.tensors, name, names)
    for adapter in names:
        inner = lambda kept, a=adapter: config_of(fusion.adapters[a], peft.config, kept)
        write_config(peft, folder, f"{adapter}/{CONFIG}", {"name": adapter}, inner)
        own = {key: views for key, views in tensors.items() if f".adapters.{adapter}." in key}
        write_tensors(peft, folder, f"{adapter}/{TENSORS}", own)
    both = {"name": name, "adapter_names": names}
    write_config(peft, folder, file, both, lambda kept: fusion_config(fusion, kept))
    own = {key: views for key, views in tensors.items() if ".adapter_fusion_layer." in key}
    write_tensors(peft, folder, file.replace(FUSION_CONFIG, FUSION_TENSORS), own)
    children = [{"type": "single", "children": [adapter]} for adapter in names]
    kwargs = {} if name == ",".join(names) else {"kwargs": {"name": name}}
    setup = {"type": "Fuse", "children": children} | kwargs
    write_json(folder / SETUP, {"adapter_setup": setup, "head_setup": None, "version": VERSION})


def load(model, folder, attach):
    """The adapter of a folder on `model`, or a fusion and its adapters.

    Raises InputError for a setting that is not implemented, a tensor that is missing, not known, or of a
    shape that does not fit `model`, a head that is not the model's, and a pickle file.
    """
    folder = Path(folder)
    if fusions_in(folder) or (folder / SETUP).is_file() or (folder / FUSION_CONFIG).is_file():
        return load_fusion(model, folder, attach)
    config = read_config(folder / CONFIG, model)
    method = method_of(config["config"], folder / CONFIG)
    attached = attach(model, method)
    attached.unread[CONFIG] = config
    unused = [f".units.{i}." for i in ends_without_positions(method)]
    read_tensors(attached, folder, TENSORS, in_adapters(attached.tensors, config["name"]), unused)
    if isinstance(
        method, PrefixTuning
    ):  # it is saved as Hugging Face PEFT's, which has no place for the rest
        attached.unread.clear()
    return attached


def load_fusion(model, folder, attach):
    """The fusion and the adapters that lie in sub-folders."""
    found = fusions_in(folder)
    if len(found) != 1:
        raise InputError(
            f"{folder}: {counted(len(found), 'sub-folder')} with {FUSION_CONFIG}: want one, and one for "
            "each adapter of the fusion, with the adapter's name"
        )
    if (folder / SETUP).is_file():
        whole = read_object(folder / SETUP)
        check_kinds(whole, {"adapter_setup": dict}, folder / SETUP)
        setup = whole.get("adapter_setup", {})
        check_kinds(setup, {"children": tuple[dict, ...]}, folder / SETUP)
        kinds = [str(one.get("type")) for one in (setup, *setup.get("children", ()))]
        if kinds != ["Fuse"] + ["single"] * (len(kinds) - 1):
            raise InputError(f"{folder / SETUP}: a setup of {', '.join(kinds)} is not implemented, only Fuse")
    config = read_config(found[0], model)
    check_kinds(config, {"adapter_names": tuple[str, ...] | None}, found[0])
    names = check_names(config.get("adapter_names") or config["name"].split(","))
    file = str(found[0].relative_to(folder))
    configs, adapters = {file: config}, {}
    for name in names:
        path = folder / name / CONFIG
        configs[f"{name}/{CONFIG}"] = own = read_config(path, model)
        if own["name"] != name:
            raise InputError(f"{path}: the name is {own['name']!r}, and its folder's {name!r}")
        adapters[name] = method_of(own["config"], path)
        if type(adapters[name]) not in (Adapter, Houlsby):
            kind = type(adapters[name]).__name__
            raise InputError(f"{path}: a fusion of anything but Adapter is not implemented, this is {kind}")
    value = settings_of(config["config"], FUSION, found[0])["value"]
    adapters = {name: vars(adapter) for name, adapter in adapters.items()}  # every one an Adapter
    attached = attach(model, AdapterFusion(adapters, value))
    attached.unread |= configs
    tensors = in_adapters(attached.tensors, config["name"], names)
    for name in names:
        own = {key: views for key, views in tensors.items() if f".adapters.{name}." in key}
        read_tensors(attached, folder, f"{name}/{TENSORS}", own)
    own = {key: views for key, views in tensors.items() if ".adapter_fusion_layer." in key}
    first = next(iter(attached.method.adapters.values()))
    unused = [f"h.{layer}." for layer in first.leave_out]  # where there is a fusion, too, of nothing
    read_tensors(attached, folder, file.replace(FUSION_CONFIG, FUSION_TENSORS), own, unused)
    return attached


def fusions_in(folder):
    """The configurations of fusions in the sub-folders."""
    return sorted(folder.glob(f"*/{FUSION_CONFIG}"))


def check_names(names):
    """The names of a fusion's adapters, as a list. Raises InputError for one that can be no folder's."""
    for name in names:
        if not name or not name.isprintable() or set(name) & set(".,/\\"):
            raise InputError(
                f"AdapterFusion: an adapter's name is a folder's, without . , / or \\: not {name!r}"
            )
    return list(names)


def ends_without_positions(method):
    """LoReFT's units there that edit nothing, which have no tensors here."""
    if not isinstance(method, LoReFT) or method.tied_weights:
        return []
    return [i for i, n in enumerate((method.prefix_positions, method.suffix_positions)) if n == 0]


# ------------------------------------------------------------------------------------------- the tensors

BOTTLENECK_PARTS = {  # the last part of a name here: of its key there
    "down": "adapter_down.0.weight", "down_bias": "adapter_down.0.bias", "up": "adapter_up.weight",
    "up_bias": "adapter_up.bias", "scaling": "scaling", "gate": "gate.weight", "gate_bias": "gate.bias",
}  # fmt: skip
FUSION_PARTS = {
    "query": "query.weight", "query_bias": "query.bias", "key": "key.weight", "key_bias": "key.bias",
    "value": "value.weight",
}  # fmt: skip
REFT_PARTS = {
    "source": "learned_source.weight", "source_bias": "learned_source.bias", "subspace": "projection.weight",
    "reflections": "projection.parametrizations.weight.original",
    "base": "projection.parametrizations.weight.0.base",
}  # fmt: skip
LORA_PARTS = {"A": "lora_A", "B": "lora_B", "gate": "gate.weight", "gate_bias": "gate.bias"}
GATE_PARTS = {"gate": "weight", "gate_bias": "bias"}
PREFIX = {  # of the whole model, not of one layer
    "prefix_embeddings": "control_trans",
    "prefix_encoder.embedding": "wte.weight",
    "prefix_encoder.transform.0.weight": "control_trans.0.weight",
    "prefix_encoder.transform.0.bias": "control_trans.0.bias",
    "prefix_encoder.transform.2.weight": "control_trans.2.weight",
    "prefix_encoder.transform.2.bias": "control_trans.2.bias",
}


def places(name, fused=()):
    """{place in a layer here: place there, its parts}, of an adapter `name`, or a fusion of several."""
    found = {
        "mlp.reft": (f"reft_layer.refts.{name}.units.0", REFT_PARTS),
        "mlp.reft_first": (f"reft_layer.refts.{name}.units.0", REFT_PARTS),
        "mlp.reft_last": (f"reft_layer.refts.{name}.units.1", REFT_PARTS),
        "attn.keys_values": (f"attn.prefix_tuning.prefix_gates.{name}", GATE_PARTS),
        "attn.c_attn.gated_q": (f"attn.c_attn.loras.{name}", LORA_PARTS),  # q and v share their tensors there
        "attn.c_attn.gated_v": (f"attn.c_attn.loras.{name}", LORA_PARTS),
    }
    for here, there in (("attn", "attention_adapters"), ("mlp", "output_adapters")):
        found[f"{here}.adapter"] = found[f"{here}.parallel"] = (f"{there}.adapters.{name}", BOTTLENECK_PARTS)
        found[f"{here}.fusion"] = (f"{there}.adapter_fusion_layer.{name}", FUSION_PARTS)
        for one in fused:
            found[f"{here}.fused_{one}"] = (f"{there}.adapters.{one}", BOTTLENECK_PARTS)
    return found


def key_there(own, name, fused=()):
    """ "h.3.mlp.adapter_down" -> "transformer.h.3.output_adapters.adapters.NAME.adapter_down.0.weight"."""
    if own in PREFIX:
        return f"transformer.prefix_tuning.prefix_tunings.{name}.self_prefix.{PREFIX[own]}"
    _, layer, rest = own.split(".", 2)
    for here, (there, parts) in places(name, fused).items():
        part = rest[len(here) + 1 :]  # behind a "_" or "."
        if rest.startswith(here) and part in parts:
            return f"transformer.h.{layer}.{there}.{parts[part]}"
    raise KeyError(own)


def as_there(tensor, key):
    """A view of the tensor in the shape that it has there, through which it is read and written."""
    if key.endswith(("wte.weight", ".base")):  # a table of rows, and a rotation: (in, out) in neither
        return tensor
    if key.endswith(".control_trans"):
        return tensor.reshape(-1)  # (P, 2 L C) -> (P 2 L C,)
    if tensor.ndim == 1 and key.endswith(".weight"):
        return tensor[None]  # a gate, (C,) -> (1, C)
    return tensor.T


def in_adapters(tensors, name, fused=()):
    """{key there: the views of the tensors here that lie in it, one above the other}."""
    there = {}
    for own, tensor in tensors.items():
        key = key_there(own, name, fused)
        there.setdefault(key, []).append(as_there(tensor, key))
    return there


def write_tensors(peft, folder, file, there):
    """The file of these views, and of what it held besides when it was read."""
    stored = {key: np.concatenate([to_host(view) for view in views]) for key, views in there.items()}
    for key, V in stored.items():
        if key.endswith(".original"):  # (R, C) reflections; there their diagonal holds signs, here nothing
            np.fill_diagonal(V, -1)
    write_safetensors(folder / file, peft.unread.get(file, {}) | stored)


def read_tensors(attached, folder, file, there, unused=()):
    """Write the tensors of a file into these views.

    unused: parts of keys of what nothing reads, here or there; it is kept. Copies of the prefix are not.
    """
    path = folder / file
    if not path.is_file() and (path.parent / PICKLES[path.name]).is_file():
        raise InputError(
            f"{path.parent}: only a pickle is there, {PICKLES[path.name]}, which is not read: "
            f"docs/formats.md has the command that makes {path.name} of it"
        )
    stored, _ = read_safetensors(path)
    prefix = "transformer."  # which a model without head does not put in front
    stored = {prefix + key.removeprefix(prefix): t for key, t in stored.items() if ".pool." not in key}
    attached.unread[file] = {key: stored.pop(key) for key in list(stored) if any(u in key for u in unused)}
    shape = lambda views: (sum(len(view) for view in views), *views[0].shape[1:])
    check_tensors(stored, {key: shape(views) for key, views in there.items()}, path)
    for key, views in there.items():
        if key.endswith(".original") and (np.trunc(np.diag(stored[key])) != -1).any():
            raise InputError(
                f"{path}: {key} has something else than -1 on its diagonal, where `adapters` reads signs: "
                "weight decay during training has spoilt it"
            )
        ends = np.cumsum([len(view) for view in views])
        for view, end in zip(views, ends, strict=True):
            view[...] = like(view, stored[key][end - len(view) : end])
    if (path.parent / HEAD).is_file():
        check_head(attached.model, path.parent / HEAD)


def check_head(model, path):
    """`adapters` writes the head beside the adapter. Raises InputError if it is not the model's own."""
    own = to_host(dequantized(model.weights[f"{model.config.head}.weight"]))
    for name, stored in read_safetensors(path)[0].items():
        if name != "lm_head.weight" or not np.array_equal(own.astype(stored.dtype), stored):
            raise InputError(
                f"{path}: {name} is not the model's, and no head is read; delete it if it may go"
            )


# ------------------------------------------------------------------------------------- the configuration


@dataclass
class Keys:
    """The keys of one configuration there.

    own    {key: the name of its field here}
    absent what a key means that is not in the file, of `own`; those that are not here must be
    must   values that are all that is implemented
    free   what says nothing here, with the values that `adapters` writes
    """

    own: dict
    absent: dict
    must: dict
    free: dict


same = lambda *keys: {key: key for key in keys}

BOTTLENECK = Keys(
    own=same(
        "mh_adapter", "output_adapter", "reduction_factor", "non_linearity", "original_ln_before", "scaling",
        "init_weights", "leave_out", "dropout",
    ),
    absent={
        "original_ln_before": False, "scaling": 1.0, "init_weights": "bert", "leave_out": (), "dropout": 0.0
    },
    must={
        "is_parallel": False, "ln_before": False, "ln_after": False, "original_ln_after": True,
        "residual_before_ln": True, "use_gating": False, "inv_adapter": None, "phm_layer": False,
        "stochastic_depth": 0.0,
    },
    free={
        "adapter_residual_before_ln": False, "cross_adapter": False, "init_weights_seed": None,
        "inv_adapter_reduction_factor": None, "phm_dim": 4, "phm_rank": 1, "phm_bias": True,
        "phm_c_init": "normal", "phm_init_range": 0.0001, "learn_phm": True, "shared_phm_rule": True,
        "factorized_phm_rule": False, "shared_W_phm": False, "factorized_phm_W": True,
        "hypercomplex_nonlinearity": "glorot-uniform",
    },
)  # fmt: skip
FUSION = Keys(
    own=same("value"),
    absent={},
    must={
        "key": True, "query": True, "query_before_ln": False, "residual_before": False, "temperature": False,
        "dropout_prob": None,
    },
    free={"regularization": True, "value_before_softmax": True, "value_initialized": True},
)  # fmt: skip
REFT = Keys(
    own=same(
        "layers", "prefix_positions", "suffix_positions", "r", "orthogonality", "tied_weights", "dropout",
        "subtract_projection", "non_linearity",
    ),
    absent={"tied_weights": False, "dropout": 0.05, "subtract_projection": True, "non_linearity": None},
    must={"architecture": "reft", "output_reft": True},
    free={"dtype": None, "init_weights_seed": None},
)  # fmt: skip
PREFIX_TUNING = Keys(
    own={"prefix_length": "num_virtual_tokens", "flat": "flat", "bottleneck_size": "encoder_hidden_size"},
    absent={"prefix_length": 30, "flat": False, "bottleneck_size": 512},
    must={
        "architecture": "prefix_tuning", "leave_out": [], "non_linearity": "tanh", "dropout": 0.0,
        "use_gating": False, "shared_gating": True,
    },
    free={"encoder_prefix": True, "cross_prefix": True, "init_weights_seed": None, "bottleneck_size": 512},
)  # fmt: skip
LORA = Keys(
    own={"r": "r"},
    absent={"r": 8},
    must={
        "architecture": "lora", "selfattn_lora": True, "intermediate_lora": False, "output_lora": False,
        "leave_out": [], "dropout": 0.0, "attn_matrices": ["q", "v"], "composition_mode": "add",
        "use_gating": True, "use_dora": False, "vera_d": None, "vera_b": None,
    },
    free={  # alpha too: there is a gate in place of alpha / r
        "alpha": 2, "init_weights": "lora", "init_weights_seed": None, "dtype": None,
    },
)  # fmt: skip


def config_of(method, model_config, kept):
    """The configuration of a method. kept: the one that it was read from, or {}."""
    if isinstance(method, MAM | UniPELT):
        gated = isinstance(method, UniPELT)
        rest = kept.get("configs", [{}] * 3)
        configs = [
            prefix_config(method.prefix_tuning, model_config.n_embd, gated, rest[0]),
            bottleneck_config(method.adapter, gated, rest[1]),
        ]
        if gated:
            configs.append(written(LORA, {"r": method.r}, rest[2]))
        return {"architecture": "union", "configs": configs}
    if isinstance(method, LoReFT):
        return reft_config(method, kept)
    return bottleneck_config(method, False, kept)


def written(keys, settings, kept):
    """Everything that a configuration says."""
    return keys.free | keys.must | kept | settings


def bottleneck_config(adapter, gated, kept):
    """Of an adapter, parallel or not. There a scaling is a float or a word, and no activation is "linear"."""
    settings = {key: getattr(adapter, key) for key in BOTTLENECK.own}
    if not isinstance(adapter.scaling, str):
        settings["scaling"] = float(adapter.scaling)
    if adapter.non_linearity is None:
        settings["non_linearity"] = "linear"
    parallel = isinstance(adapter, ParallelAdapter)
    return written(BOTTLENECK, settings | {"is_parallel": parallel, "use_gating": gated}, kept)


def reft_config(method, kept):
    """Of LoReFT; `adapters` does not know the last setting of a file, and takes it to be true."""
    settings = {key: getattr(method, key) for key in REFT.own}
    if method.orthogonality and method.subtract_projection and "subtract_projection" not in kept:
        del settings["subtract_projection"]
    return written(REFT, settings, kept)


def prefix_config(method, n_embd, gated, kept):
    """Of a prefix; how it was begun is not in the file."""
    settings = {"prefix_length": method.num_virtual_tokens, "flat": not method.prefix_projection}
    if method.prefix_projection:
        settings["bottleneck_size"] = method.encoder_hidden_size or n_embd
    return written(PREFIX_TUNING, settings | {"use_gating": gated}, kept)


def fusion_config(fusion, kept):
    """Of a fusion: "dynamic" there, or without V "static", which has no penalty on V either."""
    free = {"regularization": fusion.value, "value_initialized": fusion.value}
    return written(FUSION, {"value": fusion.value}, free | kept)


def write_config(peft, folder, file, names, inner):
    """A configuration file: what it said when it was read, and what has to be said. inner: kept -> config."""
    kept = peft.unread.get(file, {})
    about = {"model_class": "GPT2LMHeadModel", "model_name": peft.model.name, "version": VERSION}
    here = {"model_type": "gpt2", "hidden_size": peft.config.n_embd, "config": inner(kept.get("config", {}))}
    write_json(folder / file, names | about | kept | here)


def read_config(path, model):
    """A configuration file. Raises InputError where it is for another model, or older than "version"."""
    config = read_object(path)
    if config.get("model_type", "gpt2") != "gpt2":
        raise InputError(f"{path}: model_type = {config['model_type']!r}; this is a GPT-2")
    if config.get("hidden_size", model.config.n_embd) != model.config.n_embd:
        wide = f"hidden_size = {config['hidden_size']}, and the model's is {model.config.n_embd}"
        raise InputError(f"{path}: for another model: {wide}")
    for key in ("config", "name", "version"):  # before there was a version, "gelu" meant another function
        if not isinstance(config.get(key), dict if key == "config" else str):
            raise InputError(f"{path}: {key} is missing: not written by `adapters`, or by too old a one")
    return config


def method_of(config, path):
    """The method of a configuration. Raises InputError for what is not implemented, by key and value."""
    kind = config.get("architecture")
    if kind is None:
        return read_bottleneck(config, False, path)
    if kind == "prefix_tuning":
        return read_prefix(config, False, path)
    if kind == "reft":
        settings = settings_of(config, REFT, path)
        if not settings["orthogonality"] and "subtract_projection" not in config:
            raise InputError(
                f"{path}: `adapters` does not write subtract_projection: add to config "
                '"subtract_projection": true (NoReFT) or false (DiReFT)'
            )
        return LoReFT(**settings)
    if kind != "union":
        raise InputError(f"{path}: architecture = {kind!r} is not implemented")
    check_kinds(config, {"configs": tuple[dict, ...]}, path)
    configs = config.get("configs", [])
    for each in configs:
        check_kinds(each, {"architecture": str | None}, path)
    kinds = [c.get("architecture") for c in configs]
    if kinds == ["prefix_tuning", None]:
        adapter = read_bottleneck(configs[1], False, path)
        if not isinstance(adapter, ParallelAdapter):
            raise InputError(f"{path}: is_parallel = False is not implemented beside a prefix")
        return MAM(read_prefix(configs[0], False, path), adapter)
    if kinds == ["prefix_tuning", None, "lora"]:
        adapter = read_bottleneck(configs[1], True, path)
        if isinstance(adapter, ParallelAdapter):
            raise InputError(f"{path}: is_parallel = True is not implemented beside a prefix and LoRA")
        prefix, lora = read_prefix(configs[0], True, path), settings_of(configs[2], LORA, path)
        return UniPELT(prefix, Adapter(**vars(adapter)), **lora)
    union = ", ".join(k or "bottleneck" for k in kinds)
    raise InputError(f"{path}: a union of {union} is not implemented, only MAM's and UniPELT's")


def settings_of(config, keys, path, **must):
    """{field here: value}. must: goes before `keys.must`.

    Raises InputError for a key that is missing or not implemented. One that nobody knows is fine while it is
    null, false, zero or empty.
    """
    wanted = {key: None for key in config if key not in keys.own | keys.free} | keys.must | must
    for key, must_be in wanted.items():
        value = config.get(key, False if key == "use_gating" else must_be)
        if value != must_be and (value or must_be):  # one nothing is as good as another
            raise InputError(f"{path}: {key} = {value!r} is not implemented")
    if lacking := sorted(keys.own.keys() - keys.absent.keys() - config.keys()):
        raise InputError(f"{path}: {lacking[0]} is missing")
    values = {field: (keys.absent | config)[key] for key, field in keys.own.items()}
    return {field: with_tuples(value) for field, value in values.items()}


def read_bottleneck(config, gated, path):
    """Adapter, Houlsby (by what makes it one: after attention too, and reading h alone), ParallelAdapter."""
    parallel = bool(config.get("is_parallel", False))
    settings = settings_of(config, BOTTLENECK, path, is_parallel=parallel, use_gating=gated)
    if parallel:
        return ParallelAdapter(**settings)
    houlsby = settings["mh_adapter"] and not settings["original_ln_before"]
    return Houlsby(**settings) if houlsby else Adapter(**settings)


def read_prefix(config, gated, path):
    """The prefix, out of a network or flat."""
    check_kinds(config, {"flat": bool}, path)
    settings = settings_of(config, PREFIX_TUNING, path, use_gating=gated)
    flat = settings.pop("flat")
    return PrefixTuning(
        settings["num_virtual_tokens"], not flat, None if flat else settings["encoder_hidden_size"]
    )
