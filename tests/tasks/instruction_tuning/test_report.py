"""The page of a round of instruction tuning: free answers side by side, and no word of classes."""

import re

import numpy as np
import pandas as pd
import pytest

from ftzard.errors import DataError
from ftzard.evaluation import drift
from ftzard.evaluation.forgetting import Matrix, summary
from ftzard.evaluation.gate import interval, judge
from ftzard.evaluation.paired import Scored
from ftzard.reporting import report
from ftzard.reporting.report_data import Facts
from ftzard.tasks.base import task_named
from ftzard.tasks.instruction_tuning import answer_metrics
from tests.evaluation.simulated import LIMITS, freely, losses, made, of_measure, record
from tests.reporting.test_report import Reader, section_text

SECTIONS = task_named("instruction_tuning").report.sections


def render(facts) -> str:
    return report.render(facts, SECTIONS)


N, GENERATED = 420, 60
RECORDS = [of_measure(r) for r in (
    record(1, "a", True, v1={"a": 2.61}),
    record(2, "ab", True, v2={"a": 2.52, "b": 2.23}, v1={"a": 2.61, "b": 2.94}))]
ASKED = (
    "Name the capital of France.", "Write a haiku about the first snow.",
    "Summarise the text in one sentence.\n\nThe river rose for three days. On the fourth the "
    "bridge was closed, and the ferry took its place until the water fell in April.",
    "Turn the list into a table <script>alert(1)</script>.\n\napples 3\npears 5",
    "user: How many legs has a spider?\n\nassistant: Eight.\n\nuser: And two of them?")
WANTED = ("Paris", "First snow on the roof,\nthe cat looks up from its sleep\nand counts the "
          "silence.", "After three days of rising water the bridge closed until April, and a ferry "
          "carried people over.", "| fruit | count |\n| apples | 3 |\n| pears | 5 |", "Sixteen.")


def generated(rng: np.random.Generator) -> tuple[pd.DataFrame, dict]:
    """Rows and what three models say to them: noise, about half, and nearly what was wanted."""
    place = np.arange(GENERATED) % len(ASKED)
    rows = pd.DataFrame({"id": [f"r{i}" for i in range(GENERATED)], "batch": "b1",
                         "text": [ASKED[i] for i in place], "label": [WANTED[i] for i in place]})

    def said(label: str, share: float) -> str:
        words = label.split(" ")
        return " ".join(w if rng.random() < share else "the" for w in words)

    given = {"base": ["the of the and the in of"] * GENERATED,
             "champion": [said(w, 0.5) for w in rows["label"]],
             "challenger": [said(w, 0.85) for w in rows["label"]]}
    return rows, given


@pytest.fixture(scope="module")
def told() -> dict:
    rng = np.random.default_rng(3)
    sides = dict(zip(("challenger", "champion"), losses(rng, N, 0.14), strict=True))
    one = sides["champion"]["first"]
    sides["base"] = {"first": Scored(one.ids, one.scores - 1.1, one.weights)}
    half = np.arange(N) < N // 2
    sides = {role: {name: Scored(found["first"].ids[mask], found["first"].scores[mask],
                                 found["first"].weights[mask])
                    for name, mask in (("a", half), ("b", ~half))} for role, found in sides.items()}
    verdict = judge(sides["challenger"], sides["champion"], LIMITS, measure="loss",
                    baselines={"base": sides["base"]}, seed=0)
    rows, given = generated(rng)
    models, scores = [], {}
    for role, found in sides.items():
        every = np.concatenate([s.scores for s in found.values()])
        tokens = np.concatenate([s.weights for s in found.values()])
        measured = answer_metrics.measure(-every, tokens, given[role], rows["label"].tolist())
        value, lower, upper = interval(found, measure="loss")
        models.append({"name": f"{role} tiny@{len(models) + 1}", "role": role, "score": value,
                       "lower": lower, "upper": upper, "finished": 0.9, **measured})
        scores[role] = answer_metrics.rouge_l(given[role], rows["label"].tolist())
    gain = np.concatenate([sides["challenger"][s].scores - sides["champion"][s].scores
                           for s in ("a", "b")])
    found, stood = [], False
    for batch, change in (("b1a5", {}), ("b2f7", {"longer": 1.6})):
        one = drift.compare(freely(made(300, 5, **change)), freely(made(500, 0)), (), draws=800,
                            stood=stood)
        found.append({**one.to_dict(), "batch": batch, "champion": 1})
        stood = one.alarm
    lengths = [40] * 90 + [300] * 10
    return {
        "title": "Instructions & answers",
        "created": "2026-11-21T03:05:22",
        "comparison": verdict.to_dict(),
        "answers": {
            "measure": "loss",
            "models": models,
            "generations": answer_metrics.side_by_side(
                rows, {r: given[r] for r in ("base", "champion", "challenger")}, scores, seed=1
            ).to_dict("records"),
            "differences": gain,
            "apart": [{"id": f"row-{i}", "text": f"Say {i}.", "label": "Yes <b>",
                       "difference": gain[i]} for i in np.argsort(-np.abs(gain))],
            "template": "alpaca",
            "packing": True,
            "supervised_tokens": {"train": 41234, "validation": 4987, "test": 5321},
            "prompt_tokens": {"train": 91234, "validation": 9876, "test": 10321},
            "rows": {"self_instruct": {"train": 1500, "validation": 180, "test": 200},
                     "house rules": {"train": 700, "validation": 90, "test": 110}},
            "cut_answers": 10,
            "lost_rows": 3,
            "max_new_tokens": 64,
        },
        "token_lengths": lengths,
        "max_length": 256,
        "cut_rows": 10,
        "cut_tokens": 440,
        "rejected": {"answer is empty": 7, "messages in the wrong order": 4},
        "rejected_examples": [{"reason": "answer is empty", "row": 1234, "text": "Name a river."}],
        "rows_read": 2811,
        "leaks": {"near-duplicate of a test row": 17},
        "trials": [
            {"name": f"trial_{i}", "params": {"rank": 8 * i}, "best": i == 2,
             "history": [
                 {"epoch": e, "train_loss": 3.1 / e ** 0.5, "perplexity": 9.0,
                  "token_accuracy": 0.5, "validation_loss": (2.4 if i == 2 else 2.6) + 0.2 / e,
                  "supervised_tokens": 41234}
                 for e in (1, 2, 3)]}
            for i in (1, 2)
        ],
        "uncertainty": 1 - np.linspace(0, 1, 300) ** 0.5,
        "threshold": 0.6,
        "strategy": "least confidence",
        "asked": 55,
        "rounds": [
            {"name": "v1", "verdict": "promote", "measure": "loss", "score": 2.61, "lower": 2.5,
             "upper": 2.7, "average_score": 2.775, "reason": "It is the first model."},
            {"name": "v2", "verdict": "promote", "measure": "loss", "score": 2.37, "lower": 2.3,
             "upper": 2.45, "labels": 321, "average_score": summary(Matrix.of(RECORDS), 2).average,
             "backward_transfer": 0.09, "forgetting": -0.09, "reason": "The gain is shown."},
        ],
        "forgetting": Matrix.of(RECORDS).to_dict(),
        "drift": found,
        "lineage": {"git_commit": "deadbeef" * 5, "more": {"template": "alpaca"}},
    }


@pytest.fixture(scope="module")
def whole(told) -> str:
    return render(told)


def test_the_page_tells_what_it_was_told(told, whole):
    reader = Reader(whole)
    text = reader.text.replace("\u00a0", " ")
    lead = told["answers"]["models"][0]
    for said in (
        *told["comparison"]["reasons"],
        "Promoted: the challenger becomes the champion",
        f"{lead['loss']:.3f} loss on the wanted answers of the challenger, in nats per token",
        f"{lead['perplexity']:,.2f} perplexity of the wanted answers, the champion's",
        f"{lead['rouge_l']:.3f} ROUGE-L of 60 generated answers",
        "on 420 of them their loss differs",
        "Row by row",
        "challenger better on",
        "The models answered 60 of the 420 test rows, taking the likeliest token each time, at "
        "most 64 tokens. 90 % of the challenger's answers ended by themselves.",
        "Rows drawn by chance",
        "Rows on which the challenger and the model before it differ most",
        "Turn the list into a table <script>alert(1)</script>.",
        "challenger · exact",
        "Trial_2 of 2 was chosen; its lowest validation loss is 2.467 nats per token, after "
        "epoch 3",
        "Token accuracy",
        "41,234",
        "rows left out, no token of their answer left 3",
        "2,780 usable rows of 2 sources",
        "10 rows shortened",
        "10 (10.0 %) were cut at 256",
        "messages in the wrong order",
        "300 instructions were answered. A person was asked to write the answers of 55 of them",
        "321 answered rows came in with them",
        "new answers loss verdict",
        "2,811 raw rows were read, 11 were rejected, 17 left training because they are like a test "
        "or validation row, 3 had no room for a token of their answer, 2,780 are in use. What",
        "Loss is in nats per token: the training loss; lower is better.",
        "v2 2.375 +0.090 nats −0.090 nats",
        "A loss that rose is a negative transfer and was forgotten",
        "Alarm: the batch differs from what the champion was trained on in words",
        "deadbeef" * 5,
    ):
        assert said in text, said


def test_nothing_of_classes_is_said_and_nothing_is_called_missing(whole):
    reader = Reader(whole)
    text = reader.text.lower()
    for word in ("class ", "classes", "confusion", "calibration", "accuracies", "recall", "mcnemar",
                 "not reported", "no trial recorded", "no confusion"):
        assert word not in text, word
    assert reader.open == [] and reader.tags.count("script") == 1 and "img" not in reader.tags


def test_the_same_facts_give_the_same_page(told, whole):
    assert render(Facts.of(told)) == whole


@pytest.mark.parametrize(("left_out", "section", "said"), [
    ("models", "glance", "No model was measured"),
    ("generations", "answers", "No generated answers were given"),
    ("supervised_tokens", "data", "supervised tokens were not reported"),
])
def test_one_missing_part_is_said_where_it_belongs(told, left_out, section, said):
    free = {k: v for k, v in told["answers"].items() if k != left_out}
    facts = Facts.of({**told, "answers": free})
    assert said in section_text(render(facts), section)


def test_a_round_that_tells_only_its_measure_has_no_charts():
    reader = Reader(render({"answers": {"measure": "rouge_l"}}))
    assert "svg" not in reader.tags and "No verdict" in reader.text
    bare = {"name": "m", "role": "challenger", "loss": 2.0, "perplexity": 7.4, "n": 9}
    free = {"measure": "rouge_l", "models": [bare]}
    assert "7.40" in Reader(render({"answers": free})).text


@pytest.mark.parametrize(("decision", "headline"), [
    ("refuse", "Refused: no better than the bare base"),
    ("promote", "Promoted: the first champion"),
    ("cannot tell", "Cannot tell: too few test rows to accept a first model"),
])
def test_the_first_model_s_banner_names_the_base(told, decision, headline):
    verdict = told["comparison"] | {"decision": decision, "against": "base"}
    facts = Facts.of({"answers": told["answers"] | {"differences": None}, "comparison": verdict})
    text = Reader(render(facts)).text
    assert headline in text and "had to beat the bare base" in text


def test_rounds_of_two_measures_are_told_apart(told):
    rounds = [told["rounds"][0], {"name": "v2", "verdict": "promote", "measure": "rouge_l",
                                  "score": 0.31}]
    facts = Facts.of({"answers": told["answers"], "rounds": rounds})
    text = Reader("".join(report.rounds(facts))).text.replace("\u00a0", " ")
    assert "loss 2.610" in text and "ROUGE-L 0.310" in text and "over rounds" not in text


def test_facts_that_contradict_each_other_are_refused(told):
    with pytest.raises(DataError, match="either of instruction tuning or of classification"):
        render({**told, "class_counts": {"a": {"train": 1}}})
    with pytest.raises(DataError, match="answers by rouge_l and a verdict by loss"):
        render({**told, "answers": told["answers"] | {"measure": "rouge_l"}})
    with pytest.raises(DataError, match="did you mean 'rouge_l'"):
        render({"answers": {"measure": "rougel"}})
    with pytest.raises(DataError, match="did you mean 'generations'"):
        render({"answers": {"measure": "loss", "generation": []}})


def test_the_rows_behind_the_comparison_are_listed_by_side_the_furthest_apart_first(told, whole):
    found = re.findall(r'<details class="cell"><summary>(.*?)</summary>(.*?)</details>', whole,
                       re.S)
    gain = told["answers"]["differences"]
    better, worse = (gain > 0).sum(), (gain < 0).sum()
    assert [Reader(title).text.split(",")[0] for title, _ in found] == [
        f"The challenger is better than the champion: {better} rows",
        f"The challenger is worse than the champion: {worse} rows"]
    for (title, rows), row in zip(found, (gain.argmax(), gain.argmin()), strict=True):
        assert "100 furthest apart" in title and rows.count("<tr>") == 101
        assert re.search(r"Say (\d+)", rows)[1] == str(row)
        assert "Yes &lt;b&gt;" in rows
