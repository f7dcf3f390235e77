"""The shape of a text: what two texts must share to count as the same one.

Splits, duplicates and the labelling queue all ask whether two texts are the same, and all ask it
here. The answer is part of the data's contract: changing `normalise` would move rows between
training and test, so its results are pinned by a test, and other rules are a version of their own
(`identity` in every function here; see `ftzard.data.identity`).

Version 2 takes each sign of a script that is written without spaces for a word, so that texts in
it are compared as those with spaces are. For duplicates it keeps the signs that change what a text
says: `+ < = > %`, currencies and other signs of mathematics; `#` beside a letter or digit; `-`
before a digit or letter (`-1`, `-v`), after one (`A-`) and between digits, where `*`, `/` and `^`
count as well. A hyphen between letters parts words ('well-known' is 'well known'), and what opens
a quote, a list or a heading at the start of a text is layout.
"""

import unicodedata
from collections.abc import Iterable

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ftzard.core.text import LINK, MENTION, SPACES, arrow, each_beyond_ascii, replace
from ftzard.data.identity import FIRST

_SELECTORS = r"[\x{FE00}-\x{FE0F}\x{20E3}\x{200B}-\x{200F}\x{2060}\x{FEFF}]"
_APOSTROPHES = r"['’‘`´ʼ]"
_NOT_WORDS = r"[^\p{L}\p{M}\p{N} ]"
_EMOTICON = r"[:;=]-?[()\[\]dpo/\\|*<>3]|[()\[\]]-?[:;=]|<3|\^_*\^|\p{So}"

# Scripts without spaces between words. A sign is a letter with its marks; in Thai and Lao also with
# the vowels that are written before and after it.
_SYLLABLES = r"\p{Han}\p{Hiragana}\p{Katakana}\x{30FC}\p{Bopomofo}\p{Yi}"
_SCRIPTS = (_SYLLABLES + r"\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}\p{Tai_Le}"
            r"\p{New_Tai_Lue}\p{Tai_Tham}\p{Tai_Viet}\p{Javanese}\p{Balinese}")
_VOWELS_BEFORE = r"\x{E40}-\x{E44}\x{EC0}-\x{EC4}"
_VOWELS_AFTER = r"\x{E30}\x{E32}\x{E33}\x{E45}\x{EB0}\x{EB2}\x{EB3}"
SIGN = rf"[{_VOWELS_BEFORE}]?[{_SCRIPTS}][\p{{M}}{_VOWELS_AFTER}]*"
#: A sign that is a syllable or a word by itself, and not one letter of several.
SYLLABLE = rf"[{_SYLLABLES}]\p{{M}}*"

# A sign that counts stands behind this mark, which no text has, until the others are taken out.
_MARK = r"\x{E000}"
_ALNUM = r"\p{L}\p{M}\p{N}"
_EMOTICON_2 = (r"[:;]-?(?:[()\[\]/\\|*<>]|[dpo3]\b)|=-?[()\[\]|]|[()\[\]]-?[:;=]|<3|\^_*\^"
               r"|\p{So}")
_MAY_COUNT = (rf"[#%‰\p{{Sm}}\p{{Sc}}\p{{So}}\x{{2010}}-\x{{2013}}]|\p{{N}} ?[-*/^] ?\p{{N}}"
              rf"|(?:^|[^{_ALNUM}])--?[{_ALNUM}]|[{_ALNUM}]-(?:$|[^{_ALNUM}])|{_MARK}"
              rf"|{_EMOTICON_2}")
# What is put behind the mark, or taken out, before the rest is looked at.
_MARKED = (
    (_MARK, ""),
    (r"[\x{2010}-\x{2013}\x{2212}]", "-"),
    (r"^ *(?:(?:[>+*-]|#{1,6}) +)+([^\p{N} ])", r"\1"),  # a quote, a list, a heading
    (r"^ *--?(\p{L})", r"\1"),
    (r"={4,}|>{4,}|<{4,}|\+{4,}|#{2,}|-{3,}|[~|]", " "),  # lines and decoration
    *[(r"(\p{N}) ?([-*/^]) ?(\p{N})", rf"\1 {chr(0xE000)}\2 \3")] * 2,  # '1-2-3' overlaps
    (rf"(^|[^{_ALNUM}:;{_MARK}-])--?([\p{{L}}\p{{N}}])", rf"\1 {chr(0xE000)}- \2"),
    (r"([:;])-([0-24-9a-ce-nq-z])", rf"\1 {chr(0xE000)}- \2"),  # ':-3' is a face
    (rf"([{_ALNUM}])-($|[^{_ALNUM}-])", rf"\1 {chr(0xE000)}- \2"),
    (rf"([{_ALNUM}])#", rf"\1 {chr(0xE000)}# "),
    (rf"(^|[^{_MARK}])#([{_ALNUM}])", rf"\1 {chr(0xE000)}# \2"),
)
_SIGNS = rf"{_EMOTICON_2}|{_MARK}.|[\p{{Sm}}\p{{Sc}}%‰]"


def _fold(text: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def _folded(texts: pa.Array, around: str = " ") -> pa.Array:
    folded = each_beyond_ascii(pc.ascii_lower(texts), _fold)
    folded = replace(folded, LINK, f"{around}http{around}")
    folded = replace(folded, MENTION, rf"\1{around}user{around}")
    return replace(replace(folded, _SELECTORS, ""), _APOSTROPHES, "")


def _words(folded: pa.Array, originals: pa.Array) -> pa.Array:
    words = replace(replace(folded, f"{_NOT_WORDS}+", " "), " {2,}", " ")
    words = pc.utf8_trim_whitespace(words)
    return pc.if_else(pc.equal(words, ""), pc.utf8_trim_whitespace(originals), words)


def _signs_apart(words: pa.Array) -> pa.Array:
    """Return words with each sign of a script without spaces as a word of its own."""
    beyond = pc.invert(pc.string_is_ascii(words))
    if not pc.any(beyond).as_py():
        return words
    apart = replace(words.filter(beyond), f"({SIGN})", r" \1 ")
    apart = pc.utf8_trim_whitespace(replace(apart, " {2,}", " "))
    return pc.replace_with_mask(words, beyond, apart)


def normalise_all(texts: Iterable[str] | pd.Series, identity: int = FIRST) -> pa.Array:
    """Return each text's words, one Arrow string per text.

    Unicode NFKC, case folded, links as 'http', mentions as 'user', apostrophes dropped, every
    other run of non-letters one space. A text without any letter or digit stays as it is, less
    the space around it. Links and mentions have the same words before and after cleaning. From
    version 2, signs of scripts without spaces are words.
    """
    originals = arrow(texts)
    words = _words(_folded(originals), originals)
    return words if identity == FIRST else _signs_apart(words)


def spaced_all(texts: Iterable[str] | pd.Series) -> pa.Array:
    """Return what stands between each text's spaces, one Arrow string per text.

    As `normalise_all`, but what is no letter is left out instead of parting words: 'hi...you' is
    one word here and two there. Who changes one word of a text changes one of these.
    """
    originals = arrow(texts)
    folded = replace(_folded(originals, around=""), SPACES, " ")
    words = replace(replace(folded, _NOT_WORDS, ""), " {2,}", " ")
    words = pc.utf8_trim_whitespace(words)
    return pc.if_else(pc.equal(words, ""), pc.utf8_trim_whitespace(originals), words)


def normalise(text: str, identity: int = FIRST) -> str:
    """Return one text's words; see `normalise_all`."""
    return normalise_all([text], identity)[0].as_py()


def asked_keys(texts: Iterable[str] | pd.Series, identity: int = FIRST) -> pa.Array:
    """Return what two texts share of which a person labels only one."""
    return (normalise_all if identity == FIRST else duplicate_keys)(texts, identity)


def duplicate_keys(texts: Iterable[str] | pd.Series, identity: int = FIRST) -> pa.Array:
    """Return what two texts of one label share when one repeats the other.

    The words, and the emoji and emoticons between them: 'great 🙄' does not contradict 'great 😀',
    though both have the words 'great' and so always lie on the same side of a split. From version
    2, the signs that change what a text says as well: 'C++' is not 'C'.
    """
    originals = arrow(texts)
    folded = _folded(originals)
    words = _words(folded, originals)
    if identity != FIRST:
        words = _signs_apart(words)
    may_count = pc.match_substring_regex(folded, _EMOTICON if identity == FIRST else _MAY_COUNT)
    if not pc.any(may_count).as_py():
        return words
    signs, folded = _EMOTICON, folded.filter(may_count)
    if identity != FIRST:
        signs = _SIGNS
        for pattern, replacement in _MARKED:
            folded = replace(folded, pattern, replacement)
    keys = replace(replace(folded, f"({signs})|{_NOT_WORDS}", r" \1 "), " {2,}", " ")
    keys = pc.utf8_trim_whitespace(keys)
    if identity != FIRST:
        keys = pc.if_else(pc.equal(keys, ""), words.filter(may_count), _signs_apart(keys))
    return pc.replace_with_mask(words, may_count, keys)
