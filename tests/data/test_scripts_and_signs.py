"""Texts in every script are compared alike, and signs that carry meaning tell texts apart."""

import random

import pandas as pd
import pytest

from ftzard.data.identity import FIRST, LATEST
from ftzard.data.near_duplicates import all_shapes, drop_near_duplicates, like_test_rows
from ftzard.data.normalization import duplicate_keys, normalise
from ftzard.data.splitting import assign
from ftzard.tasks.classification import text_rows

RATIO = {"train": 0.7, "validation": 0.1, "test": 0.2}
SPACED = {
    "Latin": "the a my this day phone song train lunch with again really very house street friend",
    "Cyrillic": "это мой день дом очень улица песня поезд хорошо плохо друг зима окно сад город",
    "Arabic": "هذا يوم جميل في المدينة مع صديقي الكتاب البيت السيارة الشارع ليل",
    "Devanagari": "यह मेरा दिन घर बहुत अच्छा सड़क गाना ट्रेन दोस्त किताब रात",
}
SIGNS = {
    "Chinese": "今天我们在学校里看书吃饭走路听歌写字画图上课下班回家休息明月花鸟",
    "Japanese": "きょうはとてもいいてんきなのでコーヒーをのみながら本を読みました",
    "Thai": "กขคงจฉชซดตถทธนบปผฝพฟภมยรลวสหอฮะาิีึืุูเแโใไ",
    "Lao": "ກຂຄງຈຊຍດຕຖທນບປຜພມຢຣລວສຫອະາິີເແໂ",
    "Khmer": "កខគឃងចឆជឈញដឋឌឍណតថទធនបផពភមយរលវសហឡអាិីេែ",
    "Myanmar": "ကခဂဃငစဆဇဈညဋဌဍဎဏတထဒဓနပဖဗဘမယရလဝသဟဠအာိီ",
    "Tibetan": "ཀཁགངཅཆཇཉཏཐདནཔཕབམཙཚཛཝཞཟའཡརལཤསཧཨིེོུ",
}
WORDS = {
    "Chinese": "今天 朋友 图书馆 学校 喜欢 吃饭 音乐 电影院 火车站 天气 老师 咖啡 我们 一起 "
               "回家 公园",
    "Japanese": "きょう ともだち レストラン 図書館 コーヒー 映画 でんしゃ 天気 先生 わたしたち "
                "がっこう おいしい",
    "Thai": "วันนี้ เพื่อน โรงเรียน ร้านอาหาร กาแฟ หนังสือ รถไฟ อากาศ เรา บ้าน อร่อย สวนสาธารณะ",
    "Khmer": "ថ្ងៃនេះ មិត្ត សាលារៀន កាហ្វេ សៀវភៅ រថភ្លើង ផ្ទះ ឆ្ងាញ់",
    "Myanmar": "ဒီနေ့ သူငယ်ချင်း ကျောင်း ကော်ဖီ စာအုပ် ရထား အိမ်",
}
SCRIPTS = {name: (words.split(), " ", 12) for name, words in SPACED.items()} | {
    name: (list(signs), "", 20) for name, signs in SIGNS.items()}


def pairs(script: str, count: int = 300) -> list[tuple[str, str]]:
    """Return texts of which each two differ in one word or sign."""
    (words, between, length), draw, made = SCRIPTS[script], random.Random(7), []
    for _ in range(count):
        text = draw.choices(words, k=length)
        other, place = list(text), draw.randrange(length)
        other[place] = draw.choice([word for word in words if word != text[place]])
        made.append((between.join(text), between.join(other)))
    return made


def apart(texts: list[tuple[str, str]], identity: int) -> int:
    """Return how many pairs have one text in training and one in test."""
    frame = pd.DataFrame({"text": [text for pair in texts for text in pair]})
    kept, _ = drop_near_duplicates(
        assign(frame, ratio=RATIO, salt="ftzard", identity=identity), identity)
    side = dict(zip(kept["text"], kept["split"], strict=True))
    return sum({side.get(a), side.get(b)} == {"train", "test"} for a, b in texts)


@pytest.mark.parametrize("script", SCRIPTS)
def test_near_duplicates_are_found_in_every_script(script):
    texts = pairs(script)
    assert apart(texts, LATEST) == 0
    if script in SIGNS:
        assert apart(texts, FIRST) > 50  # what a workspace of before keeps doing


@pytest.mark.parametrize("script", WORDS)
def test_a_whole_word_may_differ_in_scripts_without_spaces(script):
    words, draw, texts = WORDS[script].split(), random.Random(3), []
    for _ in range(300):
        text = draw.choices(words, k=8)
        other, place = list(text), draw.randrange(8)
        other[place] = draw.choice([word for word in words if word != text[place]])
        texts.append(("".join(text), "".join(other)))
    assert apart(texts, LATEST) == 0
    if script != "Chinese":
        assert apart(texts, 2) > 10  # what a workspace of before keeps doing


def test_no_more_than_a_quarter_of_a_text_may_differ():
    texts = pd.Series(["今天天气很好我们去公园里散步吧", "今天天气很好我们在家里看电影吧"],
                      dtype="str")
    found = like_test_rows(texts, ["今天天气很好我们去大森林散步吧"], LATEST)
    assert found.tolist() == ["near-duplicate of a test row", ""]


def test_two_neighbouring_signs_may_differ_as_a_word_may_and_mixed_texts_count_both():
    test_rows = ["今天天气很好我们去公园散步", "我每天都用 Python 写很多代码"]
    texts = pd.Series(["今天天气很好我们去学校散步", "今天朋友很好我们去学校散步",
                       "我每天都用 Rust 写很多代码",
                       "我每天都用 Python 写很长诗歌", "完全不同的一句话而已没有关系"], dtype="str")
    found = like_test_rows(texts, test_rows, LATEST)
    assert found.tolist() == ["near-duplicate of a test row", "", "near-duplicate of a test row",
                              "", ""]
    assert (like_test_rows(texts, test_rows) != "").sum() == 0


def test_punctuation_and_space_are_no_words_in_any_script():
    assert normalise("我很高興。你，也是", LATEST) == normalise("我很高興 你也是", LATEST)
    assert normalise("ใช้ Python ครับ", LATEST).split(" ")[1] == "python"
    assert normalise("so good, is it?", LATEST) == normalise("so good, is it?")
    frame = pd.DataFrame({"text": ["今天很好。", "今天，很好", "今天 很好"]})
    assert assign(frame, ratio=RATIO, salt="s", identity=LATEST)["split"].nunique() == 1


def test_short_texts_are_compared_as_a_whole():
    texts = pd.Series(["很好吃", "很难吃", "不太好吃"], dtype="str")
    assert (like_test_rows(texts, ["很好看"], LATEST) == "").all()
    assert like_test_rows(texts, ["很 好吃！"], LATEST).tolist()[0] == "duplicate of a test row"


def test_few_unrelated_short_texts_are_near_in_chinese_as_in_english():
    draw, share = random.Random(2), {}
    common = [(chr(0x4E00 + n) + chr(0x5E00 + n % 60), f"word{n}") for n in range(400)]
    weights = [1 / rank for rank in range(1, len(common) + 1)]
    texts = [draw.choices(common, weights, k=draw.randint(4, 9)) for _ in range(2000)]
    for script, between in enumerate(["", " "]):
        frame = pd.DataFrame({"text": sorted({between.join(w[script] for w in t) for t in texts})})
        sides = assign(frame, ratio=RATIO, salt="ftzard", identity=LATEST)
        share[script] = len(drop_near_duplicates(sides, LATEST)[1]) / len(frame)
    assert 0 < share[0] < 1.5 * share[1]


def test_what_is_drawn_for_labelling_is_compared_in_the_same_way():
    for script in ("Chinese", "Thai", "Latin"):
        ones, others = zip(*pairs(script, 20), strict=True)
        both = zip(all_shapes(ones, LATEST), all_shapes(others, LATEST), strict=True)
        assert not any(one.isdisjoint(other) for one, other in both)
        near = like_test_rows(pd.Series(ones, dtype="str"), others, LATEST)
        assert (near == "near-duplicate of a test row").all()


@pytest.mark.parametrize(
    "texts",
    [
        ["in C", "in C++", "in C#", "in C-"],
        ["moved +1 points", "moved -1 points", "moved 1 points"],
        ["by 10 %", "by 10", "by $10", "by 10 €"],
        ["I <3 it", "I >3 it", "I =3 it", "I 3 it"],
        ["a > b", "a < b", "a = b", "a >= b", "a b"],
        ["what is 5-3", "what is 5+3", "what is 5*3", "what is 5/3", "what is 5^3", "what is 5 3"],
        ["x=-5", "x=5", "x=-3", "x=3"],
        ["run ls -l", "run ls l"],
        ["grade A", "grade A+", "grade A-"],
        ["item #1", "item 1"],
        ["great :)", "great :(", "great", "great 😀"],
        ["so \u2212 1-2-3", "so 1 2 3"],
    ],
)
def test_texts_that_signs_tell_apart(texts):
    assert len(set(duplicate_keys(texts, LATEST).to_pylist())) == len(texts)
    assert len({normalise(text, LATEST) for text in texts}) <= 2  # but for emoji faces like <3


@pytest.mark.parametrize(
    "texts",
    [
        ["well-known fact", "well known fact", "Well-Known: fact!"],
        ["> quoted text", "quoted text", "- quoted text", "+ quoted text", "## quoted text"],
        ["by 10%", "by 10 %"],
        ["a>b", "a > b"],
        ["minus \u22121", "minus -1"],
        ["pages 3\u20134", "pages 3-4"],
        ["so - yes", "so \u2013 yes", "so yes"],
        ["title ======", "title"],
        ["not good", "not good.", "not... good?!", "(not) 'good'"],
        ["note:do it", "note: do it"],
        ["covid-19", "covid 19"],
        ["see http://x.co/a-b?c=1+2", "see https://example.org/#d"],
    ],
)
def test_texts_that_punctuation_does_not_tell_apart(texts):
    assert len(set(duplicate_keys(texts, LATEST).to_pylist())) == 1


def test_no_row_with_a_sign_contradicts_another(raw):
    texts, labels = [], []
    for what in ("list", "map"):
        for i in range(5):
            texts += [f"how do I sort a {what} of {i} in {name}" for name in ("C", "C++", "C#")]
            labels += ["c", "cpp", "csharp"]
    for i in range(1, 9):
        texts += [f"rates moved +{i} points", f"rates moved -{i} points"]
        labels += ["up", "down"]
    cleaned, rejected = text_rows.clean(raw(texts, labels), batch="b", identity=LATEST)
    assert rejected.empty and len(cleaned) == len(texts)
    sides = assign(cleaned, ratio=RATIO, salt="s", identity=LATEST)["split"]
    for start in range(0, 30, 3):  # the side of the split knows only their words
        assert sides[start : start + 3].nunique() == 1
    old = text_rows.clean(raw(texts, labels), batch="b")[1]
    assert (old["reason"] == "contradicting labels").all() and len(old) == len(texts)


def test_what_contradicts_beside_signs_still_does(raw):
    rows = raw(["in C++ today", "In C++, today!", "in C today"], ["a", "b", "a"])
    _, rejected = text_rows.clean(rows, batch="b", identity=LATEST)
    assert rejected["row"].tolist() == [0, 1]
    assert set(rejected["reason"]) == {"contradicting labels"}
