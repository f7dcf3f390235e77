"""The labeling page in a real browser: Debian's chromium, driven by playwright."""

import re
import threading
import time
from collections import Counter

import pytest

from ftzard.data.labeling.labeling_queue import read_labelled
from ftzard.orchestration.labeling_page.desk import Desk
from ftzard.steps.labeling_batch import store_of
from tests.orchestration.labeling_browser import barriers, chromium, enter, press, served
from tests.orchestration.labeling_queue_rows import BATCH, ask

pytestmark = pytest.mark.system
#: Rows that three browsers label at once while the server is killed twice.
ROWS = 500
#: Sends the form of row after row as the page does; returns the rows whose answers were confirmed.
SEND = """async () => {
  const confirmed = [], read = text => new DOMParser().parseFromString(text, 'text/html');
  for (let page = document, sent = 0; sent < 40 && page.querySelector('#answer'); sent++) {
    const form = page.querySelector('#answer'), row = form.elements.row.value;
    const fields = new URLSearchParams(new FormData(form));
    fields.set('only', form.elements.only[0].value);
    try {
      const answer = await fetch(form.getAttribute('action'), {method: 'POST', body: fields});
      if (!answer.ok) break;
      confirmed.push(row);
      page = read(await answer.text());
    } catch (gone) { break; }
  }
  return confirmed;
}"""
#: Elements that a person acts on, and how each is called; and colors of text on its background.
LOOK = """() => {
  const shown = e => e.checkVisibility({visibilityProperty: true})
    && !e.closest('.unseen') && !e.classList.contains('jump');
  const channel = v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const luminance = c => .2126 * channel(c[0]) + .7152 * channel(c[1]) + .0722 * channel(c[2]);
  const color = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const under = e => { for (; e; e = e.parentElement) {
    const c = color(getComputedStyle(e).backgroundColor);
    if (c.length === 3 || c[3] > .99) return c; } return [255, 255, 255]; };
  const pale = [], nameless = [], small = [];
  for (const e of document.querySelectorAll('body *')) {
    if (!shown(e)) continue;
    if (/^(A|BUTTON|INPUT|TEXTAREA|SUMMARY|PROGRESS)$/.test(e.tagName)) {
      const name = e.getAttribute('aria-label') || e.innerText || e.labels?.[0]?.textContent || '';
      if (!name.trim()) nameless.push(e.outerHTML);
      if (/^(BUTTON|SUMMARY)$/.test(e.tagName) && e.getBoundingClientRect().height < 40)
        small.push(e.outerHTML);
    }
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    if (own && !e.closest(':disabled') && e.tagName !== 'KBD') {
      const [a, b] = [luminance(color(getComputedStyle(e).color)), luminance(under(e))];
      const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
      if (ratio < 4.5) pale.push([e.innerText.slice(0, 40), ratio]);
    }
  }
  return {pale, nameless, small, wide: document.documentElement.scrollWidth - innerWidth,
          headings: document.querySelectorAll('h1').length, lang: document.documentElement.lang,
          main: document.querySelectorAll('main').length};
}"""


def test_two_people_label_sixty_rows_decide_and_hand_in_by_the_keyboard_alone(workspace):
    texts = [f"{'a lovely day' if n % 2 else 'boring and awful'}, number {n}" for n in range(60)]
    ask(workspace, texts, overlap=0.2)
    (workspace.root / "data/guidelines.md").write_text("**Glad** is what is nice.")
    batch = Desk(workspace).batch(BATCH)
    twice = [row for row in batch.queue["id"] if batch.needed(row) == 2]
    with served(workspace) as page, chromium() as browser:
        ann, bob = (enter(browser, page, name) for name in ("Ann", "Bob"))
        for tab in (ann, bob):
            tab.goto(f"{page.url}/batch/{BATCH}")
            assert "Glad is what is nice." in tab.inner_text("aside")
        working = [ann, bob]
        while working:
            tab = working.pop(0)
            if tab.query_selector("#done") is None:
                lovely = "lovely" in tab.inner_text("#text")
                differs = tab is bob and tab.get_attribute("[name=row]", "value") == twice[0]
                press(tab, "1" if lovely != differs else "2")
                working.append(tab)
        press(ann, "u")
        press(ann, "1" if "lovely" in ann.inner_text("#text") else "2")
        answers = store_of(workspace).answers(BATCH)
        assert Counter(answer.id for answer in answers) == {
            row: 2 if row in twice else 1 for row in batch.queue["id"]}
        bob.reload()
        press(bob, "d")
        assert bob.locator(".sides li").count() == 2
        press(bob, "1")
        bob.wait_for_selector("#decided")
        for tab in (ann, bob):
            tab.goto(f"{page.url}/batch/{BATCH}/hand-in")
            press(tab, "h")
            tab.wait_for_selector("#handed-in")
        files = list(workspace.labelled.iterdir())
        given = [read_labelled(path) for path in files]
        assert len(files) == 2 and sum(map(len, given)) == 60 + len(twice)
        labels = {}
        for table in given:
            for row in table.itertuples():
                assert labels.setdefault(row.id, row.label) == row.label, "no row has two labels"
        assert len(labels) == 60
        assert ann.problems == bob.problems == []


def test_three_browsers_at_once_and_two_kills_lose_and_double_no_label_of_five_hundred(workspace):
    ask(workspace, [f"text {n}" for n in range(ROWS)])
    store, confirmed, failures = store_of(workspace), [], []

    def answered() -> int:
        return len(store.answers(BATCH))

    with served(workspace) as page:
        def label(person: str) -> None:
            try:
                with chromium() as browser:
                    tab = enter(browser, page, person)
                    while answered() < ROWS:
                        try:
                            tab.goto(f"{page.url}/batch/{BATCH}", timeout=5000)
                            if tab.query_selector("#done"):
                                time.sleep(0.2)  # others have the last rows
                                continue
                            row = tab.get_attribute("[name=row]", "value")
                            with tab.expect_navigation(timeout=5000) as went:
                                tab.keyboard.press("1")
                            if went.value is not None and went.value.ok:
                                confirmed.append((row, person))
                            confirmed.extend((row, person) for row in tab.evaluate(SEND))
                        except Exception as error:  # the server is gone: a person reloads
                            if not re.search("ERR_|Timeout|timeout|closed|navigat", str(error)):
                                raise
            except BaseException as error:
                failures.append(error)

        people = [threading.Thread(target=label, args=(name,)) for name in ("Ann", "Bob", "Eve")]
        for person in people:
            person.start()
        for share in (ROWS // 4, ROWS // 2):
            while answered() < share and not failures:
                time.sleep(0.02)
            page.kill()
            assert answered() < ROWS, "it was killed in the middle"
            page.start()
        for person in people:
            person.join(300)
    assert not failures, failures
    answers = store.answers(BATCH)
    assert Counter(answer.id for answer in answers) == {f"r{n}": 1 for n in range(ROWS)}
    kept = {(answer.id, answer.person) for answer in answers}
    assert set(confirmed) <= kept, "every label that was confirmed is there"
    assert len(set(confirmed)) == len(confirmed) > 0.9 * ROWS


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_screen_has_names_contrast_and_room_on_a_phone(workspace, scheme):
    ask(workspace, ["one " * 40, "two", "x" * 300], overlap=1.0, show_suggestions="after")
    with served(workspace) as page, chromium() as browser:
        look = {"viewport": {"width": 390, "height": 844}, "color_scheme": scheme}
        ann, bob = (enter(browser, page, name, **look) for name in ("Ann", "Bob"))
        start = browser.new_context(**look).new_page()
        start.goto(page.url)
        here = f"{page.url}/batch/{BATCH}"
        for tab, key in ((ann, "1"), (bob, "2")):
            tab.goto(here)
            press(tab, key)
        seen = []
        for tab, path in ((start, page.url), (ann, page.url), (ann, here), (bob, f"{here}/decide"),
                          (ann, f"{here}/hand-in"), (ann, f"{page.url}/nowhere")):
            tab.goto(path)
            found = tab.evaluate(LOOK)
            assert found["pale"] == found["nameless"] == found["small"] == [], (path, found)
            assert found["wide"] <= 0 and found["lang"] == "en" and found["main"] == 1, path
            assert found["headings"] == 1, path
            assert barriers(tab) == [], path
            seen.append(tab.title())
        assert len(set(seen)) == len(seen), "each screen says where one is"


def test_a_draft_survives_a_reload_and_keys_write_in_a_field(workspace):
    ask(workspace, ["Say hello."], task="instruction_tuning", show_suggestions="before",
        suggestions=["Hello there."])
    with served(workspace) as page, chromium() as browser:
        tab = enter(browser, page, "Ann")
        tab.goto(f"{page.url}/batch/{BATCH}")
        tab.keyboard.press("Escape")
        tab.keyboard.press("e")
        tab.keyboard.type(" you su0h")
        tab.wait_for_selector("#difference ins")
        tab.reload()
        assert tab.input_value("#written") == "Hello there. you su0h"
        tab.focus("#written")
        press(tab, "Control+Enter")
        tab.wait_for_selector("#done")
        assert store_of(workspace).answers(BATCH)[0].label == "Hello there. you su0h"
        assert tab.problems == []
