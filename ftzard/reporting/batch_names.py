"""Names of batches in text and plots: the delivered file's name, else the hash.

A batch is identified by the first digits of its content's hash, which no reader remembers.
`delivered_as` is {batch: file name} of the batches whose file is known; others keep their hash.
"""

import re
from collections.abc import Mapping, Sequence

DIGITS = 7


def named(batch: object, delivered_as: Mapping[str, str]) -> str:
    """Return a batch's name, such as 'march.csv (7d0a323)'."""
    name = delivered_as.get(str(batch))
    return str(batch) if name is None else f"{name} ({str(batch)[:DIGITS]})"


def called(batch: object, delivered_as: Mapping[str, str]) -> str:
    """Return a batch's name within a sentence; without a file 'batch 7d0a32375e41'."""
    return named(batch, delivered_as) if str(batch) in delivered_as else f"batch {batch}"


def with_names(sentence: str, delivered_as: Mapping[str, str]) -> str:
    """Replace every batch in a sentence by its name."""
    if not delivered_as:
        return sentence
    known = "|".join(re.escape(batch) for batch in delivered_as)
    return re.sub(rf"\b(?:{known})\b", lambda match: named(match[0], delivered_as), sentence)


def ticks(batches: Sequence[object], delivered_as: Mapping[str, str] | None, longest: int = 14
          ) -> list[str]:
    """Return the tick label of each batch.

    A name longer than `longest` characters loses its file type, then its middle. Batches whose
    labels would be the same get the first digits of their hash below.
    """
    files = [(delivered_as or {}).get(str(batch)) for batch in batches]
    short = [_without_middle(file or str(batch)[:DIGITS + 1], longest)
             for batch, file in zip(batches, files, strict=True)]
    return [f"{name}\n{str(batch)[:DIGITS]}" if file and short.count(name) > 1 else name
            for batch, file, name in zip(batches, files, short, strict=True)]


def _without_middle(name: str, longest: int) -> str:
    words = " ".join(name.split())
    stem = re.sub(r"(?i)(\.(csv|jsonl?|parquet|gz))+$", "", words)
    if len(words) <= longest or len(stem) <= longest:
        return words if len(words) <= longest else stem
    end = (longest - 1) // 2
    return f"{stem[:longest - end - 1]}…{stem[-end:]}"
