"""The tokenizer of a folder, by the library `tokenizers`."""

from pathlib import Path

from ..errors import InputError


def load_tokenizer(folder):
    """The tokenizer of a folder: tokenizer.json, or vocab.json + merges.txt; None where there is none."""
    from tokenizers import Tokenizer
    from tokenizers.implementations import ByteLevelBPETokenizer

    folder = Path(folder)
    try:
        if (folder / "tokenizer.json").is_file():
            return Tokenizer.from_file(str(folder / "tokenizer.json"))
        if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
            bpe = ByteLevelBPETokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
            bpe.add_special_tokens(["<|endoftext|>"])
            return Tokenizer.from_str(bpe.to_str())
    except Exception as error:  # `tokenizers` raises bare Exception
        raise InputError(f"{folder}: the tokenizer's files cannot be read: {error}") from None
    return None
