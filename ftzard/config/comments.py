"""The comments of the packaged YAML files, for other places that show the keys."""

import re
from functools import lru_cache

from ftzard.config.compose import PACKAGED, defaults

_KEY = re.compile(r"^( *)(\w+):")


@lru_cache(maxsize=1)
def described() -> dict[str, str]:
    """Return the comment above each key, by its dotted name, such as 'training.epochs'.

    A key without a comment of its own shares that of the keys above it.
    """
    comments: dict[str, str] = {}
    files = {"": PACKAGED / "config.yaml"}
    files |= {f"{group}.": PACKAGED / group / f"{choice}.yaml"
              for group, choice in defaults().items()}
    for prefix, file in files.items():
        comments |= {f"{prefix}{key}": text for key, text in
                     _of(file.read_text(encoding="utf-8")).items()}
    return comments


def _of(text: str) -> dict[str, str]:
    """Return {dotted key: comment} of a YAML file of nested maps."""
    comments: dict[str, str] = {}
    above: list[str] = []
    comment, ended = "", False
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            comment = line.strip("# ") if ended else f"{comment} {line.strip('# ')}".strip()
            ended = False
            continue
        key = _KEY.match(line)
        if key is None:
            comment, ended = ("", False) if not line.strip() else (comment, True)
            continue
        above[len(key[1]) // 2:] = [key[2]]
        if comment:
            comments[".".join(above)] = comment
        ended = True
    return comments
