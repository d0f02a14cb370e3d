"""The tokenizer of a folder, by the library `tokenizers`, as a model reads with it.

Files also hold what is meant for other uses: padding and truncation as they were set last, and a dropout that
splits words at random. A model's text is neither filled up, nor cut, nor drawn, so they are switched off.
"""

from pathlib import Path

from ..errors import InputError
from .json_files import read_json


def load_tokenizer(folder):
    """The tokenizer of a folder: tokenizer.json, or vocab.json + merges.txt; None where there is none.

    Tokens that other files of the folder add (added_tokens.json, tokenizer_config.json) are added. Raises
    InputError where a file cannot be read, or where an added token has another id than its file says.
    """
    from tokenizers import Tokenizer
    from tokenizers.implementations import ByteLevelBPETokenizer

    folder = Path(folder)
    try:
        if (folder / "tokenizer.json").is_file():
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        elif (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
            bpe = ByteLevelBPETokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
            bpe.add_special_tokens(["<|endoftext|>"])
            tokenizer = Tokenizer.from_str(bpe.to_str())
        else:
            return None
    except Exception as error:  # `tokenizers` raises bare Exception
        raise InputError(f"{folder}: the tokenizer's files cannot be read: {error}") from None
    add_tokens(tokenizer, folder)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    if getattr(tokenizer.model, "dropout", None):
        tokenizer.model.dropout = None
    leave_open(tokenizer)
    return tokenizer


def add_tokens(tokenizer, folder):
    """Add the tokens that tokenizer_config.json and added_tokens.json name, each under its id."""
    from tokenizers import AddedToken

    for i, content, special, file in sorted(named_tokens(folder)):
        if tokenizer.token_to_id(content) is None:
            token = AddedToken(content, special=special, normalized=not special)
            (tokenizer.add_special_tokens if special else tokenizer.add_tokens)([token])
        if tokenizer.token_to_id(content) != i:
            raise InputError(
                f"{file}: the token {content!r} has the id {i} here and {tokenizer.token_to_id(content)} "
                "in the vocabulary"
            )


def named_tokens(folder):
    """[(id, content, is it special?, file), ...] of the tokens that files beside the vocabulary name."""
    settings = folder / "tokenizer_config.json"
    decoder = read_json(settings).get("added_tokens_decoder", {}) if settings.is_file() else {}
    tokens = [(int(i), t["content"], bool(t.get("special")), settings) for i, t in decoder.items()]
    names = folder / "special_tokens_map.json"
    special = special_tokens(read_json(names)) if names.is_file() else set()
    added = folder / "added_tokens.json"
    listed = read_json(added) if added.is_file() and not decoder else {}
    return tokens + [(i, content, content in special, added) for content, i in listed.items()]


def special_tokens(named):
    """{"eos_token": "<s>", "additional_special_tokens": [...]} -> the tokens, as text."""
    values = [v for value in named.values() for v in (value if isinstance(value, list) else [value])]
    return {v["content"] if isinstance(v, dict) else v for v in values}


def leave_open(tokenizer):
    """Of a template that puts tokens around a text, keep those in front: a text may be gone on with.

    Whoever needs the end token behind a text puts it there: a prompt has none, a completion has one.
    """
    from tokenizers.processors import TemplateProcessing

    probe = tokenizer.encode("a")
    if any(probe.special_tokens_mask):
        first = probe.special_tokens_mask.index(0)
        front = list(zip(probe.tokens[:first], probe.ids[:first], strict=True))
        tokenizer.post_processor = TemplateProcessing(
            single=[*(token for token, _ in front), "$A"], special_tokens=front
        )
