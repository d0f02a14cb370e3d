"""Files of rows: JSONL, CSV, TSV or plain text -> a list of dicts.

A row is one of three:

    {"prompt": ..., "completion": ...}    the loss counts on the completion and the end token
    {"text": ..., "label": ...}           a class: the text is the prompt, a space and the label complete it
    {"text": ...}                         the loss counts on everything

The text of a class may be called "prompt", too, and its label may be a whole number, or true or false.

    .csv .tsv   the first line names the columns, as above; fields are quoted as spreadsheets do it
    .txt        documents with blank lines between them, each a "text"; line breaks within one are kept
    all others  JSONL: a row a line
"""

import csv
import io
import json
from itertools import groupby
from pathlib import Path

from ..errors import InputError, counted, whole_characters
from ..files.json_files import parse_json
from ..settings import plain

KINDS = '{"prompt": "...", "completion": "..."}, {"text": "..."} or {"text": "...", "label": "..."}'


def read_rows(path):
    """A file -> its rows, with no other fields than those above.

    Raises InputError with file and line for anything that is no such row.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: a folder: give one of the files in it")
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        text = path.read_bytes().decode("utf-8-sig")  # spreadsheets put a byte order mark in front
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise InputError(f"{path}, line {line}: a zero byte, which is no text")
    read = {".csv": read_csv, ".tsv": read_tsv, ".txt": read_text}.get(path.suffix.lower(), read_jsonl)
    rows = [normal_row(row, f"{path}, line {line}") for line, row in read(text, path)]
    if not rows:
        raise InputError(f"{path}: no rows in it")
    return rows


def read_jsonl(text, path):
    """Yield (line, object)."""
    for line, content in enumerate(text.split("\n"), 1):  # not splitlines: JSON may hold U+2028
        if not content.strip():
            continue
        where = f"{path}, line {line}"
        try:
            yield line, parse_json(content, where)
        except InputError as error:
            hint = ": write one object a line, without brackets around them" if content[0] == "[" else ""
            raise InputError(f"{error}{hint}") from None


def read_csv(text, path, delimiter=","):
    """Yield (line where it begins, {column: field}) of each record."""
    csv.field_size_limit(max(len(text), csv.field_size_limit()))  # a document may be one field
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    columns, begin = None, 1
    try:
        for fields in lines:
            where, line, begin = f"{path}, line {begin}", begin, lines.line_num + 1
            if not fields:
                continue
            if columns is None:
                columns = columns_of(fields, where)
                continue
            if len(fields) != len(columns):
                raise InputError(
                    f"{where}: {counted(len(fields), 'field')}, and the first line names "
                    f"{counted(len(columns), 'column')}: "
                    'put a field that holds a separator or a line break in "quotes"'
                )
            yield line, dict(zip(columns, fields, strict=True))
    except csv.Error as error:
        raise InputError(
            f"{path}, line {begin}: {error}: put a field with quotes in it in quotes, its own written twice"
        ) from None


def read_tsv(text, path):
    """`read_csv` with tabs."""
    return read_csv(text, path, "\t")


def columns_of(fields, where):
    """The columns' names, in lower case. Raises InputError where they do not make up a row."""
    names = [field.strip().lower() for field in fields]
    if not ({"prompt", "completion"} <= set(names) or "text" in names or {"prompt", "label"} <= set(names)):
        raise InputError(
            f"{where}: the columns are {', '.join(map(repr, names))}: call them prompt and completion, or "
            "text and label, or text (with commas between them in .csv, tabs in .tsv)"
        )
    if {"prompt", "text"} <= set(names) and "completion" not in names:
        raise InputError(f"{where}: there is prompt and text, and no completion: which one is meant?")
    if twice := [name for name in ("prompt", "completion", "text", "label") if names.count(name) > 1]:
        raise InputError(f"{where}: two columns are called {twice[0]!r}: which one is meant?")
    return names


def read_text(text, path):
    """Yield (line where it begins, {"text": document}): what stands between blank lines."""
    numbered = enumerate(text.replace("\r\n", "\n").split("\n"), 1)
    for filled, block in groupby(numbered, key=lambda each: bool(each[1].strip())):
        lines = list(block)
        if filled:
            yield lines[0][0], {"text": "\n".join(content for _, content in lines)}


def normal_row(row, where):
    """The fields of a row that count. Raises InputError unless it is one of the three kinds."""
    if not isinstance(row, dict):
        raise InputError(f"{where}: want {KINDS}")
    if "completion" not in row and "prompt" in row and "text" in row:
        raise InputError(f"{where}: prompt and text, and no completion: want {KINDS}")
    if "label" in row and "completion" not in row:
        return labelled_row(row, where)
    if "text" in row and "completion" not in row:
        return {"text": string(row, "text", where)}
    return {"prompt": string(row, "prompt", where, least=0), "completion": string(row, "completion", where)}


def labelled_row(row, where):
    """A row with a class, as prompt and completion, with the label beside them."""
    name = "prompt" if "prompt" in row else "text"
    values = {name: row.get(name), "label": row["label"]}
    label = plain(row["label"])
    if isinstance(label, int):
        values["label"] = json.dumps(label)  # true is "true", 1 is "1"
    elif not isinstance(label, str):
        raise InputError(f'{where}: "label" must be text or a whole number, not {label!r}')
    values = {key: value.strip() if isinstance(value, str) else value for key, value in values.items()}
    prompt, label = string(values, name, where), string(values, "label", where)
    return {"prompt": prompt, "completion": f" {label}", "label": label}


def string(row, name, where, least=1):
    """row[name]. Raises InputError unless it is text, of `least` characters or more."""
    if not isinstance(row.get(name), str):
        raise InputError(f"{where}: want {KINDS}")
    if len(row[name]) < least:
        raise InputError(f'{where}: "{name}" is empty')
    return whole_characters(row[name], f'{where}: "{name}"')
