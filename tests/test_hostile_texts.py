"""The same hostile labels and texts in every page and view, from one trained model."""

import shutil

import pandas as pd
import pytest
import yaml

from ftzard.cli import labeling_screen
from ftzard.config.compose import compose
from ftzard.core.artifacts import write_json
from ftzard.core.yaml_file import dump
from ftzard.data import query_strategies
from ftzard.data.labeling import label_studio, labeling_queue, submissions
from ftzard.data.labeling.label_formats import OneOf
from ftzard.data.storage import write_parquet
from ftzard.orchestration import io_managers
from ftzard.registry import model_card as export_card
from ftzard.registry import model_records
from ftzard.reporting import report
from ftzard.reporting.report_data import Facts
from ftzard.steps import labeling_session, run_description
from ftzard.tasks.base import task_named
from ftzard.tracking import card, registry, runs
from ftzard.tracking.workspace_store import connect
from ftzard.versioning import delivery_names
from ftzard.workspace.workspace import Workspace
from tests.hostile import HOSTILE, markdown_is_safe, page_is_safe, traces, unseen
from tests.orchestration.texts import easy_texts
from tests.trained import NAME, train

LABELS = list(HOSTILE.values())
ALL = set(HOSTILE)
#: What a terminal's table cuts off, or folds where a trace would stand.
LONG = {"link", "markdown"}


@pytest.fixture(scope="module")
def hostile(template, tmp_path_factory) -> Workspace:
    """A workspace whose labels and texts are hostile, with a champion and a challenger; only read.

    Its verdict and its tags say hostile things too.
    """
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("hostile") / "ws"
        shutil.copytree(template, root, symlinks=True)
        patch.setenv("FTZARD_WORKSPACE", str(root))
        texts = easy_texts(220, seed=4)["tweet"]
        rows = pd.DataFrame({
            "text": [f"{text} {LABELS[n % len(LABELS)]}" for n, text in enumerate(texts)],
            "label": [LABELS[n * 3 % len(LABELS)] for n in range(len(texts))]})
        workspace = train(Workspace(root), rows, reasons=[" ".join(LABELS)])
        tracking = connect(workspace, workspace.config())
        for version in registry.versions(tracking, NAME):
            for number, label in enumerate(LABELS):
                tracking.client.set_model_version_tag(NAME, str(version.number), f"t{number}",
                                                      label)
        delivery_names.remember(workspace, "b1" + "0" * 62, " ".join(LABELS[:7]))
        return workspace


@pytest.mark.slow
class TestTerminal:
    @pytest.mark.parametrize(("words", "wanted"), [
        (("status",), set()), (("models", "list"), set()), (("history",), set()),
        (("doctor",), set()), (("models", "show", "champion"), ALL),
        (("lineage",), {"markup"}), (("config",), set())])
    def test_what_tells_of_a_workspace(self, hostile, ftzard, words, wanted):
        _, said = ftzard(*words, "-w", hostile.root)
        assert "Traceback" not in said and unseen(said) == set()
        assert traces(said) >= wanted, said

    def test_predict_shows_its_argument_and_its_label(self, hostile, ftzard):
        code, said = ftzard("predict", *[f"day {text}" for text in LABELS], "-w", hostile.root)
        assert code == 0 and unseen(said) == set() and traces(said) == ALL
        assert len(said.strip().splitlines()) == len(LABELS), "a line for each text"
        code, said = ftzard("predict", "--json", *LABELS, "-w", hostile.root)
        assert code == 0 and unseen(said) == set()

    def test_a_refusal_repeats_no_command(self, hostile, ftzard):
        for words in (("predict", f"{LABELS[2]}.csv"), ("models", "show", LABELS[2]),
                      (LABELS[2],), ("run", LABELS[2])):
            code, said = ftzard(*words, "-w", hostile.root) if len(words) > 1 else ftzard(*words)
            assert code and unseen(said) == set() and r"\x1b" in said, said

    def test_compare_and_its_page(self, hostile, ftzard, tmp_path):
        code, said = ftzard("compare", "champion", "challenger", "--examples", "60", "--html",
                            tmp_path / "page.html", "-w", hostile.root)
        assert code == 0 and unseen(said) == set(), said
        assert traces(said) >= ALL - LONG, said
        words = page_is_safe((tmp_path / "page.html").read_text(encoding="utf-8"))
        assert traces(words) >= ALL - LONG


@pytest.mark.slow
class TestPlatforms:
    def test_mlflow_s_notes_and_cards(self, hostile):
        tracking = connect(hostile, hostile.config())
        version = registry.champion(tracking, NAME)
        entry = model_records.read_record(hostile, version)
        assert traces(markdown_is_safe(card.model_card(entry))) == ALL
        parent = runs.top_level(tracking, "DATA_CLEANING", hostile.state / "mlflow.lock")
        run = runs.start_child(tracking, parent, {})
        run.end("FAILED", f"DataError: unknown labels {' '.join(LABELS)}")
        tags = tracking.client.get_run(run.id).data.tags
        assert traces(markdown_is_safe(tags["mlflow.note.content"])) == ALL
        assert all(label in tags["ftzard.reason"] for label in LABELS), "a tag is plain text"

    def test_dagster_s_metadata(self, hostile):
        handle = hostile.handle("tokenized", hostile.root / hostile.config().paths.tokenized, 220)
        told = io_managers._described(handle, hostile.root)
        names = {"b1": " ".join(LABELS)}
        batches = io_managers._batches(handle, hostile, {"delivered_as": names})
        for table, rows in ((batches["batches"], 1), (told["preview"], 5)):
            words = " ".join(str(cell) for record in table.records for cell in record.data.values())
            assert len(table.records) == rows and unseen(words) == set() and traces(words)
            assert rows > 1 or traces(words) == ALL
        note = run_description.of_step("cleaning", {"model": LABELS[4], "version": 1, "verdict": {
            "decision": "refuse", "reasons": LABELS}}, {}, round=1, batch=LABELS[6], dagster=None)
        assert traces(markdown_is_safe(note.note)) == ALL

    def test_the_card_of_an_export(self, hostile):
        version = registry.champion(connect(hostile, hostile.config()), NAME)
        entry = model_records.read_record(hostile, version)
        entry |= {"test_metrics": {"per_class": {label: {
            "precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 1} for label in LABELS}}}
        text = export_card.render(export_card.Card(
            str(version), "merged", LABELS, {"name": "ti`ny", "source": "a/`b`"}, None,
            {"compute_dtype": "float32", "quantisation": "none"}, "lora",
            {"mention": "`@u`", "link": "http"}, 64, {"largest": 0.0, "rows": 1, "changed": 0},
            entry, [], {}))
        front, _, rest = text.removeprefix("---\n").partition("\n---\n")
        assert yaml.safe_load(front)["model-index"][0]["name"] == str(version)
        assert traces(markdown_is_safe(rest)) == ALL


class TestPages:
    def test_the_report(self):
        facts = Facts(
            title=LABELS[4], subtitle=LABELS[5], created="2026-11-21T03:05:22",
            class_counts={label: {"train": 3, "test": 2} for label in LABELS},
            rejected=dict.fromkeys(LABELS, 2), rows_read=100,
            rejected_examples=[{"reason": label, "text": label, "row": 1} for label in LABELS],
            leaks=dict.fromkeys(LABELS, 1), uncertainty=[0.1, 0.5], strategy=LABELS[4],
            asked=1, asked_of="b1", delivered_as={"b1": " ".join(LABELS)})
        assert traces(page_is_safe(
            report.render(facts, task_named("classification").report.sections))) == ALL


class TestLabels:
    @pytest.fixture
    def asked(self, workspace) -> Workspace:
        """A queue of hostile texts, by a champion with hostile labels."""
        (workspace.root / "ftzard.yaml").write_text(
            dump({"data": {"labels": {f"l{n}": label for n, label in enumerate(LABELS)}},
                  "sampling": {"show_suggestions": "before"}}), encoding="utf-8")
        rows = pd.DataFrame({
            "id": [f"r{n}" for n in range(len(LABELS))], "batch": "b1", "split": "train",
            "text": LABELS, "suggestion": LABELS, "confidence": 0.5,
            "probabilities": [[0.5, 0.5]] * len(LABELS)})
        queue, _ = query_strategies.select(rows, strategy="random", budget=99, audit_rows=0, seed=0,
                                   show_suggestions="before")
        place = workspace.labelling / "b1.csv"
        labeling_queue.keep_suggestions(place, queue, rows, "M@1")
        labeling_queue.queue_csv(queue, place)
        write_json(place.with_suffix(".json"), label_studio.tasks(queue, "M@1"))
        cleaned = pd.DataFrame({"id": ["x"], "batch": "b0", "row": [0], "text": ["y"],
                                "label": LABELS[0]})
        write_parquet(cleaned, workspace.root / workspace.config().paths.cleaned)
        return workspace

    def test_the_labelling_view(self, asked):
        session = labeling_session.open_session(asked, None, LABELS[2])
        shown = ""
        while session.row is not None:
            shown += labeling_screen.screen(session, 200, 60)
            session.skip()
        assert unseen(shown) == set() and traces(shown) == ALL

    def test_the_queue_and_what_comes_back(self, asked):
        queue = labeling_queue.read_queue(asked.labelling / "b1.csv")
        assert sorted(queue["text"]) == sorted(LABELS)
        raw = (asked.labelling / "b1.csv").read_text(encoding="utf-8-sig")
        assert '"=HYPERLINK' not in raw and "\"'=HYPERLINK" in raw
        label_studio.choices_interface(LABELS)
        given = queue.assign(label="no such", labelled_by="ann")
        labeling_queue.queue_csv(given, asked.root / "given.csv")
        back = submissions.read(asked.root / "given.csv", batch="d", labels=OneOf(LABELS),
                              queue=submissions.queues(asked.labelling))
        kept = submissions.report_refused(back.refused, asked.quarantine, "given.csv", at="noon")
        told = kept.with_name(f"{kept.name}.report.txt").read_text(encoding="utf-8")
        assert unseen(told) == set()

    def test_templates_of_a_config_are_texts(self, asked):
        """A label is no interpolation: it would bring the environment into every record."""
        labels = asked.config().data.labels
        assert HOSTILE["templates"] in labels.values()
        assert compose({"data": {"labels": {"a": "${oc.env:HOME}", "b": "x"}}}).data.labels == {
            "a": "${oc.env:HOME}", "b": "x"}
