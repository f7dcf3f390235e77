"""The shape of a text: what two texts must share to count as the same one.

Splits, duplicates and the labelling queue all ask whether two texts are the same, and all ask it
here. The answer is part of the data's contract: changing `normalise` would move rows between
training and test, so its results are pinned by a test.
"""

import unicodedata
from collections.abc import Iterable

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ftzard.texts import LINK, MENTION, SPACES, arrow, each_beyond_ascii, replace

_SELECTORS = r"[\x{FE00}-\x{FE0F}\x{20E3}\x{200B}-\x{200F}\x{2060}\x{FEFF}]"
_APOSTROPHES = r"['’‘`´ʼ]"
_NOT_WORDS = r"[^\p{L}\p{M}\p{N} ]"
_EMOTICON = r"[:;=]-?[()\[\]dpo/\\|*<>3]|[()\[\]]-?[:;=]|<3|\^_*\^|\p{So}"


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


def normalise_all(texts: Iterable[str] | pd.Series) -> pa.Array:
    """Return each text's words, one Arrow string per text.

    Unicode NFKC, case folded, links as 'http', mentions as 'user', apostrophes dropped, every
    other run of non-letters one space. A text without any letter or digit stays as it is, less
    the space around it. Links and mentions have the same words before and after cleaning.
    """
    originals = arrow(texts)
    return _words(_folded(originals), originals)


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


def normalise(text: str) -> str:
    """Return one text's words; see `normalise_all`."""
    return normalise_all([text])[0].as_py()


def duplicate_keys(texts: Iterable[str] | pd.Series) -> pa.Array:
    """Return what two texts of one label share when one repeats the other.

    The words, and the emoji and emoticons between them: 'great 🙄' does not contradict 'great 😀',
    though both have the words 'great' and so always lie on the same side of a split.
    """
    originals = arrow(texts)
    folded = _folded(originals)
    words = _words(folded, originals)
    signed = pc.match_substring_regex(folded, _EMOTICON)
    if not pc.any(signed).as_py():
        return words
    kept = replace(folded.filter(signed), f"({_EMOTICON})|{_NOT_WORDS}", r" \1 ")
    kept = pc.utf8_trim_whitespace(replace(kept, " {2,}", " "))
    return pc.replace_with_mask(words, signed, kept)
