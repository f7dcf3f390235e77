"""The documentation: its generated pages are complete, and the built site needs no network."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from ftzard import errors
from ftzard.cli.start import COMMANDS, app
from ftzard.config.compose import PACKAGED
from ftzard.config.effects import READ_BY
from ftzard.config.pipeline import CHAINS, STEPS
from tools import reference_pages

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def pages():
    return reference_pages.pages()


def test_every_command_and_every_option_is_described(pages):
    text = pages["reference/commands.md"]
    root = get_command(app)
    context = root.make_context("ftzard", [], resilient_parsing=True)
    assert all(re.search(rf"^## ftzard {name}\b", text, flags=re.M) for name in COMMANDS)
    for name in ("run", "compare", "plan"):
        part = text.partition(f"## ftzard {name}\n")[2].partition("\n## ")[0]
        for parameter in root.get_command(context, name).params:
            assert all(option in part for option in parameter.opts if option != "--help")


def test_every_config_key_has_its_default_and_its_meaning(pages):
    rows = dict(re.findall(r"^\| `([\w.]+)` \| (.*) \|$", pages["reference/config.md"],
                           flags=re.M))
    for key in READ_BY:
        shown = next((part for part in (key, key.rpartition(".")[0]) if part in rows), None)
        assert shown and len(rows[shown].partition(" | ")[2]) > 10, key


def test_every_preset_is_shown_as_it_is(pages):
    text = pages["reference/presets.md"]
    for file in (PACKAGED / "model").glob("*.yaml"):
        assert file.read_text(encoding="utf-8").rstrip() in text


def test_every_step_job_and_kind_of_error_is_there(pages):
    assert all(f"| {step.name} | {step.notebook} |" in pages["reference/artifacts.md"]
               for step in STEPS)
    assert all(f"`{job}`" in pages["reference/artifacts.md"] for job in CHAINS)
    text = pages["reference/errors.md"]
    for kind in ("ConfigError", "DataError", "ModelError", "TrackingError", "VersioningError",
                 "WorkspaceError"):
        part = text.partition(f"## {kind}\n")[2].partition("\n## ")[0]
        assert getattr(errors, kind).__doc__.strip() in part and part.count("\n- ") > 5
    assert "did you mean" not in text and "there is no step '…'…" in text


def test_links_of_pages_from_the_root_lead_into_the_site(pages):
    assert "](reference/pipeline.md)" in pages["contributing.md"]
    for name in ("contributing.md", "reference/pipeline.md", "changelog.md"):
        targets = re.findall(r"\]\(([\w./-]+\.md)", pages[name])
        folder = (ROOT / "docs" / name).parent
        for target in targets:
            page = (folder / target).resolve().relative_to(ROOT / "docs").as_posix()
            assert page in pages or (ROOT / "docs" / page).is_file(), (name, target)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site as `make docs` builds it: a warning of any kind is an error."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run([sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", folder],
                          cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.system
def test_the_site_loads_nothing_from_elsewhere(site):
    html = list(site.rglob("*.html"))
    assert len(html) > 30
    for file in html:
        text = file.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:link|script|img|iframe|source)\b[^>]*?(?:src|href)=\"?([^\" >]+)",
                            text)
        assert [address for address in loaded if re.match(r"(https?:)?//", address)] == [], file
    for file in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//|@import", file.read_text(encoding="utf-8"))


#: What people want to do, what they would type, and the page that says how.
QUESTIONS = [
    ("own csv columns", "how-to/own-data.html"),
    ("several labels", "how-to/several-labels.html"),
    ("falcon 7b gpu", "how-to/falcon-7b.html"),
    ("label studio", "how-to/labelling.html"),
    ("why refused", "concepts/gate.html"),
    ("mail notice", "how-to/notify.html"),
    ("rollback", "how-to/models.html"),
    ("export hugging face", "how-to/models.html"),
    ("reproduce same model", "how-to/rebuild.html"),
    ("ray cluster", "how-to/cluster.html"),
    ("own cleaning function", "how-to/own-code.html"),
    ("how many test rows", "concepts/gate.html"),
    ("team mlflow server login", "how-to/team.html"),
    ("drift alarm", "concepts/drift.html"),
    ("ci gate github", "how-to/ci.html"),
    ("interrupted", "how-to/trouble.html"),
]


@pytest.mark.system
def test_the_search_finds_the_page_that_answers_a_question_from_the_disk(site):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        missed = []
        for typed, answer in QUESTIONS:
            page.goto((site / "index.html").as_uri())
            page.locator("[data-md-component=search-query]").focus()
            page.keyboard.type(typed)
            results = page.locator(".md-search-result__item")
            results.first.wait_for(timeout=60_000)
            found = results.evaluate_all(
                "all => all.slice(0, 4).map(i => i.querySelector('a').getAttribute('href'))")
            if not any(answer in (address or "") for address in found):
                missed.append((typed, answer, found))
        assert missed == []
        browser.close()
