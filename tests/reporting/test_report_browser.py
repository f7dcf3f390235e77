"""The report in a real browser: cells open their rows, sliders count, and nobody is kept out."""

import pytest

from ftzard.reporting import label_confusion
from ftzard.reporting.html import page
from tests.orchestration.labeling_browser import barriers, chromium
from tests.reporting.test_report import facts, render  # noqa: F401 - the facts of a round
from tests.tasks.multi_label.test_report import tested  # noqa: F401 - answers of two labels

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


def opened(browser, file, text, **look):
    file.write_text(text, encoding="utf-8")
    tab = browser.new_context(**look).new_page()
    problems: list[str] = []
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.goto(file.as_uri())
    tab.problems = problems
    return tab


def slide(tab, part, to: int) -> None:
    part.locator("input[type=range]").evaluate(
        "(e, to) => { e.value = to; e.dispatchEvent(new Event('input')); }", to)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_a_round_s_page_keeps_nobody_out(browser, tmp_path, facts, scheme, width):  # noqa: F811
    tab = opened(browser, tmp_path / "report.html", render(facts), color_scheme=scheme,
                 viewport={"width": width, "height": 900})
    assert tab.problems == [] and barriers(tab) == []
    assert tab.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_a_cell_opens_its_rows_and_the_threshold_counts_them(browser, tmp_path,
                                                             facts):  # noqa: F811
    tab = opened(browser, tmp_path / "report.html", render(facts))
    link = tab.locator("table.confusion td.wrong a").first
    rows = tab.locator(f"details{link.get_attribute('href')}")
    assert not rows.locator("table").is_visible()
    link.click()
    rows.locator("table").wait_for(state="visible")
    slider = tab.locator(".threshold.rows")
    slide(tab, slider, 0)
    assert slider.locator("[data-show=coverage]").inner_text().startswith("100.0 %")
    slide(tab, slider, 200)
    assert not slider.locator("[data-show=coverage]").inner_text().startswith("100.0 %")


def test_the_threshold_of_each_label_gives_precision_and_recall(browser, tmp_path,
                                                                tested):  # noqa: F811
    lines = label_confusion.lines(tested)
    tab = opened(browser, tmp_path / "labels.html", page("Labels", "", [
        label_confusion.matrix(lines), label_confusion.threshold(tested),
        label_confusion.label_rows(lines)], ""))
    slider = tab.locator(".threshold.labels")

    def shown() -> list[str]:
        return [slider.locator(f"[data-show={name}]").inner_text()
                for name in ("probability", "given", "precision", "recall")]

    assert shown() == ["50.0 %", "3", "66.7 %", "66.7 %"], "the first label at its own threshold"
    slide(tab, slider, 40)
    assert shown() == ["20.0 %", "5", "60.0 %", "100.0 %"]
    slider.locator("select").select_option(index=1)
    assert shown() == ["40.0 %", "2", "50.0 %", "50.0 %"]
    assert slider.locator("option").all_inner_texts()[1] == "<b>fear</b>"
    slide(tab, slider, 200)
    assert shown() == ["100.0 %", "0", "–", "0.0 %"]
    tab.locator("a[href='#label-0-1']").click()
    tab.locator("details#label-0-1 table").wait_for(state="visible")
    assert tab.problems == []
