"""Whether texts look English, so that a base that was pretrained on English suits them."""

from collections.abc import Iterable
from itertools import islice

#: Words without which nobody writes English for long, and of which other languages share few.
_COMMON = frozenset(
    "the and to of is it you that for with my this are be not have but at they your she from just "
    "what there can would about out if when were been has i i'm it's don't can't".split())
#: Share of such words from which texts count as English; English has 20 to 40 %.
_ENOUGH = 0.1
_LOOKED_AT = 2_000


def looks_english(texts: Iterable[str]) -> bool:
    """Return whether at least a tenth of the words of the first texts are common English ones.

    Other languages in Latin letters stay below that; texts in other scripts have none of them.
    """
    words = common = 0
    for text in islice(texts, _LOOKED_AT):
        for word in text.lower().replace("’", "'").split():
            words += 1
            common += word.strip(".,;:!?\"()") in _COMMON
    return words > 0 and common >= _ENOUGH * words
