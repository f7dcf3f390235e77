"""The page tells what it was told, says what it was not, and needs nothing from outside."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from ftzard.errors import DataError
from ftzard.evaluation import agreement, drift, error_budget, estimates, learning_curve
from ftzard.evaluation.forgetting import Matrix, summary
from ftzard.evaluation.gate import judge
from ftzard.evaluation.learning_curve import Point
from ftzard.reporting import report
from ftzard.reporting.report_data import Facts
from ftzard.tasks.base import task_named
from tests.evaluation.simulated import CLASSES, LIMITS, made, pair, record

SECTIONS = task_named("classification").report.sections


def render(facts) -> str:
    return report.render(facts, SECTIONS)


def section_text(page: str, anchor: str) -> str:
    """The words of one section of a page."""
    return Reader(re.search(rf'<section id="{anchor}">(.*?)</section>', page, re.S)[1]).text


VOID = {"meta", "br", "hr", "img", "link", "input"}


class Reader(HTMLParser):
    """Collects words, tags and attributes, and whether every element is closed."""

    def __init__(self, page: str):
        super().__init__()
        self.open, self.attributes, self.words, self.tags = [], [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] not in (["script"], ["style"]):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


RECORDS = [
    record(1, "a", True, v1={"a": 0.90}),
    record(2, "ab", False, v2={"a": 0.85, "b": 0.80}, v1={"a": 0.90, "b": 0.60}),
]


def drifts() -> list[dict]:
    """A batch like the reference, then one of much longer texts."""
    found, stood = [], False
    for batch, change in (("b1a5", {}), ("b2f7", {"longer": 1.6})):
        one = drift.compare(made(400, 5, **change), made(800, 0), CLASSES, stood=stood)
        found.append({**one.to_dict(), "batch": batch, "champion": 1})
        stood = one.alarm
    return found


def outlook() -> dict:
    right = np.arange(400)
    return learning_curve.outlook(
        [Point(900, right >= 90), Point(1200, right >= 80)],
        [Point(150, right >= 180), Point(300, right >= 150), Point(1200, right >= 100)], 400,
        size=1200, trained_share=0.9, least=0.005, confidence=0.95, more_rows=275, seed=0
        ).to_dict()


def agreed() -> dict:
    pairs = [("negative", "negative")] * 85 + [("positive", "positive")] * 85 + [
        ("negative", "positive")] * 30
    found = agreement.of_pairs(pairs, CLASSES)
    return {**found.to_dict(), "sentence": found.sentence, "models": [
        {"model": "challenger", "share": 0.82, "lower": 0.77, "upper": 0.87}]}


def estimated() -> list[dict]:
    """A batch that was estimated and audited, then one after an alarm."""
    rng = np.random.default_rng(1)
    p = rng.uniform(0.5, 1, 500)
    chances, labels = np.c_[p, 1 - p], (rng.random(500) > p).astype(int)
    found = []
    for batch, alarm in (("b1a5", None), ("b2f7", "words")):
        told = estimates.estimate(chances, chances, labels, CLASSES, drifted=alarm).to_dict()
        found.append({**told, "batch": batch, "champion": 1, "audit": None if alarm else
                      estimates.audit(told, 150, 200)})
    return found


@pytest.fixture(scope="module")
def facts() -> dict:
    rng = np.random.default_rng(0)
    challenger, champion = pair(rng, 600, 0.12, 0.2)
    verdict = judge(challenger, champion, LIMITS, classes=CLASSES,
                    baselines={"TF-IDF": champion}, seed=0)
    labels = ["negative", "positive"] * 30
    sure = np.linspace(0.5, 0.99, 60)
    probabilities = np.c_[sure, 1 - sure]  # always 'negative': every 'positive' row is wrong
    return {
        "title": "Sentiment & more",
        "created": "2026-11-21T03:05:22",
        "comparison": verdict.to_dict(),
        "models": [
            {"name": "tiny v2", "role": "challenger", "accuracy": 0.813, "n": 600},
            {"name": "tiny v1", "role": "champion", "accuracy": 0.75, "n": 600, "macro_f1": 0.74},
        ],
        "class_counts": {
            "negative": {"train": 1200, "test": 345},
            "positive": {"train": 1100, "test": 300},
        },
        "token_lengths": [5] * 90 + [60] * 10,
        "max_length": 48,
        "cut_rows": 10,
        "cut_tokens": 120,
        "rejected": {"text is empty": 7, "label is missing": 4},
        "rejected_examples": [{"reason": "text is empty", "row": 1234, "text": " "}],
        "rows_read": 4673,
        "trials": [
            {
                "name": f"trial_{i}",
                "params": {"rank": 8 * i, "learning_rate": 0.0123 / i},
                "best": i == 2,
                "history": [
                    {
                        "epoch": e,
                        "train_loss": 0.6 / e,
                        "validation_loss": 0.7 / e,
                        "train_accuracy": 0.7,
                        "validation_accuracy": 0.70 + 0.01 * i,
                    }
                    for e in (1, 2)
                ],
            }
            for i in (1, 2, 3)
        ],
        "test": {
            "classes": CLASSES,
            "labels": labels,
            "probabilities": probabilities,
            "texts": [f"<script>alert({i})</script> fish & chips" for i in range(60)],
            "ids": [f"row-{i}" for i in range(60)],
            "temperature": 1.75,
            "validation_rows": 222,
        },
        "leaks": {"near-duplicate of a test row": 1717, "duplicate of a validation row": 0},
        "arrived_leaks": {"duplicate of a test row": 6, "near-duplicate of a test row": 3},
        "learned_before": 5,
        "forgetting": Matrix.of(RECORDS).to_dict(),
        "drift": drifts(),
        "estimates": estimated(),
        "agreement": agreed(),
        "next_labels": outlook(),
        "error_budget": error_budget.standing([{"version": 2, "decisions": [{
            "decision": "promote", "promoted": True, "decided": "2026-11-21", "rows_needed": None,
            "error_budget": error_budget.allowance(0.05, 20, (), cap=0.025).account(
                counted=True, earned=True, rows={"b1a5": 600}, fresh=None)}]}],
            0.05, 20, cap=0.025),
        "uncertainty": np.linspace(0, 1, 400),
        "threshold": 0.75,
        "strategy": "least confidence",
        "asked": 111,
        "asked_of": "b2f7",
        "delivered_as": {"b2f7": "march.csv"},
        "rounds": [
            {"name": "Round 0", "verdict": "promote", "accuracy": 0.75, "data_version": "a1" * 20},
            {"name": "Round 1", "verdict": "refuse", "accuracy": 0.74, "reason": "A tie.",
             "labels": 321, **summary(Matrix.of(RECORDS), 2).flat()},
        ],
        "lineage": {
            "git_commit": "deadbeef" * 5,
            "dagster_run": "0c5e4c51-6b0f",
            "data_versions": {"tokenized": "cafe1234"},
            "mlflow_runs": {"EVALUATION": "bb7f0a2f"},
            "packages": {"torch": "2.13.0"},
        },
    }  # fmt: skip


@pytest.fixture(scope="module")
def whole(facts) -> str:
    return render(facts)


def test_the_page_tells_what_it_was_told(facts, whole):
    text = Reader(whole).text.replace("\u00a0", " ")
    for said in (
        "Sentiment & more",
        "Promoted: the challenger becomes the champion",
        *facts["comparison"]["reasons"],
        "81.3 %",  # the challenger
        "74.0 %",  # the champion's macro F1
        "1,545 (52 %)",  # rows of a class, in the picture
        "cut at 48 tokens",
        "lost 120 tokens",
        "label is missing",
        "1,234",  # the row of a rejected example
        "Trial_2 of 3 was chosen; its best validation accuracy is 72.0 %, after epoch 1",
        "0.00615",  # its learning rate
        "The search",
        "threshold 0.75",
        "100 of 400 rows at or above",
        "400 rows of march.csv (b2f7) without labels were predicted. A person was asked to label "
        "111 of them",
        "0: the model is sure; 1: all classes are equally likely",
        "4,673 raw rows were read, 11 were rejected, 1,717 left training because they are like a "
        "test or validation row, 2,945 are in use. Class",
        "9 rows of the latest incoming batch repeat a test row",
        "5 new test rows that earlier models have been trained on, or nearly, stay in the test",
        "321 labelled rows new in this round",
        "exactly one of the two is right",
        "A tie.",
        "321",
        "deadbeef" * 5,
        "cafe1234",
        "bb7f0a2f",
        "torch",
        "tokenizer not recorded",
        "With the temperature 1.75, fitted on 222 validation rows, it is",
        "If only the surest 50 % of the rows were answered",
        "near-duplicate of a test row 1,717",
        "Round 1 82.5 % −5.0 points +5.0 points",  # average accuracy, transfer, forgetting
        "Alarm: the batch differs from what the champion was trained on in words",
        "2 batches compared so far, 1 with an alarm",
        "400 rows against 800 test rows",
        "Drift over time",
        "The latest batch, march.csv (b2f7)",
    ):
        assert said in text, said
    assert "duplicate of a validation row" not in text
    assert "not reported" not in text


def test_the_budget_and_the_estimates_stand_with_what_came_of_them(whole):
    budget = section_text(whole, "budget")
    assert "5 % of 5 % are left after 1 of 20 decisions" in budget and "1.4 %" in budget
    told = section_text(whole, "estimates")
    assert "cannot be estimated: the batch differs" in told and "(words)" in told
    assert "75.0 % of 200" in told and "covered" in told and "march.csv" in told


def test_the_ceiling_stands_beside_what_models_reach_on_the_same_rows(whole):
    told = section_text(whole, "people")
    assert "Two people agree on 85.0 % of 200 test rows" in told and "ceiling of accuracy" in told
    assert "Cohen's kappa is 0.71" in told and "challenger" in told and "82.0 %" in told


def test_what_the_next_labels_bring_stands_with_the_curve(whole):
    told = section_text(whole, "next")
    assert "400 more labels: +" in told and "chance of a promotion" in told
    assert "400 more" in told and "training rows (log)" in told and "that of TF-IDF" in told


def test_a_round_on_other_rows_stands_apart_and_in_no_picture():
    told = [{"name": "v1", "verdict": "promote", "accuracy": 0.878, "lower": 0.8, "upper": 0.9,
             "n": 41, "apart": "its adapter is not in this workspace",
             "measured_on": "the 41 test rows of data version aaaa"},
            *({"name": f"v{i}", "verdict": "refuse", "accuracy": 0.81 + i / 100, "lower": 0.8,
               "upper": 0.9, "n": 83, "measured_on": "the 83 test rows of data version bbbb",
               "labels": 70, "new_training_rows": 63} for i in (2, 3))]
    page = render({"rounds": told, "models": [
        {"name": "m", "role": "challenger", "accuracy": 0.84, "n": 83}]})
    text = Reader(page).text.replace("\u00a0", " ")
    assert "all measured on the same rows: the 83 test rows of data version bbbb" in text
    together, apart = text.split("Measured on other rows")
    assert "87.8 %" not in together and "measured on other rows, see below" in together
    assert "accuracy 87.8 % 80.0 – 90.0 % the 41 test rows of data version aaaa" in apart
    assert "70 labelled rows new in this round, 63 of them to train on" in text


def test_how_sure_the_kept_epoch_is_stands_with_the_learning_curves():
    epochs = [{"epoch": e, "train_loss": loss, "validation_loss": val, "accuracy": right,
               "calibrated_loss": cooled, "temperature": t}
              for e, loss, val, right, cooled, t in (
                  (1, 0.41, 0.52, 0.80, 0.51, 1.1), (2, 0.008, 2.03, 0.81, 0.61, 3.4))]
    trial = {"name": "retraining", "history": epochs, "best": True, "best_epoch": 1}
    text = Reader(render({"trials": [trial]})).text.replace("\u00a0", " ")
    assert "validation accuracy is 80.0 % with the weights of epoch 1, which were kept" in text
    assert ("surer than it should be: the loss is 0.520 on validation rows and 0.410 on training "
            "rows, and with its logits divided by 1.10 it is 0.510") in text
    old = Reader(render({"trials": [{**trial, "best_epoch": None}]})).text
    assert "best validation accuracy is 81.0" in old and "surer" not in old


def test_the_confident_mistakes_are_the_surest_first_and_twenty(whole):
    text = Reader(whole).text
    start = text.index("The most confident mistakes")
    rows = re.findall(r"row-(\d+)", text[start:text.index("Rows behind the confusion")])
    assert rows == [str(i) for i in range(59, 20, -2)]


def test_texts_cannot_become_markup(whole):
    reader = Reader(whole)
    assert reader.tags.count("script") == whole.count("<script>") == 1  # the page's own
    assert "<script>alert(59)</script> fish & chips" in reader.text


def test_classes_and_names_cannot_become_markup():
    nasty = '"><img src=x onerror=alert(1)>'
    page = render(
        {
            "title": nasty,
            "class_counts": {nasty: {nasty: 3}},
            "rejected": {nasty: 2},
            "models": [{"name": nasty, "role": nasty, "accuracy": 0.5, "n": 9}],
            "trials": [
                {"name": nasty, "history": [{"epoch": 1, "validation_loss": 0.5}],
                 "params": {nasty: nasty}}
            ],
            "lineage": {"more": {nasty: nasty}},
        }
    )  # fmt: skip
    reader = Reader(page)
    assert "img" not in reader.tags
    assert not any(name.startswith("on") for _, name, _ in reader.attributes)


def test_the_page_needs_nothing_from_outside(whole):
    reader = Reader(whole)
    for tag, name, value in reader.attributes:
        if name in {"src", "href", "xlink:href", "data", "action"}:
            assert value.startswith("#"), (tag, name, value)
    assert not {"link", "iframe", "img", "object"} & set(reader.tags)
    assert ("script", "src") not in {(tag, name) for tag, name, _ in reader.attributes}
    assert not re.search(r"fetch|XMLHttp|import\(|https?:", re.findall(
        r"<script>(.*?)</script>", whole, flags=re.DOTALL)[0])
    assert "@import" not in whole
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", whole))


def test_in_dark_mode_every_color_of_a_plot_has_another(whole):
    assert "prefers-color-scheme:dark" in whole
    plotted = set(re.findall(r"var\((--plot-[a-z]+), #[0-9a-f]{6}\)", whole))
    assert plotted and plotted <= set(re.findall(r"(--plot-[a-z]+):", whole))
    used = set(re.findall(r"var\((--[a-z-]+)\)", whole))
    assert used <= set(re.findall(r"(--[a-z-]+):", whole))


def test_every_element_is_closed_and_every_link_has_its_target(whole):
    reader = Reader(whole)
    assert reader.open == []
    ids = {value for _, name, value in reader.attributes if name == "id"}
    links = {v[1:] for tag, name, v in reader.attributes if tag == "a" and name == "href"}
    assert links and links <= ids


def test_missing_sections_are_said_and_no_chart_is_empty():
    reader = Reader(render({}))
    assert "svg" not in reader.tags
    for said in (
        "No verdict",
        "No model was measured",
        "No comparison was made",
        "no confusion matrix",
        "no learning curves",
        "rows per class were not reported",
        "not known what was cut",
        "Rejected rows were not reported",
        "nothing was picked",
        "no history to show",
        "nothing shows what was forgotten",
        "No incoming batch was compared",
        "No accuracy was estimated",
        "There is no error budget",
        "not reported whether test rows were found",
        "no lineage",
    ):
        assert said in reader.text, said


@pytest.mark.parametrize(
    ("left_out", "section", "said"),
    [
        ("comparison", "comparison", "No comparison was made"),
        ("models", "glance", "No model was measured"),
        ("class_counts", "data", "rows per class were not reported"),
        ("max_length", "data", "not known what was cut"),
        ("rejected", "data", "Rejected rows were not reported"),
        ("rejected_examples", "data", "No example of a rejected row"),
        ("leaks", "data", "not reported whether test rows were found"),
        ("trials", "learning", "no learning curves"),
        ("test", "answers", "no confusion matrix"),
        ("uncertainty", "labelling", "nothing was picked"),
        ("threshold", "labelling", "No threshold was reported"),
        ("rounds", "rounds", "no history to show"),
        ("forgetting", "forgetting", "nothing shows what was forgotten"),
        ("drift", "drift", "No incoming batch was compared"),
        ("estimates", "estimates", "No accuracy was estimated"),
        ("next_labels", "next", "What further labels bring was not predicted"),
        ("agreement", "people", "How often people agree on the test rows is not known"),
        ("error_budget", "budget", "There is no error budget"),
        ("lineage", "lineage", "no lineage"),
    ],
)
def test_one_missing_fact_is_said_where_it_belongs(facts, left_out, section, said):
    def text(told: dict) -> str:
        return Reader(re.search(rf'<section id="{section}">.*?</section>', render(told),
                                flags=re.DOTALL)[0]).text

    assert said in text({k: v for k, v in facts.items() if k != left_out})
    assert said not in text(facts)


def test_histories_as_training_writes_them_give_curves():
    entry = {"epoch": 1, "train_loss": 0.6, "validation_loss": 0.5, "accuracy": 0.654}
    text = Reader(render({"trials": [{"name": "t", "history": [entry], "best": True}]})).text
    assert "best validation accuracy is 65.4" in text
    assert "there are no such curves" not in text
    bare = [{"name": "t", "history": [{"epoch": 1, "train_loss": 0.6}]}]
    assert "No trial recorded its accuracy" in Reader(render({"trials": bare})).text


@pytest.mark.parametrize(
    ("decision", "against", "headline"),
    [
        ("refuse", "champion", "Refused: the champion stays"),
        ("cannot tell", "champion", "Cannot tell: too few test rows, so the champion stays"),
        ("promote", "majority class", "Promoted: the first champion"),
        ("refuse", "majority class", "Refused: no better than always naming"),
        ("no champion yet", "majority class", "No champion yet: the first model is not good"),
    ],
)
def test_the_banner_says_the_verdict(facts, decision, against, headline):
    verdict = facts["comparison"] | {
        "decision": decision, "against": against, "warnings": ["A baseline is better."],
    }  # fmt: skip
    text = Reader(render({"comparison": verdict})).text
    assert headline in text
    assert "Warning: A baseline is better." in text and "A trial" not in text
    tried = verdict | {"limits": verdict["limits"] | {"trial": True}}
    assert "A trial (gate.trial=true)" in Reader(render({"comparison": tried})).text


def test_an_unknown_fact_is_refused_by_name(facts):
    with pytest.raises(DataError, match="did you mean 'uncertainty'"):
        render({"uncertainy": [0.1]})
    with pytest.raises(DataError, match="did you mean 'params'"):
        render({"trials": [{"name": "a", "history": [], "parms": {}}]})


def test_lengths_counted_after_cutting_are_refused():
    with pytest.raises(DataError, match="counted before cutting"):
        render({"token_lengths": [48, 48, 7], "max_length": 48, "cut_rows": 2})


def test_the_same_facts_give_the_same_page_and_it_is_written_whole(facts, whole, tmp_path):
    path = report.write(Facts.of(facts), SECTIONS, tmp_path / "reports" / "index.html")
    assert path.read_text(encoding="utf-8") == whole
    assert [p.name for p in path.parent.iterdir()] == ["index.html"]


def test_counts_that_do_not_add_up_say_by_how_much(facts):
    text = Reader(render({**facts, "rows_read": 4700})).text
    assert "2,945 are in use. These counts are 27 rows apart" in text
    bare = {k: v for k, v in facts.items() if k != "leaks"}
    assert "apart" not in Reader(render(bare)).text


def test_a_batch_is_called_by_its_file_wherever_the_page_names_it(facts):
    first, second = "7d0a323bc6a8", "caaac4d6aecf"
    sets = [part | {"name": name} for part in facts["comparison"]["per_test_set"] * 2
            for name in (first, second)][:2]
    drift = [{**entry, "batch": batch, "sentence": f"Batch {batch} differs."}
             for entry, batch in zip(facts["drift"], (first, second), strict=True)]
    told = {
        **facts, "drift": drift, "delivered_as": {first: "march.csv", second: "march.csv"},
        "comparison": {**facts["comparison"], "per_test_set": sets, "decision": "refuse",
                       "reasons": [f"Veto by test set '{first}'."]},
        "rounds": [{"name": "v1", "verdict": "refuse", "accuracy": 0.7, "reason": f"By {first}."}],
        "forgetting": {**facts["forgetting"], "batches": [first, second]}, "asked_of": second}
    text = Reader(render(told)).text
    for said in ("Veto by test set 'march.csv (7d0a323)'", "Batch march.csv (caaac4d) differs.",
                 "The latest batch, march.csv (caaac4d)", "By march.csv (7d0a323).",
                 "rows of march.csv (caaac4d) without labels", "march.csv 7d0a323"):
        assert said in text, said
    shares = text[:text.index("The rule")].rpartition("Accuracy ")[2]
    assert "march.csv (7d0a323)" in shares and "march.csv (caaac4d)" in shares
    assert first not in text and second not in text


def test_a_model_trained_once_is_no_choice_among_trials(facts):
    once = [facts["trials"][1] | {"name": "retraining"}]
    text = Reader(render({"trials": once})).text
    assert "The best validation accuracy is 72.0 %, after epoch 1." in text.replace("\u00a0", " ")
    assert "Values used" in text and "0.00615" in text
    for choice in ("chosen", "trial 1", "every trial", "each trial"):
        assert choice not in text.split("Training")[2].split("Data")[0], choice


def test_long_hashes_are_short_and_whole_as_hover_text(facts):
    weights, row = "ab12" * 16, "159cd6819de8afe8"
    test = {**facts["test"], "ids": [row] * 60}
    reader = Reader(render({"test": test, "lineage": {"base_hash": weights}}))
    assert weights[:12] in reader.text and weights not in reader.text
    assert row[:12] in reader.text and row not in reader.text
    assert {weights, row} <= {value for _, name, value in reader.attributes if name == "title"}


def test_a_baseline_that_counts_words_is_only_mentioned_when_it_is_as_good(facts):
    verdict, (baseline,) = facts["comparison"], facts["comparison"]["baselines"]

    def page(**changed) -> str:
        return Reader(render({"comparison": {**verdict, "baselines": [
            {**baseline, **changed}]}})).text

    assert "(TF-IDF) is as good" in page(lower=-0.01, upper=0.02)
    assert "(TF-IDF) is better" in page(lower=-0.03, upper=-0.01)
    assert "counts words" not in page(lower=0.01, upper=0.03)
    assert "counts words" not in page(name="majority", lower=-0.01, upper=0.02)


def test_an_accuracy_that_leaves_nothing_to_gain_needs_no_table(facts):
    labels = ["negative"] * 60
    text = Reader(render({"test": {**facts["test"], "labels": labels}})).text
    assert "Coverage and accuracy" in text
    assert "No table: accuracy on all rows is 100.0" in text


@pytest.fixture(scope="module")
def many() -> dict:
    """Test rows of four classes, 20,000 of them with long texts."""
    rng = np.random.default_rng(1)
    n, classes = 20_000, ["anger", "fear", "joy", "<b>sad</b>"]
    labels = rng.integers(0, 4, n)
    scores = rng.normal(0, 1, (n, 4))
    scores[np.arange(n), labels] += 2
    chances = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    words = np.array("the parcel came late and nobody answers a mail of mine".split())
    texts = [" ".join(row) for row in words[rng.integers(0, len(words), (n, 60))]]
    return {"classes": classes, "labels": [classes[i] for i in labels], "probabilities": chances,
            "texts": texts, "ids": [f"row{i:05}" for i in range(n)]}


def test_each_cell_of_the_confusion_matrix_leads_to_its_rows_and_the_page_stays_small(many):
    page = render({"test": many})
    assert len(page.encode()) < 2_000_000
    predicted = np.asarray(many["probabilities"]).argmax(axis=1)
    true = np.array([many["classes"].index(label) for label in many["labels"]])
    behind = {"true": 0, "predicted": 2}
    of_cell = np.flatnonzero((true == behind["true"]) & (predicted == behind["predicted"]))
    assert f'<a href="#cell-0-2">{len(of_cell)}</a>' in page
    part = re.search(r'<details class="cell" id="cell-0-2">.*?</details>', page, flags=re.S)[0]
    shown = re.findall(r"row\d{5}", part)
    assert len(shown) == 150 and set(shown) <= {many["ids"][i] for i in of_cell}
    surest = max(of_cell, key=lambda i: many["probabilities"][i].max())
    assert shown[0] == many["ids"][surest] and "the surest first" in part
    assert "<b>sad" not in page and "&lt;b&gt;sad&lt;/b&gt;" in page


def test_the_threshold_has_the_rows_and_right_answers_of_each_step_of_confidence(many):
    chances = np.asarray(many["probabilities"])
    page = render({"test": many})
    rows, right = (json.loads(re.search(rf'data-{name}="([^"]+)"', page)[1])
                   for name in ("rows", "right"))
    sure, predicted = chances.max(axis=1), chances.argmax(axis=1)
    hits = np.array(many["classes"])[predicted] == np.array(many["labels"])
    assert sum(rows) == 20_000 and sum(rows[160:]) == (sure >= 0.8).sum()
    assert sum(right[160:]) == hits[sure >= 0.8].sum()
    cooled = render({"test": {**many, "temperature": 2.0, "validation_rows": 9}})
    assert f'data-rows="{json.dumps(rows)}"' not in cooled and "calibrated, as" in cooled


def test_the_report_leads_to_its_run_its_commit_and_the_reports_of_other_rounds(facts, tmp_path):
    links = {"Dagster run": "http://127.0.0.1:3000/runs/1", "git commit": "https://h/o/r/commit/2",
             "odd": "javascript:alert(1)"}
    rounds = [{**facts["rounds"][0], "name": f"v{n}", "page": f"moods-{n}.html"} for n in (1, 2)]
    page = render({**facts, "lineage": {**facts["lineage"], "links": links}, "pages": "all.html",
                   "rounds": rounds})
    targets = {value for tag, name, value in Reader(page).attributes if name == "href"}
    assert {"http://127.0.0.1:3000/runs/1", "https://h/o/r/commit/2", "all.html",
            "moods-1.html"} <= targets
    assert not any("javascript" in value for value in targets)
    made = report.write_index(Facts.of({"rounds": rounds}).rounds, "Reports of moods",
                              tmp_path / "all.html").read_text(encoding="utf-8")
    listed = [value for tag, name, value in Reader(made).attributes if name == "href"]
    assert listed == ["index.html", "moods-2.html", "moods-1.html"]
