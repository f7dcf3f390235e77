"""What artifacts are called: by the config's paths, and those whose place no config says."""

from dataclasses import fields

from ftzard.config.schema import Paths

#: Patterns of the paths of what is not in the config's `paths`.
ELSEWHERE = {
    "delivery": r"data/raw/[^/]+",
    "sources": r"data/sources/[^/]+\.json",
    "base": r"models/bases/[^/]+\.zip",
    "adapter": r"models/(?!bases/)[^/]+/\d+\.zip",
    "record": r"models/[^/]+/\d+\.yaml",
}
NAMES = (*(f.name for f in fields(Paths) if f.type is str), *ELSEWHERE)
