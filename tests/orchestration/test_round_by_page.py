"""A whole round by the labeling page alone: two people label, and the sensor does what follows.

Real parts only: Debian's chromium on `ftzard label --web`, Dagster's daemon with its sensors, the
retraining job with its kernels, and a web service that takes the notices.
"""

import time

import pandas as pd
import pytest
from dagster import DagsterInstance

from ftzard.data import storage
from ftzard.data.labeling.labeling_queue import QUEUE, hide, queue_csv
from ftzard.orchestration import services
from ftzard.orchestration.labeling_page.desk import Desk
from ftzard.registry import model_records
from ftzard.steps.labeling_batch import store_of
from ftzard.tracking.model_version import Version
from ftzard.workspace import notices
from tests.orchestration.labeling_browser import chromium, enter, press, served
from tests.orchestration.texts import easy_texts, mood_of
from tests.trained import NAME, known_rows, own, trained, write_config  # noqa: F401 - fixtures
from tests.workspace.notice_service import Service

pytestmark = [pytest.mark.system, pytest.mark.jobs]
BATCH, ROWS, OVERLAP = "march", 60, 0.2


def ask(workspace) -> pd.DataFrame:
    """Put 60 easy texts into the queue, a fifth of them for two people; return the queue."""
    known_rows(workspace)
    first = Version(NAME, 1, "", {})
    recipe = model_records.read_record(workspace, first)["recipe"]
    model_records.write_record(workspace, first, {"params": recipe["params"]})
    write_config(workspace, data={"split": "given"},
                 sampling={"overlap": OVERLAP, "min_labelled": ROWS}, retraining={"epochs": 1})
    texts = easy_texts(ROWS, seed=78)["tweet"]
    queue = pd.DataFrame({name: pd.Series("", texts.index, dtype="str") for name in QUEUE})
    queue = queue.assign(id=[f"{BATCH}:{n}" for n in texts.index], batch=BATCH, text=texts,
                         chosen_by="random", side=["test" if n % 3 == 0 else "train"
                                                   for n in texts.index])
    queue_csv(hide(queue, "never", OVERLAP), workspace.labelling / f"{BATCH}.csv")
    return queue


def label_all(tabs, differs: str) -> None:
    """Let people take turns until no row is left for them; the last one slips on one row."""
    working = list(tabs)
    while working:
        tab = working.pop(0)
        if tab.query_selector("#done") is None:
            glad = mood_of(tab.inner_text("#text")) == "glad"
            slips = tab is tabs[-1] and tab.get_attribute("[name=row]", "value") == differs
            press(tab, "1" if glad != slips else "2")
            working.append(tab)


def test_sixty_labels_of_two_people_become_a_verdict_that_somebody_hears_of(
        own, monkeypatch):  # noqa: F811
    service = Service()
    monkeypatch.setenv(notices.VARIABLE, service.address)
    monkeypatch.setenv("FTZARD_WORKSPACE", str(own.root))
    queue = ask(own)
    daemon = {"daemon": services.daemon(own)}
    with services.serving(own, daemon), served(own) as page, chromium() as browser:
        ann, bob = tabs = [enter(browser, page, name) for name in ("Ann", "Bob")]
        for tab in tabs:
            tab.click(f"a[href='/batch/{BATCH}']")
            tab.wait_for_selector("#text")
        twice = [row for row in queue["id"] if Desk(own).batch(BATCH).needed(row) == 2]
        label_all(tabs, differs=twice[0])
        given = store_of(own).answers(BATCH)
        assert len(given) == ROWS + len(twice) and len(twice) > 5
        bob.reload()
        press(bob, "d")
        shown = bob.inner_text("#text")
        press(bob, "1" if mood_of(shown) == "glad" else "2")
        bob.wait_for_selector("#decided")
        for tab in tabs:
            tab.goto(f"{page.url}/batch/{BATCH}/hand-in")
            press(tab, "h")
            tab.wait_for_selector("#handed-in")
        with DagsterInstance.from_config(str(own.dagster_home)) as instance:
            deadline = time.monotonic() + 500
            while not any(run.is_finished for run in instance.get_runs()):
                assert time.monotonic() < deadline, (own.state / "logs/daemon.log").read_text()
                time.sleep(0.3)
            run, = instance.get_runs()
            assert run.job_name == "retraining_pipeline_job" and run.is_success, [
                entry.user_message for entry in instance.all_logs(run.run_id)][-5:]
        deadline = time.monotonic() + 60
        while not any(f"{NAME}@3" in told["title"] for told in service.taken):
            assert time.monotonic() < deadline, service.taken
            time.sleep(0.2)
        assert ann.problems == bob.problems == []
    service.close()
    cleaned = storage.read_parquet(own.root / own.config().paths.cleaned)
    new = cleaned[cleaned["batch"] == BATCH]
    assert sorted(new["id"]) == sorted(queue["id"]), "every label once"
    assert (new["label"] == new["text"].map(mood_of)).all(), "the disagreement was settled"
    assert set(new["labelled_by"]) == {"Ann", "Bob"}
    verdict = model_records.read_record(own, Version(NAME, 3, "", {}))["verdict"]
    told, = (told for told in service.taken if f"{NAME}@3" in told["title"])
    assert verdict["decision"] in ("promote", "refuse")
    assert verdict["reasons"][0] in told["message"]
    assert f"/{NAME}/versions/3" in told["message"] and str(own.report) in told["message"]
    assert own.report.is_file()
