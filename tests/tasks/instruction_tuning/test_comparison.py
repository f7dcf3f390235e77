"""What a comparison of two models that write answers says of their losses and answers."""

import numpy as np
import pandas as pd
import pytest

from ftzard.cli import model_tables
from ftzard.config.compose import compose
from ftzard.errors import DataError, ModelError
from ftzard.registry.compare import report, require_same_task
from ftzard.registry.lookup import Files
from ftzard.tasks.benchmark import Speed, Written
from ftzard.tasks.instruction_tuning import comparison
from ftzard.tasks.instruction_tuning.setup import instruction_config

SPEED = Speed(0.5, None, "cpu", 2, 0)
ROWS = pd.DataFrame({"id": [f"r{n}" for n in range(40)], "batch": "b", "text": "Say it.",
                     "label": [f"word {n}" for n in range(40)]})


def files(name: str, task: str = "instruction_tuning") -> Files:
    return Files(name, None, None, {"task": task}, [], {})


def written(loss: float, answers: list[str], *, tokens: int = 4, lost: int = 0,
            cut: int = 0) -> Written:
    gone = np.arange(40) < lost
    noise = np.random.default_rng(0).random(40) * 0.1
    return Written(np.where(gone, 0, loss + noise), np.where(gone, 0, tokens), gone,
                   np.where(np.arange(40) >= 40 - cut, 3, 0), answers)


def compared(one: Written, two: Written, asked=range(20), own=None):
    config = compose(instruction_config({}), {"gate": {"resamples": 400}})
    return comparison.compared(
        ROWS, np.array(list(asked)), one, two, names=("first", "second"), asked=("a", "b"),
        described={"source": "here", "n": 40, "batches": {"b": 40}, "rejected": {}},
        speeds=(SPEED, SPEED), config=config, own_metrics=own)


RIGHT, WRONG = [f"word {n}" for n in range(20)], ["nothing"] * 20


def test_the_lower_loss_is_better_and_answers_are_scored_too(tmp_path):
    found = compared(written(2.0, WRONG), written(1.0, RIGHT))
    gap = found.scores["loss"]["difference"]
    assert gap["value"] == pytest.approx(-1.0) and gap["lower"] <= gap["value"] <= gap["upper"] < 0
    assert found.verdict().endswith("less is better. second is better.")
    assert found.scores["exact_match"]["second"]["value"] == 1 and found.p["exact_match"] < 0.01
    assert found.scores["rouge_l"]["first"]["value"] == 0
    assert found.n == 40 and found.generated == len(found.disagreements) == 20
    page = report(found, tmp_path / "page.html").read_text()
    assert "second is better" in page and "nothing" in page and "word 7" in page
    told = found.to_dict(3)
    assert len(told["disagreements"]) == 3 and told["disagreements_in_all"] == 20
    assert len(model_tables.disagreement_table(found, 3).rows) == 3
    assert any("20 of 20 rows differently" in line
               for line in model_tables.rows_compared(found, 3))
    assert compared(written(1.0, RIGHT), written(2.0, WRONG)).verdict().endswith("first is better.")


def test_a_model_does_not_win_by_reading_only_the_beginning_of_an_answer():
    found = compared(written(2.0, RIGHT), written(2.0, RIGHT, cut=15))
    assert found.n == 25 and found.scores["loss"]["difference"]["value"] == 0
    assert found.rows["rejected"] == {"its answer is cut elsewhere for the other": 15}


def test_equal_models_show_no_difference(tmp_path):
    found = compared(written(1.0, RIGHT), written(1.0, RIGHT))
    assert found.verdict().endswith("No difference is shown.") and found.disagreements.empty
    assert "same answer to every row" in report(found, tmp_path / "page.html").read_text()


def test_the_losses_of_another_tokenizer_are_counted_in_the_tokens_of_the_first():
    found = compared(written(1.0, RIGHT, tokens=8), written(2.0, RIGHT, tokens=4))
    values = found.scores["loss"]
    assert values["second"]["value"] == pytest.approx(values["first"]["value"], abs=0.06)


def test_rows_without_room_leave_both_and_are_counted():
    found = compared(written(2.0, WRONG, lost=3), written(1.0, RIGHT, lost=5))
    assert found.n == 35 and found.generated == 15
    assert found.rows["rejected"] == {"no room for its answer": 5}
    with pytest.raises(DataError, match="none of 40 rows leaves both models room"):
        compared(written(2.0, WRONG, lost=40), written(1.0, RIGHT))


def test_models_of_two_tasks_are_refused():
    require_same_task(files("a"), files("b"))
    with pytest.raises(ModelError, match="a is for instruction_tuning and b for classification"):
        require_same_task(files("a"), files("b", "classification"))
