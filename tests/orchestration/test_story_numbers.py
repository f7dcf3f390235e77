"""Every number that pages show is the record's, and no two pages show one number differently.

The pages of the workspace after all jobs: the report and the list of all reports, `status`,
`models list` and `show`, `history`, `lineage`, the demo's table, the model card, Dagster's
metadata, MLflow's metrics and tags. The comparison is held by test_story_models.
"""

import html
import json
import re
from dataclasses import dataclass

import pytest
import yaml

from ftzard.cli import demo, model_tables, tables
from ftzard.orchestration import metadata_tables
from ftzard.registry import lookup, model_records
from ftzard.registry.lineage import lineage
from ftzard.reporting.standings import Standings
from ftzard.steps.report_facts import ALL_REPORTS
from ftzard.tracking import registry, runs
from ftzard.workspace import batch_log

pytestmark = pytest.mark.jobs
NAME = "FalconSentiAnalysis"


@dataclass(frozen=True)
class Shown:
    """A number as a page shows it: whose, what, of how many rows, in which words."""

    page: str
    version: int
    what: str
    n: int
    said: str


def printed(thing) -> str:
    return re.sub(r"[^\S\n]+", " ", str(thing))


def words(page: str) -> str:
    """Return a page's words without its pictures."""
    text = re.sub(r"<(svg|style)\b.*?</\1>", " ", page, flags=re.S)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", text))).replace("\u00a0", " ")


def found(page: str, text: str, pattern: str) -> list[Shown]:
    """Return the numbers of each match: v and n say whose and of what, other groups are numbers."""
    numbers = []
    for match in re.finditer(pattern, text):
        told = match.groupdict()
        version, n = int(told.pop("v")), int(told.pop("n").replace(",", ""))
        numbers += [Shown(page, version, what, n, said) for what, said in told.items() if said]
    assert numbers, f"{page} shows no score:\n{text[:3000]}"
    return numbers


@pytest.fixture(scope="module")
def records(story) -> dict[int, dict]:
    return {int(r["version"]): r for r in model_records.records(story.workspace, NAME)}


@pytest.fixture
def pages(story, records, ftzard) -> list[Shown]:
    """Return every score that a page shows of a version."""
    table, numbers = Standings.of(records.values()), []
    _, said = ftzard("status", "-w", story.root)
    numbers += found("status", said, rf"{NAME}@(?P<v>\d+), (?P<accuracy>[\d.]+)% of (?P<n>[\d,]+) ")
    listed = model_tables.list_table(lookup.listing(story.workspace, NAME))
    numbers += found("list", printed(listed),
                     rf"{NAME}@(?P<v>\d+).*? (?P<accuracy>[\d.]+) % \((?P<lower>[\d.]+)–"
                     r"(?P<upper>[\d.]+)\) of (?P<n>[\d,]+)")
    for number in records:
        numbers += found(
            "show", printed(model_tables.model_tree(
                lookup.describe(story.workspace, f"{NAME}@{number}"))),
            rf"{NAME}@(?P<v>\d+): (?P<accuracy>[\d.]+)% \((?P<lower>[\d.]+)%–(?P<upper>[\d.]+)%\) "
            r"of (?P<n>[\d,]+) test rows, macro F1 (?P<macro_f1>[\d.]+)")
        told = printed(tables.lineage_tree(lineage(story.workspace, f"{NAME}@{number}")))
        numbers += found("lineage", f"{number} {told}",
                         r"(?s)\A(?P<v>\d+) .*?(?P<accuracy>[\d.]+)% of (?P<n>[\d,]+) "
                         r"test rows, macro F1 (?P<macro_f1>[\d.]+)")
    numbers += found("demo", f"{printed(demo.models_table(story.workspace))}".replace(
        "version ", f"of {table.n} "), r"of (?P<n>\d+) (?P<v>\d+) (?P<accuracy>[\d.]+)% "
        r"(?P<lower>[\d.]+)%–(?P<upper>[\d.]+)% (?P<macro_f1>[\d.]+)")
    page = words(story.workspace.report.read_text(encoding="utf-8"))
    numbers += found(
        "report, models", page,
        rf"(?:challenger|champion) {NAME}@(?P<v>\d+)(?: \(now champion\))? (?:challenger|champion) "
        r"(?P<accuracy>[\d.]+) % (?P<lower>[\d.]+) – (?P<upper>[\d.]+) % "
        r"(?P<macro_f1>[\d.]+) % (?P<n>[\d,]+)")
    rounds = page[page.index("Rounds", page.index("so far") - 200):]
    numbers += found(
        "report, rounds", rounds.replace(f" {NAME}@", f" of {table.n} {NAME}@"),
        rf"of (?P<n>\d+) {NAME}@(?P<v>\d+) [\d,–]+ (?P<accuracy>[\d.]+) % (?P<lower>[\d.]+) – "
        r"(?P<upper>[\d.]+) %")
    kept = words((story.workspace.report.with_name(ALL_REPORTS)).read_text(encoding="utf-8"))
    numbers += found(
        "all reports", kept.replace(f" {NAME}@", f" of {table.n} {NAME}@"),
        rf"of (?P<n>\d+) {NAME}@(?P<v>\d+) accuracy (?P<accuracy>[\d.]+) % (?P<lower>[\d.]+) – "
        r"(?P<upper>[\d.]+) %")
    return numbers


def test_every_score_that_is_shown_is_the_one_on_record(pages, records):
    table = Standings.of(records.values())
    assert set(table.scores) == set(records), "all versions of the story can be measured"
    for one in pages:
        line = table.line(one.version)
        value, n = line[one.what], line["n"]
        written = {f"{100 * value:.1f}", f"{value:.3f}"}
        assert one.n == n and one.said in written, (one, value)
    assert {one.page for one in pages} == {"status", "list", "show", "lineage", "demo",
                                           "report, models", "report, rounds", "all reports"}


def test_no_two_pages_show_a_number_of_a_version_differently(pages):
    told: dict[tuple, dict[str, set]] = {}
    for one in pages:  # 0.931 and 93.1 % are one number
        said = f"{float(one.said) * (100 if float(one.said) <= 1 else 1):.1f}"
        told.setdefault((one.version, one.what), {}).setdefault(said, set()).add(one.page)
    assert {key: values for key, values in told.items() if len(values) > 1} == {}
    assert any(len(pages_) > 4 for values in told.values() for pages_ in values.values())
    assert len({one.n for one in pages}) == 1, "scores of different rows stand beside each other"


def test_the_run_s_metrics_are_those_of_the_record(story, records):
    table = Standings.of(records.values())
    run = max((r for r in runs.children(story.tracking(), "EVALUATION")),
              key=lambda r: r.info.start_time)
    told = run.data.metrics
    assert {name for name in told if name.startswith("version_")} == {
        f"version_{number}_test_accuracy" for number in table.scores}
    for number, line in table.scores.items():
        assert told[f"version_{number}_test_accuracy"] == line["accuracy"]
    entry = records[table.judged]
    assert told["test_accuracy"] == entry["metrics"]["challenger"]["accuracy"]
    assert told["gate_difference"] == entry["verdict"]["difference"]
    card = runs.read(story.tracking(), run.info.run_id, "model_card.md").decode()
    line = entry["metrics"]["challenger"]
    assert f"| {NAME}@{table.judged} | {line['accuracy']:.3f} |" in card
    assert f"## On the {table.n:,} test rows of data version" in card


def test_dagster_s_pages_show_the_record_s_scores_and_verdict(story, records):
    """Of the last evaluation of the jobs: other tests may have added versions since."""
    shown = story.record.materializations["report"]
    entry = records[int(shown["model"].partition("@")[2])]
    lines = {line.data["model"]: line.data for line in shown["scores"].records}
    assert set(lines) == set(entry["metrics"]) >= {"challenger", "champion", "base", "TF-IDF"}
    for role, line in entry["metrics"].items():
        for name in ("accuracy", "lower", "upper", "macro_f1", "n", "cost"):
            assert lines[role][name] == metadata_tables.cell(line[name]), (role, name)
    assert (shown["verdict"], shown["reasons"]) == (
        entry["verdict"]["decision"], " ".join(entry["verdict"]["reasons"]))
    rows = story.record.materializations["tokenized"]["dagster/row_count"]
    assert rows == sum(entry["rows"].values())


def test_mlflow_s_versions_are_tagged_with_the_verdict_on_record(story, records):
    tracking = story.tracking()
    for number, entry in records.items():
        tags, verdict = registry.version(tracking, NAME, number).tags, entry["verdict"]
        assert (tags["gate.decision"], int(tags["gate.n"])) == (verdict["decision"], verdict["n"])
        for name in ("difference", "lower", "upper"):
            assert float(tags[f"gate.{name}"]) == round(verdict[name], 6)


def test_history_has_the_rows_that_the_records_say_and_the_models_trained_on_them(
        story, records, ftzard):
    versions = {one["commit"]: one for one in json.loads(
        ftzard("history", "tokenized", "--json", "-w", story.root)[1])}
    for number, entry in records.items():
        version = versions[entry["data"]["tokenized"]["commit"]]
        assert version["rows"] == sum(entry["rows"].values())
        assert f"{NAME}@{number}" in version["models"]


def test_the_error_budget_and_the_estimate_are_one_sentence_everywhere(story, records, ftzard):
    page = words(story.workspace.report.read_text(encoding="utf-8"))
    told = json.loads(ftzard("status", "--json", "-w", story.root)[1])
    budget, estimate = told["error_budget"], told["estimate"]
    assert budget["sentence"] in page[page.rindex("Error budget"):][:600]
    run = max((r for r in runs.children(story.tracking(), "EVALUATION")),
              key=lambda r: r.info.start_time)
    account = records[Standings.of(records.values()).judged]["verdict"]["error_budget"]
    assert {name: run.data.metrics[f"gate_budget_{name}"] for name in ("level", "left", "round")
            } == {name: account[name] for name in ("level", "left", "round")}
    assert estimate["sentence"] in page[page.rindex("Accuracy before labels"):][:600]
    last = batch_log.ESTIMATES.entries(story.workspace)[-1]
    assert (estimate["sentence"], estimate["estimate"]) == (last["sentence"], last["estimate"])


def test_the_report_s_other_numbers_are_those_of_the_record(story, records):
    newest = records[Standings.of(records.values()).judged]
    page = words(story.workspace.report.read_text(encoding="utf-8"))
    new = newest["new_rows"]
    assert f"{sum(new.values()):,} labelled rows new in this round" in page
    rate = newest["recipe"]["params"]["learning_rate"]
    used = page[page.index("Values used"):][:400]
    assert f" {rate:.3g} " in used and rate != newest["params"]["learning_rate"]


def test_new_rows_are_those_that_the_round_before_did_not_have(story, records):
    """The second version is trained on what was handed in; the later ones on the same data."""
    handed_in = yaml.safe_load((story.root / f"models/{NAME}/2.yaml").read_text())["new_rows"]
    assert records[1]["new_rows"] == records[1]["rows"]
    assert 50 < sum(handed_in.values()) <= 70 and handed_in["train"] > handed_in["test"] > 0
    assert records[4]["new_rows"] == {}


def test_a_batch_s_drift_is_one_number_in_both_pictures(story):
    page = story.workspace.report.read_text(encoding="utf-8")
    last = [e for e in batch_log.DRIFT.entries(story.workspace) if e["score"] is not None][-1]
    said = f"{last['score'] / last['upper']:.2f} ×"
    over = max(f"{(s['value'] - s['usual']) / (s['upper'] - s['usual']):.2f} ×"
               for s in last["statistics"])
    assert said == over
    drawn = re.findall(r">\s*([\d.]+ ×)", page)
    assert drawn.count(said) >= 1
