"""Tables, trees and sentences fit 80 and 50 columns, and no word is broken on the way."""

import re

import pytest

from ftzard.cli import model_tables, tables
from ftzard.cli.layout import Column, Table, Tree, cell_len, wrapped

VERSION = {"model": "FalconSentiAnalysis", "kind": "tuned", "base": "falcon_tiny", "lower": 0.79,
           "data_version": "abcdef0123456", "size_bytes": 1_234_567, "upper": 0.83, "score": 0.81,
           "created": "2026-11-21T09:12:13+00:00", "accuracy": 0.81, "test_rows": 1200,
           "measure": "accuracy", "task": "classification", "trial": False, "apart": None,
           "measured_on": "the 1,200 test rows of data version abcdef0123"}
VERSIONS = [{**VERSION, "version": 12, "aliases": ["challenger"], "verdict": "cannot tell"},
            {**VERSION, "version": 1, "aliases": ["champion"], "verdict": "promote"}]
HISTORY = [{"artifact": "delivery", "path": f"data/raw/{'d' * 64}.csv", "commit": "a" * 40,
            "time": "2026-11-21T09:12:13+00:00", "rows": 12345, "size": 123456, "md5": "x",
            "run": {"id": "r", "step": "cleaning", "name": "2026-11-21_03-05-22"},
            "pushed": False, "models": ["FalconSentiAnalysis@1", "FalconSentiAnalysis@12"]}]


def words(text: str) -> set[str]:
    return set(re.sub(r"\x1b\[\d+m", "", text).replace("│", " ").split())


@pytest.mark.parametrize("width", [50, 80, 120])
@pytest.mark.parametrize("table",
                         [model_tables.list_table(VERSIONS), tables.history_table(HISTORY)],
                         ids=["models", "history"])
def test_a_table_fits_its_width_with_whole_words(table, width):
    lines = table.lines(width)
    assert max(map(cell_len, lines)) <= width
    cells = "\n".join(line for line in lines if "not shown" not in line)
    note = " ".join(lines).partition("not shown at this width: ")[2]
    whole = set(str(table).split())
    assert words(cells.replace(note, "")) - words(note) <= whole, "a word that the table has not"
    assert "FalconSentiAnalysis@12" in cells or "delivery" in cells


def test_what_is_least_important_goes_first_and_is_named():
    table = model_tables.list_table(VERSIONS)
    wide, narrow = "\n".join(table.lines(120)), "\n".join(table.lines(80))
    assert "data version" in wide.rpartition("not shown")[2] and "verdict" in wide.splitlines()[0]
    heading = narrow.splitlines()[0].split()
    assert heading == ["model", "aliases", "accuracy", "verdict"]
    assert "not shown" not in "\n".join(table.lines(None)) == str(table)


def test_where_nothing_can_go_each_row_is_a_block_with_all_it_has():
    lines = model_tables.list_table(VERSIONS).lines(40)
    assert lines[0] == "FalconSentiAnalysis@12" and "" in lines
    told = "\n".join(lines)
    for said in ("accuracy", "81.0 %", "cannot tell", "abcdef0123", "1.2 MB", "registered (UTC)"):
        assert said in told
    assert max(map(len, lines)) <= 40


def test_a_word_wider_than_the_terminal_stays_in_one_piece():
    digest = "f" * 64
    tree = Tree("model")
    tree.add("base").add(f"weights {digest}, of the base that was built here")
    assert any(digest in line for line in tree.lines(50))
    assert "│" not in "".join(tree.lines(50)) and len(tree.lines(50)) > 4
    assert wrapped(f"at {digest} now", 30) == ["at", digest, "now"]


def test_colours_change_no_word_and_show_what_is_bad():
    table = model_tables.list_table(VERSIONS)
    plain, coloured = table.lines(80), table.lines(80, color=True)
    assert [re.sub(r"\x1b\[\d+m", "", line) for line in coloured] == plain
    assert "\x1b[32mpromote\x1b[0m" in "\n".join(coloured)
    assert "\x1b" not in "".join(plain)


def test_letters_of_two_columns_are_aligned():
    table = Table((Column("text"), Column("rows", right=True)))
    table.add_row("日本語", "7")
    table.add_row("abc", "12")
    heading, wide, narrow = table.lines(80)
    assert cell_len(heading) == cell_len(wide) == cell_len(narrow) == 12


def test_a_cell_cannot_command_the_terminal():
    table = Table([Column("text", prose=True)])
    table.add_row("\x1b[31mred\x07")
    assert "\x1b" not in str(table) and r"\x1b[31mred\x07" in str(table)
