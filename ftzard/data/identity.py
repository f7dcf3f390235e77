"""When two names are the same: the canonical form of labels, groups, ids and names of splits.

Two spellings of one name differ in what cannot be seen: white space around it and inside it,
Unicode form, `1` beside `1.0` in a column of numbers. They become one. What a person can see, such
as case, may be meant: for labels and splits such spellings are refused with their counts.

The rules have a version, which a workspace keeps for ever: under other rules a row could move from
training to test. Version 1 compares labels as they are written and knows no words in scripts
without spaces; version 2 is what this module and `normalising` describe; with version 3 a whole
word may differ between near-duplicates in such scripts (`splitting.LONGEST_WORD`). The table of
cleaned rows says which it was made under (`identity_version`); one that says nothing was made
under 1.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from decimal import Decimal

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ftzard.core.text import SPACES, arrow, composed, replace
from ftzard.errors import ConfigError, DataError
from ftzard.workspace.identity_version import FIRST, LATEST

#: What has no width and no meaning in a name: soft hyphen, zero-width space, marks of direction.
_UNSEEN = (r"[\x{AD}\x{34F}\x{61C}\x{180E}\x{200B}\x{200E}\x{200F}\x{202A}-\x{202E}"
           r"\x{2060}-\x{2064}\x{2066}-\x{206F}\x{FEFF}]")
_JOINERS_AROUND = r"^[\x{200C}\x{200D} ]+|[\x{200C}\x{200D} ]+$"
#: As pandas and JSON write numbers. '007' and '+1' are none, nor is '1e5', which may be hex digits.
_NUMBER = r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-][0-9]{2,3})?$"
_BOOLEANS = {"true": "1", "false": "0"}
#: What a keyboard, a word processor and an export each write in their own way.
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63"
_ALIKE = str.maketrans({**dict.fromkeys(_DASHES, "-"),
                        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u02bc`\u00b4", "'"),
                        **dict.fromkeys("\u201c\u201d\u201e\u00ab\u00bb\u2033", '"'),
                        "_": " ", "\u0307": "", "\u3164": "", "\u2800": ""})
_SHOWN = 3


def tidy(names: Iterable[str] | pd.Series | pa.Array) -> pa.Array:
    """Return names in Unicode's NFC with one space for white space of any kind, none around."""
    tidied = replace(replace(composed(arrow(names)), SPACES, " "), _UNSEEN, "")
    tidied = replace(replace(tidied, " {2,}", " "), _JOINERS_AROUND, "")
    return pc.utf8_trim_whitespace(tidied)


def canonical(names: pd.Series, *, numbers: bool | None = None) -> pd.Series:
    """Return a column of names in their canonical form; missing ones are ''.

    Args:
        numbers: Whether '1.0' is '1'; None decides by the column: it is where every name is a
            number.
    """
    coded = arrow(names).dictionary_encode()
    different = tidy(coded.dictionary)
    if numbers or numbers is None and _all_numbers(different):
        different = _as_numbers(different)
    return different.take(coded.indices).to_pandas().set_axis(names.index).astype("str")


def _all_numbers(names: pa.Array) -> bool:
    filled = names.filter(pc.not_equal(names, ""))
    return len(filled) > 0 and pc.all(pc.match_substring_regex(filled, _NUMBER)).as_py()


def _as_numbers(names: pa.Array) -> pa.Array:
    """Return names with whole numbers written without a point; all others as they are."""
    number = pc.match_substring_regex(names, _NUMBER)
    written = replace(replace(names, r"\.0+$", ""), "^-0$", "0")
    powers = pc.and_(number, pc.match_substring_regex(names, "[eE]"))
    if pc.any(powers).as_py():
        values = [f"{Decimal(name):f}" for name in names.filter(powers).to_pylist()]
        written = pc.replace_with_mask(written, powers, pa.array(values, type=pa.large_string()))
        written = replace(written, r"^(-?[0-9]+)\.0+$", r"\1")
    return pc.if_else(number, written, names)


def refuse_rounded(names: pd.Series, what: str) -> None:
    """Raise DataError for names that a table wrote as rounded numbers: several have become one.

    A number of more than 15 digits with a point or a power is what a column of whole numbers
    becomes in a table once a value is missing.

    Args:
        names: As they are in the file.
    """
    for name in names.unique():
        if re.match(_NUMBER, str(name)) and re.search("[.eE]", str(name)) and abs(
                Decimal(str(name))) >= 10**15:
            raise DataError(
                f"{what} holds '{name}', a number that has lost digits: several names may have "
                "become one. Write the column as text, or as whole numbers (in pandas: dtype "
                "'Int64' or 'str'), and hand the file in again.")


def plain_numbers(names: pd.Series) -> pd.Series:
    """Return names less the space around them, '4.0' as '4': the labels of version 1."""
    return names.str.strip().str.replace(r"^(-?\d+)\.0+$", r"\1", regex=True)


def looks_like(name: str) -> str:
    """Return what two names share that might be meant as one.

    Such are 'True', 'true', '1' and '1.0'; 'don't' with either apostrophe, 'non-toxic' with any
    dash, 'a_b' and 'a b'; a name and the same in quotes, or with a full stop.
    """
    name = unicodedata.normalize("NFKC", name).casefold().translate(_ALIKE).strip()
    name = name.strip("\"' ").rstrip(".") or name
    name = "".join(c for c in name if c not in "\u200c\u200d" and not "\ufe00" <= c <= "\ufe0f")
    name = _BOOLEANS.get(name, name)
    number = re.sub("^0+(?=[0-9])", "", name)
    return f"{Decimal(number).normalize():f}" if re.match(_NUMBER, number) else name


REMEDY = "Write them as one in the file, or name each in data.labels."


def refuse_lookalikes(
    counts: Mapping[str, int],
    remedy: str = REMEDY,
    meant: Iterable[str] = (),
    known: Iterable[str] = (),
) -> None:
    """Raise DataError, with the rows of each spelling, where labels might be meant as one.

    Args:
        counts: Rows by name.
        meant: Names that a map names each, so that they may stand beside each other.
        known: Keys of data.labels that others may be like, though no row has them.
    """
    meant, alike = set(meant), {}
    for name in [*counts, *(name for name in known if name not in counts)]:
        alike.setdefault(looks_like(name), []).append(name)
    wrong = [sorted(names) for names in alike.values()
             if len(names) > 1 and not meant.issuperset(names)]
    if not wrong:
        return
    groups = "; ".join(_with_rows(names, counts) for names in wrong[:_SHOWN])
    more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
    raise DataError(f"The labels {groups}{more}. {remedy}")


def _with_rows(names: list[str], counts: Mapping[str, int]) -> str:
    """Return a clause with the rows of each spelling."""
    shown = [f"{name!r} ({counts[name]:,} {'row' if counts[name] == 1 else 'rows'})"
             if name in counts else f"{name!r} (in data.labels)" for name in names]
    spellings = f"{', '.join(shown[:-1])} and {shown[-1]}"
    if len({name.casefold() for name in names}) == 1:
        return f"{spellings} differ only in case"
    return f"{spellings} may be meant as one"


def label_map(labels: Mapping | None, identity: int) -> dict[str, str] | None:
    """Return a label map (raw value -> name) with both sides as strings in their canonical form.

    Raises ConfigError for two values that are the same one and have different names.
    """
    if labels is None:
        return None
    raw = pd.Series([str(value) for value in labels], dtype="str")
    names = [str(name) for name in labels.values()]
    if identity == FIRST:
        return dict(zip(plain_numbers(raw), names, strict=True))
    keys = _booleans(canonical(raw))
    names = _booleans(canonical(pd.Series(names, dtype="str")))
    by_name: dict[str, str] = {}
    for key, given, name in zip(keys, raw, names, strict=True):
        if by_name.setdefault(key, name) != name:
            raise ConfigError(
                f"data.labels gives the value '{given}' two names, '{by_name[key]}' and '{name}': "
                f"it is the same value as another, '{key}'. Give it one name.")
    return by_name


def label_list(labels: Mapping | None, identity: int) -> list[str]:
    """Return the label names of a map, in the order of its keys; without a map, none."""
    return list(dict.fromkeys((label_map(labels, identity) or {}).values()))


def _booleans(names: pd.Series) -> pd.Series:
    """Return a column of booleans as JSON writes them, and any other as it is."""
    filled = names[names != ""].str.casefold()
    return names.str.casefold() if len(filled) and filled.isin(list(_BOOLEANS)).all() else names


def canonical_labels(cells: pd.Series, labels: Mapping | None = None, *, remedy: str = REMEDY
                     ) -> pd.Series:
    """Return the name of each raw label, '' where it is missing, None where the map has none.

    Args:
        labels: Raw value -> name; None takes the values themselves as names.
        remedy: What to do about labels in the cells that might be meant as one; these raise
            DataError, and so do such names (`refuse_lookalikes`).
    """
    names = label_map(labels, LATEST)
    numbers = True if names and _all_numbers(arrow(names)) else None
    given = canonical(cells, numbers=numbers)
    counts = given[given != ""].value_counts().to_dict()
    if names is None:
        refuse_lookalikes(counts, remedy)
        return _booleans(given)
    spelled = pd.Series(list(counts), dtype="str")
    mapped = {name: names.get(name, names.get(value))
              for name, value in zip(spelled, _booleans(spelled), strict=True)}
    unknown = {looks_like(name) for name, value in mapped.items() if value is None}
    meant = canonical(pd.Series([str(value) for value in labels], dtype="str"), numbers=False)
    refuse_lookalikes(counts, remedy, meant={*meant, *canonical(meant, numbers=numbers)},
                      known=[key for key in names if looks_like(key) in unknown])
    result = given.map({**mapped, "": ""})
    refuse_lookalikes(
        result.dropna()[given != ""].value_counts().to_dict(),
        "Give them one name in data.labels, or names that differ in more than that.")
    return result
