"""The tokenizer of a folder, by the library `tokenizers`, as a model reads with it.

Files also hold what is meant for other uses: padding and truncation as they were set last, and a dropout that
splits words at random. A model's text is neither filled up, nor cut, nor drawn, so they are switched off.
"""

from pathlib import Path

from ..errors import InputError
from .json_files import as_json, parse_json, read_json, read_object

SETTINGS = "tokenizer_config.json"
CLASSES = (None, "GPT2Tokenizer", "GPT2TokenizerFast")  # of `transformers`, which names them in SETTINGS
END = "<|endoftext|>"  # of the published GPT-2s, which begins a text, too


def load_tokenizer(folder):
    """The tokenizer of a folder: tokenizer.json, or vocab.json + merges.txt; None where there is none.

    Tokens that other files of the folder add (added_tokens.json, tokenizer_config.json) are added, and what
    tokenizer_config.json says of the beginning of a text is done. Raises InputError where a file cannot be
    read, and where an added token has another id than its file says.
    """
    from tokenizers import Tokenizer
    from tokenizers.implementations import ByteLevelBPETokenizer

    folder = Path(folder)
    try:
        if (folder / "tokenizer.json").is_file():
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        elif (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
            bpe = ByteLevelBPETokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
            bpe.add_special_tokens([END])
            tokenizer = Tokenizer.from_str(bpe.to_str())
        else:
            return None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # `tokenizers` raises bare Exception; a panic in Rust is not even that
        raise InputError(f"{folder}: the tokenizer's files cannot be read: {error}") from None
    add_tokens(tokenizer, folder)
    begin_as_settings_say(tokenizer, folder)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    if getattr(tokenizer.model, "dropout", None):
        tokenizer.model.dropout = None
    leave_open(tokenizer)
    return tokenizer


def begin_as_settings_say(tokenizer, folder):
    """Does a text begin with a space, and with the token for its beginning?

    As `transformers` has it of GPT-2's tokenizer: add_prefix_space counts, and is false where it is not said,
    whatever tokenizer.json has; add_bos_token counts beside vocab.json, for tokenizer.json has a template.
    """
    from tokenizers.pre_tokenizers import ByteLevel
    from tokenizers.processors import TemplateProcessing

    file = folder / SETTINGS
    settings = read_object(file) if file.is_file() else {}
    if settings.get("tokenizer_class") not in CLASSES:
        return
    for key in ("add_prefix_space", "add_bos_token"):
        if not isinstance(settings.get(key, False), bool):
            raise InputError(f"{file}: {key} must be true or false, not {settings[key]!r}")
    space, split = settings.get("add_prefix_space", False), tokenizer.pre_tokenizer
    if isinstance(split, ByteLevel):
        split.add_prefix_space = space
        tokenizer.pre_tokenizer = split
    elif space:
        raise InputError(f"{file}: add_prefix_space is true, which only a ByteLevel pre-tokenizer can do")
    first = settings.get("bos_token", END)
    if settings.get("add_bos_token") and first and not (folder / "tokenizer.json").is_file():
        first = str(first.get("content") if isinstance(first, dict) else first)
        if tokenizer.token_to_id(first) is None:
            raise InputError(f"{file}: add_bos_token is true, and bos_token {first!r} is no token")
        tokenizer.post_processor = TemplateProcessing(
            single=[first, "$A"], special_tokens=[(first, tokenizer.token_to_id(first))]
        )


def settings_of(tokenizer, text=None):
    """The tokenizer_config.json of a tokenizer: `text`, or None, as long as that says how a text begins."""
    space = getattr(tokenizer.pre_tokenizer, "add_prefix_space", False)
    settings = parse_json(text or "{}", SETTINGS)
    if settings.get("tokenizer_class") not in CLASSES or space == settings.get("add_prefix_space", False):
        return text
    return as_json(settings | {"add_prefix_space": space}, indent=2) + "\n"


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
