import pytest

from ftzard.data.normalization import duplicate_keys, normalise, normalise_all


@pytest.mark.parametrize(
    "text, words",
    [
        ("  So GOOD!!  ", "so good"),
        ("can't, can’t", "cant cant"),
        ("@Anna_b see http://x.co/1?a=b.", "user see http"),
        ("www.example.com/x or WWW.example.org", "http or http"),
        ("mail me@example.com", "mail me example com"),
        ("ｆｕｌｌ ① ﬁne…", "full 1 fine"),
        ("Straße STRASSE", "strasse strasse"),
        ("cafe\u0301 CAF\u00c9", "café café"),
        ("love it ❤\ufe0f👍🏽", "love it"),
        ("a\u00a0b\tc\nd\u200be", "a b c de"),
        ("#happy_day", "happy day"),
        ("我很高興。", "我很高興"),
        (" 😀 ", "😀"),
        ("...", "..."),
        ("", ""),
    ],
)
def test_words_of_a_text(text, words):
    assert normalise(text) == words
    assert normalise(words) == words or not any(c.isalnum() for c in words)


def test_a_column_gives_what_its_texts_give():
    texts = ["A b", "😀", "", "it's @x"]
    assert normalise_all(texts).to_pylist() == [normalise(text) for text in texts]


def test_emoji_and_emoticons_tell_texts_apart_that_share_their_words():
    keys = duplicate_keys(["great 🙄", "Great! 😀", "great :)", "great :(", "great", "GREAT..."])
    assert len(set(keys.to_pylist())) == 5
    assert keys[4] == keys[5]
    assert duplicate_keys(["so good"]).to_pylist() == ["so good"]
