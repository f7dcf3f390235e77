"""Cleaning of texts before a model sees them, in training and in every prediction.

Training, `ftzard predict` and the registered model in MLflow clean with the same function, so a raw
text becomes the same tokens everywhere. Cleaning keeps what carries meaning (emoji, punctuation,
case) and removes the rest.
"""

import html
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

LINK = r'(?i)(?:https?://|\bwww\.[a-z0-9-]+\.)[^\s\p{Z}<>"]*'
# Not after a letter, a digit or another @: an e-mail address is no mention.
MENTION = r"(^|[^\p{L}\p{N}_@])@[\p{L}\p{N}_]+"
SPACES = r"[\s\p{Z}\p{Cc}]+"
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});")
_ZERO_WIDTH = r"[\x{200B}\x{2060}\x{FEFF}]"


def arrow(values: Iterable[str] | pd.Series | pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return strings as one Arrow array; a missing value becomes the empty string."""
    if not isinstance(values, pa.Array | pa.ChunkedArray):
        if not isinstance(values, pd.Series):
            values = list(values)
        values = pa.array(values, type=pa.large_string(), from_pandas=True)
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    return pc.fill_null(values.cast(pa.large_string()), "")


def replace(texts: pa.Array, pattern: str, replacement: str) -> pa.Array:
    """Replace every match of an RE2 pattern; `\\1` in the replacement is the first group."""
    return pc.replace_substring_regex(texts, pattern, replacement)


def each_beyond_ascii(texts: pa.Array, change: Callable[[str], str]) -> pa.Array:
    """Apply a Python function to the texts with non-ASCII characters, which are usually few."""
    beyond = pc.invert(pc.string_is_ascii(texts))
    if not pc.any(beyond).as_py():
        return texts
    changed = [change(text) for text in texts.filter(beyond).to_pylist()]
    return pc.replace_with_mask(texts, beyond, pa.array(changed, type=pa.large_string()))


def composed(texts: pa.Array) -> pa.Array:
    """Return the texts in Unicode's normalization form NFC.

    Not by Arrow's utf8_normalize: with pyarrow 25 its NFC and NFKC leave letters and accents apart.
    """
    return each_beyond_ascii(texts, lambda text: unicodedata.normalize("NFC", text))


def clean_texts(
    texts: pd.Series,
    *,
    unescape_html: bool = True,
    mention: str = "@user",
    link: str = "http",
    own: Mapping[str, Any] | None = None,
) -> pa.Array:
    """Return the texts cleaned, one Arrow string each; cleaning a clean text changes nothing.

    HTML entities become their character, unicode its NFC form, a link the token `link`, a mention
    the token `mention`; control characters, line ends and runs of space become one space. own: a
    workspace's own function, as `ftzard.core.custom_functions.packed` returns it; it is called with
    the cleaned text, and its result is cleaned again. Raises DataError with the row's index if it
    fails.
    """
    if own is not None:
        from ftzard.core import custom_functions

        settings: dict[str, Any] = {"unescape_html": unescape_html, "mention": mention,
                                    "link": link}
        rows = texts.index.tolist() if isinstance(texts, pd.Series) else None
        made = custom_functions.cleaned(clean_texts(texts, **settings).to_pylist(), own, rows)
        return clean_texts(pd.Series(made, dtype="str"), **settings)
    cleaned = arrow(texts)
    if unescape_html:
        cleaned = _unescaped(cleaned)
    cleaned = replace(composed(cleaned), LINK, _literal(link))
    cleaned = replace(cleaned, MENTION, r"\1" + _literal(mention))
    cleaned = replace(replace(cleaned, _ZERO_WIDTH, ""), SPACES, " ")
    return pc.utf8_trim_whitespace(cleaned)


def is_blank(text: str) -> bool:
    """Return whether a text has no visible character."""
    return all(_is_unseen(character) for character in text)


def _is_unseen(character: str) -> bool:
    return (unicodedata.category(character) in ("Cc", "Cf", "Zs", "Zl", "Zp")
            or "\ufe00" <= character <= "\ufe0f" or character.isspace())


def cleaned_as(texts: Iterable[str], cleaning: Mapping[str, Any]) -> list[str]:
    """Return raw texts cleaned as a model's training rows were.

    Args:
        cleaning: As in the model's ftzard.json: mention, link and, if it was trained with a
            function of its workspace's, own (as `ftzard.core.custom_functions.packed` returns it).

    Raises:
        DataError: If that function fails.
    """
    settings = {k: v for k, v in cleaning.items() if k in ("mention", "link", "own")}
    return clean_texts(pd.Series(list(texts), dtype="str"), **settings).to_pylist()


_UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u2060\ufeff]")


def normalize_instruction(text: str) -> str:
    """Return an instruction or an answer in the form that models see.

    Line ends become '\\n', unicode its NFC form; control characters, zero-width spaces and the
    space around it go. Everything else stays: case, links, mentions, and space inside, which code
    and lists need.
    """
    text = text.encode("utf-8", errors="replace").decode("utf-8")  # half a surrogate pair is none
    text = _UNSEEN.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    return unicodedata.normalize("NFC", text).strip()


def _literal(replacement: str) -> str:
    return replacement.replace("\\", "\\\\")


def _unescaped(texts: pa.Array) -> pa.Array:
    with_entity = pc.match_substring_regex(texts, r"&#?[a-zA-Z0-9]{2,32};")
    if not pc.any(with_entity).as_py():
        return texts
    entities = [
        _ENTITY.sub(lambda entity: html.unescape(entity.group()), text)
        for text in texts.filter(with_entity).to_pylist()
    ]
    return pc.replace_with_mask(texts, with_entity, pa.array(entities, type=pa.large_string()))
