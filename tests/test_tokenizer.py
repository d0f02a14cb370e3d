"""A tokenizer is used as a model needs it, whatever else its files say; text is decoded as it stands."""

import json
import shutil
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from minipeft import GPT2, GPT2Config, InputError
from minipeft.data.batches import encode_rows
from minipeft.files.tokenizer import load_tokenizer
from minipeft.generate import TextStream, continuation

TINY = Path(__file__).parents[1] / "weights" / "tiny"
TEXT = "name : The Eagle | food : French ||"
END = 1663


def folder_with(tmp_path, **changes):
    """The embedded model's tokenizer.json, with these keys changed."""
    values = json.loads((TINY / "tokenizer.json").read_text()) | changes
    (tmp_path / "tokenizer.json").write_text(json.dumps(values))
    return tmp_path


@pytest.fixture(scope="module")
def tiny():
    return load_tokenizer(TINY)


def model_of(tokenizer):
    return GPT2.random(
        GPT2Config(vocab_size=1664, n_positions=64, n_embd=8, n_layer=1, n_head=1), tokenizer=tokenizer
    )


PAD = {"strategy": {"Fixed": 32}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": END,
       "pad_type_id": 0, "pad_token": "<|endoftext|>"}  # fmt: skip
CUT = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}


@pytest.mark.parametrize("changes", [{"padding": PAD}, {"truncation": CUT}])
def test_padding_and_truncation_of_an_earlier_use_are_off(changes, tiny, tmp_path):
    assert load_tokenizer(folder_with(tmp_path, **changes)).encode(TEXT).ids == tiny.encode(TEXT).ids


def test_a_file_on_which_the_library_panics_is_refused_in_one_line(tmp_path):
    """A panic in Rust is no Exception. This prefix of what continues a word is longer than any token."""
    model = json.loads((TINY / "tokenizer.json").read_text())["model"]
    with pytest.raises(InputError, match=r"the tokenizer's files cannot be read: (range end|byte) index"):
        load_tokenizer(folder_with(tmp_path, model=model | {"continuing_subword_prefix": "#" * 10}))


def test_words_are_not_split_at_random(tiny, tmp_path):
    model = json.loads((TINY / "tokenizer.json").read_text())["model"] | {"dropout": 0.5}
    tokenizer = load_tokenizer(folder_with(tmp_path, model=model))
    assert {tuple(tokenizer.encode(TEXT).ids) for _ in range(8)} == {tuple(tiny.encode(TEXT).ids)}


def template(*pieces):
    special = [("<|endoftext|>", END)]
    return json.loads(
        processors.TemplateProcessing(single=list(pieces), special_tokens=special).__getstate__()
    )


@pytest.mark.parametrize("pieces", [("<|endoftext|>", "$A", "<|endoftext|>"), ("<|endoftext|>", "$A")])
def test_a_template_begins_a_row_once_and_never_closes_a_prompt(pieces, tiny, tmp_path):
    model = model_of(load_tokenizer(folder_with(tmp_path, post_processor=template(*pieces))))
    prompt, completion = "name : The Eagle ||", " The Eagle is a pub."
    (pair, whole), _ = encode_rows([{"prompt": prompt, "completion": completion}, {"text": prompt}], model)
    assert pair == ([END, *tiny.encode(prompt).ids], [*tiny.encode(completion).ids, END])
    assert whole == ([], [END, *tiny.encode(prompt).ids, END])


def test_a_template_that_only_closes_is_left_out(tiny, tmp_path):
    tokenizer = load_tokenizer(folder_with(tmp_path, post_processor=template("$A", "<|endoftext|>")))
    assert tokenizer.encode(TEXT).ids == tiny.encode(TEXT).ids


def slow_folder(tmp_path):
    """vocab.json and merges.txt, as folders of slow tokenizers have them."""
    model = json.loads((TINY / "tokenizer.json").read_text())["model"]
    (tmp_path / "vocab.json").write_text(json.dumps(model["vocab"]))
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in model["merges"]]
    (tmp_path / "merges.txt").write_text("\n".join(merges))
    return tmp_path


def test_added_tokens_of_a_folder_without_tokenizer_json(tmp_path):
    folder = slow_folder(tmp_path)
    (folder / "added_tokens.json").write_text(json.dumps({"<|user|>": 1664, "<|bot|>": 1665}))
    (folder / "special_tokens_map.json").write_text(json.dumps({"additional_special_tokens": ["<|user|>"]}))
    tokenizer = load_tokenizer(folder)
    ids = tokenizer.encode("<|user|>Hi<|bot|>").ids
    assert ids[0] == 1664 and ids[-1] == 1665
    assert tokenizer.decode(ids) == "Hi<|bot|>"  # the one that is special is no text, unless asked for


def test_an_added_token_takes_the_space_before_it_where_its_file_says_so(tmp_path):
    folder = slow_folder(tmp_path)
    token = {"content": "<mask>", "special": True, "lstrip": True}
    (folder / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": {"1664": token}}))
    assert load_tokenizer(folder).encode("a <mask>").ids[1:] == [1664]  # no token for the space


def test_an_added_token_with_another_id_than_its_file_says_is_refused(tmp_path):
    folder = slow_folder(tmp_path)
    (folder / "added_tokens.json").write_text(json.dumps({"<|user|>": 2000}))
    with pytest.raises(
        InputError, match=r"added_tokens.json: the token '<\|user\|>' has the id 2000 here and 1664"
    ):
        load_tokenizer(folder)


@pytest.mark.parametrize(
    "file, content",
    [
        ("added_tokens.json", '{"<|user|>": "x"}'), ("added_tokens.json", "[1]"),
        ("tokenizer_config.json", '{"added_tokens_decoder": {"x": {"content": "a"}}}'),
        ("tokenizer_config.json", '{"added_tokens_decoder": {"1": {}}}'), ("tokenizer_config.json", "3"),
    ],
)  # fmt: skip
def test_files_of_added_tokens_that_make_no_sense_are_one_line(file, content, tmp_path):
    folder = slow_folder(tmp_path)
    (folder / file).write_text(content)
    with pytest.raises(InputError, match=rf"{file}: this is not how"):
        load_tokenizer(folder)


def test_a_template_around_words_that_are_not_letters(tmp_path):
    """The letter "a" is no token here: of it nothing is left."""
    made = Tokenizer(models.BPE({"<s>": 0, "c": 1, "d": 2}, []))
    made.post_processor = processors.TemplateProcessing(
        single=["<s>", "$A", "<s>"], special_tokens=[("<s>", 0)]
    )
    made.save(str(tmp_path / "tokenizer.json"))
    assert load_tokenizer(tmp_path).encode("cd").ids == [0, 1, 2]


@pytest.mark.parametrize(
    "config, message",
    [
        ({"n_layer": "4"}, "n_layer must be a whole number, not '4'"),
        ({"n_embd": 7.5}, "n_embd must be a whole number, not 7.5"),
        ({"layer_norm_epsilon": "x"}, "layer_norm_epsilon must be a finite number, not 'x'"),
        ({"tie_word_embeddings": 3}, "tie_word_embeddings must be true or false, not 3"),
        ({"n_head": 0}, "n_head must be 1 or more and below 2147483648, not 0"),
    ],
)
def test_a_configuration_with_odd_values_names_the_file_and_the_key(config, message, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"} | config))
    with pytest.raises(InputError, match=f"config.json: {message}"):
        GPT2.from_pretrained(tmp_path)


def test_a_configuration_that_is_no_object_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("[1, 2]")
    with pytest.raises(InputError, match=r"config.json: want an object of settings, not list"):
        GPT2.from_pretrained(tmp_path)


# ------------------------------------------------------------------------------------- decoding

CORPUS = [
    "the cat sat on the mat",
    "the dog sat on the log",
    "a cat and a dog",
    "cats and dogs of the world",
] * 5


def metaspace():
    made = Tokenizer(models.BPE(unk_token="<unk>"))
    made.pre_tokenizer, made.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    made.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=60, special_tokens=["<unk>"]))
    return made


def wordpiece():
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    made.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=60, special_tokens=["[UNK]"]))
    return made


@pytest.mark.parametrize(
    "make", [metaspace, wordpiece, lambda: load_tokenizer(TINY)], ids=["metaspace", "wordpiece", "bytes"]
)
@pytest.mark.parametrize("text, at", [("the cat sat on the mat", 2), ("cats and dogs of the world", 1)])
def test_a_continuation_is_what_stands_behind_the_prompt(make, text, at):
    tokenizer = make()
    ids = tokenizer.encode(text).ids
    whole = tokenizer.decode(ids)
    prompt, rest = ids[:at], ids[at:]
    assert tokenizer.decode(prompt) + continuation(tokenizer, prompt, rest) == whole
    stream = TextStream(tokenizer, prompt)
    assert tokenizer.decode(prompt) + "".join(map(stream.add, rest)) + stream.rest() == whole


def test_a_special_token_is_part_of_an_answer(tiny):
    tokenizer = Tokenizer.from_str(tiny.to_str())
    tokenizer.add_special_tokens(["<|act|>"])
    prompt, answer = tokenizer.encode("q ?").ids, tokenizer.encode(" <|act|> yes").ids
    assert continuation(tokenizer, prompt, answer) == " <|act|> yes"


# --------------------------------------------------------------------------- what else a folder says


def test_a_saved_model_says_what_its_folder_said(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    shutil.copytree(TINY, source)
    config = json.loads((source / "config.json").read_text()) | {"bos_token_id": 5, "pad_token_id": 7}
    (source / "config.json").write_text(json.dumps(config))
    beside = {"tokenizer_config.json": '{"pad_token": "$"}', "generation_config.json": '{"pad_token_id": 7}'}
    for file, text in beside.items():
        (source / file).write_text(text)
    GPT2.from_pretrained(source).save_pretrained(target)
    saved = json.loads((target / "config.json").read_text())
    assert (saved["bos_token_id"], saved["pad_token_id"], saved["eos_token_id"]) == (5, 7, END)
    assert {file: (target / file).read_text() for file in beside} == beside


OWN = Tokenizer.from_file(str(TINY / "tokenizer.json"))
HELLO, SPACE_HELLO = OWN.encode("Hello world").ids, OWN.encode(" Hello world").ids
SPLIT = json.loads((TINY / "tokenizer.json").read_text())["pre_tokenizer"]


@pytest.mark.parametrize(
    "says, in_tokenizer_json, ids",
    [
        ({"add_prefix_space": True}, False, SPACE_HELLO),
        ({"add_prefix_space": True, "tokenizer_class": "GPT2TokenizerFast"}, False, SPACE_HELLO),
        ({"add_prefix_space": False, "tokenizer_class": "GPT2Tokenizer"}, True, HELLO),
        ({}, True, HELLO),  # as in `transformers`
        (None, True, HELLO),
        ({"tokenizer_class": "PreTrainedTokenizerFast"}, True, SPACE_HELLO),
        ({"add_prefix_space": True, "tokenizer_class": "PreTrainedTokenizerFast"}, False, HELLO),
    ],
    ids=str,
)
def test_a_text_begins_with_a_space_where_transformers_begins_it_so(says, in_tokenizer_json, ids, tmp_path):
    """Which of the two it is was tried with `transformers`."""
    folder = folder_with(tmp_path, pre_tokenizer=SPLIT | {"add_prefix_space": in_tokenizer_json})
    if says is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(says))
    assert load_tokenizer(folder).encode("Hello world").ids == ids


@pytest.mark.parametrize(
    "says, ids",
    [
        ({"add_prefix_space": True}, SPACE_HELLO),
        ({"add_bos_token": True}, [END, *HELLO]),
        ({"add_bos_token": True, "add_prefix_space": True, "bos_token": "!"}, [0, *SPACE_HELLO]),
        ({"add_bos_token": True, "bos_token": {"content": "!"}}, [0, *HELLO]),
        ({"add_bos_token": True, "bos_token": None}, HELLO),
    ],
    ids=str,
)
def test_the_beginning_of_a_text_beside_vocab_json(says, ids, tmp_path):
    folder = slow_folder(tmp_path)
    (folder / "tokenizer_config.json").write_text(json.dumps(says))
    assert load_tokenizer(folder).encode("Hello world").ids == ids


@pytest.mark.parametrize(
    "says, message",
    [
        ({"add_prefix_space": "yes"}, "add_prefix_space must be true or false, not 'yes'"),
        ({"add_prefix_space": None}, "add_prefix_space must be true or false, not None"),
        ({"add_bos_token": 1}, "add_bos_token must be true or false, not 1"),
        (
            {"add_bos_token": True, "bos_token": "<s>"},
            "add_bos_token is true, and bos_token '<s>' is no token",
        ),
    ],
    ids=str,
)
def test_a_beginning_that_makes_no_sense_is_refused(says, message, tmp_path):
    folder = slow_folder(tmp_path)
    (folder / "tokenizer_config.json").write_text(json.dumps(says))
    with pytest.raises(InputError, match=f"tokenizer_config.json: {message}"):
        load_tokenizer(folder)


def test_a_space_in_front_is_refused_where_words_are_split_otherwise(tmp_path):
    folder = folder_with(tmp_path, pre_tokenizer={"type": "Whitespace"})
    (folder / "tokenizer_config.json").write_text('{"add_prefix_space": true}')
    with pytest.raises(InputError, match="add_prefix_space is true, which only a ByteLevel pre-tokenizer"):
        load_tokenizer(folder)


def test_a_saved_model_begins_a_text_as_before(tmp_path):
    tokenizer = Tokenizer.from_file(str(TINY / "tokenizer.json"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    model_of(tokenizer).save_pretrained(tmp_path / "one")
    again = GPT2.from_pretrained(tmp_path / "one")
    again.save_pretrained(tmp_path / "two")
    for folder in (tmp_path / "one", tmp_path / "two"):
        assert load_tokenizer(folder).encode("Hello world").ids == SPACE_HELLO
        assert json.loads((folder / "tokenizer_config.json").read_text()) == {"add_prefix_space": True}


def test_an_end_token_that_config_json_does_not_name_is_the_published_one(tmp_path):
    config = GPT2Config(vocab_size=50258, n_positions=16, n_embd=8, n_layer=1, n_head=1)
    GPT2.random(config).save_pretrained(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    del values["eos_token_id"]
    (tmp_path / "config.json").write_text(json.dumps(values))
    assert GPT2.from_pretrained(tmp_path).config.eos_token_id == 50256


def test_an_end_token_outside_the_vocabulary_is_named(tiny):
    model = model_of(tiny)
    model.config.eos_token_id = 50256
    with pytest.raises(InputError, match="eos_token_id is 50256, and its vocabulary has 1,664 tokens"):
        encode_rows([{"text": "a"}], model)
