"""Text of people and models, made safe for the medium that shows it: one function per medium.

Labels, texts, answers, names and reasons come from outside. None of them may command a terminal,
add an element to a page, a link to a note or a formula to a spreadsheet. Nothing is dropped: what
cannot be seen is written out (`\\x1b`, `\\u202e`), so that two texts that differ look different.
How cells of CSV are escaped stands in `ftzard.data.spreadsheet`, which also takes it back.
"""

import html as standard_html
import re
import unicodedata

#: Signs without width or without shape. Most are of category Cc or Cf; the others are letters and
#: marks that show as nothing.
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160"
    "\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ud800-\udfff"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000110bd\U000110cd\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]")
_JOINERS = "\u200c\u200d"
#: Visible format characters before or around digits in Arabic and Syriac texts.
_SEEN_FORMATS = "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2"
_CJK = "\u3400"


def visible(text: object, *, line_end: str = "\n", tab: str = "\t") -> str:
    """Return a text with invisible and control characters escaped, for any medium.

    Control signs, marks that change the direction of reading, signs of no width and halves of
    surrogate pairs are written out, as Python writes them. Joiners stay inside emoji and in
    scripts that need them, variation selectors behind what they vary.

    Args:
        text: the text, or any value.
        line_end: what stands for a line feed.
        tab: what stands for a tab.
    """
    text = str(text)
    if not _UNSEEN.search(text):
        return text

    def written_out(match: re.Match[str]) -> str:
        sign, at = match.group(), match.start()
        if sign == "\n":
            return line_end
        if sign == "\t":
            return tab
        before, after = text[at - 1:at], text[at + 1:at + 2]
        if sign in _SEEN_FORMATS or _joins(sign, before, after) or _varies(sign, before):
            return sign
        code = ord(sign)
        if code < 0x100:
            return f"\\x{code:02x}"
        return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

    return _UNSEEN.sub(written_out, text)


def _joins(sign: str, before: str, after: str) -> bool:
    """Return whether a joiner stands between two parts of an emoji or of a joining script."""
    return sign in _JOINERS and all(
        neighbour > "\u02ff" and unicodedata.category(neighbour)[0] in "LMS"
        for neighbour in (before, after))


def _varies(sign: str, before: str) -> bool:
    """Return whether a variation selector follows a character that has variants."""
    if "\ufe00" <= sign <= "\ufe0f":
        return before > "\u1fff" or before in tuple("0123456789#*©®")
    return "\U000e0100" <= sign <= "\U000e01ef" and before >= _CJK


def one_line(text: object) -> str:
    """Return a text as `visible` does, with line ends and tabs escaped, too."""
    return visible(text, line_end="\\n", tab="\\t")


def json_line(line: str) -> str:
    """Return JSON of the same value without control characters for a terminal."""
    def escaped(match: re.Match[str]) -> str:
        sign = match.group()
        if sign in "\n\t" or sign in _SEEN_FORMATS:
            return sign
        return "".join(f"\\u{unit:04x}" for unit in _units(sign))

    return _UNSEEN.sub(escaped, line)


def _units(sign: str) -> list[int]:
    code = ord(sign)
    if code < 0x10000:
        return [code]
    return [0xD800 + (code - 0x10000 >> 10), 0xDC00 + (code - 0x10000 & 0x3FF)]


def html(text: object) -> str:
    """Return a text escaped for HTML, between tags or in a quoted attribute."""
    return standard_html.escape(visible(text), quote=True)


_INLINE = re.compile(r"[\\`*\[\]|~{}$]|!(?=\[)|(?<![^\W_])_|_(?![^\W_])|(?<=\w)@(?=[\w-]+\.)"
                     r"|:(?=/)|(?<=\bwww)\.|(?<=[:/])/", re.IGNORECASE)
_BLOCK = re.compile(r"^(\s*)([-+](?=\s|$)|#(?=[\s#]|$)|[-=](?=[-=\s]*$)|[>:]|\d+[.)](?=\s|$))")


def markdown(text: object) -> str:
    """Return a text escaped for a line or a table cell of Markdown.

    Nothing of it becomes a heading, an emphasis, a link (of addresses, too), a picture, HTML, an
    entity or another cell. It is on one line.
    """
    shown = " ".join(visible(text, line_end=" ", tab=" ").split(" "))
    shown = _INLINE.sub(lambda match: f"\\{match.group()}", shown)
    shown = _BLOCK.sub(lambda match: f"{match[1]}{match[2][:-1]}\\{match[2][-1]}", shown)
    return shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def markdown_code(text: object) -> str:
    """Return a text as inline code in Markdown, whatever backticks it contains."""
    shown = one_line(text)
    fence = _fence(shown, 1)
    space = " " if shown.startswith(("`", " ")) or shown.endswith(("`", " ")) else ""
    return f"{fence}{space}{shown}{space}{fence}"


def _fence(text: str, least: int) -> str:
    longest = max(map(len, re.findall("`+", text)), default=0)
    return "`" * (max(least, longest + 1) if longest else least)


def markdown_block(text: object) -> str:
    """Return a text as a code block in Markdown, whatever fences it contains."""
    shown = visible(text)
    fence = _fence(shown, 3)
    return f"{fence}\n{shown}\n{fence}"
