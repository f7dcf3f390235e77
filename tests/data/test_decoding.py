"""A file in another encoding is read right, or refused with a way that reads it right."""

import re

import pytest

from ftzard.data.reading import read_raw
from ftzard.errors import DataError

TEXTS = {
    "cp1251": "Привет, это очень хорошо",
    "koi8-r": "Привет, это очень хорошо",
    "gb18030": "这个产品非常好，我很喜欢",
    "cp932": "この製品はとても良いです",
    "cp949": "이 제품은 아주 좋습니다",
    "cp1252": "Das wäre “schön” für 5 €",
    "cp1250": "Příliš žluťoučký kůň",
    "cp1253": "Καλημέρα σας",
}


def write(path, encoding, text):
    rows = [f'"{text} {number}",{number % 2}' for number in range(20)]
    path.write_bytes("\n".join(["text,label", *rows]).encode(encoding))


def read(path, encoding="utf-8"):
    return read_raw(path, text_column="text", label_column="label", encoding=encoding)


@pytest.mark.parametrize("encoding", TEXTS)
def test_the_refusal_shows_how_the_words_read_in_the_encoding_that_is_right(tmp_path, encoding):
    path, text = tmp_path / "rows.csv", TEXTS[encoding]
    write(path, encoding, text)
    with pytest.raises(DataError, match="Set data.encoding to the one in which") as caught:
        read(path)
    shown = dict(re.findall("'([^']+)' in ([^;]+?)[;.]", str(caught.value).split("They read")[1]))
    word = next(word for word in re.split(r"[\s,]", text) if not word.isascii())
    named = [names for words, names in shown.items() if words.startswith(word)]
    assert any(encoding in names for names in named), shown
    right = next(names.split(" or ")[0] for names in named if encoding in names)
    assert read(path, right)["text"][0] == f"{text} 0"


@pytest.mark.parametrize("encoding", [
    "latin-1", "l1", "latin", "L1", "iso8859-1", "8859", "cp1251", "koi8-r", "cp1250", "iso-8859-2",
    "mac-roman", "gbk", "cp850"])
def test_utf_8_read_as_anything_else_is_refused(tmp_path, encoding):
    path = tmp_path / "rows.csv"
    write(path, "utf-8", "Это кафе")
    with pytest.raises(DataError, match="valid utf-8; read as .* Set data.encoding=utf-8") as error:
        read(path, encoding)
    assert f"read as {encoding}" in str(error.value)


@pytest.mark.parametrize(("written", "read_as", "remedy"), [
    ("cp1252", "latin-1", "cp1252"), ("cp1252", "iso-8859-2", "cp1252"),
    ("cp932", "iso-8859-15", "cp932")])
def test_control_characters_of_a_wrong_encoding_are_refused(tmp_path, written, read_as, remedy):
    path = tmp_path / "rows.csv"
    write(path, written, TEXTS[written])
    with pytest.raises(DataError, match="has the control character U\\+00[89]") as caught:
        read(path, read_as)
    assert f"in {remedy}" in str(caught.value)
    assert read(path, remedy)["text"][0] == f"{TEXTS[written]} 0"


@pytest.mark.parametrize("encoding", ["iso-2022-jp", "iso-2022-kr"])
def test_escape_sequences_are_no_text(tmp_path, encoding):
    path, text = tmp_path / "rows.csv", TEXTS["cp932" if encoding.endswith("jp") else "cp949"]
    write(path, encoding, text)
    with pytest.raises(DataError, match=f"Set data.encoding={encoding};"):
        read(path)
    assert read(path, encoding)["text"][0] == f"{text} 0"


def test_what_a_file_in_utf_8_holds_is_kept(tmp_path):
    path = tmp_path / "rows.csv"
    write(path, "utf-8", "a caf\u00e9\u0092s \x1b[1mbold\x1b[0m")
    assert read(path)["text"][0] == "a caf\u00e9\u0092s \x1b[1mbold\x1b[0m 0"


def test_a_text_that_was_broken_before_is_no_other_encoding(tmp_path):
    """Published data sets hold utf-8 that was cut, beside letters of latin-1."""
    path, text = tmp_path / "rows.csv", "caf\u00e9 \u00e2\u0080? so \u00e2\u0099\u00a5"
    write(path, "latin-1", text)
    assert read(path, "latin-1")["text"][0] == f"{text} 0"
    write(path, "cp1252", "caf\u00e9\u2026")
    with pytest.raises(DataError, match="control character U\\+0085"):
        read(path, "latin-1")
