"""What the packaged YAML files say of their keys, for whoever shows the keys elsewhere."""

import re
from functools import lru_cache

from ftzard.config.compose import PACKAGED, defaults

_KEY = re.compile(r"^( *)(\w+):")


@lru_cache(maxsize=1)
def described() -> dict[str, str]:
    """Return the comment above each key, by its dotted name, such as 'training.epochs'.

    A key without a comment of its own shares that of the keys above it.
    """
    found: dict[str, str] = {}
    files = {"": PACKAGED / "config.yaml"}
    files |= {f"{group}.": PACKAGED / group / f"{choice}.yaml"
              for group, choice in defaults().items()}
    for prefix, file in files.items():
        found |= {f"{prefix}{key}": text for key, text in
                  _of(file.read_text(encoding="utf-8")).items()}
    return found


def _of(text: str) -> dict[str, str]:
    """Return {dotted key: comment} of a YAML file of nested maps."""
    found: dict[str, str] = {}
    above: list[str] = []
    said, ended = "", False
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            said = line.strip("# ") if ended else f"{said} {line.strip('# ')}".strip()
            ended = False
            continue
        key = _KEY.match(line)
        if key is None:
            said, ended = ("", False) if not line.strip() else (said, True)
            continue
        above[len(key[1]) // 2:] = [key[2]]
        if said:
            found[".".join(above)] = said
        ended = True
    return found
