"""Versions of registered models, their roles, and queries about them. Imports no MLflow."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ftzard.errors import TrackingError, nearest

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
ALIASES = (CHAMPION, CHALLENGER, PREVIOUS)
KIND, TUNED, BASE = "ftzard.kind", "tuned", "base"
IDENTITY, SIZE = "ftzard.identity", "ftzard.size_bytes"


@dataclass(frozen=True)
class Version:
    """A version of a registered model.

    Attributes:
        source: Where MLflow says its files are.
        created: Milliseconds since 1970, 0 if unknown.
    """

    name: str
    number: int
    run_id: str
    tags: dict[str, str]
    source: str = ""
    created: int = 0

    def __str__(self) -> str:
        return f"{self.name}@{self.number}"


class Registry(Protocol):
    """Who can be asked for versions. shown: where they are registered, as a person may see it."""

    @property
    def shown(self) -> str: ...

    def names(self) -> list[str]:
        """Return the names of all registered models, in order."""

    def versions(self, name: str) -> list[Version]:
        """Return all versions of a model, oldest first."""

    def aliases(self, name: str) -> dict[str, int]:
        """Return {alias: number} as the store has it."""

    def by_alias(self, name: str, alias: str) -> Version | None:
        """Return the version with an alias, or None."""


def base_name(name: str) -> str:
    """Return the name under which the bare base of a model is registered."""
    return f"{name}-base"


def champion(registry: Registry, name: str) -> Version:
    """Return the champion; raises TrackingError if the model has none yet, with the newest version,
    why it is not, and what can be done with it.
    """
    version = registry.by_alias(name, CHAMPION)
    if version is not None:
        return version
    versions = registry.versions(name)
    if not versions:
        raise TrackingError(f"the model '{name}' has no champion yet; run 'ftzard run "
                            "training_pipeline_job' first.")
    newest = registry.by_alias(name, CHALLENGER) or versions[-1]
    verdict = ": ".join(newest.tags[key] for key in ("gate.decision", "gate.reasons")
                        if newest.tags.get(key)).rstrip(".")
    which = CHALLENGER if CHALLENGER in aliases_of(registry, newest) else str(newest)
    raise TrackingError(
        f"the model '{name}' has no champion: version {newest.number} was not promoted"
        f"{f' ({verdict})' if verdict else ''}. Give the gate what it asks for and train "
        f"again; or ask it all the same, 'ftzard predict {which} …', or make it champion by hand, "
        f"'ftzard promote {newest.number} --reason …'.")


def numbered(registry: Registry, name: str, number: int) -> Version:
    """Return a version by its number; raises TrackingError naming the existing ones."""
    versions = registry.versions(name)
    match = next((version for version in versions if version.number == number), None)
    if match is None:
        raise missing(registry, name, number, versions)
    return match


def missing(registry: Registry, name: str, number: int, versions: list[Version]) -> TrackingError:
    """Return the error for a version that does not exist, naming the existing ones."""
    return TrackingError(
        f"the model '{name}' has no version {number}; it has {[v.number for v in versions]}."
        if versions else f"there is no model '{name}' in {registry.shown}"
                      f"{nearest(name, registry.names())}")


def role_with_version(role: str, of: str, own: str, numbers: Sequence[int],
                      holder: "Version | str | None") -> TrackingError:
    """Return the error for a role with a version, as 'champion@9'.

    Args:
        own: The workspace's model.
        numbers: Its versions.
        holder: Who has the role now, if anybody.
    """
    meant = "the bare base" if role == "base" else "the version that has this role" + (
        f", now {holder}" if holder else ", now none")
    missing, other = "", ""
    if of.isdecimal() and int(of) in numbers:
        other = f", or that version by its model's name: {own}@{of}"
    elif numbers:
        missing = f" {own} has no version {of}; it has {', '.join(map(str, numbers))}." if (
            of.isdecimal()) else ""
        other = f", or a version by its model's name, as {own}@{numbers[-1]}"
    return TrackingError(f"'{role}@{of}' names no model: '{role}' means {meant}, and takes no "
                         f"version.{missing} Name '{role}'{other}.")


def aliases_of(registry: Registry, version: Version) -> list[str]:
    """Return the aliases of a version, the most important first."""
    aliases = [alias for alias, number in registry.aliases(version.name).items()
               if number == version.number]
    return sorted(aliases, key=lambda a: (ALIASES.index(a) if a in ALIASES else len(ALIASES), a))
