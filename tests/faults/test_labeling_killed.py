"""kill -9 of `ftzard label --web`: its port is free, nothing is left, and each confirmed answer is
there once when the next one goes on."""

import os
import re
import signal
import socket
import time

import httpx

from ftzard.orchestration.services import answers
from ftzard.steps.labeling_batch import store_of
from tests.orchestration.labeling_queue_rows import BATCH, ask
from tests.orchestration.test_servers import free_port
from tests.orchestration.texts import end, living, started

HERE = f"/batch/{BATCH}"


def field(name: str, page: str) -> str:
    return re.search(f'name="{name}" value="([^"]*)"', page)[1]


def served(workspace, port: int):
    """Start the page; return its process once it listens."""
    process = started(workspace, "label", "--web", "--port", port)
    last = time.monotonic() + 120
    while not answers("127.0.0.1", port):
        assert process.poll() is None and time.monotonic() < last
        time.sleep(0.05)
    return process


def test_a_killed_page_leaves_nothing_and_the_next_one_has_every_answer_once(workspace):
    ask(workspace, [f"text {n}" for n in range(6)])
    port, browser = free_port(), httpx.Client(follow_redirects=True)
    url = f"http://127.0.0.1:{port}"
    process = served(workspace, port)
    try:
        browser.post(f"{url}/enter", data={"name": "Ann"})
        for _ in range(3):
            page = browser.get(url + HERE).text
            form = {"form": field("form", page), "row": field("row", page), "only": "0"}
            assert browser.post(url + HERE, data=form).is_success
        with socket.create_connection(("127.0.0.1", port)):  # somebody is connected
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            last = time.monotonic() + 10
            while (living(workspace) or answers("127.0.0.1", port)) and time.monotonic() < last:
                time.sleep(0.05)
            assert living(workspace) == [] and not answers("127.0.0.1", port)
        process = served(workspace, port)
        page = browser.get(url + HERE).text
        assert field("row", page) == "r3", "the login holds, and the next row comes"
        assert browser.post(url + HERE, data=form).is_success, "a form that is sent again"
        assert [(a.id, a.label) for a in store_of(workspace).answers(BATCH, "Ann")] == [
            ("r0", "glad"), ("r1", "glad"), ("r2", "glad")]
    finally:
        end(process)
