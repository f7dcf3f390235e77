"""Notices: by a web service and by mail, each once, and never at the cost of a run."""

import email
import json
import os
import signal
import socket
import threading

import pytest

from ftzard.config.schema import Notify
from ftzard.doctor import credentials as doctor_credentials
from ftzard.workspace import notices, round_notices
from tests.workspace.notice_service import Service

ALL = Notify(["verdict", "alarm", "refused", "failed", "waiting", "too_few"], False)
VERDICT = {"decision": "promote", "reasons": ["It is better.", "It is worth it.", "More."]}


@pytest.fixture
def service(monkeypatch):
    started = Service()
    monkeypatch.setenv(notices.VARIABLE, started.address)
    monkeypatch.setattr(notices, "FIRST_S", 0.0)
    yield started
    started.close()


def mail_server(received: list) -> int:
    """Take one mail at a port of this machine; return the port."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve():
        with listening, listening.accept()[0] as line, line.makefile("rwb") as stream:
            def say(words):
                stream.write(f"{words}\r\n".encode())
                stream.flush()

            say("220 here")
            while order := stream.readline().decode().strip().upper():
                if order.startswith("DATA"):
                    say("354 go on")
                    content = b""
                    while (part := stream.readline()) != b".\r\n":
                        content += part
                    received.append(email.message_from_bytes(content))
                say("221 bye" if order.startswith("QUIT") else "250 yes")
                if order.startswith("QUIT"):
                    return

    threading.Thread(target=serve, daemon=True).start()
    return listening.getsockname()[1]


def decided(workspace, settings=ALL, number=3):
    notices.add(workspace, settings, round_notices.verdict(
        workspace, "sentiment", number, VERDICT, None))


def test_a_verdict_reaches_a_service_once_with_two_sentences_and_links(workspace, service):
    for _ in range(3):
        decided(workspace)
        notices.deliver(workspace)
    told, = service.taken
    assert told["title"] == f"{workspace.root.name}: sentiment@3 is champion"
    assert "It is better. It is worth it." in told["message"] and "More." not in told["message"]
    assert "/#/models/sentiment/versions/3" in told["message"]
    assert str(workspace.report) in told["message"]
    decided(workspace, number=4)
    notices.deliver(workspace)
    assert len(service.taken) == 2


def test_a_verdict_comes_by_mail(workspace, monkeypatch):
    received = []
    port = mail_server(received)
    monkeypatch.setenv(notices.VARIABLE,
                       f"mailto://127.0.0.1:{port}/?from=a@b.org&to=c@d.org&mode=insecure")
    decided(workspace)
    assert notices.deliver(workspace) == 1
    mail, = received
    assert "sentiment@3 is champion" in str(email.header.make_header(
        email.header.decode_header(mail["subject"])))


def test_a_service_that_is_down_is_tried_again_and_the_doctor_says_so(workspace, service,
                                                                      monkeypatch):
    other = Service()
    monkeypatch.setenv(notices.VARIABLE, f"{service.address}\n{other.address}")
    other.down = True
    decided(workspace)
    assert notices.deliver(workspace) == 0
    found, = doctor_credentials.undelivered_notices(workspace)
    assert found.state == "warning" and "address 2 (json) did not take it" in found.sentence
    assert "hunter2secret" not in found.sentence
    other.down = False
    assert notices.deliver(workspace) == 1 and notices.undelivered(workspace) == []
    assert len(service.taken) == len(other.taken) == 1, "who has it already gets it no more"
    other.close()


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_kill_while_a_notice_is_sent_loses_none_and_a_second_one_says_what_it_is(
        workspace, service, monkeypatch, moment):
    other = Service()
    monkeypatch.setenv(notices.VARIABLE, f"{other.address} {service.address}")
    decided(workspace)
    if (child := os.fork()) == 0:
        send, calls = notices._sent, iter("12")

        def killed(*values):
            if next(calls) == "1":
                return send(*values)
            if moment == "after":
                send(*values)
            os.kill(os.getpid(), signal.SIGKILL)

        notices._sent = killed
        notices.deliver(workspace)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    for _ in range(2):
        notices.deliver(workspace)
    assert len(other.taken) == 1 and notices.REPEATED not in other.taken[0]["message"]
    assert [notices.REPEATED in taken["message"] for taken in service.taken] == {
        "before": [True], "after": [False, True]}[moment]
    other.server.shutdown()
    other.server.server_close()


def test_no_address_is_written_anywhere(workspace, service):
    decided(workspace)
    service.down = True
    notices.deliver(workspace)
    for folder, _, files in os.walk(workspace.root):
        for name in files:
            with open(os.path.join(folder, name), "rb") as stream:
                assert b"hunter2secret" not in stream.read(), name


def test_a_wrong_address_harms_nothing_and_is_named_by_its_place(workspace, monkeypatch):
    monkeypatch.setenv(notices.VARIABLE, "no-such-service://hunter2secret")
    decided(workspace)
    assert notices.deliver(workspace) == 0
    found = doctor_credentials.undelivered_notices(workspace)
    assert "address 1 of FTZARD_NOTIFY" in found[0].sentence
    assert all("hunter2secret" not in finding.sentence for finding in found)


def test_only_what_the_config_names_is_sent_and_rows_are_quoted_only_if_it_says_so(
        workspace, service):
    private = "my own secret row"
    decided(workspace, Notify(["alarm"], False))
    notices.add(workspace, ALL, round_notices.waiting(workspace, "b1", [private, "x"]))
    notices.add(workspace, ALL, round_notices.failed(workspace, "cleaning_job", "r1", "cleaning",
                                                     f"the row '{private}' is wrong"))
    notices.add(workspace, ALL, round_notices.refused(
        workspace, workspace.quarantine / "march.csv", "abc", f"'{private}'"))
    notices.deliver(workspace)
    assert len(service.taken) == 3 and private not in json.dumps(service.taken)
    assert "2 rows of batch b1" in service.taken[0]["message"]
    notices.add(workspace, Notify(ALL.events, True),
                round_notices.waiting(workspace, "b2", [private]))
    notices.deliver(workspace)
    assert private in service.taken[-1]["message"]


def test_without_addresses_nothing_is_kept(workspace, monkeypatch):
    monkeypatch.delenv(notices.VARIABLE, raising=False)
    decided(workspace)
    assert not (workspace.state / "notices.db").exists() and notices.deliver(workspace) == 0
    found, = doctor_credentials.undelivered_notices(workspace)
    assert found.state == "ok" and "nobody is notified" in found.sentence


def test_a_run_that_fails_is_told_by_the_command_and_fails_as_without(workspace, service, tool):
    (workspace.root / "bad.csv").write_text("text,label\nmy own row,glad\n")
    ended = tool("ftzard", "run", "cleaning_job", "data.source=bad.csv", "-w", workspace.root,
                 at=workspace.root)
    assert ended.returncode == 1
    told, = service.taken
    assert told["title"].endswith("cleaning_job failed") and "my own row" not in told["message"]
    assert "/runs/" in told["message"]
