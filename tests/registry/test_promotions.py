"""The order of promotions is that of their chain, whatever any clock said."""

from itertools import permutations

from ftzard.registry import promotions
from ftzard.steps import report_facts


def gate(version: int, name: str | None = None, after=(), created="2026-11-01", **more) -> dict:
    chain = {"decision": {"id": name, "time": created, "after": list(after)}} if name else {}
    return {"version": version, "created": created, "verdict": {"promoted": True}, **chain, **more}


def hand(version: int, name: str | None = None, after=(), time="2026-11-01", **more) -> dict:
    chain = {"id": name, "after": list(after)} if name else {}
    return {"version": version, "created": "2026-10-01", "promotions": [{"time": time, **chain}],
            **more}


def test_a_person_promotes_between_a_registration_and_its_evaluation():
    """Version 3 was registered first; the person's decision stands before the gate's in the chain.
    """
    records = [hand(1, "b", after=["a"], time="2026-11-05"), gate(2, "a", created="2026-11-02"),
               gate(3, "c", after=["b"], created="2026-11-03")]
    for order in permutations(records):
        assert [d.version for d in promotions.on_record(order)] == [2, 1, 3]
        assert [d.id for d in promotions.latest(order)] == ["c"]


def test_a_clock_that_runs_ahead_does_not_count():
    records = [hand(1, "a", time="2030-01-01"), gate(2, "b", after=["a"], created="2026-11-01")]
    assert [d.version for d in promotions.latest(records)] == [2]


def test_records_without_ids_come_first_in_the_order_of_their_times():
    records = [gate(1, created="2026-11-01"), hand(2, time="2027-01-01"),
               gate(3, "c", after=["hand-2-2027-01-01"], created="2026-12-01")]
    assert [d.version for d in promotions.on_record(records)] == [1, 2, 3]
    assert [d.version for d in promotions.latest(records[:2])] == [2]
    assert promotions.following(records[:2])["after"] == ["hand-2-2027-01-01"]


def test_two_that_decided_apart_stand_side_by_side_until_somebody_decides():
    records = [gate(1, "a"), gate(2, "b", after=["a"]), hand(3, "c", after=["a"])]
    assert {d.version for d in promotions.latest(records)} == {2, 3}
    joined = promotions.following(records)
    assert set(joined["after"]) == {"b", "c"}
    records.append(hand(4, joined["id"], after=joined["after"]))
    assert [d.version for d in promotions.latest(records)] == [4]


def test_a_deleted_version_is_not_the_last_and_still_orders_the_others():
    records = [gate(1, "a", promotions=[{"id": "c", "after": ["b"], "time": "x"}]),
               gate(2, "b", after=["a"], deleted={"time": "y"})]
    assert [d.id for d in promotions.latest(records)] == ["c"]
    assert promotions.latest([gate(1, "a", deleted={"time": "y"})]) == []


def test_records_that_name_each_other_still_have_an_order():
    records = [gate(1, "a", after=["b"]), gate(2, "b", after=["a"])]
    assert len(promotions.on_record(records)) == 2


def test_who_was_champion_after_each_round_includes_what_a_person_decided_before_the_next():
    refused = {"version": 2, "created": "2026-11-04", "verdict": {"promoted": False}}
    records = [gate(1, "a", created="2026-11-01"), refused,
               gate(3, "c", after=["b"], created="2026-11-10")]
    assert report_facts.champions_after(records) == {1: 1, 2: 1, 3: 3}
    records[1] = {**refused, "promotions": [{"time": "2026-11-06", "id": "b", "after": ["a"]}]}
    assert report_facts.champions_after(records) == {1: 1, 2: 2, 3: 3}
    records[2] = {"version": 3, "created": "2026-11-10", "verdict": {"promoted": False}}
    records[0]["promotions"] = [{"time": "2026-11-20", "id": "d", "after": ["b"]}]
    assert report_facts.champions_after(records) == {1: 1, 2: 2, 3: 1}
    assert report_facts.champions_after([{"version": 1, "created": "2026-11-01"}]) == {1: None}
