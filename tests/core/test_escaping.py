"""What people and models wrote is shown as it is, in every medium, and commands none of them."""

import json

import pytest

from ftzard.core import escaping
from tests.hostile import (
    HOSTILE,
    TRACES,
    markdown_is_safe,
    page_is_safe,
    traces,
    unseen,
)


@pytest.mark.parametrize("name", HOSTILE)
class TestEachText:
    def test_in_a_terminal(self, name):
        shown = escaping.visible(HOSTILE[name])
        assert unseen(shown) == set() and traces(shown) == {name}

    def test_on_one_line(self, name):
        assert "\n" not in escaping.one_line(HOSTILE[name])

    def test_in_html_between_tags_and_in_an_attribute(self, name):
        shown = escaping.html(HOSTILE[name])
        assert traces(page_is_safe(f'<p title="{shown}">{shown}</p>')) == {name}

    @pytest.mark.parametrize("frame", [
        "{}", "- {} x", "# {}", "x {} y", "| a | b |\n|---|---|\n| {} | c |"])
    def test_in_markdown(self, name, frame):
        text = frame.format(escaping.markdown(HOSTILE[name]))
        assert traces(markdown_is_safe(text)) == {name}
        if frame.startswith("|"):
            cells = [t for t in markdown_tokens(text) if t.type == "td_open"]
            assert len(cells) == 2, "no cell is added"

    def test_in_a_block_and_a_piece_of_code(self, name):
        for text in (escaping.markdown_block(HOSTILE[name]), escaping.markdown_block("```"),
                     f"x {escaping.markdown_code(HOSTILE[name])} y"):
            assert len([t for t in markdown_tokens(text) if t.level == 0 and t.nesting >= 0]) == 1

    def test_in_a_line_of_json(self, name):
        line = json.dumps({"text": HOSTILE[name]}, ensure_ascii=False)
        shown = escaping.json_line(line)
        assert unseen(shown) == set() and json.loads(shown) == {"text": HOSTILE[name]}


def markdown_tokens(text: str) -> list:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark").enable("table").parse(text)


@pytest.mark.parametrize("text", [
    "plain words, 'quoted' \"twice\"",
    "Ça va, déjà à l’été", "日本語　テキスト", "नमस्\u200cते", "می\u200cخواهم",
    "👨\u200d👩\u200d👧", "❤\ufe0f\u200d🔥", "1\ufe0f\u20e3", "two\nlines\tand a tab", "a\u00a0b"])
def test_what_can_be_seen_or_is_needed_stays(text):
    assert escaping.visible(text) == text


@pytest.mark.parametrize(("text", "shown"), [
    ("a\u200db", r"a\u200db"), ("x\u200b", r"x\u200b"), ("\ufeffx", r"\ufeffx"),
    ("a\ufe0fb", r"a\ufe0fb"), ("s\u00adoft", r"s\xadoft"), ("\U000e0041", r"\U000e0041"),
    ("\ud83d", r"\ud83d"), ("a\rb", r"a\x0db"), ("\u2066x\u2069", r"\u2066x\u2069")])
def test_what_cannot_be_seen_is_written_out(text, shown):
    assert escaping.visible(text) == shown


@pytest.mark.parametrize(("text", "shown"), [
    ("not_hate", "not_hate"), ("very-good", "very-good"), ("3.5 stars", "3.5 stars"),
    ("_x_", r"\_x\_"), ("- x", r"\- x"), ("1. x", r"1\. x"), ("a|b", r"a\|b"),
    ("http://a.b", r"http\:\/\/a.b"), ("Model@3", "Model@3"), ("x@y.z", r"x\@y.z"),
    ("&lt;", "&amp;lt;")])
def test_markdown_stays_readable_as_text(text, shown):
    assert escaping.markdown(text) == shown


def test_every_hostile_text_has_its_trace():
    assert set(TRACES) == set(HOSTILE) and len(HOSTILE) > 9
