"""Texts become ids that end in eos, cut ones are counted, and markup in a text is only text."""

import numpy
import pandas
import pytest
from tokenizers import Tokenizer
from tokenizers.models import BPE, WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast

from ftzard.errors import ModelError
from ftzard.modeling import tokenizer
from ftzard.modeling.tokenizer import encode, load_tokenizer, tokenizer_hash


def test_a_text_is_cut_to_the_limit_and_the_loss_is_counted(loaded):
    long = "happy " * 30
    input_ids, length, cut = encode(["happy day", long], loaded.tokenizer, 10)
    assert [ids[-1] for ids in input_ids] == [loaded.tokenizer.eos_token_id] * 2
    whole, _, none = encode([long], loaded.tokenizer, 1000)
    assert length.tolist() == [len(ids) for ids in input_ids] and length[1] == 10
    assert cut.tolist() == [0, len(whole[0]) - 10] and none.tolist() == [0]
    assert cut.dtype == length.dtype == numpy.int32


def test_an_empty_text_still_has_a_token(loaded):
    assert encode([""], loaded.tokenizer, 10)[0] == [[loaded.tokenizer.eos_token_id]]


def test_special_tokens_written_in_a_text_are_plain_characters(loaded):
    pad, eos = loaded.tokenizer.pad_token_id, loaded.tokenizer.eos_token_id
    ids = encode(["good <pad> day <eos>"], loaded.tokenizer, 40)[0][0]
    assert pad not in ids and eos not in ids[:-1]


def test_the_hash_is_the_same_after_a_save(tmp_path, loaded, folder):
    loaded.tokenizer.save_pretrained(tmp_path)
    assert tokenizer_hash(load_tokenizer(tmp_path)) == loaded.tokenizer_hash
    assert tokenizer_hash(load_tokenizer(folder)) == loaded.tokenizer_hash


def tokenizer_like_falcon_7b(folder, specials, **settings):
    vocabulary = {word: number for number, word in enumerate([*specials, "good", "day", "[UNK]"])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.add_special_tokens(list(specials))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **settings).save_pretrained(folder)
    return folder


def test_a_base_without_a_pad_token_takes_an_unused_special_one(tmp_path):
    source = tokenizer_like_falcon_7b(tmp_path, [">>A<<", ">>B<<", "<end>"], eos_token="<end>")
    assert load_tokenizer(source).pad_token == ">>B<<"


def test_a_pad_token_equal_to_eos_is_replaced_or_refused(tmp_path):
    settings = dict(eos_token="<end>", pad_token="<end>", padding_side="left")
    source = tokenizer_like_falcon_7b(tmp_path / "a", [">>A<<", "<end>"], **settings)
    tokenizer = load_tokenizer(source)
    assert tokenizer.pad_token == ">>A<<" and tokenizer.padding_side == "right"
    source = tokenizer_like_falcon_7b(tmp_path / "b", ["<end>"], **settings)
    with pytest.raises(ModelError, match="distinct from eos"):
        load_tokenizer(source)


def test_an_unknown_token_that_is_never_used_may_pad(tmp_path):
    """Llama 2 and Mistral 0.2 spell what they do not know in bytes and have no other token free."""
    bytes_ = {f"<0x{number:02X}>": number + 3 for number in range(256)}
    ids = {"<unk>": 0, "<s>": 1, "</s>": 2, **bytes_, "a": 259}
    settings = dict(eos_token="</s>", bos_token="<s>", unk_token="<unk>")
    for fallback in (True, False):
        inside = Tokenizer(BPE(ids, [], unk_token="<unk>", byte_fallback=fallback))
        inside.add_special_tokens(["<unk>", "<s>", "</s>"])
        folder = tmp_path / str(fallback)
        PreTrainedTokenizerFast(tokenizer_object=inside, **settings).save_pretrained(folder)
    tokenizer = load_tokenizer(tmp_path / "True")
    assert tokenizer.pad_token == "<unk>"
    assert tokenizer.pad_token_id not in encode(["a ü ☃ <unk>"], tokenizer, 40)[0][0]
    with pytest.raises(ModelError, match="distinct from eos"):
        load_tokenizer(tmp_path / "False")


def test_a_tokenizer_that_ends_no_text_is_refused(tmp_path):
    source = tokenizer_like_falcon_7b(tmp_path, ["<pad>"], pad_token="<pad>")
    with pytest.raises(ModelError, match="neither an eos nor a sep token"):
        load_tokenizer(source)


def test_a_limit_without_room_for_a_token_is_refused(loaded):
    with pytest.raises(ModelError, match="max_length is 1"):
        encode(["good"], loaded.tokenizer, 1)


def test_a_column_is_encoded_in_parts_as_it_would_be_at_once(loaded, monkeypatch):
    texts = [" ".join(["happy"] * count) for count in (3, 0, 40, 1, 7, 2, 2)]
    whole = encode(texts, loaded.tokenizer, 10)
    monkeypatch.setattr(tokenizer, "AT_ONCE", 3)
    parts = tokenizer.encode_column(pandas.Series(texts), loaded.tokenizer, 10)
    assert [ids.tolist() for ids in parts[0]] == whole[0] == encode(texts, loaded.tokenizer, 10)[0]
    assert all(ids.dtype == numpy.int32 for ids in parts[0])
    assert [one.tolist() for one in parts[1:]] == [one.tolist() for one in whole[1:]]
    assert tokenizer.encode_column(pandas.Series([], dtype="str"), loaded.tokenizer, 10)[0] == []
