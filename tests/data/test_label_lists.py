"""Several labels in a row are found, and names that look like several are not."""

from contextlib import nullcontext

import pandas as pd
import pytest

from ftzard.data import label_lists
from ftzard.errors import DataError
from ftzard.tasks.base import task_named


def rows(**counts: int) -> list[str]:
    return [value for value, count in counts.items() for _ in range(count)]


SINGLE = {"joy": 20, "anger": 20}
SEVERAL = [
    *(({**SINGLE, f"joy{mark}anger": 4}, mark.strip() or mark, 4)
      for mark in ("|", " | ", ",", ", ", ";", "/", " + ", " & ", "#", "\n", "\t", " ")),
    ({"joy": 20, "2": 9, "27": 9, "2,27": 1}, ",", 1),
    ({**SINGLE, "{joy,anger}": 3}, ",", 3),
    ({"joy": 5, "grief": 5, "joy|grief": 3, "joy|fear": 1}, "|", 4),
    ({"a|b": 3, "b|c": 3, "a|c": 3}, "|", 9),
    ({"joy|anger": 9, "anger|joy": 9}, "|", 18),
    ({'["joy"]': 9, '["anger"]': 9, '["joy", "anger"]': 1}, "list", 19),
    ({**SINGLE, '["joy", "anger"]': 1}, "list", 1),
    ({"['joy']": 9, "['joy' 'anger']": 9}, "list", 18),
    ({"[2 27]": 3, "[1]": 3}, "list", 6), ({"(1, 2)": 3, "(1,)": 3}, "list", 6),
    ({'{"joy": 1}': 3, '{"joy": 0}': 3}, "list", 6)]


@pytest.mark.parametrize(("counts", "separator", "count"), SEVERAL)
def test_several_labels_in_a_row_are_found(counts, separator, count):
    found = label_lists.detect(rows(**counts))
    assert (found.separator, found.rows) == (separator, count), found
    assert found.example in counts and len(found.parts) >= 1
    assert "one label" in label_lists.problem(rows(**counts))


@pytest.mark.parametrize("names", [
    ["Rock, Paper"], ["Rock, Paper", "Scissors"], ["Paris, France", "Lyon, France", "Rome, Italy"],
    ["Yes", "No", "Yes, but"], ["Agree", "Disagree", "Agree, strongly", "Disagree, strongly"],
    ["Agree, strongly", "Agree, weakly", "Disagree, strongly", "Disagree, weakly"],
    ["sports|football", "sports|tennis", "politics|election"], ["sports/football", "sports"],
    ["good", "very good", "bad", "very bad"], ["C", "C++", "C#"], ["N/A", "yes"], ["R&B", "Rock"],
    ["New York", "York"], ["dark blue", "blue dark"], ["[POS]", "[NEG]"], ["1.0", "0.0"],
    ["1,000", "2,000", "3,000"], ["1,5", "2,5", "3,5"], ["Toys & Games", "Home & Garden", "Home"],
    ["it's, \"so\"", "so"], ["negative", "positive"], [",", "|", "joy"], ["", " "]])
def test_a_name_with_a_separator_in_it_is_one_name(names):
    assert label_lists.detect(rows(**dict.fromkeys(names, 10))) is None


def test_only_a_task_with_one_label_per_row_asks():
    rows = pd.DataFrame({"label": ["a", "b", "a|b"] * 4})
    no_rows = pd.DataFrame({"reason": [], "text": []}, dtype="str")
    for task, said in (("classification", "'a|b'"), ("instruction_tuning", "")):
        with pytest.raises(DataError, match=said) if said else nullcontext():
            task_named(task).data.check(rows, no_rows, min_rows=1, max_rejected=0.1)


@pytest.mark.parametrize("mark", ["、", "，", "；", "،", "؛"])
def test_separators_of_other_scripts_are_known(mark):
    cells = ["joy", "anger"] * 10 + [f"joy{mark}anger", f"anger{mark}joy"]
    assert label_lists.detect(cells).separator == mark
