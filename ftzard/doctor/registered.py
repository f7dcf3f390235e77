"""Consistency of registered models, their records in git, their adapters and the aliases."""

import zipfile
from pathlib import Path

import yaml

from ftzard.doctor.finding import OK, WARNING, WRONG, Finding, counted, settings
from ftzard.doctor.leftovers import at_work
from ftzard.doctor.records import impatient, tracking_of, uri_of
from ftzard.errors import TrackingError, in_shell
from ftzard.versioning import git
from ftzard.workspace.workspace import Workspace


def models(place: Workspace) -> list[Finding]:
    """Registered versions, their records, adapters and aliases, and whether they agree."""
    name = settings(place).tracking.registered_model
    records, unreadable = _records(place, name)
    findings = [Finding("models", WRONG, f"{place.relative(file)} is not a readable record.",
                        f"git restore {place.relative(file)}") for file in unreadable]
    with impatient():
        try:
            tracking = tracking_of(place)
        except TrackingError as error:
            return [*findings, *_adapters(place, name, records, {}),
                    Finding("models", WRONG, str(error))]
        if tracking is None:
            return [*findings, *_adapters(place, name, records, {})] or [
                Finding("models", OK, "none yet.")]
        from ftzard.tracking import registry

        versions = {v.number: v for v in registry.versions(tracking, name)}
        aliases = registry.aliases(tracking, name)
        findings += _dangling(place, tracking, name, aliases, versions)
        findings += _half_registered(place, tracking, records, aliases, versions)
        findings += _half_deleted(place, tracking, records, aliases, versions)
        findings += _cut_off(place, tracking, name, records, aliases, versions)
    findings += _adapters(place, name, records, aliases)
    champion = aliases.get("champion")
    return findings or [Finding(
        "models", OK, f"{counted(len(versions), 'version')} of {name}, champion "
                      f"{champion or 'none'}, each with its record.")]


def _records(place: Workspace, name: str) -> tuple[dict[int, dict], list[Path]]:
    records, unreadable = {}, []
    for file in sorted((place.root / "models" / name).glob("*.yaml")):
        if not file.stem.isdecimal():
            continue
        try:
            record = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError):
            record = None
        if isinstance(record, dict):
            records[int(file.stem)] = record
        else:
            unreadable.append(file)
    return records, unreadable


def _dangling(place, tracking, name: str, aliases: dict, versions: dict) -> list[Finding]:
    from ftzard.tracking import registry

    findings = []
    for alias, number in aliases.items():
        if number not in versions:
            findings.append(Finding(
                "models", WRONG, f"the alias '{alias}' of {name} names version {number}, which "
                                    "does not exist.", f"ftzard doctor --fix -w {place.in_shell}",
                lambda alias=alias, number=number: _drop(registry, tracking, name, alias, number)))
    if aliases.get("challenger") is not None and aliases.get("challenger") == aliases.get(
            "champion"):
        champion = versions.get(aliases["champion"])
        if champion is not None:
            findings.append(Finding(
                "models", WRONG, f"{champion} is champion and challenger: a move was cut off.",
                f"ftzard doctor --fix -w {place.in_shell}",
                lambda: _move(registry, tracking, champion)))
    return findings


def _drop(registry, tracking, name: str, alias: str, number: int) -> str:
    registry.drop(tracking, name, alias)
    return f"took the alias '{alias}' away, which named the missing version {number}."


def _move(registry, tracking, version) -> str:
    registry.move(tracking, version.name, champion=version)
    return f"{version} is champion."


def _half_registered(place: Workspace, tracking, records: dict, aliases: dict, versions: dict
                     ) -> list[Finding]:
    """Versions in MLflow without a record in the workspace."""
    from ftzard.tracking import registry

    findings = []
    for number, version in versions.items():
        if number in records:
            continue
        status = _status(tracking, version.run_id)
        if status == "RUNNING" and at_work(place):
            continue
        own = uri_of(place) == place.mlflow_uri
        cut_off = own and status not in ("FINISHED", None) and number not in aliases.values()
        why = ("the process that registered it was killed" if cut_off else
               "it was registered from another clone, or its record was removed")
        findings.append(Finding(
            "models", WRONG if cut_off else WARNING,
            f"{version} is registered and has no record models/{version.name}/{number}.yaml; "
            f"{why}.",
            f"ftzard doctor --fix -w {place.in_shell}" if cut_off else "git pull",
            (lambda version=version: _delete(place, registry, tracking, version))
            if cut_off else None))
    return findings


def _status(tracking, run_id: str) -> str | None:
    from ftzard.tracking import runs

    try:
        return runs.status(runs.reopen(tracking, run_id))
    except TrackingError:
        return None


def _delete(place: Workspace, registry, tracking, version) -> str:
    registry.delete(tracking, version)
    adapter = place.root / "models" / version.name / f"{version.number}.zip"
    if adapter.is_file() and not adapter.with_name(f"{adapter.name}.dvc").exists():
        adapter.unlink()
    return f"deleted {version}, which was only half registered."


def _half_deleted(place: Workspace, tracking, records: dict, aliases: dict, versions: dict
                  ) -> list[Finding]:
    """Versions that are deleted by their record and still registered."""
    from ftzard.tracking import registry

    roles = {number: alias for alias, number in aliases.items()}
    return [] if at_work(place) else [Finding(
        "models", WRONG, f"{versions[number]}"
                         + (f", the {roles[number]}," if number in roles else "")
                         + " was deleted by its record and is still registered: deleting it was "
                           "cut off.", f"ftzard doctor --fix -w {place.in_shell}",
        lambda version=versions[number]: _finish(registry, tracking, version))
        for number, record in records.items() if record.get("deleted") and number in versions]


def _finish(registry, tracking, version) -> str:
    left = registry.delete(tracking, version, allowed=registry.aliases_of(tracking, version))
    return f"deleted {version} from the registry" + (f"; {left}" if left else ", and its files.")


def _cut_off(place: Workspace, tracking, name: str, records: dict, aliases: dict, versions: dict
             ) -> list[Finding]:
    """A recorded champion that the alias does not name; the alias moves only along the chain."""
    from ftzard.registry import champion_alias, promotions

    last = promotions.latest(records.values())
    champion = aliases.get("champion")
    if not last or champion in {decision.version for decision in last[:1]} and len(last) == 1:
        return []
    now = f"{name}@{champion}" if champion else "none"
    if len(last) > 1:
        sides = " and ".join(f"{name}@{d.version} ({d.time[:16]})" for d in last)
        return [Finding(
            "models", WARNING,
            f"{sides} were made champion in two clones that did not know of each other; the "
            f"registry says {now}.",
            f"ftzard promote VERSION --reason … -w {place.in_shell} (the one that is to be "
            "champion)")]
    number = last[0].version
    if number not in versions:
        return [Finding(
            "models", WRONG,
            f"{name}@{number} is promoted on record, and the registry at {tracking.client.shown} "
            f"does not know it; it has {counted(len(versions), 'version')} of {name}.",
            f"set tracking.uri to the server that has it, or bring {place.state / 'mlflow.db'} "
            "back")]
    version = champion_alias.pending(tracking, name, last)
    if version is None or _settled_before_the_chain(place, name, last[0]):
        elsewhere = champion is not None and _decided_elsewhere(versions[champion], records)
        return [Finding(
            "models", WARNING,
            f"{name}@{number} is the last that was promoted on record, and the champion is {now}: "
            + ("that was decided in another clone." if elsewhere else
               "somebody moved it in MLflow."),
            "git pull --no-rebase" if elsewhere else
            f"ftzard promote {number} --reason … -w {place.in_shell} (if that was not you)")]
    if at_work(place):
        return []
    return [Finding(
        "models", WRONG,
        f"{name}@{number} is promoted on record, and the champion is {now}: the process was killed "
        "before the alias moved.", f"ftzard doctor --fix -w {place.in_shell}",
        lambda: _carry_out(place, tracking, version, last[0].id))]


def _settled_before_the_chain(place: Workspace, name: str, decision) -> bool:
    """Return whether a verdict of a record without ids is committed."""
    if decision.chained or decision.by_hand:
        return False
    listing = git.attempt(place.root, "status", "--porcelain", "--untracked-files=all", "--",
                          f"models/{name}/{decision.version}.yaml",
                          env={"GIT_OPTIONAL_LOCKS": "0"})
    return listing.returncode == 0 and not listing.stdout.strip()


def _decided_elsewhere(champion, records: dict) -> bool:
    """Return whether no record has the decision by which a version is champion."""
    from ftzard.registry import promotions

    known = {decision.id for decision in promotions.on_record(records.values())}
    return champion.tags.get(promotions.TAG) not in (None, *known)


def _carry_out(place: Workspace, tracking, version, decision_id: str) -> str:
    from ftzard.registry import champion_alias

    sentence = champion_alias.complete(place, tracking)
    if sentence is None:
        champion_alias.carry_out(tracking, version, decision_id)
    return sentence or f"{version} is champion."


def _adapters(place: Workspace, name: str, records: dict, aliases: dict) -> list[Finding]:
    """Records whose adapter is missing or no complete archive."""
    findings = []
    roles = {number: alias for alias, number in aliases.items()}
    for number in (n for n, record in records.items() if not record.get("deleted")):
        file = place.root / "models" / name / f"{number}.zip"
        pointer = file.with_name(f"{file.name}.dvc")
        what = f"{name}@{number}" + (f", the {roles[number]}," if number in roles else "")
        state = WRONG if number in roles else WARNING
        if not file.is_file():
            findings.append(Finding(
                "models", state, f"the adapter of {what} is not at {place.relative(file)}.",
                f"dvc pull {in_shell(place.relative(pointer))}" if pointer.is_file() else
                f"mlflow artifacts download --run-id {records[number].get('mlflow_run')}"))
        elif not pointer.is_file() and not zipfile.is_zipfile(file):
            findings.append(Finding(
                "models", WRONG, f"the adapter of {what} is no whole archive: "
                                    f"{place.relative(file)}.",
                f"mlflow artifacts download --run-id {records[number].get('mlflow_run')}"))
    return findings
