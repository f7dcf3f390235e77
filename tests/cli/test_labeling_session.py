"""`ftzard label`: keys in a real terminal, answers saved one by one, and what is handed in."""

import contextlib
import dataclasses
import os
import pty
import select
import signal
import subprocess
import sys
import termios
from pathlib import Path

import pandas as pd
import pytest
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from ftzard.cli import labeling_screen
from ftzard.data import query_strategies
from ftzard.data.labeling import labeling_queue, submissions
from ftzard.data.labeling.answer_store import Answer
from ftzard.data.labeling.label_formats import OneOf
from ftzard.data.labeling.labeling_queue import queue_csv, read_labelled
from ftzard.data.messages import one_turn, to_json
from ftzard.data.storage import write_parquet
from ftzard.errors import DataError, WorkspaceError
from ftzard.orchestration.labeling_page.desk import Desk
from ftzard.steps import labeling_session
from ftzard.steps.labeling_batch import store_of
from ftzard.tasks.instruction_tuning.labeling import Answer as Instruction

TEXTS = ["a lovely day", "boring and awful", "it rains again", "sweet \x1b[31mmusic\x1b[0m", "meh"]


@pytest.fixture
def asked(workspace):
    """A workspace in which five rows wait, with two labels known from earlier rows.

    Suggestions are shown from the beginning.
    """
    marker = workspace.root / "ftzard.yaml"
    marker.write_text(marker.read_text().replace("{}", "")
                      + "\nsampling: {show_suggestions: before}\n")
    queue = pd.DataFrame({
        "id": [f"r{n}" for n in range(5)], "batch": "abc123", "text": TEXTS,
        "suggestion": ["glad", "sad", "sad", "glad", "sad"], "confidence": "0.6", "side": "train",
        "chosen_by": "margin", "label": ""})
    queue_csv(queue, workspace.labelling / "abc123.csv")
    cleaned = pd.DataFrame({"id": ["x", "y"], "batch": "b0", "row": [0, 1],
                            "text": ["one", "two"], "label": ["sad", "glad"]})
    write_parquet(cleaned, workspace.root / "data/cleaned/cleaned.parquet")
    return workspace


class Terminal:
    """`ftzard label` at the other end of a pseudo-terminal."""

    def __init__(self, workspace, *arguments: str):
        self.mine, theirs = pty.openpty()
        self.before = termios.tcgetattr(theirs)
        tool = Path(sys.executable).parent / "ftzard"
        self.process = subprocess.Popen(
            [str(tool), "label", "-w", str(workspace.root), *arguments], stdin=theirs,
            stdout=theirs, stderr=theirs, start_new_session=True, cwd=workspace.root,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"})
        self.theirs, self.unread = theirs, ""

    def until(self, words: str, seconds: float = 60) -> str:
        """Return what the terminal has shown since the last call, up to these words."""
        while words not in self.unread:
            assert select.select([self.mine], [], [], seconds)[0], (words, self.unread)
            data = os.read(self.mine, 65536)
            assert data, f"ended without {words!r}: {self.unread}"
            self.unread += data.decode()
        end = self.unread.index(words) + len(words)
        shown, self.unread = self.unread[:end], self.unread[end:]
        return shown

    def press(self, keys: str) -> None:
        os.write(self.mine, keys.encode())

    def ended(self) -> int:
        code = self.process.wait(60)
        os.close(self.mine)
        os.close(self.theirs)
        return code


class AnyOf(OneOf):
    """Several names in one label, in their order."""

    def choose(self, marked, name):
        picked = {*filter(None, marked.split("+"))} ^ {name}
        return "+".join(one for one in self.names if one in picked), False


def test_a_label_of_several_names_is_marked_by_their_keys_and_saved_with_enter(asked):
    session = labeling_session.open_session(asked, "abc123", "ann")
    session.batch = dataclasses.replace(session.batch, format=AnyOf(["glad", "loud", "sad"]))
    for key in "312":
        labeling_screen.press(session, key)
    assert session.at == 0 and not session.pending
    assert "marked: glad+loud+sad" in labeling_screen.screen(session)
    labeling_screen.press(session, "2")
    labeling_screen.press(session, "\r")
    assert session.at == 1 and session.marked == ""
    assert saved(asked) == [["r0", "glad+sad"]]
    labeling_screen.press(session, "1")
    labeling_screen.press(session, "s")
    assert session.at == 2 and session.marked == "" and len(saved(asked)) == 1


def typed(session, keys: str) -> None:
    """Type keys into the session's own screen, which ends with the input."""
    with create_pipe_input() as keyboard:
        keyboard.send_text(keys)
        keyboard.close()
        with contextlib.suppress(EOFError):
            labeling_screen.application(session, input=keyboard, output=DummyOutput()).run()


def saved(workspace, person: str = "ann") -> list[list[str]]:
    """Return the rows and labels that a person's saved answers have."""
    return [[a.id, a.label] for a in store_of(workspace).answers("abc123", person)]


def test_a_whole_session(asked):
    queue = (asked.labelling / "abc123.csv").read_bytes()
    terminal = Terminal(asked, "--as", "ann")
    first = terminal.until("1 of 5")
    assert "abc123" in first
    first += terminal.until("q quit")
    assert "a lovely day" in first and "suggestion: glad (0.60)" in first
    assert "1  glad" in first and "2  sad" in first
    terminal.press("\r")
    terminal.until("2 of 5")
    assert saved(asked) == [["r0", "glad"]], "saved at once"
    terminal.press("1")  # a slip
    terminal.until("3 of 5")
    terminal.press("u")
    back = terminal.until("2 of 5")
    assert [row for row, _ in saved(asked)] == ["r0"], "and taken back at once"
    terminal.press("2")
    terminal.until("3 of 5")
    terminal.press("xyz\x1b[A9")  # keys that mean nothing here, and an arrow
    terminal.press("s")
    shown = terminal.until("4 of 5") + terminal.until("q quit")
    assert "\x1b[31m" not in shown and "sweet" in shown, "a text cannot command the terminal"
    terminal.press("12")
    terminal.until("4 labels handed in: data/labelled/abc123_ann_")
    assert terminal.ended() == 0 and back
    path, = asked.labelled.glob("abc123_ann_*.csv")
    given = read_labelled(path)
    assert given[["id", "label", "labelled_by"]].values.tolist() == [
        ["r0", "glad", "ann"], ["r1", "sad", "ann"], ["r3", "glad", "ann"], ["r4", "sad", "ann"]]
    assert given["labelled_at"].str.match(r"2\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00").all()
    assert (asked.labelling / "abc123.csv").read_bytes() == queue, "the queue itself is only read"
    accepted = submissions.read(path, batch="d", queue=submissions.queues(asked.labelling),
                              labels=OneOf(["glad", "sad"]))
    assert len(accepted.cleaned) == 4 and accepted.refused.empty
    assert given["seen"].tolist() == ["glad", "sad", "glad", "sad"], "what was seen is on record"
    assert accepted.facts["model"]["rows"] == 0, "and is no agreement"


def test_quit_keeps_the_answers_and_the_next_session_goes_on(asked):
    terminal = Terminal(asked, "abc", "--as", "ann")
    terminal.until("1 of 5")
    terminal.press("2")
    terminal.until("2 of 5")
    assert termios.tcgetattr(terminal.theirs)[3] != terminal.before[3], "keys come without enter"
    terminal.press("q")
    terminal.until("1 answers are saved and not handed in")
    terminal.process.wait(60)
    assert termios.tcgetattr(terminal.theirs) == terminal.before
    assert terminal.ended() == 0 and list(asked.labelled.iterdir()) == []
    terminal = Terminal(asked, "--as", "ann")
    assert "boring and awful" in terminal.until("1 of 4") + terminal.until("q quit")
    terminal.press("h")
    terminal.until("1 labels handed in")
    assert terminal.ended() == 0
    path, = asked.labelled.iterdir()
    assert read_labelled(path)["id"].tolist() == ["r0"]


def test_ctrl_c_and_a_closed_terminal_lose_no_answer(asked):
    terminal = Terminal(asked, "--as", "ann")
    terminal.until("1 of 5")
    terminal.press("1")
    terminal.until("2 of 5")
    os.killpg(terminal.process.pid, signal.SIGINT)
    assert terminal.process.wait(60) == 130
    assert [row for row, _ in saved(asked)] == ["r0"]
    assert termios.tcgetattr(terminal.theirs) == terminal.before
    terminal.ended()


def test_without_a_terminal_it_names_the_file_to_fill_in(asked, tool):
    done = tool("ftzard", "label", "-w", asked.root, at=asked.root)
    assert done.returncode == 1
    assert done.stdout.startswith("✗ 'ftzard label' needs a terminal")
    assert "data/labelling/abc123.csv" in done.stdout


class TestSession:
    def test_two_people_get_different_rows_unless_both_shall_label_them(self, asked):
        ann = labeling_session.open_session(asked, None, "ann")
        labeling_screen.press(ann, "1")
        labeling_screen.press(ann, "2")
        bob = labeling_session.open_session(asked, None, "bob")
        assert bob.rows["id"].tolist() == ["r2", "r3", "r4"]
        both = labeling_session.open_session(asked, None, "bob", twice=True)
        assert both.rows["id"].tolist() == [f"r{n}" for n in range(5)]
        assert labeling_session.open_session(asked, None, "ann").rows["id"].tolist() == [
            "r2", "r3", "r4"]

    def test_labelled_rows_are_asked_no_more_but_by_a_second_person_on_request(self, asked):
        place = asked.root / "data/cleaned/cleaned.parquet"
        rows = pd.read_parquet(place).assign(labelled_by="", labelled_at="")
        new = pd.DataFrame({"id": ["r0", "r1"], "batch": "abc123", "row": [0, 1],
                            "text": TEXTS[:2], "label": ["glad", "sad"], "labelled_by": "ann",
                            "labelled_at": ""})
        write_parquet(pd.concat([rows, new]), place)

        def names(who: str, twice: bool) -> list[str]:
            session = labeling_session.open_session(asked, None, who, twice=twice)
            return session.rows["id"].tolist()

        assert names("bob", False) == ["r2", "r3", "r4"]
        assert names("bob", True) == ["r0", "r1", "r2", "r3", "r4"]
        assert names("ann", True) == ["r2", "r3", "r4"]

    def test_the_config_s_labels_come_first_and_in_its_order(self, asked):
        marker = asked.root / "ftzard.yaml"
        marker.write_text(marker.read_text().replace("{}", "") +
                          "\ndata: {labels: {'4': positive, '0': negative, '2': neutral}}\n")
        session = labeling_session.open_session(asked, None, "ann")
        assert session.keys == {"1": "positive", "2": "negative", "3": "neutral"}
        labeling_screen.press(session, "\r")
        assert session.at == 0, "a suggestion that is no label any more is not taken"

    def test_nothing_to_label_says_why(self, asked, workspace):
        with pytest.raises(DataError, match="there is no batch 'zz' in data/labelling"):
            labeling_session.open_session(asked, "zz", "ann")
        session = labeling_session.open_session(asked, None, "ann")
        for _ in range(5):
            labeling_screen.press(session, "1")
        session.submit()
        with pytest.raises(DataError, match="nothing is left for ann .* in batch abc123"):
            labeling_session.open_session(asked, None, "ann")
        (asked.labelling / "abc123.csv").unlink()
        with pytest.raises(DataError, match="no batch waits for labels"):
            labeling_session.open_session(asked, None, "ann")

    def test_handing_in_twice_at_once_writes_two_files(self, asked):
        session = labeling_session.open_session(asked, None, "a/nn ☺")
        labeling_screen.press(session, "1")
        first = session.submit()
        labeling_screen.press(session, "2")
        second = session.submit()
        assert first != second and session.submit() is None
        assert read_labelled(first)["id"].tolist() == ["r0"]
        assert read_labelled(second)["id"].tolist() == ["r1"]
        assert set(read_labelled(second)["labelled_by"]) == {"a/nn ☺"}

    def test_an_answer_that_was_refused_is_asked_for_again(self, asked):
        for person, key in (("ann", "1"), ("bob", "2")):
            session = labeling_session.open_session(asked, None, person, twice=True)
            for _ in range(5):
                labeling_screen.press(session, key)
            session.submit()
        rejected = pd.DataFrame({"batch": "d", "row": [0], "text": [TEXTS[2]],
                                 "reason": "labelled differently by two people"})
        write_parquet(rejected, asked.root / "data/cleaned/rejected.parquet")
        session = labeling_session.open_session(asked, None, "ann")
        assert session.rows["id"].tolist() == ["r2"]
        labeling_screen.press(session, "2")
        with pytest.raises(DataError, match="nothing is left for bob"):
            labeling_session.open_session(asked, None, "bob")
        assert read_labelled(session.submit())["label"].tolist() == ["sad"]

    def test_a_long_text_does_not_push_the_keys_off_the_screen(self, asked):
        session = labeling_session.open_session(asked, None, "ann")
        session.rows.loc[0, "text"] = "word " * 2000
        shown = labeling_screen.screen(session, width=60, height=24)
        assert shown.count("\n") < 24 and "q quit" in shown and "…" in shown
        assert max(map(len, shown.splitlines())) <= 80

    def test_more_labels_than_keys_are_refused(self, asked):
        place = asked.root / "data/cleaned/cleaned.parquet"
        names = [str(n) for n in range(40)]
        rows = pd.DataFrame({"id": names, "text": [f"text {n}" for n in names], "label": names})
        write_parquet(rows, place)
        with pytest.raises(DataError, match="40 labels but 31 keys"):
            labeling_session.open_session(asked, None, "ann")


def test_run_itself_refuses_what_is_no_terminal(asked, monkeypatch):
    session = labeling_session.open_session(asked, None, "ann")
    with open(os.devnull) as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        with pytest.raises(WorkspaceError, match="needs a terminal"):
            labeling_screen.run(session, print)


class TestBesideThePage:
    """Somebody labels in a terminal while others have the page open."""

    @pytest.fixture
    def page(self, asked):
        return Desk(asked)

    def test_no_row_is_shown_to_two_people_at_once(self, asked, page):
        ann = labeling_session.open_session(asked, None, "ann")
        bob, = (page.next_session(batch, "Bob") for batch in page.batches())
        assert bob.row["id"] == "r0"
        ann.hold()
        typed(ann, "12q")
        assert [a.id for a in ann.answers] == ["r1", "r2"], "Bob had the first"
        page.store.release(bob.batch.name, "ann")
        assert page.next_session(bob.batch, "Eve").row["id"] == "r3", "ann has ended"
        ann.hold()
        assert ann.row["id"] == "r4" and page.next_session(bob.batch, "Max") is None

    def test_a_row_that_was_answered_meanwhile_is_passed_over_and_undo_goes_past_it(
            self, asked, page):
        ann = labeling_session.open_session(asked, None, "ann")
        batch, = page.batches()
        page.session(batch, "Bob", "r1").answer("sad")
        page.session(batch, "ann", "r2").answer("sad")
        ann.hold()
        typed(ann, "1")
        assert ann.row["id"] == "r3"
        typed(ann, "uq")
        assert ann.row["id"] == "r0" and [a.id for a in ann.answers] == ["r2"]

    def test_both_may_answer_a_row_and_a_person_decides_if_they_differ(self, asked, page):
        ann, batch = labeling_session.open_session(asked, None, "ann"), page.batches()[0]
        for row, theirs in (("r0", "glad"), ("r1", "sad")):
            ann.hold()
            page.session(batch, "Bob", row).answer(theirs)  # a form from before its lease ended
            ann.answer("glad")
        everybody = page.store.answers(batch.name)
        assert [case.id for case in batch.cases(everybody)] == ["r1"]
        assert [a.id for a in batch.ready("ann", everybody)] == ["r0"]
        batch.settle("r1", "glad", person="Eve")
        everybody = page.store.answers(batch.name)
        assert [(a.id, a.label) for a in batch.ready("Bob", everybody)] == [
            ("r0", "glad"), ("r1", "glad")]

    def test_one_person_at_both_has_one_answer_the_last(self, asked, page):
        ann, batch = labeling_session.open_session(asked, None, "ann"), page.batches()[0]
        ann.hold()
        page.session(batch, "ann", "r0").answer("sad")
        ann.answer("glad")
        assert [(a.id, a.label) for a in ann.answers] == [("r0", "glad")]


@pytest.fixture
def instructed(workspace):
    """A workspace of instruction tuning in which three instructions wait for an answer."""
    (workspace.root / "ftzard.yaml").write_text(
        "task: instruction_tuning\ndata: {choice: instructions}\n"
        "tuning: {metric: validation_loss}\nsampling: {show_suggestions: before}\n")
    queue = pd.DataFrame({
        "id": ["r0", "r1", "r2"], "batch": "abc123",
        "text": ["Count them.\n\ncat, dog", "Say \x1b[31mhello", "long " * 900],
        "suggestion": ["two", "", "an answer " * 300], "confidence": "0.6", "side": "train",
        "chosen_by": "random", "source": "", "label": ""})
    queue["messages"] = [to_json(one_turn(text)) for text in queue["text"]]
    queue_csv(queue, workspace.labelling / "abc123.csv")
    return workspace


class TestFreeAnswers:
    def test_a_whole_session(self, instructed):
        terminal = Terminal(instructed, "--as", "ann")
        first = terminal.until("q quit")
        assert "Count them." in first and "cat, dog" in first and "suggestion (0.60):" in first
        assert "e edit" in first and "two" in first
        terminal.press("e")
        terminal.until("esc back")
        terminal.press(" or 2 ☺sqh")  # letters that are commands elsewhere, and one of three bytes
        terminal.until("sqh")
        terminal.press("\x7f\x7f\x7f\r")
        terminal.until("2 of 3")
        assert saved(instructed) == [["r0", "two or 2 ☺"]]
        assert "suggestion" not in terminal.until("q quit")
        terminal.press("\r")  # there is no suggestion to take
        terminal.press("w")
        terminal.until("esc back")
        terminal.press("no\x1b")
        terminal.until("w write")
        terminal.press("w")
        terminal.until("esc back")
        terminal.press("\x1b[200~Hello,\nquiet\nworld\x1b[201~\x1b[D\x1b[D!\r")
        terminal.until("3 of 3")
        terminal.until("q quit")
        terminal.press("h")
        terminal.until("2 labels handed in")
        assert terminal.ended() == 0
        path, = instructed.labelled.iterdir()
        assert read_labelled(path)["label"].tolist() == ["two or 2 ☺", "Hello,\nquiet\nwor!ld"]
        back = submissions.read(path, batch="d", queue=submissions.queues(instructed.labelling),
                              labels=Instruction())
        assert len(back.cleaned) == 2

    def test_taking_leaving_and_undoing(self, instructed):
        session = labeling_session.open_session(instructed, None, "ann")
        assert session.format.free_text and session.keys == {}
        typed(session, "1x\x1b[A\x1b[200~wss\x1b[201~\x1b[15;3~q")
        assert session.at == 0, "keys of labels mean nothing here, and neither does a paste"
        assert session.draft is None and not session.pending
        typed(session, "w \r")
        assert session.draft is not None and session.at == 0, "an empty answer is none"
        session.draft = None
        typed(session, "\rwq\ruq")
        assert [a.label for a in session.answers] == ["two"] and session.at == 1

    @pytest.mark.parametrize(("keys", "text"), [
        ("ab\x1b[Dc", "acb"), ("ab\x01c\x05d", "cabd"), ("a\x0eb\x1b[Hc", "a\ncb"),
        ("a\x1b\rb", "a\nb"), ("a bc\x17d", "a d"), ("ab\x15c", "c"),
        ("ab\x1b[D\x1b[3~\x1b[3~", "a"), ("\x7fa\x1b[C", "a"),
        ("\x1b[200~x\ry\x1b[201~\t\x1b[99~", "x\ny")])
    def test_what_each_key_does_to_a_draft(self, instructed, keys, text):
        session = labeling_session.open_session(instructed, None, "ann")
        typed(session, f"w{keys}\rq")
        assert [a.label for a in session.answers] == [text]

    def test_nothing_pushes_the_keys_or_the_draft_s_end_off_the_screen(self, instructed):
        session = labeling_session.open_session(instructed, None, "ann")
        session.skip()
        assert "\x1b" not in labeling_screen.screen(session)
        assert "suggestion" not in labeling_screen.screen(session), "there is none"
        session.skip()
        shown = labeling_screen.screen(session, width=60, height=24)
        assert shown.count("\n") < 24 and "q quit" in shown and "…" in shown
        for row in ("r0", "r1"):
            session.batch.store.save("abc123", Answer(row, "ann", "x"))
        terminal = Terminal(instructed, "--as", "ann")
        terminal.until("e edit")
        terminal.press("e")
        shown = terminal.until("esc back")
        terminal.press("the end")
        terminal.until("the end")
        terminal.press("\r")
        terminal.until("3 labels handed in")
        assert terminal.ended() == 0 and "an answer" in shown


MACHINE = "machine words"


def chosen(workspace, show: str, *, free: bool) -> pd.DataFrame:
    """Ask for six rows of either side as step 6 does; the suggestion of each is always 'glad', or
    words that stand nowhere else."""
    rows = pd.DataFrame({
        "id": [f"r{n}" for n in range(12)], "batch": "abc123", "split": ["train", "test"] * 6,
        "text": [f"one{n} two{n} three{n}" for n in range(12)],
        "suggestion": [f"{MACHINE} {n}" for n in range(12)] if free else "glad",
        "confidence": 0.8})
    task = "task: instruction_tuning\ndata: {choice: instructions}\n" \
           "tuning: {metric: validation_loss}\n" if free else "data: {labels: {a: glad, b: sad}}\n"
    (workspace.root / "ftzard.yaml").write_text(
        f"{task}sampling: {{show_suggestions: {show}}}\n")
    if free:
        rows["messages"] = [to_json(one_turn(text)) for text in rows["text"]]
        rows["source"] = ""
    else:
        rows["probabilities"] = [[0.8, 0.2]] * len(rows)
    queue, _ = query_strategies.select(rows, strategy="least_confidence", budget=6, audit_rows=6,
                                       seed=0, show_suggestions=show)
    place = workspace.labelling / "abc123.csv"
    labeling_queue.keep_suggestions(place, queue, rows, "M@1")
    queue_csv(queue, place)
    return queue


def label_all(workspace, words: str, free: bool) -> tuple[dict[str, str], pd.DataFrame]:
    """Answer every row otherwise than the model; return what was shown of each, and the answers."""
    session, shown = labeling_session.open_session(workspace, None, "ann"), {}

    def look() -> None:
        row_id = session.row["id"]
        shown[row_id] = shown.get(row_id, "") + labeling_screen.screen(session)

    while session.row is not None:
        look()
        labeling_screen.press(session, "w" if free else "2")
        if session.draft is not None:
            look()
            labeling_screen.write(session, words)
        if session.row is not None:
            look()
        if session.reviewing:
            labeling_screen.press(session, "\r")
    return shown, read_labelled(session.submit())


@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize("show", ["never", "after", "before"])
def test_of_an_audit_row_no_suggestion_is_shown_whatever_the_setting(workspace, show, free):
    queue = chosen(workspace, show, free=free).set_index("id")
    shown, given = label_all(workspace, "own", free)
    assert set(shown) == set(queue.index)
    for row_id, screens in shown.items():
        hidden = show == "never" or queue.at[row_id, "side"] == "test"
        assert ("suggestion" in screens) != hidden, screens
        assert not (hidden and MACHINE in screens)
    audits = given["id"].map(queue["side"]).eq("test")
    assert set(given.loc[audits, "seen"]) == {""}
    back = submissions.read(next(workspace.labelled.iterdir()), batch="d",
                          queue=submissions.queues(workspace.labelling),
                          labels=Instruction() if free else OneOf(["glad", "sad"]))
    counted = 6 if show == "before" else 12
    assert back.facts["blind"] == back.facts["model"]["rows"] == counted
    assert back.facts["model"]["share"] == 0, "all were answered otherwise"


class TestAfter:
    def test_the_first_answer_is_kept_beside_the_last(self, workspace):
        queue = chosen(workspace, "after", free=False)
        session = labeling_session.open_session(workspace, None, "ann")
        train = [n for n, side in enumerate(session.rows["side"]) if side == "train"]
        session.at = train[0]
        assert "suggestion" not in labeling_screen.screen(session)
        labeling_screen.press(session, "2")
        review = labeling_screen.screen(session)
        assert "your answer: sad" in review and "suggestion: glad (0.80)" in review
        labeling_screen.press(session, "1")
        assert session.at == train[0] + 1 and not session.reviewing
        session.at = train[1]
        labeling_screen.press(session, "1")
        assert session.at == train[1] + 1, "what agrees needs no second look"
        session.at = train[2]
        labeling_screen.press(session, "2")
        labeling_screen.press(session, "u")
        assert session.at == train[2] and len(session.pending) == 2
        again = labeling_session.open_session(workspace, None, "ann")
        assert len(again.rows) == len(queue) - 2, "what was taken back is asked again"
        again.at = again.rows["id"].tolist().index(session.rows["id"][train[2]])
        labeling_screen.press(again, "1")
        given = read_labelled(again.submit())
        assert given[["label", "own_answer", "seen"]].values.tolist() == [
            ["glad", "sad", "glad"], ["glad", "", ""], ["glad", "sad", "glad"]]

    def test_a_free_answer_is_written_before_the_suggestion_is_seen(self, workspace):
        chosen(workspace, "after", free=True)
        session = labeling_session.open_session(workspace, None, "ann")
        session.at = session.rows["side"].tolist().index("train")
        for key in ("\r", "e", "t"):
            labeling_screen.press(session, key)
        assert session.draft is None and not session.pending
        labeling_screen.press(session, "w")
        labeling_screen.write(session, "mine")
        shown = labeling_screen.screen(session)
        assert "mine" in shown and MACHINE in shown and "t takes the suggestion" in shown
        labeling_screen.press(session, "t")
        line, = session.answers
        assert line.label.startswith(MACHINE) and line.own_answer == "mine"


def test_a_queue_of_before_hides_its_audit_rows_suggestions_and_says_so(workspace):
    queue = chosen(workspace, "before", free=False)
    older = queue.drop(columns="blind").assign(suggestion="glad", confidence="0.8")
    older.to_csv(workspace.labelling / "abc123.csv", index=False)
    session = labeling_session.open_session(workspace, None, "ann")
    notice = labeling_session.seen_audits(session.batch)
    assert notice.startswith("6 test rows of batch abc123 were asked")
    session.at = session.rows["side"].tolist().index("test")
    assert "suggestion" not in labeling_screen.screen(session)


def test_the_whole_output_of_a_terminal_has_no_suggestion_for_an_audit_row(workspace):
    queue = chosen(workspace, "before", free=False)
    terminal, every = Terminal(workspace, "--as", "ann"), []
    for number in range(1, len(queue) + 1):
        terminal.until(f"{number} of {len(queue)}")
        every.append(terminal.until("q quit"))
        terminal.press("2")
    terminal.until("12 labels handed in")
    assert terminal.ended() == 0
    for side, screen in zip(queue["side"], every, strict=True):
        assert ("suggestion" in screen) == (side == "train")
