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
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # `tokenizers` raises bare Exception; a panic in Rust is not even that
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

    for i, content, special, flags, file in sorted(named_tokens(folder), key=lambda named: named[0]):
        if tokenizer.token_to_id(content) is None:
            token = AddedToken(content, special=special, **{"normalized": not special} | flags)
            (tokenizer.add_special_tokens if special else tokenizer.add_tokens)([token])
        if tokenizer.token_to_id(content) != i:
            raise InputError(
                f"{file}: the token {content!r} has the id {i} here and {tokenizer.token_to_id(content)} "
                "in the vocabulary"
            )


FLAGS = ("lstrip", "rstrip", "single_word", "normalized")  # how an added token is found in a text


def named_tokens(folder):
    """[(id, content, is it special?, other flags, file), ...] of what files beside the vocabulary name."""
    settings, names, added = (
        folder / f"{name}.json" for name in ("tokenizer_config", "special_tokens_map", "added_tokens")
    )
    try:
        file = settings
        decoder = read_json(file).get("added_tokens_decoder", {}) if file.is_file() else {}
        if decoder:
            return [
                (
                    int(i),
                    str(t["content"]),
                    bool(t.get("special")),
                    {f: bool(t[f]) for f in FLAGS if f in t},
                    file,
                )
                for i, t in decoder.items()
            ]
        file = names
        special = special_tokens(read_json(file)) if file.is_file() else set()
        file = added
        listed = read_json(file) if file.is_file() else {}
        return [(int(i), content, content in special, {}, file) for content, i in listed.items()]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{file}: this is not how `transformers` names added tokens: {error!r}") from None


def special_tokens(named):
    """{"eos_token": "<s>", "additional_special_tokens": [...]} -> the tokens, as text."""
    values = [v for value in named.values() for v in (value if isinstance(value, list) else [value])]
    return {str(v["content"] if isinstance(v, dict) else v) for v in values}


def leave_open(tokenizer):
    """Of a template that puts tokens around a text, keep those in front: a text may be gone on with.

    Whoever needs the end token behind a text puts it there: a prompt has none, a completion has one.
    """
    from tokenizers.processors import TemplateProcessing

    if tokenizer.num_special_tokens_to_add(is_pair=False):
        encoded = map(tokenizer.encode, ["a", *tokenizer.get_vocab()])  # "a" may be no word of it
        probe = next(each for each in encoded if 0 in each.special_tokens_mask)
        first = probe.special_tokens_mask.index(0)  # where the text begins
        front = list(zip(probe.tokens[:first], probe.ids[:first], strict=True))
        tokenizer.post_processor = TemplateProcessing(
            single=[*(token for token, _ in front), "$A"], special_tokens=front
        )
