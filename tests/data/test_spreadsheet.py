"""CSV that people open in a spreadsheet: nothing is a formula, and it comes back as it was."""

import csv
import random
import shutil
import subprocess
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest

from ftzard.data.labeling import labeling_queue, submissions
from ftzard.data.labeling.label_formats import OneOf
from ftzard.data.messages import one_turn, to_json
from ftzard.data.spreadsheet import escape, escaped, unescape, unescaped
from ftzard.data.storage import write_csv
from ftzard.tasks.instruction_tuning.labeling import Answer

FORMULAS = ["=1+1", "+1+1", "-1+1", "@SUM(1;1)", "\t=1+1", "\r=1+1", "\n=1+1", " =1+1",
            "\u200b=1+1", "\ufeff=1+1", "\uff1d1+1", "\uff0b1+1", "\uff0d1+1", "\uff201",
            '=HYPERLINK("http://evil.example","x")', "=cmd|'/c calc'!A1", "-2+3+cmd|' /C calc'!A0"]
WITH_THE_SIGN = ["'=1+1", "''=1+1", "'tis", "''quoted''", "'", "''"]
PLAIN = ["", "text", "so = good", "a-b", "well; that -", "x ;-)", "😀 =)", "1", "3.25 or so", "NA",
         'he said "no"', "two\nlines", "a,b;c\td"]
REWRITTEN = ["0012", "12e5", "1234567890123456789", "1.50", "1-2", "3.25", "3/4/2020", "10:30"]
INSIDE = ["a;=1+1", 'a; "=HYPERLINK(1)', "a;@SUM(1)", "a;'=1", "a;-cmd|'x'!A1", ";=1;=2"]


@pytest.mark.parametrize("text", FORMULAS + WITH_THE_SIGN + REWRITTEN + PLAIN + INSIDE)
def test_every_text_comes_back_and_none_begins_a_formula(text):
    cell = escape(text)
    assert unescape(cell) == text
    assert not cell.lstrip(" \t\r\n\u200b\ufeff").startswith(
        ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20"))
    assert (cell == text) == (text in PLAIN)


@pytest.mark.parametrize("text", INSIDE)
def test_nothing_begins_a_formula_where_a_semicolon_begins_a_cell(text):
    assert all(not part.lstrip(' "').startswith(("=", "@", "-cmd")) for part in
               escape(text).split(";"))


def test_any_mixture_of_these_signs_comes_back():
    draw = random.Random(7)
    signs = "'=+-@;\t\r\n\" a(|01e.\uff1d\u200b\ufeff"
    for _ in range(20_000):
        text = "".join(draw.choice(signs) for _ in range(draw.randint(0, 8)))
        assert unescape(escape(text)) == text, text


def test_names_of_columns_are_escaped_and_numbers_are_not():
    frame = pd.DataFrame({"=1+1": ["=a", None], "number": [-1.5, 2.0], "'x": ["b", "'c"]})
    safe = escaped(frame)
    assert list(safe) == ["'=1+1", "number", "''x"]
    assert safe["number"].tolist() == [-1.5, 2.0] and safe["'=1+1"].iloc[0] == "'=a"
    pd.testing.assert_frame_equal(unescaped(safe), frame)


def asked(texts: list[str]) -> pd.DataFrame:
    return pd.DataFrame({
        "id": [f"i{n}" for n in range(len(texts))], "batch": "b", "text": texts, "suggestion": "",
        "confidence": "", "side": "train", "chosen_by": "margin", "group": "=g", "blind": "yes",
        "label": ""})


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "labelling").mkdir()
    return tmp_path / "labelling"


TEXTS = [*FORMULAS, *WITH_THE_SIGN, *REWRITTEN, *INSIDE, "plain"]


def cells(path: Path) -> list[list[str]]:
    with open(path, encoding="utf-8-sig", newline="") as stream:
        return list(csv.reader(stream))


class TestFilesThatArePassedOn:
    """Each as a person opens it: no cell may begin a formula, and handed in it is what it was."""

    def safe(self, path: Path) -> None:
        begins = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
        found = [cell for row in cells(path) for cell in row
                 if cell.strip(" \u200b\ufeff").startswith(begins)]
        assert found == []

    def test_the_queue(self, folder):
        queue = asked(TEXTS).assign(label=["-1", *["+1"] * (len(TEXTS) - 1)])
        path = labeling_queue.queue_csv(queue, folder / "b.csv")
        self.safe(path)
        read = labeling_queue.read_queue(path)
        assert read["text"].tolist() == TEXTS and set(read["group"]) == {"=g"}
        assert read["label"].tolist() == queue["label"].tolist()
        back = submissions.read(path, batch="d", queue=submissions.queues(folder),
                                labels=OneOf(["-1", "+1"]))
        assert back.refused.empty and back.cleaned["text"].tolist() == TEXTS
        assert back.cleaned["label"].tolist() == queue["label"].tolist()

    @pytest.mark.parametrize("change", ["none", "no apostrophes", "fewer columns"])
    def test_whatever_a_spreadsheet_did_to_the_apostrophe(self, folder, tmp_path, change):
        """Google Sheets takes it away; a person may leave columns out."""
        labeling_queue.queue_csv(asked(TEXTS), folder / "b.csv")
        head, *rows = cells(folder / "b.csv")
        given = pd.DataFrame(rows, columns=head).assign(label="'=yes")
        if change == "no apostrophes":
            given = given.map(lambda cell: cell.removeprefix("'"))
        if change == "fewer columns":
            given = given[["id", "batch", "text", "label"]]
        given.to_csv(tmp_path / "given.csv", index=False, quoting=csv.QUOTE_ALL)
        back = submissions.read(tmp_path / "given.csv", batch="d", labels=OneOf(["=yes", "no"]),
                              queue=submissions.queues(folder))
        assert back.refused.empty and back.cleaned["text"].tolist() == TEXTS
        assert set(back.cleaned["label"]) == {"=yes"}

    def test_a_file_that_a_program_wrote_is_taken_as_it_is(self, folder, tmp_path):
        texts = ["''quoted", "'=1", "=1"]
        queue = asked(texts).assign(messages=[to_json(one_turn(text)) for text in texts], source="")
        labeling_queue.queue_csv(queue, folder / "b.csv")
        answers = ["''so", "'=2", "=3"]
        pd.DataFrame({"id": queue["id"], "batch": "b", "text": texts, "label": answers}).to_csv(
            tmp_path / "given.csv", index=False)
        back = submissions.read(tmp_path / "given.csv", batch="d", labels=Answer(),
                              queue=submissions.queues(folder))
        assert back.refused.empty and back.cleaned["label"].tolist() == answers

    def test_refused_rows_and_joined_files(self, folder, tmp_path):
        labeling_queue.queue_csv(asked(TEXTS), folder / "b.csv")
        queue = submissions.queues(folder)
        write_csv(asked(TEXTS).assign(label="@wrong", labelled_by="=ann", own_answer="", seen=""),
                  tmp_path / "given.csv")
        back = submissions.read(tmp_path / "given.csv", batch="d", queue=queue,
                                labels=OneOf(["yes", "no"]))
        kept = submissions.report_refused(back.refused, tmp_path / "q", "given.csv", at="noon")
        self.safe(kept)
        head, *rows = cells(kept)
        mended = pd.DataFrame(rows, columns=head).assign(label="yes")
        mended.to_csv(tmp_path / "mended.csv", index=False, quoting=csv.QUOTE_ALL)
        joined = submissions.join([tmp_path / "mended.csv"], tmp_path / "joined.csv")
        self.safe(joined)
        again = submissions.read(joined, batch="e", queue=queue, labels=OneOf(["yes", "no"]))
        assert again.refused.empty and again.cleaned["text"].tolist() == TEXTS
        assert set(again.cleaned["labelled_by"]) == {"=ann"}

    def test_free_answers(self, folder):
        answers = [*FORMULAS[:4], *WITH_THE_SIGN[:4], "- one\n- two"]
        texts = [f"say {n}" for n in range(len(answers))]
        queue = asked(texts).assign(messages=[to_json(one_turn(text)) for text in texts], source="",
                                    label=answers)
        path = labeling_queue.queue_csv(queue, folder / "b.csv")
        self.safe(path)
        back = submissions.read(path, batch="d", queue=submissions.queues(folder), labels=Answer())
        assert back.cleaned["label"].tolist() == answers


@pytest.mark.system
class TestLibreOffice:
    """Debian's LibreOffice opens our file, saves it as a workbook, and that as CSV again."""

    SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
    IN, OUT = "CSV:44,34,76,1", "csv:Text - txt - csv (StarCalc):44,34,76,1"

    def convert(self, file: Path, to: str, ending: str, *more: str) -> Path:
        office = shutil.which("soffice") or shutil.which("libreoffice")
        assert office, "install libreoffice-calc, as 'make test-system' does"
        done = subprocess.run(
            [office, f"-env:UserInstallation=file://{file.parent}/profile", "--headless", *more,
             "--convert-to", to, "--outdir", str(file.parent / "out"), str(file)],
            capture_output=True, text=True, timeout=240)
        made = file.parent / "out" / f"{file.stem}.{ending}"
        assert made.is_file(), done.stdout + done.stderr
        return made

    def formulas(self, workbook: Path) -> int:
        with zipfile.ZipFile(workbook) as archive:
            sheet = ElementTree.fromstring(archive.read("xl/worksheets/sheet1.xml"))
        return len(sheet.findall(f".//{self.SHEET}f"))

    def test_no_formula_is_evaluated_and_the_texts_come_back(self, tmp_path, folder):
        texts = [*FORMULAS, *WITH_THE_SIGN, *REWRITTEN, *INSIDE, *PLAIN[1:]]
        plain = tmp_path / "plain.csv"
        asked(texts).to_csv(plain, index=False, encoding="utf-8")
        workbook = self.convert(plain, "xlsx", "xlsx", f"--infilter={self.IN}")
        assert self.formulas(workbook) >= 4, "as it is, the file would be evaluated"
        labeling_queue.queue_csv(asked(texts), folder / "b.csv")
        ours = shutil.copy(folder / "b.csv", tmp_path / "queue.csv")
        workbook = self.convert(ours, "xlsx", "xlsx", f"--infilter={self.IN}")
        assert self.formulas(workbook) == 0
        again = self.convert(workbook, self.OUT, "csv")
        rows = labeling_queue.read_queue(again)
        spaced = [" ".join(text.split()) for text in texts]
        assert [" ".join(text.split()) for text in rows["text"]] == spaced
        rows = cells(again)
        filled = pd.DataFrame(rows[1:], columns=rows[0]).assign(label="yes")
        filled.to_csv(tmp_path / "filled.csv", index=False, quoting=csv.QUOTE_ALL)
        back = submissions.read(tmp_path / "filled.csv", batch="d", labels=OneOf(["yes", "no"]),
                              queue=submissions.queues(folder))
        assert back.refused.empty and back.cleaned["text"].tolist() == texts
