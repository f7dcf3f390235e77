"""The names of sources: what they say, and whether they say enough."""

import re
from dataclasses import dataclass

from ftzard.config.schema import Config
from ftzard.errors import ConfigError, nearest

#: Scheme -> the form of a name under it.
FORMS = {
    "dvc": "dvc://ARTIFACT@COMMIT, with a commit's hash or a tag of this workspace",
    "hf": "hf://OWNER/NAME@COMMIT, with the 40 hex digits of a commit, and #SPLIT where it has "
          "several",
    "comet": "comet://WORKSPACE/ARTIFACT:VERSION, with a version such as 1.2.0",
}
_PATTERNS = {
    "dvc": r"dvc://(?P<place>[^@]+)@(?P<version>[^@\s]+)",
    "hf": r"hf://(?P<place>[\w-][\w.-]*/[\w.-]+)@(?P<version>[0-9a-f]{40})(?:#(?P<part>[\w.-]+))?",
    "comet": r"comet://(?P<place>[^/:]+/[^/:]+):(?P<version>\d+(?:\.\d+)*)",
}


@dataclass(frozen=True)
class Source:
    """What a name says: kind (file, folder, dvc, hf or comet), place, version, part (a split)."""

    name: str
    kind: str
    place: str
    version: str | None = None
    part: str | None = None


def parse(name: str) -> Source:
    """Return what the name of a source says; raises ConfigError, with the form that is expected.

    Whether there is such a thing is not looked at; a path without a scheme is of kind 'file'.
    """
    scheme, mark, _ = name.partition("://")
    if not mark:
        return Source(name, "file", name)
    if scheme not in FORMS:
        raise ConfigError(f"'{name}' begins with an unknown scheme '{scheme}'"
                          f"{nearest(scheme, FORMS).rstrip('.')}. Expected a file, a folder, or "
                          f"{'; '.join(FORMS.values())}.")
    match = re.fullmatch(_PATTERNS[scheme], name)
    if match is None:
        raise ConfigError(f"'{name}' does not say which version of what it means; expected "
                          f"{FORMS[scheme]}.")
    parts = match.groupdict()
    return Source(name, scheme, parts["place"], parts["version"], parts.get("part"))


def named(config: Config) -> list[Source]:
    """Return every source that the config names; ConfigError for one that says too little."""
    data = config.data
    return [parse(name) for name in (*(data.mix or {data.source: 1.0}), data.incoming) if name]


def check(config: Config) -> None:
    """Raise ConfigError or TrackingError if a source of the config could not be asked for.

    Nothing is fetched: only names, packages and keys are looked at.
    """
    for source in named(config):
        if source.kind == "comet":
            from ftzard.tracking import comet_artifacts

            comet_artifacts.require(source.name)
