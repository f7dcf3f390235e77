"""`ftzard label --web` without a browser: who may ask what, what is saved, and what is shown."""

import re

import pytest
from starlette.testclient import TestClient

from ftzard.data.labeling import submissions
from ftzard.data.labeling.label_formats import OneOf
from ftzard.data.labeling.labeling_queue import read_labelled
from ftzard.errors import FtzardError, WorkspaceError
from ftzard.orchestration.labeling_page import server
from ftzard.orchestration.labeling_page.access import Access
from ftzard.orchestration.labeling_page.app import LabelingPage
from ftzard.orchestration.labeling_page.desk import Desk
from ftzard.orchestration.labeling_page.word_diff import word_diff
from ftzard.steps.labeling_batch import store_of
from tests.hostile import HOSTILE, Page, traces, unseen
from tests.orchestration.labeling_queue_rows import BATCH, ask

HERE = f"/batch/{BATCH}"


class Browser:
    """A person at the page, who follows redirects and sends each page's own form."""

    def __init__(self, page: LabelingPage, person: str | None = None, address="http://127.0.0.1"):
        self.client = TestClient(page.app(), base_url=address)
        if person is not None:
            assert self.client.post("/enter", data={"name": person}).status_code == 200

    def get(self, path: str = HERE) -> str:
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        self.shown = answer.text
        return self.shown

    def field(self, name: str) -> str:
        return re.search(f'name="{name}" value="([^"]*)"', self.shown).group(1)

    def send(self, path: str = HERE, **fields) -> str:
        answer = self.client.post(path, data={
            "form": self.field("form"), "row": self.row if "/batch" in path else "", **fields})
        self.status, self.shown = answer.status_code, answer.text
        return self.shown

    @property
    def row(self) -> str:
        found = re.search('name="row" value="([^"]*)"', self.shown)
        return found.group(1) if found else ""

    def label(self, *numbers: int, **fields) -> str:
        """Answer the next row with labels by their numbers; return the row."""
        self.get()
        row = self.row
        self.send(action="save", choice=[str(n) for n in numbers], **fields)
        assert self.status == 200, self.shown
        return row


def open_page(workspace) -> LabelingPage:
    return server.page_for(workspace, "127.0.0.1")


def saved(workspace) -> list[tuple[str, str, str]]:
    return [(a.id, a.person, a.label) for a in store_of(workspace).answers(BATCH)]


TEXTS = ["a lovely day", "boring and awful", "it rains again", "meh"]


class TestOnePerson:
    def test_labels_rows_undoes_skips_cannot_say_and_hands_in(self, workspace):
        ask(workspace, TEXTS)
        ann = Browser(open_page(workspace), "Ann")
        assert "a lovely day" in ann.get() and "0</b> of 4 rows done" in ann.shown
        assert "boring" in ann.send(only="1")
        assert saved(workspace) == [("r0", "Ann", "sad")]
        assert "a lovely day" in ann.send(action="undo") and saved(workspace) == []
        ann.send(only="0", note="clear")
        ann.send(action="skip")
        assert "it rains" in ann.shown
        ann.send(action="cannot", note="no feeling in it")
        ann.send(only="1")
        assert "boring" in ann.shown, "what was skipped comes last"
        assert "Nothing is left" in ann.send(only="1")
        ann.get(f"{HERE}/hand-in")
        assert "3 labels handed in" in ann.send(f"{HERE}/hand-in")
        path, = workspace.labelled.iterdir()
        given = read_labelled(path)
        assert given[["id", "label", "labelled_by"]].values.tolist() == [
            ["r0", "glad", "Ann"], ["r1", "sad", "Ann"], ["r3", "sad", "Ann"]]
        ann.get(f"{HERE}/hand-in")
        assert "Nothing to hand in" in ann.send(f"{HERE}/hand-in")
        assert len(list(workspace.labelled.iterdir())) == 1

    def test_a_form_that_is_sent_twice_is_one_answer_and_a_reload_shows_the_same_row(
            self, workspace):
        ask(workspace, TEXTS)
        ann = Browser(open_page(workspace), "Ann")
        ann.get()
        form = {"form": ann.field("form"), "row": ann.row, "only": "0"}
        for _ in range(3):
            ann.client.post(HERE, data=form)
        assert saved(workspace) == [("r0", "Ann", "glad")]
        first, second = ann.get(), ann.get()
        assert first == second and "boring" in first

    def test_several_labels_are_marked_and_saved(self, workspace):
        ask(workspace, TEXTS, labels=("anger", "fear", "joy"), task="multi_label")
        ann = Browser(open_page(workspace), "Ann")
        assert 'type="checkbox"' in ann.get() and "no label fits" in ann.shown
        ann.label(2, 0)
        ann.get()
        ann.send(only="3")
        assert [label for _, _, label in saved(workspace)] == ["anger|joy", "[]"]
        ann.get()
        assert "no label was picked" in ann.send(action="save") and ann.status == 422

    def test_a_free_answer_is_written_with_its_differences_to_the_suggestion(self, workspace):
        ask(workspace, TEXTS, task="instruction_tuning", show_suggestions="before",
            suggestions=["Have a nice day."] * 4)
        ann = Browser(open_page(workspace), "Ann")
        assert "Have a nice day." in ann.get()
        told = ann.client.post(f"{HERE}/diff", data={
            "form": ann.field("form"), "row": ann.row, "text": "Have a <b>good</b> day."}).text
        assert "<del>nice</del>" in told and "&lt;" in told and "<b>" not in told
        ann.send(action="save", text="  Have a good day.\r\nAnn  ")
        ann.get()
        ann.send(action="take")
        assert [label for _, _, label in saved(workspace)] == [
            "Have a good day.\nAnn", "Have a nice day."]
        ann.get()
        assert "the answer is empty" in ann.send(action="save", text=" ")

    @pytest.mark.parametrize("show", ["never", "after", "before"])
    def test_a_suggestion_is_shown_by_the_rule_and_never_of_a_test_row(self, workspace, show):
        ask(workspace, TEXTS, side=["test", "train"] * 2, show_suggestions=show,
            suggestions=["glad"] * 4)
        ann = Browser(open_page(workspace), "Ann")
        for side in ("test", "train") * 2:
            assert ("Suggestion" in ann.get()) == (side == "train" and show == "before")
            ann.send(only="1")
            assert ("beside the suggestion" in ann.shown) == (side == "train" and show == "after")
            if "beside the suggestion" in ann.shown:
                assert "Suggestion" in ann.get(f"{HERE}?review={ann.row}")
                ann.send(action="take", review="yes")
        answers = {a.id: a for a in store_of(workspace).answers(BATCH)}
        assert answers["r0"].seen == answers["r2"].seen == ""
        assert (answers["r1"].label, answers["r1"].own_answer, answers["r1"].seen) == {
            "never": ("sad", "", ""), "before": ("sad", "", "glad"),
            "after": ("glad", "sad", "glad")}[show]
        if show != "after":
            assert "Suggestion" not in ann.client.get(f"{HERE}?review=r1").text

    def test_guidelines_stand_beside_the_rows_and_can_load_nothing(self, workspace):
        ask(workspace, TEXTS)
        (workspace.root / "data/guidelines.md").write_text(
            "**Joy** is <img src=x onerror=alert(1)> ![p](http://evil.example/p.png) "
            "[bad](javascript:alert(1))")
        shown = Browser(open_page(workspace), "Ann").get()
        assert "<strong>Joy</strong>" in shown and "<img" not in shown
        assert 'href="javascript' not in shown and 'src="http' not in shown


class TestSeveralPeople:
    def test_each_row_is_asked_of_one_person_while_another_looks_at_the_next(self, workspace):
        ask(workspace, TEXTS)
        page = open_page(workspace)
        ann, bob = Browser(page, "Ann"), Browser(page, "Bob")
        assert "a lovely day" in ann.get() and "boring" in bob.get()
        ann.send(only="0")
        assert "it rains" in ann.shown
        bob.send(only="1")
        assert "meh" in bob.shown and "Nothing is left" in Browser(page, "Eve").get()
        bob.send(action="skip")
        assert "meh" in bob.get(), "a skipped row comes back"

    def test_rows_of_the_overlap_are_asked_of_two_blind_and_settled_before_they_are_handed_in(
            self, workspace):
        ask(workspace, TEXTS, overlap=1.0, show_suggestions="before", suggestions=["glad"] * 4)
        page = open_page(workspace)
        ann, bob, eve = (Browser(page, name) for name in ("Ann", "Bob", "Eve"))
        for n in range(4):
            assert "Suggestion" not in ann.get()
            ann.label(0)
            bob.label(1 if n == 2 else 0)
        assert "Nothing is left" in eve.get()
        for one in (ann, bob):
            assert "<b>3</b> of your 4 answers" in one.get(f"{HERE}/hand-in")
        assert "it rains again" in eve.get(f"{HERE}/decide")
        assert "No row waits for a decision" in eve.send(f"{HERE}/decide", only="1", note="rain")
        for one in (ann, bob):
            one.get(f"{HERE}/hand-in")
            assert "4 labels handed in" in one.send(f"{HERE}/hand-in")
        labels, earlier = {}, None
        for path in sorted(workspace.labelled.iterdir()):
            given = read_labelled(path).set_index("id")
            labels[given["labelled_by"].iloc[0]] = given.loc["r2", ["label", "own_answer"]].tolist()
            taken = submissions.read(path, batch="d", queue=submissions.queues(workspace.labelling),
                                     labels=OneOf(["glad", "sad"]), earlier=earlier)
            assert taken.refused.empty and len(taken.cleaned) == 4
            earlier = taken.cleaned
        assert labels == {"Ann": ["sad", "glad"], "Bob": ["sad", "sad"]}, "both are on record"
        assert taken.facts["labellers"]["rows"] == 4 and taken.facts["labellers"]["share"] == 0.75

    def test_an_answer_waits_for_the_second_person_unless_one_says_otherwise(self, workspace):
        ask(workspace, TEXTS, overlap=1.0)
        ann = Browser(open_page(workspace), "Ann")
        ann.label(0)
        assert "<b>0</b> of your 1 answers" in ann.get(f"{HERE}/hand-in")
        assert "also 1 that waits for a second person" in ann.shown
        assert "1 label handed in" in ann.send(f"{HERE}/hand-in", alone="yes")

    def test_a_share_of_the_rows_is_drawn_for_the_overlap(self, workspace):
        ask(workspace, [f"text {n}" for n in range(300)], overlap=0.2)
        batch = Desk(workspace).batch(BATCH)
        drawn = [row for row in batch.queue["id"] if batch.needed(row) == 2]
        assert 40 < len(drawn) < 80

    def test_a_row_that_one_cannot_label_is_another_s_and_can_be_decided(self, workspace):
        ask(workspace, TEXTS[:1])
        page = open_page(workspace)
        ann, bob = Browser(page, "Ann"), Browser(page, "Bob")
        ann.get()
        assert "Nothing is left" in ann.send(action="cannot", note="no idea")
        assert "a lovely day" in bob.get()
        assert "no idea" in bob.get(f"{HERE}/decide") and "cannot say" in bob.shown
        bob.send(f"{HERE}/decide", only="0")
        assert ("r0", "Bob", "glad") in saved(workspace)
        bob.get(f"{HERE}/hand-in")
        assert "1 label handed in" in bob.send(f"{HERE}/hand-in")


class TestWhoMayAsk:
    @pytest.fixture
    def page(self, workspace):
        ask(workspace, TEXTS)
        return open_page(workspace)

    def test_without_a_name_there_is_only_the_question_for_it(self, page):
        nobody = TestClient(page.app(), base_url="http://127.0.0.1")
        for path in (HERE, f"{HERE}/decide", f"{HERE}/hand-in"):
            assert "Who labels?" in nobody.get(path).text
        assert "Who labels?" in nobody.post(HERE, data={"row": "r0", "only": "0"}).text
        assert nobody.post("/enter", data={"name": " "}).status_code == 422

    @pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.9", ""])
    def test_under_another_name_nothing_is_answered(self, page, host):
        ann = Browser(page, "Ann")
        answer = ann.client.get(HERE, headers={"host": host})
        assert answer.status_code == 421 and "a lovely day" not in answer.text

    def test_forms_of_other_sites_and_other_logins_change_nothing(self, page, workspace):
        ann, bob = Browser(page, "Ann"), Browser(page, "Bob")
        ann.get()
        bob.get()
        form = {"row": "r0", "only": "0"}
        for token in ("", "x", bob.field("form")):
            assert ann.client.post(HERE, data={**form, "form": token}).status_code == 403
        good = {**form, "form": ann.field("form")}
        for origin in ("http://evil.example", "null", "http://127.0.0.1:1"):
            answer = ann.client.post(HERE, data=good, headers={"origin": origin})
            assert answer.status_code == 403
        assert saved(workspace) == []
        assert ann.client.post(HERE, data=good, headers={
            "origin": "http://127.0.0.1"}).status_code == 200 and len(saved(workspace)) == 1

    def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(self, page, workspace):
        client = TestClient(page.app(), base_url="http://127.0.0.1", follow_redirects=False)
        cookie = client.post("/enter", data={"name": "Ann"}).headers["set-cookie"].lower()
        assert "httponly" in cookie and "samesite=strict" in cookie
        token = cookie.split("=")[1].split(";")[0]
        assert token.encode() not in store_of(workspace).path.read_bytes().lower()
        policy = client.get("/").headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy

    def test_nonsense_is_refused_in_a_sentence(self, page, workspace):
        ann = Browser(page, "Ann")
        ann.get()
        for path, fields, status in (
                (HERE, {"row": "r9", "only": "0"}, 409), (HERE, {"row": "r0", "only": "7"}, 422),
                (HERE, {"row": "r0", "only": "x"}, 422), (HERE, {"row": "r0"}, 400),
                (HERE, {"row": "r0", "action": "take"}, 409), ("/batch/zz", {"row": "r0"}, 409),
                (HERE, {"row": "r0", "only": "0", "note": "x" * 2_000_000}, 413)):
            answer = ann.client.post(path, data={"form": ann.field("form"), **fields})
            assert answer.status_code == status, (fields.keys(), answer.text)
            assert "Traceback" not in answer.text
        for path in ("/nowhere", "/static/x", "/static/..%2fstyle.css", "/batch/a/b/c"):
            assert ann.client.get(path).status_code == 404
        assert saved(workspace) == []

    def test_beyond_this_machine_it_asks_for_the_team_s_login(self, workspace):
        ask(workspace, TEXTS)
        with pytest.raises(WorkspaceError, match="there is no login"):
            server.page_for(workspace, "0.0.0.0")
        page = LabelingPage(Desk(workspace), Access(
            store_of(workspace), lambda name, word: (name, word) == ("ann", "right"), ["lab.org"]))
        client = TestClient(page.app(), base_url="http://lab.org")
        assert 'type="password"' in client.get("/").text
        for _ in range(5):
            told = client.post("/enter", data={"name": "ann", "password": "wrong"})
            assert told.status_code == 401 and "does not know" in told.text
        assert client.post("/enter", data={"name": "ann", "password": "right"}).status_code == 429
        page.access._attempts.__init__(lambda: 0.0)
        assert "Batches that wait" in client.post(
            "/enter", data={"name": "ann", "password": "right"}).text


class TestHostileColleague:
    """Somebody who has a login of their own, and sends what no form of the page would."""

    @pytest.fixture
    def page(self, workspace):
        ask(workspace, TEXTS)
        (workspace.root / "data/outside.csv").write_text((
            workspace.labelling / f"{BATCH}.csv").read_text().replace("lovely", "secret"))
        return open_page(workspace)

    @pytest.fixture
    def eve(self, page):
        eve = Browser(page, "Eve")
        eve.get()
        return eve

    def test_takes_back_and_changes_no_answer_of_another_person(self, page, eve, workspace):
        bob = Browser(page, "Bob")
        row = bob.label(0)
        before = saved(workspace)
        assert before == [(row, "Bob", "glad")]
        for fields in ({"action": "undo"}, {"action": "skip"}, {"action": "cannot"},
                       {"only": "1", "person": "Bob", "labelled_by": "Bob", "visitor": "Bob"}):
            eve.client.post(HERE, data={"form": eve.field("form"), "row": row, **fields})
            assert before[0] in saved(workspace)
        assert saved(workspace)[1:] == [(row, "Eve", "sad")]
        bob.get(f"{HERE}/hand-in")
        assert "differ" in bob.shown or "decide" in bob.shown, "a person has to decide now"
        eve.get(f"{HERE}/hand-in")
        eve.send(f"{HERE}/hand-in", person="Bob", alone="yes")
        assert list(workspace.labelled.iterdir()) == [] and before[0] in saved(workspace)

    def test_a_session_of_another_person_is_none_of_hers(self, page, eve, workspace):
        bob = Browser(page, "Bob")
        bob.get()
        stolen = {"form": bob.field("form"), "row": "r0", "only": "0"}
        assert eve.client.post(HERE, data=stolen).status_code == 403
        eve.client.cookies.clear()
        for cookie in ("x", "", "Bob", "0" * 64):
            shown = eve.client.post(HERE, data=stolen, headers={"cookie": f"ftzard_label={cookie}"})
            assert "Who labels?" in shown.text
        assert saved(workspace) == []

    def test_no_name_of_a_batch_leads_out_of_the_queue(self, eve):
        for name in ("..%2foutside", "..", "%2e%2e%2foutside", f"{BATCH}%2f..%2f..%2foutside",
                     "%2fetc%2fpasswd", "%00", "*", "", "outside", "..%5coutside"):
            for path in (f"/batch/{name}", f"/batch/{name}/decide", f"/batch/{name}/hand-in"):
                for answer in (eve.client.get(path), eve.client.post(
                        path, data={"form": eve.field("form"), "row": "r0", "only": "0"})):
                    assert answer.status_code in (200, 404, 409), (path, answer.status_code)
                    assert "secret" not in answer.text and "root:" not in answer.text
                    assert answer.status_code != 200 or "Batches that wait" in answer.text
        for path in ("/static/..%2f..%2fapp.py", "/static/%2e%2e/app.py", "/static//etc/passwd"):
            assert eve.client.get(path).status_code == 404

    @pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil",
                                      "evil.example:80", "[::1].evil.example", "0x7f000001"])
    def test_a_page_elsewhere_that_points_its_own_name_here_changes_nothing(self, eve, workspace,
                                                                            host):
        """DNS rebinding: the browser sends cookie and token, and the other page's name as host."""
        form = {"form": eve.field("form"), "row": "r0", "only": "0"}
        for headers in ({"host": host}, {"host": host, "origin": f"http://{host}"}):
            for path in (HERE, "/enter", f"{HERE}/hand-in", f"{HERE}/decide", "/leave"):
                assert eve.client.post(path, data=form, headers=headers).status_code == 421
        assert saved(workspace) == [] and "lovely" in eve.get()

    @pytest.mark.parametrize("body", [
        b"\xff\xfe", b"row=%00&only=0", b"row=r0&only=%ff", b"row=r0&only=-1", b"&".join(
            [b"only=0"] * 600), b'{"row": "r0", "only": 0}', b"row=r0&only=0%0a", b"row=%ed%a0%80",
        b"row=r0&action=save&choice=" + "\u0660".encode(), b"row=r0&only=" + b"9" * 5000])
    def test_a_form_that_no_page_has_is_refused_in_a_sentence(self, eve, workspace, body):
        form = b"form=" + eve.field("form").encode() + b"&" + body
        for sent in (body, form):
            answer = eve.client.post(HERE, content=sent, headers={
                "content-type": "application/x-www-form-urlencoded"})
            assert 400 <= answer.status_code < 500 and "Traceback" not in answer.text, answer.text
        for answer in ("\u00b2", "9" * 5000, "-1", "0x0"):
            eve.get()
            eve.send(f"{HERE}/decide", answer=answer)
            assert eve.status == 422, eve.shown
        assert saved(workspace) == []


def test_two_pages_on_one_workspace_are_as_one(workspace):
    """Two commands, each with a port of its own, or one behind a proxy and one without."""
    ask(workspace, TEXTS)
    one, two = open_page(workspace), open_page(workspace)
    ann, bob = Browser(one, "Ann"), Browser(two, "Bob")
    assert "a lovely day" in ann.get() and "boring" in bob.get()
    for _ in range(2):
        ann.label(0)
        bob.label(1)
    assert sorted(row for row, _, _ in saved(workspace)) == ["r0", "r1", "r2", "r3"]
    elsewhere = Browser(two, "Ann")
    elsewhere.get(f"{HERE}/hand-in")
    ann.get(f"{HERE}/hand-in")
    assert "2 labels handed in" in ann.send(f"{HERE}/hand-in")
    assert "Nothing to hand in" in elsewhere.send(f"{HERE}/hand-in")
    assert len(list(workspace.labelled.iterdir())) == 1


def test_hostile_texts_labels_names_and_notes_are_text_on_every_page(workspace):
    labels = list(HOSTILE.values())
    ask(workspace, labels, labels=labels, overlap=1.0)
    page = open_page(workspace)
    people = [Browser(page, HOSTILE["script"]), Browser(page, HOSTILE["textarea"][:60])]
    shown = ""
    for n in range(len(labels)):
        for which, person in enumerate(people):
            shown += person.get()
            person.send(only=str((n + which) % len(labels)), note=labels[n])
    for person in people:
        for path in ("/", f"{HERE}/hand-in", HERE, f"{HERE}/decide"):
            shown += person.get(path)
    cases = [person.send(f"{HERE}/decide", only=str(n)) for n, person in enumerate(people)]
    shown += "".join(cases) + people[0].get(f"{HERE}/hand-in")
    read = Page(shown)
    assert not {"img", "textarea", "iframe"} & set(read.tags)
    assert {value for name, value in read.attributes if name == "src"} == {"/static/label.js"}
    assert not [name for name, _ in read.attributes if name.startswith("on")]
    assert unseen("".join(read.words)) == set() and traces("".join(read.words)) == set(HOSTILE)


def test_a_killed_hand_in_is_finished_once(workspace, monkeypatch):
    ask(workspace, TEXTS)
    ann = Browser(open_page(workspace), "Ann")
    for _ in range(2):
        ann.label(0)
    from ftzard.steps import labeling_session

    class Killed(BaseException):
        """What stands for a kill: nothing handles it."""

    def die(*_):
        raise Killed

    monkeypatch.setattr(labeling_session, "_deliver", die)
    ann.get(f"{HERE}/hand-in")
    with pytest.raises(Killed):
        ann.send(f"{HERE}/hand-in")
    assert list(workspace.labelled.iterdir()) == []
    monkeypatch.undo()
    open_page(workspace)
    first, = workspace.labelled.iterdir()
    assert read_labelled(first)["id"].tolist() == ["r0", "r1"]
    first.unlink()  # the sensor took it
    again = Browser(open_page(workspace), "Ann")
    again.get(f"{HERE}/hand-in")
    assert "Nothing to hand in" in again.send(f"{HERE}/hand-in")
    assert list(workspace.labelled.iterdir()) == []


def test_options_that_would_have_no_effect_are_refused(workspace, ftzard):
    for arguments, name in (("--web --as ann", "--as"), ("--web abc123", "BATCH"),
                            ("--port 81", "--port"), ("--host 0.0.0.0", "--host")):
        code, said = ftzard("label", "-w", workspace.root, *arguments.split())
        assert code == 1 and name in said, said
    code, said = ftzard("label", "--web", "--host", "0.0.0.0", "-w", workspace.root)
    assert code == 1 and "there is no login" in said
    with pytest.raises(FtzardError, match="port 0"):
        server.port_for("127.0.0.1", 0)


def test_a_diff_is_word_by_word_and_gives_both_texts_again():
    parts = word_diff("the old  dog\nsleeps", "the young dog\nsleeps well")
    assert "".join(words for kind, words in parts if kind != "added") == "the old  dog\nsleeps"
    assert "".join(words for kind, words in parts if kind != "removed") == (
        "the young dog\nsleeps well")
    assert ("same", "the ") in parts and word_diff("a " * 9000, "b") is None
