"""What a model or adapter folder contains."""

from pathlib import Path

from .files import find_folder, read_config, read_json, read_safetensors, weight_files


def describe(folder):
    """A folder -> {"kind": "model" or "adapter", its settings, parameters, memory}; reads headers."""
    if (Path(folder) / "adapter_config.json").is_file():
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
    stored = [tensor for file in weight_files(path) for tensor in read_safetensors(file)[0].values()]
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
    """The same for an adapter folder."""
    config = read_json(folder / "adapter_config.json")
    tensors, _ = read_safetensors(folder / "adapter_model.safetensors")
    parameters = sum(t.size for t in tensors.values())
    return {
        "kind": "adapter",
        "folder": str(folder),
        "config": {key: value for key, value in config.items() if value not in (None, {}, [])},
        "parameters": parameters,
        "tensors": {name: list(t.shape) for name, t in tensors.items()},
        "file_mb": (folder / "adapter_model.safetensors").stat().st_size / 1e6,
        "memory_mb": {
            "weights (float32)": parameters * 4 / 1e6,
            "training adds (gradients, AdamW)": parameters * 12 / 1e6,
        },
    }


def in_words(result):
    """`describe`'s result for a person."""
    size = f"{result['parameters']:,} parameters, {result['file_mb']:.2f} MB on disk"
    lines = [f"{result['folder']}: {result['kind']}, {size}"]
    for part, size in result.get("by_part", {}).items():
        if size:
            lines.append(f"  {part:<12} {size:>12,}  {100 * size / result['parameters']:5.1f} %")
    lines += [f"  {what}: {mb:,.1f} MB" for what, mb in result["memory_mb"].items()]
    lines.append("  " + ", ".join(f"{key} {value}" for key, value in result["config"].items()))
    for name, shape in result.get("tensors", {}).items():
        lines.append(f"  {name} {tuple(shape)}")
    return "\n".join(lines)
