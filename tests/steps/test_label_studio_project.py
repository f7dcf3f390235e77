"""`ftzard label --label-studio URL`: rows go to Label Studio, and its labels come back, once."""

import os
import socket
from xml.etree import ElementTree

import pandas as pd
import pytest
import yaml

from ftzard.core.yaml_file import dump
from ftzard.data.labeling.labeling_queue import read_labelled
from ftzard.data.storage import read_parquet, write_parquet
from ftzard.steps.label_studio_project import TOKEN as VARIABLE
from ftzard.steps.label_studio_project import same_answers
from tests.hostile import HOSTILE
from tests.orchestration.labeling_queue_rows import BATCH, ask
from tests.steps.label_studio_server import TOKEN, LabelStudioServer

pytestmark = pytest.mark.system
TEXTS = ["a lovely day", "boring", "tea 😀", "rain again"]


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv(VARIABLE, TOKEN)
    started = LabelStudioServer()
    yield started
    started.close()


@pytest.fixture
def send(ftzard, workspace, server):
    def run(*more: object, code: int = 0) -> str:
        ended, said = ftzard("label", "--label-studio", server.url, *more, "-w", workspace.root)
        assert ended == code, said
        return said

    return run


def labelled(workspace) -> list[tuple[str, str, str]]:
    return [row for path in sorted(workspace.labelled.glob("*.csv")) for row in
            read_labelled(path)[["id", "label", "labelled_by"]].itertuples(index=False, name=None)]


def test_the_first_call_makes_the_project_with_interface_guidelines_and_tasks(
        workspace, server, send):
    ask(workspace, TEXTS)
    (workspace.root / "data/guidelines.md").write_text("**Glad** is <b>nice</b>.")
    said = send()
    assert f"project: {server.url}/projects/1/data (new)" in said
    assert "tasks: 4 added, 4 there" in said and "labels: none that is new" in said
    project = server.projects[1]
    assert project["title"] == "ws_", "Label Studio takes no shorter title than of three"
    assert project["show_instruction"] is True
    assert "<strong>Glad</strong>" in project["expert_instruction"]
    assert "&lt;b&gt;" in project["expert_instruction"], "HTML of the guidelines is text"
    choices = ElementTree.fromstring(project["label_config"]).find("Choices")
    assert [choice.get("value") for choice in choices] == ["glad", "sad"]
    assert [task["data"] for task in server.tasks[1]] == [
        {"row_id": f"r{n}", "batch": BATCH, "text": text} for n, text in enumerate(TEXTS)]


def test_repeated_calls_add_only_what_is_new(workspace, server, send):
    ask(workspace, TEXTS)
    send()
    server.annotate("r0", "glad")
    server.annotate("r1", None)
    said = send()
    assert "tasks: 0 added, 4 there" in said and "labels: 1 fetched into data/labelled/" in said
    for _ in range(2):
        assert "labels: none that is new" in send()
    server.annotate("r1", "sad", person=2)
    server.annotate("r0", "glad", person=2)
    assert "labels: 2 fetched" in send()
    assert labelled(workspace) == [("r0", "glad", "ann@example.org"),
                                   ("r0", "glad", "bob@example.org"),
                                   ("r1", "sad", "bob@example.org")]
    ask(workspace, [*TEXTS, "a fifth"])
    assert "tasks: 1 added, 5 there" in send()
    assert len(server.projects) == 1 and len(server.tasks[1]) == 5


def test_what_was_labelled_elsewhere_is_not_asked(workspace, server, send):
    ask(workspace, TEXTS)
    cleaned = workspace.root / "data/cleaned/cleaned.parquet"
    rows = pd.concat([read_parquet(cleaned), pd.DataFrame(
        {"id": ["r0"], "batch": [BATCH], "row": [1], "text": [TEXTS[0]], "label": ["glad"]})])
    write_parquet(rows, cleaned)
    pd.DataFrame({"id": ["r1"], "batch": [BATCH], "text": [TEXTS[1]], "label": ["sad"]}).to_csv(
        workspace.labelled / "mine.csv", index=False)
    assert "tasks: 2 added" in send()
    assert [task["data"]["row_id"] for task in server.tasks[1]] == ["r2", "r3"]


def test_labels_that_became_cleaned_rows_do_not_come_again_when_their_file_is_gone(
        workspace, server, send):
    ask(workspace, TEXTS)
    send()
    server.annotate("r0", "glad")
    send()
    file, = workspace.labelled.glob("*.csv")
    cleaned = workspace.root / "data/cleaned/cleaned.parquet"
    rows = read_labelled(file)[["id", "batch", "text", "label", "labelled_by"]].assign(row=1)
    write_parquet(pd.concat([read_parquet(cleaned), rows]).fillna(""), cleaned)
    file.unlink()
    assert "labels: none that is new" in send()
    server.tasks[1][0]["annotations"][0]["result"][0]["value"]["choices"] = ["sad"]
    assert "labels: 1 fetched" in send(), "a label that its person has changed"


def test_suggestions_go_there_only_before_and_never_for_audit_rows(workspace, server, send):
    ask(workspace, TEXTS, suggestions=["glad"] * 4, show_suggestions="before", overlap=0.5)
    send()
    shown = ["predictions" in task and bool(task["predictions"]) for task in server.tasks[1]]
    assert any(shown) and not all(shown), "a row that two people are asked has none"
    for show, side in (("before", "test"), ("never", "train"), ("after", "train")):
        server.projects.clear()
        ask(workspace, TEXTS, suggestions=["glad"] * 4, show_suggestions=show, side=side)
        send()
        assert not any(task["predictions"] for task in server.tasks[1]), (show, side)


def test_labels_and_guidelines_that_change_are_set_anew_and_a_teams_own_interface_stays(
        workspace, server, send):
    ask(workspace, TEXTS)
    send()
    own = server.projects[1]["label_config"].replace("<View>", "<View><Header value='Hello'/>")
    server.projects[1]["label_config"] = own
    assert "set anew" not in send() and server.projects[1]["label_config"] == own
    (workspace.root / "data/guidelines.md").write_text("Be quick.")
    assert "set anew: guidelines" in send()
    assert server.projects[1]["show_instruction"] is True
    config = workspace.root / "ftzard.yaml"
    settings = yaml.safe_load(config.read_text())
    settings["data"]["labels"] = {"l0": "glad", "l1": "sad", "l2": "so-so"}
    config.write_text(dump(settings))
    assert "set anew: interface" in send()
    assert "so-so" in server.projects[1]["label_config"] and "set anew" not in send()


def test_two_workspaces_of_one_name_have_a_project_each(workspace, server, send):
    ask(workspace, TEXTS)
    server.projects[1] = {"id": 1, "title": "ws_", "description": "of others"}
    server.tasks[1] = []
    assert "/projects/2/data (new)" in send() and server.tasks[1] == []


def test_several_labels_and_answers_have_their_interface(workspace, server, send):
    ask(workspace, TEXTS, task="multi_label")
    send()
    assert 'choice="multiple"' in server.projects[1]["label_config"]
    ask(workspace, TEXTS, task="instruction_tuning")
    assert "set anew: interface" in send()
    assert "<TextArea" in server.projects[1]["label_config"]
    server.annotate("r0", "x")
    result = server.tasks[1][0]["annotations"][0]["result"][0]
    result.update(type="textarea", value={"text": ["=1+1, said\ntwice"]})
    assert "labels: 1 fetched" in send() and "none that is new" in send()
    assert labelled(workspace)[0][1] == "=1+1, said\ntwice"


def test_texts_that_look_like_something_else_stay_texts(workspace, server, send):
    ask(workspace, list(HOSTILE.values()))
    send()
    assert [task["data"]["text"] for task in server.tasks[1]] == list(HOSTILE.values())
    for number in range(len(HOSTILE)):
        server.annotate(f"r{number}", "sad")
    send()
    file, = workspace.labelled.glob("*.csv")
    assert len(read_labelled(file)) == len(HOSTILE)


def test_the_token_is_written_nowhere_and_shown_in_no_error(workspace, server, send, monkeypatch):
    ask(workspace, TEXTS)
    send()
    server.annotate("r0", "glad")
    said = send()
    monkeypatch.setenv(VARIABLE, "wrong-token-of-somebody")
    said += send(code=1)
    assert "does not accept the token in LABEL_STUDIO_API_KEY" in said
    assert TOKEN not in said and "wrong-token" not in said
    for folder, _, files in os.walk(workspace.root):
        for name in files:
            with open(os.path.join(folder, name), "rb") as stream:
                content = stream.read()
            assert TOKEN.encode() not in content and b"wrong-token" not in content, name


def test_what_is_wrong_with_the_server_is_one_sentence(workspace, server, send, ftzard,
                                                       monkeypatch):
    assert "no row was queued for labels" in send(code=1)
    ask(workspace, TEXTS)
    server.moved = True
    assert "redirects to another address" in send(code=1)
    server.moved = False
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        for url, words in ((address, "does not answer"),
                           (f"{server.url}/nowhere", "does not answer as Label Studio does"),
                           ("http://ann:secret@example.org", "holds a name or a password"),
                           ("label.example.org", "is no address of a Label Studio server")):
            code, said = ftzard("label", "--label-studio", url, "-w", workspace.root)
            assert code == 1 and words in said and "Traceback" not in said, said
            assert "secret" not in said
    monkeypatch.delenv(VARIABLE)
    assert "--label-studio needs LABEL_STUDIO_API_KEY" in send(code=1)
    assert "--as has no effect with --label-studio" in send("--as", "Ann", code=1)
    assert labelled(workspace) == []


def test_the_token_may_stand_in_the_workspaces_env_file(workspace, server, send, monkeypatch):
    monkeypatch.delenv(VARIABLE)
    (workspace.root / ".env").write_text(f"{VARIABLE}={TOKEN}\n")
    ask(workspace, TEXTS)
    assert "tasks: 4 added" in send()


@pytest.mark.parametrize(("other", "same"), [
    ('<View><Text name="t" value="$text"/><Choices name="label" toName="t" choice="single">'
     '<Choice value="b"/><Choice value="a"/></Choices></View>', True),
    ('<View><Choices name="label" choice="multiple"><Choice value="a"/><Choice value="b"/>'
     '</Choices></View>', False),
    ("<View/>", False), ("<View", False)])
def test_interfaces_are_the_same_if_they_ask_for_the_same(other, same):
    mine = ('<View><Choices name="label" toName="text" choice="single"><Choice value="a"/>'
            '<Choice value="b"/></Choices></View>')
    assert same_answers(mine, other) is same
