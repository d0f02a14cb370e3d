"""Rows, token ids, batches; every bad input is one clear line that says where."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from small import small_model, texts

from minipeft import InputError, pack
from minipeft.app.pretrain import train_tokenizer
from minipeft.data.batches import batches, encode_rows, load_pairs
from minipeft.data.rows import read_rows
from minipeft.files.tokenizer import load_tokenizer

SHARED = Path(__file__).parents[2] / "shared"  # real data: not part of the project
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="GPT-2's vocabulary and E2E are not there")


def model_with_tokenizer():
    model = small_model()
    model.tokenizer = train_tokenizer(["aa ab ba bb " * 20], 280)
    model.config = type(model.config)(**(vars(model.config) | {"vocab_size": 280, "eos_token_id": 279}))
    return model


@needs_shared
def test_gpt2s_vocabulary_gives_gpt2s_ids():
    tokenizer = load_tokenizer(SHARED / "gpt2")
    text = "Alan Turing theorized that computers would one day become"
    assert tokenizer.encode(text).ids == [36235, 39141, 18765, 1143, 326, 9061, 561, 530, 1110, 1716]
    assert tokenizer.decode(tokenizer.encode(" naïve — ☃ 日本").ids) == " naïve — ☃ 日本"
    assert tokenizer.token_to_id("<|endoftext|>") == 50256


@needs_shared
def test_e2e_has_the_lengths_that_its_readme_says():
    tokenizer, rows = load_tokenizer(SHARED / "gpt2"), read_rows(SHARED / "data" / "e2e_dev.jsonl")
    lengths = [len(tokenizer.encode(r["prompt"] + r["completion"]).ids) for r in rows]
    assert len(rows) == 4672 and np.mean(lengths) == pytest.approx(60.3, abs=0.05)


def test_the_loss_counts_on_the_completion_and_the_end_token():
    model = model_with_tokenizer()
    pairs, _ = encode_rows([{"prompt": "aa", "completion": " ab"}, {"text": "ba bb"}], model)
    assert pairs[0] == (model.tokenizer.encode("aa").ids, [*model.tokenizer.encode(" ab").ids, 279])
    assert pairs[1] == ([], [*model.tokenizer.encode("ba bb").ids, 279])
    batch = pack(pairs)
    p, c, t = len(pairs[0][0]), len(pairs[0][1]), len(pairs[1][1])
    assert batch.labelled.tolist() == [False] * p + [True] * (c + t)
    rows, labels = batch.targets(batch.layout)
    assert rows.tolist() == [*range(p - 1, p + c - 1), *range(p + c, p + c + t - 1)]
    assert labels.tolist() == pairs[0][1] + pairs[1][1][1:]  # nothing stands before the first token of a text


def test_a_batch_splits_into_parts_with_as_equal_numbers_of_tokens_as_can_be():
    batch = pack([([], ids) for ids in texts((9, 2, 4, 3, 6))])
    parts = batch.split(2)
    assert sorted(len(part.ids) for part in parts) == [12, 12]
    assert sorted(n for part in parts for n in part.layout.lengths) == [2, 3, 4, 6, 9]
    assert len(batch.split(50)) == 5


def test_batches_see_every_sequence_once_an_epoch_in_an_order_that_the_seed_decides():
    pairs = [([], [i]) for i in range(10)]
    assert [b.ids.tolist() for b in batches(pairs, 4)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]

    def epochs(seed):
        stream = batches(pairs, 4, np.random.default_rng(seed))
        return [[i for _ in range(3) for i in next(stream).ids.tolist()] for _ in range(2)]

    first, second = epochs(1)
    assert sorted(first) == sorted(second) == list(range(10)) and first != second
    assert epochs(1) == [first, second] != epochs(2)


def test_rows_too_long_are_refused_cut_or_dropped_and_counted():
    model = model_with_tokenizer()
    long, short = {"prompt": "ab " * 9, "completion": " ba" * 15 + "ä"}, {"prompt": "a", "completion": "b"}
    p, c = (model.tokenizer.encode(long[f]).ids for f in ("prompt", "completion"))
    assert len(p) + len(c) + 1 > 24 > len(c)
    with pytest.raises(InputError, match=r"row 2: .* the model has room for 24"):
        encode_rows([short, long], model)
    pairs, count = encode_rows([short, long], model, "drop")
    assert count == 1 and len(pairs) == 1
    pairs, count = encode_rows([short, long], model, "cut")
    assert count == 1 and pairs[1] == (p[-(24 - len(c) - 1) :], [*c, 279])
    pairs, _ = encode_rows([{"text": "ä" * 40}], model, "cut")
    assert len(pairs[0][1]) == 24
    with pytest.raises(InputError, match="no row fits the model's 24"):
        encode_rows([long], model, "drop")
    with pytest.raises(InputError, match="on_long 'squeeze' is not known"):
        encode_rows([short], model, "squeeze")


GOOD = '{"prompt": "a", "completion": "b"}\n'


@pytest.mark.parametrize(
    "content, message",
    [
        (GOOD + "{broken", "data.jsonl, line 2: not JSON"),
        (GOOD + "\n" + '{"prompt": "a"}', 'data.jsonl, line 3: want {"prompt"'),
        (GOOD + '{"prompt": "a", "completion": 3}', "data.jsonl, line 2: want"),
        (GOOD + "[1, 2]", "data.jsonl, line 2: want"),
        (GOOD + '{"prompt": "a", "completion": ""}', 'data.jsonl, line 2: "completion" is empty'),
        ("\n\n", "data.jsonl: no rows in it"),
        ("", "data.jsonl: no rows in it"),
        (b"\xff\xfe{}", "data.jsonl: not UTF-8 text"),
    ],
)
def test_bad_files_are_refused_with_their_line(content, message, tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as error:
        read_rows(path)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_line_separator_inside_a_json_string_does_not_end_a_row(tmp_path):
    rows = [{"prompt": "a\u2028b\u0085c", "completion": "d"}]
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(json.dumps(r, ensure_ascii=False) for r in rows), encoding="utf-8")
    assert read_rows(path) == rows


KINDS = [  # a file's name and content -> its rows
    (
        "a.jsonl",
        '{"text": "Fine. ", "label": "good"}\n{"prompt": "Bad", "label": 0}\n{"text": "So", "label": true}\n'
        '{"text": "t", "label": "x", "prompt": "p", "completion": "c"}\n{"text": "t", "id": 7}',
        [
            {"prompt": "Fine.", "completion": " good", "label": "good"},
            {"prompt": "Bad", "completion": " 0", "label": "0"},
            {"prompt": "So", "completion": " true", "label": "true"},
            {"prompt": "p", "completion": "c"},
            {"text": "t"},
        ],
    ),
    (
        "b.CSV",
        '\ufeffid,Prompt, Completion\r\n1,"a, ""b""\r\nc",d\r\n\r\n2,e,f\r\n',
        [{"prompt": 'a, "b"\r\nc', "completion": "d"}, {"prompt": "e", "completion": "f"}],
    ),
    ("c.tsv", "label\ttext\n1\ta, b\n", [{"prompt": "a, b", "completion": " 1", "label": "1"}]),
    ("d.csv", "text\na\n", [{"text": "a"}]),
    ("e.txt", "\n  one\r\ntwo\r\n \r\n\nthree\n", [{"text": "  one\ntwo"}, {"text": "three"}]),
]


@pytest.mark.parametrize("name, content, rows", KINDS, ids=[name for name, _, _ in KINDS])
def test_files_of_every_kind(name, content, rows, tmp_path):
    (tmp_path / name).write_bytes(content.encode())
    assert read_rows(tmp_path / name) == rows


BAD_FILES = [  # name, content, what the error says
    ("a.jsonl", '[\n{"text": "a"}', "line 1: not JSON: Expecting value at column 2: write one object a line"),
    ("a.jsonl", '{"text": "a", "label": 0.5}', 'line 1: "label" must be text'),
    ("a.jsonl", '{"text": "a", "label": " "}', 'line 1: "label" is empty'),
    ("a.jsonl", '{"text": " ", "label": "b"}', 'line 1: "text" is empty'),
    ("a.jsonl", '{"label": "b"}', 'line 1: want {"prompt"'),
    ("a.csv", "text;label\na;b\n", "line 1: the columns are 'text;label': call them prompt and completion"),
    ("a.csv", "prompt,answer\na,b\n", "line 1: the columns are 'prompt', 'answer': call them"),
    ("a.csv", 'text,label\n"a\nb",c\nd,e,f\n', "line 4: 3 fields, and the first line names 2 columns"),
    ("a.csv", 'text,label\n"a\nb",\n', 'line 2: "label" is empty'),
    ("a.csv", 'text,label\na,b\n"c"d,e\n', "line 3: ',' expected after '\"': put a field with quotes in it"),
    ("a.csv", 'text,label\na,b\n"c,d\ne,f\n', "line 3: unexpected end of data"),
    ("a.csv", "prompt,text\na,b\n", "line 1: there is prompt and text, and no completion"),
    ("a.jsonl", '{"prompt": "a", "text": "b"}', "line 1: prompt and text, and no completion: want"),
    ("a.csv", "text,label\n", "a.csv: no rows in it"),
    ("a.txt", " \n\n", "a.txt: no rows in it"),
]


@pytest.mark.parametrize("name, content, message", BAD_FILES)
def test_bad_files_of_every_kind_are_refused_with_their_line(name, content, message, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError) as error:
        read_rows(tmp_path / name)
    assert message in str(error.value) and f"{name}" in str(error.value) and "\n" not in str(error.value)


def test_a_class_is_trained_on_as_its_text_and_its_label():
    model = model_with_tokenizer()
    pairs, _ = load_pairs([{"text": "ab ba", "label": "bb"}, {"prompt": "", "completion": "aa"}], model)
    encode = lambda text: model.tokenizer.encode(text).ids
    assert pairs == [(encode("ab ba"), [*encode(" bb"), 279]), ([], [*encode("aa"), 279])]


def test_a_text_too_long_is_split_into_rows_of_like_length_that_hold_all_of_it():
    model = model_with_tokenizer()
    text, row = {"text": "ä" * 40}, {"prompt": "ab " * 30, "completion": "ä"}
    pairs, count = encode_rows([text, row], model, "split")
    *pieces, cut = pairs
    assert count == 2 and all(prompt == [] for prompt, _ in pieces)
    assert [len(ids) for _, ids in pieces] == [21, 20, 20, 20]  # two bytes a character, and the end token
    assert [i for _, ids in pieces for i in ids] == [*model.tokenizer.encode(text["text"]).ids, 279]
    assert cut == encode_rows([row], model, "cut")[0][0]


@pytest.mark.parametrize(
    "data, message",
    [
        ("nowhere.jsonl", "nowhere.jsonl: no such file"),
        ([], "the data is empty"),
        ([([1, 2], [61])], r"sequence 0: token id 61 is not in 0 \.\.\. 60"),
        ([([], [1]), ([], [])], "sequence 1 is empty"),
        ([([1] * 20, [1] * 5)], "sequence 0: 0 virtual \\+ 25 tokens do not fit the model's 24 positions"),
        ([{"text": "a"}], "no tokenizer"),
        ([{"txt": "a"}], "row 1: want"),
        (["hello"], "row 1: want a dict, or two lists of token ids, not 'hello'"),
        ([([1], [2]), (1, 2)], r"row 2: want a dict, or two lists of token ids, not \(1, 2\)"),
        ([([1], [2], [3])], "row 1: want a dict, or two lists of token ids"),
        (None, "the data: want a file's path, or a list of rows, not NoneType"),
        (io.StringIO('{"text": "a"}'), "the data: want a file's path, or a list of rows, not StringIO"),
        ({"text": "a"}, "the data: want a file's path, or a list of rows, not dict"),
    ],
)
def test_bad_data_is_refused(data, message):
    with pytest.raises(InputError, match=message):
        load_pairs(data, small_model())


def test_an_empty_batch_is_refused():
    with pytest.raises(InputError, match="at least one sequence"):
        pack([])


def test_half_a_character_is_refused_by_row_and_field(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "a", "completion": " b"}\n{"prompt": "hi \\ud83d", "completion": " b"}\n')
    with pytest.raises(
        InputError, match=r'line 2: "prompt": no text: half a character, .*ud83d.*, at place 4'
    ):
        read_rows(path)


def test_a_document_may_be_one_long_field(tmp_path):
    path, text = tmp_path / "rows.csv", "word " * 30_000
    path.write_text(f'text\n"{text}"\n"short"\n')
    assert [row["text"] for row in read_rows(path)] == [text, "short"]


def test_a_label_that_is_a_fraction_or_null_is_named(tmp_path):
    path = tmp_path / "rows.jsonl"
    for label in ("1.0", "null", "[1]"):
        path.write_text(f'{{"text": "good", "label": {label}}}\n')
        with pytest.raises(InputError, match=r'line 1: "label" must be text or a whole number, not'):
            read_rows(path)
