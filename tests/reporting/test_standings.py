"""One table says how versions stand: all of the same rows, and the others apart."""

from ftzard.reporting.standings import NOT_MEASURED, Standings, own_rows


def line(accuracy: float, n: int) -> dict:
    return {"accuracy": accuracy, "lower": accuracy - 0.1, "upper": accuracy + 0.05,
            "macro_f1": accuracy, "n": n}


def record(version: int, accuracy: float, n: int, **more) -> dict:
    return {"version": version, "data": {"tokenized": {"commit": f"{version}" * 40}},
            "metrics": {"challenger": line(accuracy, n), "base": line(0.5, n)}, **more}


def measured(record: dict, time: str, scores: dict, apart: dict | None = None) -> dict:
    n = record["metrics"]["challenger"]["n"]
    return {**record, "same_rows": {
        "time": time, "rows": {"n": n, "digest": "d", "data_version": "f" * 40},
        "scores": {str(v): line(a, n) for v, a in scores.items()},
        "apart": {str(v): why for v, why in (apart or {}).items()}}}


RECORDS = [
    record(1, 0.878, 41),
    measured(record(2, 0.80, 60), "2026-11-20T08:00:00", {1: 0.85, 2: 0.80}),
    measured(record(3, 0.813, 83), "2026-11-21T08:00:00", {1: 0.834, 3: 0.813},
             {2: "its adapter is not in this workspace"}),
]


def test_the_newest_table_is_the_one_place_of_every_score():
    table = Standings.of(RECORDS)
    assert (table.judged, table.n) == (3, 83)
    assert {v: told["accuracy"] for v, told in table.scores.items()} == {1: 0.834, 3: 0.813}
    assert {told["n"] for told in (*table.scores.values(), *table.beside.values())} == {83}
    assert set(table.beside) == {"base"} and table.line(2) is None
    assert table.rows == f"the 83 test rows of data version {'f' * 10}, measured 2026-11-21"


def test_a_version_without_a_score_on_these_rows_keeps_its_own_apart():
    apart = Standings.of(RECORDS).apart_of(2)
    assert apart.why == "its adapter is not in this workspace"
    assert apart.line["accuracy"] == 0.80 and apart.line["n"] == 60
    assert apart.rows == f"the 60 test rows of data version {'f' * 10}, measured 2026-11-20"
    assert Standings.of(RECORDS).apart_of(1) is None


def test_an_evaluation_of_an_older_version_that_ran_later_is_the_newest():
    again = measured(RECORDS[1], "2026-11-22T08:00:00", {1: 0.86, 2: 0.81, 3: 0.82})
    assert Standings.of([RECORDS[0], again, RECORDS[2]]).judged == 2


def test_records_of_before_tell_of_challenger_and_champion_alone():
    older = record(2, 0.80, 60, challenged=1)
    older["metrics"]["champion"] = line(0.85, 60)
    table = Standings.of([record(1, 0.878, 41), older, {"version": 3}])
    assert {v: told["accuracy"] for v, told in table.scores.items()} == {1: 0.85, 2: 0.80}
    assert table.n == 60 and table.time is None and table.apart == ()
    refused = Standings.of([record(1, 0.878, 41), record(2, 0.80, 60)])
    assert refused.apart_of(1).why == NOT_MEASURED and refused.apart_of(1).line["n"] == 41
    assert Standings.of([]) is None and Standings.of([{"version": 1}]) is None


def test_a_measure_that_is_not_accuracy_stands_beside_every_score():
    told = {"score": 2.3, "loss": 2.3, "lower": 2.2, "upper": 2.4, "n": 60}
    entry = {"version": 1, "measure": "loss", "metrics": {"challenger": told, "base": told},
             "same_rows": {"time": "t", "rows": {"n": 60}, "scores": {"1": told}, "apart": {}}}
    table = Standings.of([entry])
    assert table.line(1)["measure"] == table.beside["base"]["measure"] == "loss"
    assert table.measure.name == "loss" and own_rows(entry) == "the 60 test rows, measured t"
