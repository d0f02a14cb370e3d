"""What a model or adapter folder contains; what training it will take in memory."""

from pathlib import Path

from ..config import config_of_size, published
from ..cost.memory import hollow, largest_batch, predict, uniform_batch
from ..data.batches import load_pairs
from ..errors import InputError, counted, visible
from ..files.adapters.adapterhub import fusions_in
from ..files.checkpoint import MASK_BUFFERS, read_config, weight_files
from ..files.hub import find_folder
from ..files.json_files import read_object
from ..files.tensors import open_safetensors
from ..files.tokenizer import load_tokenizer
from ..train import Training


def describe(folder):
    """A folder -> {"kind": "model" or "adapter", its settings, parameters, memory}; reads headers."""
    if (Path(folder) / "adapter_config.json").is_file() or fusions_in(Path(folder)):
        return describe_adapter(Path(folder))
    path = find_folder(folder)
    config = read_config(path / "config.json")
    groups = {"embeddings": 0, "attention": 0, "mlp": 0, "layer norms": 0, "head": 0}
    for name, shape in config.shapes().items():
        kind = {"wte": "embeddings", "wpe": "embeddings", "lm_head": "head"}.get(name.split(".")[0])
        kind = kind or ("layer norms" if "ln_" in name else "attention" if ".attn." in name else "mlp")
        size = 1
        for n in shape:
            size *= n
        groups[kind] += size
    total = sum(groups.values())
    stored = [tensor for file in weight_files(path) for tensor in headers(file, MASK_BUFFERS).values()]
    return {
        "kind": "model",
        "folder": str(path),
        "config": vars(config),
        "parameters": total,
        "by_part": groups,
        "stored_as": sorted({str(tensor.dtype) for tensor in stored}),
        "file_mb": sum(file.stat().st_size for file in weight_files(path)) / 1e6,
        "memory_mb": {
            "weights (float32)": total * 4 / 1e6,
            "full fine-tuning adds (gradients, AdamW)": total * 12 / 1e6,
        },
    }


def describe_adapter(folder):
    """The same for an adapter folder, of any format: a fusion has its adapters in folders of their own."""
    fusions = fusions_in(folder)
    config = read_object(fusions[0] if fusions else folder / "adapter_config.json")
    files = sorted(folder.glob("*/*.safetensors" if fusions else "adapter*.safetensors"))
    if not files:
        raise InputError(f"{folder}: no adapter_model.safetensors or adapter.safetensors there")
    tensors = {name: tensor for file in files for name, tensor in headers(file).items()}
    parameters = sum(t.size for t in tensors.values())
    return {
        "kind": "adapter",
        "folder": str(folder),
        "config": {key: value for key, value in config.items() if value not in (None, {}, [])},
        "parameters": parameters,
        "tensors": {name: list(t.shape) for name, t in tensors.items()},
        "file_mb": sum(file.stat().st_size for file in files) / 1e6,
        "memory_mb": {
            "weights (float32)": parameters * 4 / 1e6,
            "training adds (gradients, AdamW)": parameters * 12 / 1e6,
        },
    }


def headers(file, skip=()):
    """{name: Stored} of a safetensors file, whose numbers stay unread."""
    with open_safetensors(file, skip) as (tensors, _):
        return tensors


def in_words(result):
    """`describe`'s result for a person."""
    size = f"{result['parameters']:,} parameters, {result['file_mb']:.2f} MB on disk"
    lines = [f"{result['folder']}: {result['kind']}, {size}"]
    for part, size in result.get("by_part", {}).items():
        if size:
            lines.append(f"  {part:<12} {size:>12,}  {100 * size / result['parameters']:5.1f} %")
    lines += [f"  {what}: {mb:,.1f} MB" for what, mb in result["memory_mb"].items()]
    lines += ["  settings", *(f"    {key} {value}" for key, value in leaves(result["config"]))]
    for name, shape in result.get("tensors", {}).items():
        lines.append(f"  {name} {tuple(shape)}")
    return "\n".join(map(visible, lines))


def leaves(config, above=""):
    """[("config.r", "8"), ...]: what a configuration sets, the keys of one inside another joined by dots."""
    found = []
    for key, value in config.items():
        if isinstance(value, dict):
            found += leaves(value, f"{above}{key}.")
        elif value not in (None, [], {}):
            found.append((above + key, ", ".join(map(str, value)) if isinstance(value, list) else str(value)))
    return found


# ------------------------------------------------------------------------------------- memory in training


def shape_of(name):
    """A model's configuration and tokenizer, its weights unread; nothing is downloaded for a published size.

    name: as `load_model` takes it, "random:" in front or not. Raises InputError for an adapter's folder.
    """
    name = name.removeprefix("random:")
    if (Path(name) / "adapter_config.json").is_file():
        raise InputError(f"{name}: an adapter; name its base here, and its method by --method and --set")
    if published(name) and not Path(name).is_dir():
        return config_of_size(name), None
    folder = find_folder(name)
    return read_config(folder / "config.json"), load_tokenizer(folder)


def training_memory(name, method, batch_size, length, labelled=None, data=None, base=None, **options):
    """What `minipeft train` will take: see `memory.predict`, whose result this is, bytes in MB.

    name: see `shape_of`. The batch: batch_size sequences of `length` tokens, of which the last `labelled`
    have a label; or the largest of the file `data`. base: its form, as --base has it; of what MKL packs its
    numbers are counted, not what MKL fills up. options: dropout, checkpointing. Raises InputError where
    something does not fit.
    """
    config, tokenizer = shape_of(name)
    Training(steps=1, batch_size=batch_size, **options)  # raises InputError where training would
    if data:
        pairs, _ = load_pairs(data, hollow(config, tokenizer=tokenizer), "cut")
        batch = largest_batch(pairs, batch_size)
    else:
        batch = uniform_batch(batch_size, length, labelled)
    result = predict(config, method, batch, tokenizer=tokenizer, base=base, base_given_up=True, **options)
    mb = {part: {key: n / 1e6 for key, n in each.items()} for part, each in result.pop("parts").items()}
    return {"model": name, "base": base, "parts_mb": mb, "total_mb": result.pop("total") / 1e6} | result


def memory_in_words(result):
    """`training_memory`'s result for a person: a table."""
    held = f" in {result['base']}" if result["base"] else ""
    lines = [
        f"{result['model']}{held}: {result['trainable']:,} numbers train, on batches of "
        f"{counted(result['sequences'], 'sequence')}, {counted(result['tokens'], 'token')}, "
        f"{result['labelled']} of them labelled; "
        f"threads: {result['threads']}",
        f"{'':<16} {'in all':>12} {'at the peak':>15}",
    ]
    for part, mb in result["parts_mb"].items():
        lines.append(f"{part:<16} {mb['in_all']:9,.1f} MB {mb['at_peak']:12,.1f} MB")
    lines.append(f"{'total':<16} {'':>12} {result['total_mb']:12,.1f} MB")
    lines.append(f"the peak: {result['where']}; Python itself takes some 60 MB more")
    return "\n".join(lines)
