"""The differences between two texts, word by word."""

import re
from difflib import SequenceMatcher

SAME, ADDED, REMOVED = "same", "added", "removed"
#: Longer texts are not compared: it would take seconds.
MOST_WORDS = 4000


def word_diff(before: str, after: str) -> list[tuple[str, str]] | None:
    """Return what became of a text: pairs of SAME, ADDED or REMOVED and words with their space.

    None for texts that are too long to be compared.
    """
    old, new = (re.findall(r"\s+|\w+|[^\w\s]", text) for text in (before, after))
    if max(len(old), len(new)) > 2 * MOST_WORDS:
        return None
    parts: list[tuple[str, str]] = []
    for kind, i, j, k, m in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            parts.append((SAME, "".join(old[i:j])))
            continue
        if i < j:
            parts.append((REMOVED, "".join(old[i:j])))
        if k < m:
            parts.append((ADDED, "".join(new[k:m])))
    return parts
