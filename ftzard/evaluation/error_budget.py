"""The error budget of a line of champions: what each decision may spend of it, and what is left.

A gate that tests every challenger at the same level promotes a model that is no better sooner or
later. Here all decisions of a line share one budget: the chance that any of them promotes a
challenger that is no better than its champion is at most `gate.error_budget`, over at most
`gate.rounds` decisions. Decision r of R is tested at the one-sided level

    level(r) = left(r) * (1 / r) / (1 / r + 1 / (r + 1) + ... + 1 / R)

where left(r) is the budget without what the decisions before have spent. As long as nothing is
earned back that is `budget / (r * (1 + 1/2 + ... + 1/R))`: early rounds, which have few test rows,
get a large share, and late ones, whose test rows have added up, need less. The levels add up to the
budget, and by the union bound the promise holds however the decisions depend on each other, so that
test rows may be used again (alpha spending: Lan and DeMets, 1983; Bonferroni).

A promotion that rows show which no earlier decision has used gives its level back to the decisions
after it (the fallback procedure of Wiens, 2003, and Wiens and Dmitrienko, 2005; online: Tian and
Ramdas, 2021). If the promotion was right, no error was spent on it; if it was wrong, the line has
its error already. Confidence sequences and e-values would need no horizon, but they test one
hypothesis while rows arrive; each round here has a hypothesis of its own, and they pay for all
horizons with power. Alpha investing (Foster and Stine, 2008) bounds the expected share of false
promotions, not the chance of any.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Any

#: Draws that should lie beyond either end of an interval, and the most draws that are made.
BEYOND, MOST_DRAWS = 20, 20_000


@dataclass(frozen=True)
class Allowance:
    """What one decision may spend.

    budget, rounds: the settings; round: its number among the counted decisions, from 1; left: of
    the budget before it; level: the one-sided level of its test, 0 if nothing is left; used: by
    batch of test rows, how many decisions have used it; key: what is decided, as `key_of`
    returns it.
    """

    budget: float
    rounds: int
    round: int
    left: float
    level: float
    used: Mapping[str, int] = field(default_factory=dict)
    key: Mapping[str, Any] = field(default_factory=dict)

    @property
    def confidence(self) -> float:
        """The confidence of the two-sided interval whose lower end is tested."""
        return 1 - 2 * self.level

    def draws(self, resamples: int) -> int:
        """Return how many resamples the ends of an interval at this level need."""
        return min(max(resamples, ceil(BEYOND / self.level)), max(resamples, MOST_DRAWS))

    def fresh(self, batch: str) -> bool:
        """Return whether no decision has used a batch of test rows."""
        return not self.used.get(batch)

    def account(self, *, counted: bool, earned: bool, rows: Mapping[str, int],
                fresh: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return what the record of a decision says of the budget.

        Args:
            counted: Whether it could have promoted, and so has spent its level.
            earned: Whether it promoted on the evidence of fresh rows alone, and so gets it back.
            rows: Test rows of each batch.
            fresh: What the fresh rows say by themselves, None without any.
        """
        spent = self.level if counted else 0.0
        back = spent if earned else 0.0
        after = self.left - spent + back
        following = self.round + (1 if counted else 0)
        return {
            "budget": self.budget, "rounds": self.rounds, "round": self.round, "counted": counted,
            "level": self.level, "spent": spent, "earned": back, "left": after,
            "next_level": after * share(following, self.rounds),
            "rows": dict(rows), "used": {batch: self.used.get(batch, 0) for batch in rows},
            "fresh_rows": sum(n for batch, n in rows.items() if self.fresh(batch)),
            "fresh": None if fresh is None else dict(fresh), "key": dict(self.key)}


def share(number: int, rounds: int) -> float:
    """Return the share of what is left that decision `number` of `rounds` may spend."""
    if number > rounds:
        return 0.0
    return 1 / number / sum(1 / later for later in range(number, rounds + 1))


def levels(budget: float, rounds: int) -> list[float]:
    """Return the one-sided level of each round, as long as nothing is earned back."""
    left, values = budget, []
    for number in range(1, rounds + 1):
        values.append(left * share(number, rounds))
        left -= values[-1]
    return values


def allowance(budget: float, rounds: int, accounts: Iterable[Mapping[str, Any]], *, cap: float,
              key: Mapping[str, Any] | None = None) -> Allowance:
    """Return what the next decision may spend.

    Args:
        budget: The chance of any false promotion, `gate.error_budget`.
        rounds: The horizon, `gate.rounds`.
        accounts: Of all decisions before, as `Allowance.account` returns each.
        cap: The largest one-sided level, that of `gate.confidence`; what is above it stays for
            later rounds.
        key: What is decided.
    """
    every = list(accounts)
    used = Counter(batch for account in every for batch in account["rows"])
    number = 1 + sum(account["counted"] for account in every)
    left = max(0.0, budget - sum(a["spent"] - a["earned"] for a in every))
    return Allowance(budget, rounds, number, left, min(cap, left * share(number, rounds)), used,
                     key or {})


def key_of(challenger: str, champion: str | None, rows: str) -> dict[str, str | None]:
    """Return what tells one decision from another.

    challenger, champion: hashes of their weights, None where there is no champion; rows: the digest
    of the test rows with their labels.
    """
    return {"challenger": challenger, "champion": champion, "rows": rows}


def decisions(records: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return every decision of a line that is on record, in the order of their rounds.

    Each is a verdict as `Verdict.to_dict` gives it, with its account under `error_budget`, the
    version that it was first made for under `version` and when it was made under `decided`. One
    that stands in several records, after a retry, is one decision.
    """
    by_key: dict[tuple[Any, ...], dict[str, Any]] = {}
    for record in records:
        for entry in record.get("decisions") or []:
            key = tuple(entry["error_budget"]["key"].get(name)
                        for name in ("challenger", "champion", "rows"))
            if key not in by_key or entry["decided"] < by_key[key]["decided"]:
                by_key[key] = {"version": record.get("version"), **entry}
    return sorted(by_key.values(), key=lambda e: (e["error_budget"]["round"], e["decided"]))


def stored(made: Iterable[Mapping[str, Any]], key: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the decision on record of the same challenger, champion and rows, or None.

    made: what `decisions` returns. A challenger that has been promoted since stands in its own
    champion's place; the decision that promoted it is its own on the same rows.
    """
    itself = key["challenger"] == key["champion"]
    for entry in made:
        other = entry["error_budget"]["key"]
        if other == dict(key) or (
                itself and entry.get("promoted") and other["rows"] == key["rows"]
                and other["challenger"] == key["challenger"]):
            return dict(entry)
    return None


def accounts(made: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the account of each decision; made: what `decisions` returns."""
    return [entry["error_budget"] for entry in made]


def standing(records: Iterable[Mapping[str, Any]], budget: float | None, rounds: int, *, cap: float
             ) -> dict[str, Any] | None:
    """Return what is left of the budget after the decisions on record, None without a budget.

    The result holds budget, rounds, decided, left, next_level, sentence and `history`: {round,
    version, level, spent, earned, left, decision, fresh_rows} of each decision.
    """
    if budget is None:
        return None
    made = decisions(records)
    ahead = allowance(budget, rounds, accounts(made), cap=cap)
    needed = next((entry.get("rows_needed") for entry in reversed(made)), None)
    latest = sum(made[-1]["error_budget"]["rows"].values()) if made else 0
    more = max(0, needed - latest) if needed else None
    return {
        "budget": budget, "rounds": rounds, "decided": ahead.round - 1, "left": ahead.left,
        "next_level": ahead.level, "fresh_rows_needed": more,
        "sentence": _sentence(ahead, more),
        "history": [{**{name: entry["error_budget"][name] for name in (
            "round", "counted", "level", "spent", "earned", "left", "fresh_rows")},
            "version": entry["version"], "decision": entry["decision"]} for entry in made]}


def _sentence(ahead: Allowance, more: int | None) -> str:
    if ahead.round > ahead.rounds:
        return (f"All {ahead.rounds} decisions of gate.rounds are made: the gate promotes nothing "
                f"more until gate.rounds is larger ({percent(ahead.left)} of "
                f"{percent(ahead.budget)} are left).")
    sentence = (f"{percent(ahead.left)} of {percent(ahead.budget)} are left after "
                f"{ahead.round - 1} of {ahead.rounds} decisions; the next is tested at "
                f"{percent(ahead.level)}.")
    return sentence + (f" About {more:,} more audit rows would make it sharp." if more else "")


def percent(number: float) -> str:
    """Return a share as a percentage with two digits that count."""
    return f"{100 * number:.2g} %"
