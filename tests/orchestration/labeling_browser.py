"""`ftzard label --web` served by a process of its own, and a real browser that opens it."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

TOOL = Path(sys.executable).parent / "ftzard"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Served:
    """`ftzard label --web` on a workspace, which can be killed and started again."""

    def __init__(self, workspace):
        self.workspace, self.port = workspace, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [str(TOOL), "label", "--web", "--port", str(self.port), "-w", str(self.workspace.root)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self.process.poll() is None
            time.sleep(0.1)
        raise AssertionError("the page is not served")

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def served(workspace):
    page = Served(workspace)
    try:
        yield page
    finally:
        page.kill()


@contextmanager
def chromium():
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium")
    assert path, "install chromium, as 'make test-system' does"
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def enter(browser, page, person: str, **look):
    """Open the page as a person; return the browser's page at the first row."""
    tab = browser.new_context(**look).new_page()
    problems: list[str] = []
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.on("console", lambda line: line.type == "error" and problems.append(line.text))
    tab.problems = problems
    tab.goto(page.url)
    tab.fill("[name=name]", person)
    tab.keyboard.press("Enter")
    tab.wait_for_selector("text=Batches that wait")
    return tab


def press(tab, key: str) -> None:
    with tab.expect_navigation():
        tab.keyboard.press(key)


def barriers(tab) -> list[tuple[str, str]]:
    """Return what axe finds that keeps people out: rule and first element."""
    from axe_playwright_python.sync_playwright import Axe

    return [(found["id"], found["nodes"][0]["html"][:200])
            for found in Axe().run(tab).response["violations"]
            if found["impact"] in ("serious", "critical")]
