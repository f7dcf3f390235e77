"""The chain of promotions: which decision made a version champion, and after which other.

Each decision has an id and names the decisions that it follows, all of it in the models' records in
git. Their order is the order of the chain, never that of a clock: two machines may disagree about
the time, and a version may be evaluated long after it was registered. Records of before have no
ids; their decisions are ordered by their times and come before the chain.
"""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

#: The tag of a registered version that says which decision has moved the alias to it.
TAG = "champion.decision"


@dataclass(frozen=True)
class Decision:
    """A promotion on record.

    Attributes:
        id: Unique.
        version: The one that became champion.
        by_hand: By a person, not by the gate.
        time: ISO 8601, for people to read.
        after: Ids of the decisions it follows (two after a merge of two clones that had both
            decided).
        chained: Whether the record itself names id and `after`.
        deleted: Whether the version was deleted since.
    """

    id: str
    version: int
    by_hand: bool
    time: str
    after: tuple[str, ...] = ()
    chained: bool = False
    deleted: bool = False


def on_record(records: Iterable[Mapping]) -> list[Decision]:
    """Return every promotion that the records of a model tell of, oldest first."""
    decisions: list[Decision] = []
    for record in records:
        number, deleted = int(record["version"]), bool(record.get("deleted"))
        verdict = record.get("verdict") or {}
        if verdict.get("promoted") or verdict.get("decision") == "promote":
            decisions.append(_read(record.get("decision") or {}, number, False, deleted,
                                   str(record.get("created"))))
        decisions += [_read(entry, number, True, deleted, str(entry.get("time")))
                      for entry in record.get("promotions") or []]
    before = sorted((d for d in decisions if not d.chained), key=lambda d: (d.time, d.version))
    return [*before, *_in_order([d for d in decisions if d.chained])]


def latest(records: Iterable[Mapping]) -> list[Decision]:
    """Return the decisions that no other follows: none, one, or several that stand side by side.

    Several come from clones that decided without each other's records. Decisions for versions that
    were deleted since are left out.
    """
    decisions = on_record(records)
    chained = [decision for decision in decisions if decision.chained]
    if not chained:
        return [decision for decision in decisions if not decision.deleted][-1:]
    followed = {name for decision in chained for name in decision.after}
    return [d for d in chained if d.id not in followed and not d.deleted]


def following(records: Iterable[Mapping], now: datetime | None = None) -> dict:
    """Return what the record of a new decision says: id, time (UTC), and what it comes after."""
    now = now or datetime.now(UTC)
    return {"id": uuid.uuid4().hex[:16], "time": now.isoformat(timespec="seconds"),
            "after": [decision.id for decision in latest(records)]}


def _read(entry: Mapping, version: int, by_hand: bool, deleted: bool, time: str) -> Decision:
    if not entry.get("id"):
        kind = "hand" if by_hand else "gate"
        return Decision(f"{kind}-{version}-{time}", version, by_hand, time, deleted=deleted)
    return Decision(str(entry["id"]), version, by_hand, str(entry.get("time") or time),
                    tuple(entry.get("after") or ()), True, deleted)


def _in_order(decisions: list[Decision]) -> list[Decision]:
    """Return decisions so that each comes after those it follows; side by side, by id."""
    ordered: list[Decision] = []
    waiting, placed = sorted(decisions, key=lambda d: d.id), set()
    known = {decision.id for decision in decisions}
    while waiting:
        ready = [d for d in waiting if known.intersection(d.after) <= placed]
        if not ready:  # records changed by hand name each other: nothing tells which came first
            ready = waiting
        ordered += ready
        placed |= {decision.id for decision in ready}
        waiting = [d for d in waiting if d.id not in placed]
    return ordered
