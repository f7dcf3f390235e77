"""Registering models: an adapter as a new version, and the bare base that it stands on."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ftzard.registry.packaging import packaged
from ftzard.tracking.model_version import BASE, IDENTITY, KIND, TUNED, Version
from ftzard.tracking.registry import add_version, versions
from ftzard.tracking.runs import Run


def register(run: Run, name: str, *, adapter: Path, base: Path | None, example: Sequence[str],
             labels: Sequence[str], tags: Mapping[str, object], last_number: int = 0,
             asked: Mapping[str, float | None] | None = None) -> Version:
    """Log an adapter (and its base's archive, if no hub has it) as a pyfunc and register it.

    Args:
        adapter, base: Zip archives.
        example: Raw texts.
        labels: In the order of the probabilities.
        last_number: No number up to this one is given, since a record has it already.
        asked: How its confidence is told, {temperature, abstain_below}, or nothing.

    Returns:
        The new version, which has no alias yet.
    """
    archives = {"adapter": adapter, **({"base": base} if base else {})}
    with packaged(name, archives, example=example, labels=labels, config=asked) as model:
        return add_version(run, name, model, "model", {KIND: TUNED, **tags}, last_number)


def register_base(run: Run, name: str, *, spec: Mapping, hashes: Mapping[str, str],
                  labels: Sequence[str], cleaning: Mapping, archive: Path | None,
                  example: Sequence[str], tags: Mapping[str, object],
                  answering: Mapping | None = None) -> tuple[Version, bool]:
    """Register a bare base, with an untrained head for labels; return its version, whether new.

    A base that is registered already, with the same hashes, labels and way of loading and asking,
    is no new version.

    Args:
        spec: How it is loaded, its source such that anybody finds it, or any name if `archive`
            holds its files.
        hashes: Of its weights and tokenizer.
        answering: {template, max_new_tokens} of a base that writes answers.
    """
    described = {"spec": dict(spec), "labels": list(labels), "cleaning": dict(cleaning),
                 **(answering or {})}
    content = json.dumps({**described, "hashes": dict(hashes)}, sort_keys=True, default=str)
    identity = hashlib.sha256(content.encode()).hexdigest()
    for known in versions(run.tracking, name):
        if known.tags.get(IDENTITY) == identity:
            return known, False
    archives = {"base": archive} if archive else {}
    with packaged(name, archives, example=example, labels=labels, config=described) as model:
        return add_version(run, name, model, "base",
                           {KIND: BASE, IDENTITY: identity, **hashes, **tags}, 0), True
