"""Files that are broken on purpose: good folders, and what `mutant` makes of them, all of it from a seed.

A folder is {path: bytes}. Each kind of folder has a reader, which loads it and makes one use of it.
"""

import json
import random
import struct
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import against
from against import REFERENCE
from every_method import CASES
from folders import ROWS
from small import scramble, small_model, texts

from minipeft import GPT2, GPT2Config, InputError, PeftModel
from minipeft.app.info import describe, in_words
from minipeft.app.pretrain import train_tokenizer
from minipeft.data.rows import read_rows
from minipeft.errors import LONGEST
from minipeft.files.tokenizer import load_tokenizer

ADAPTERS = (  # of every format, and of every way through one
    "lora", "lora_plus", "dora", "rslora with patterns", "lora, pissa", "ia3", "vera", "loha",
    "ln_tuning, by expression", "lora and its biases", "dora, biases and the embedding", "two loras",
    "prompt_tuning", "p_tuning", "p_tuning, lstm", "a prefix and two prompts",
    "prefix_tuning", "prefix_tuning, projection", "prefix and modules",
    "bitfit", "sparse", "layerwise", "full",
    "adapter", "houlsby", "parallel_adapter, learned scaling", "fusion", "loreft", "diReFT",
    "mam", "unipelt", "mam and lora", "fusion, adapter, loreft, lora",
)  # fmt: skip
REFERENCES = (  # that other libraries wrote, for the tiny GPT-2 of reference/
    "converted/lora-bias", "converted/tokens", "converted/wte", "formats/lora-c_proj", "formats/vera-bias",
    "tiny-p-lstm", "hub-fusion", "hub-loreft-ends", "hub-mam", "hub-unipelt",
)  # fmt: skip


def rows_files():
    """One file of rows of every kind."""
    lines = [json.dumps(row) for row in ROWS]
    table = [f'"{row["prompt"]}","{row["completion"]}"' for row in ROWS]
    return {
        "rows.jsonl": "\n".join([*lines, '{"text": "good \\u00e4", "label": 1}']),
        "rows.csv": "\n".join(["prompt,completion", *table]),
        "rows.tsv": "\n".join(["text\tlabel", "fine\tgood", "bad\t0"]),
        "rows.txt": "one\ntwo\n\nthree\n",
    }


@cache
def good(kind):
    """{path: bytes} of a folder that loads."""
    if kind in REFERENCES:
        return contents(REFERENCE / kind)
    with TemporaryDirectory() as folder:
        folder = Path(folder)
        if kind == "rows":
            return {name: text.encode() for name, text in rows_files().items()}
        if kind in ("checkpoint", "shards", "tokenizer"):
            tokenizer = train_tokenizer([row["prompt"] + row["completion"] for row in ROWS], 280)
            config = GPT2Config(vocab_size=280, n_positions=24, n_embd=8, n_layer=2, n_head=2)
            GPT2.random(config, tokenizer=tokenizer).save_pretrained(folder)
            if kind == "tokenizer":
                added = {"0": {"content": tokenizer.id_to_token(0), "special": True}}
                (folder / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": added}))
                (folder / "config.json").unlink()
                (folder / "model.safetensors").unlink()
            if kind == "shards":
                (folder / "model.safetensors").rename(folder / "model-1.safetensors")
                index = {"weight_map": dict.fromkeys(config.shapes(), "model-1.safetensors")}
                (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        else:
            peft = PeftModel(base(), CASES[kind])
            scramble(peft.trainable)
            peft.save_pretrained(folder)
        return contents(folder)


def contents(folder):
    """{path: bytes} of the files in a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@cache
def base():
    """The model that the adapters are for."""
    return small_model("float32")


tiny = cache(partial(against.base, "float32"))  # the one that those of other libraries are for


def read(kind, folder):
    """Load a folder, and make one use of it; say what is in it, if that can be said."""
    if kind not in ("rows", "tokenizer"):
        with suppress(InputError):
            in_words(describe(folder))
    if kind == "rows":
        for path in folder.iterdir():
            read_rows(path)
    elif kind == "tokenizer":
        if tokenizer := load_tokenizer(folder):
            tokenizer.encode("name : The Eagle")
    elif kind in ("checkpoint", "shards"):
        GPT2.from_pretrained(folder).logits([[1, 2, 3]])
    else:
        PeftModel.from_pretrained(tiny() if kind in REFERENCES else base(), folder).logits(texts((3,)))


KINDS = ("checkpoint", "shards", "tokenizer", "rows", *ADAPTERS, *REFERENCES)

# ---------------------------------------------------------------------------------------------- mutations

HUGE = "<huge>"  # stands for what `json.dumps` does not write
RAW = {
    f'"{HUGE}1"': "9" * 5000, f'"{HUGE}2"': "NaN", f'"{HUGE}3"': "1e999", f'"{HUGE}7"': "9" * 400,
    f'"{HUGE}4"': "[" * 3000 + "]" * 3000, f'"{HUGE}5"': '{"a":' * 150 + "1" + "}" * 150,
    f'"{HUGE}6"': '"\\ud83d"',
}  # fmt: skip
VALUES = (
    None, True, False, 0, 1, -1, 2, 3, 7, 0.5, -0.0, 1e-320, 1e300, 10**9, 10**12, 2**31, 2**63, 30_000_000,
    "", "x", "\x1b[31mred\x07", "\u202e", "\0", "../up", "/etc/passwd", "x" * 5000, "lora", "NaN", "1",
    "all-linear",
    "(([a-z0-9._])+)+X", "(", "(a|a)*b", ".*.*.*.*.*.*.*.*X", "[", "\\1", "h.0", "wte", "default",
    [], {}, [[]], [None], [1, 2], ["c_attn"], [10**12], ["("], [{}], {"a": None}, {"default": 4}, {"(": 3},
    {"c_attn": 10**9}, {"": ""}, *(HUGE + str(i) for i in range(1, 8)),
)  # fmt: skip


def mutant(kind, seed):
    """What `good(kind)` becomes by one to three changes."""
    rng, files = random.Random(f"{kind} {seed}"), dict(good(kind))
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        path = rng.choice(sorted(files))
        if rng.random() < 0.03:
            change_files(files, path, rng)
        elif path.endswith(".json") and rng.random() < 0.85:
            files[path] = changed_json(files[path], rng)
        elif path.endswith(".safetensors") and rng.random() < 0.8:
            files[path] = changed_safetensors(files[path], rng)
        elif path.endswith(".jsonl") and rng.random() < 0.6:
            lines = files[path].split(b"\n")
            i = rng.randrange(len(lines))
            lines[i] = changed_json(lines[i], rng)
            files[path] = b"\n".join(lines)
        else:
            files[path] = changed_bytes(files[path], rng)
        if not files:
            break
    return files


def change_files(files, path, rng):
    """A file goes, is another one's content, or has another one's name."""
    other = rng.choice(sorted(files))
    what = rng.randrange(3)
    if what == 0:
        del files[path]
    elif what == 1:
        files[path] = files[other]
    else:
        files[path], files[other] = files[other], files[path]


def changed_bytes(data, rng):
    """Some bytes flipped, cut out, put in, doubled, or the end cut off."""
    a = rng.randrange(len(data) + 1)
    b = min(len(data), a + rng.choice((1, 1, 2, 8, 100)))
    what = rng.randrange(6)
    if what == 0 and data:
        a = min(a, len(data) - 1)
        return data[:a] + bytes([data[a] ^ (1 << rng.randrange(8))]) + data[a + 1 :]
    if what == 1:
        return data[:a] + data[b:]
    if what == 2:
        return data[:a] + rng.randbytes(b - a) + data[b:]
    if what == 3:
        put_in = (b"\0", b"\xff", b"\n", b'"', b",", b"\x1b[2J", b"\xed\xa0\x80", b"[" * 2000, b"9" * 5000)
        return data[:a] + rng.choice(put_in) + data[a:]
    if what == 4:
        return data[:b] + data[a:]
    return data[:a]


def changed_json(data, rng):
    """A value somewhere becomes another one, goes, or gets a neighbour; or some bytes change."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return changed_bytes(data, rng)
    return as_bytes(changed_value(value, rng))


def changed_value(value, rng):
    """One change, somewhere in it."""
    if not isinstance(value, dict | list) or not value or rng.random() < 0.02:
        return rng.choice(VALUES)
    key = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
    what = rng.random()
    value = value.copy()
    if what < 0.1:
        del value[key]
    elif what < 0.15 and isinstance(value, dict):
        value[rng.choice(("", "x", "\x1b[31m", "h.0", "__metadata__", f"{key}x"))] = value.pop(key)
    elif what < 0.2 and isinstance(value, dict):
        value[rng.choice(("config", "methods", "r", "name", "peft_type"))] = rng.choice(VALUES)
    elif what < 0.25:
        value[key] = rng.choice(list(value.values()) if isinstance(value, dict) else value)
    elif isinstance(value[key], dict | list) and value[key] and rng.random() < 0.8:
        value[key] = changed_value(value[key], rng)
    elif isinstance(value[key], int) and rng.random() < 0.5:
        value[key] = value[key] + rng.choice((-1, 1, 8, 1000, 10**6))
    else:
        value[key] = rng.choice(VALUES)
    return value


def as_bytes(value):
    """JSON, and what no writer of JSON would write."""
    text = json.dumps(value)
    for name, raw in RAW.items():
        text = text.replace(name, raw)
    return text.encode()


def changed_safetensors(data, rng):
    """The header as JSON, its length, or numbers of the body."""
    size = int.from_bytes(data[:8], "little")
    header, body = data[8 : 8 + size], data[8 + size :]
    what = rng.random()
    if what < 0.6:
        header = changed_json(header, rng)
        return struct.pack("<Q", len(header)) + header + body
    if what < 0.65:
        wrong = rng.choice((0, 1, size - 1, size + 1, 2**31, 2**63, 2**64 - 1)) % 2**64
        return struct.pack("<Q", wrong) + header + body
    if what < 0.9 and len(body) >= 4:
        at = 4 * rng.randrange(len(body) // 4)
        number = struct.pack("<f", rng.choice((float("nan"), float("inf"), -float("inf"), 3e38, -1.0, 1e-44)))
        return data[: 8 + size] + body[:at] + number + body[at + 4 :]
    return data[: 8 + size] + changed_bytes(body, rng)


# --------------------------------------------------------------------------------------------- what happens


def outcome(kind, seed, folder):
    """Write the mutant into an empty folder and read it. -> "loaded" or "refused"; all else is raised."""
    for path, data in mutant(kind, seed).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    try:
        read(kind, folder)
    except InputError as error:
        message = str(error)
        assert len(message) <= LONGEST and message.isprintable(), f"no line for a terminal: {message!r}"
        return "refused"
    return "loaded"
