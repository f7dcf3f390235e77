"""The screen of `ftzard label`: one row at a time, a key per label or an editor for answers."""

import sys
import textwrap
from collections.abc import Callable
from typing import Any

from prompt_toolkit.application import Application
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.filters import Condition
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.layout import (
    BufferControl,
    ConditionalContainer,
    Dimension,
    FormattedTextControl,
    HSplit,
    Layout,
    VSplit,
    Window,
)

from ftzard.core import escaping
from ftzard.core.text import normalize_instruction
from ftzard.data.labeling import labeling_queue
from ftzard.errors import WorkspaceError
from ftzard.steps.labeling_session import HAND_IN, QUIT, SKIP, UNDO, LabelingSession, seen_audits

ENTER = ("\r", "\n")
EDIT, WRITE, TAKE = "e", "w", "t"

REST = "   s skip   u undo   h hand in   q quit"
TAKING = " enter takes the suggestion"
MARKING = " enter saves what is marked   a key adds or takes away"
KEEPING = " enter keeps your answer   u takes it back   h hand in   q quit"
WRITING = " enter saves   ctrl-n new line   ctrl-u clear   esc back"


def run(session: LabelingSession, say: Callable[[str], None]) -> None:
    """Let a person label at the terminal until the last row or a key that ends the session.

    After the last row, or with h, the answers are submitted; q keeps them for the next session.

    Args:
        session: What is to be labeled.
        say: Prints a sentence, before and after the screen is shown.

    Raises:
        WorkspaceError: Without a terminal.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise WorkspaceError(
            "'ftzard label' needs a terminal; without one use 'ftzard label --web', or fill in "
            f"data/labelling/{session.batch.name}.csv in a spreadsheet and put "
            "it into data/labelled.")
    if notice := seen_audits(session.batch):
        say(notice)
    session.hold()
    try:
        submit = session.row is None or application(session).run()
    except EOFError:  # the terminal has been closed
        submit = False
    finally:
        session.batch.store.release(session.batch.name, session.person)
    if not submit:
        say(f"{len(session.pending)} answers are saved and not handed in; go on with "
            f"'ftzard label {session.batch.name}', h hands them in")
        return
    path = session.submit()
    if waiting := len(session.pending):
        say(f"{waiting} answers wait for a second person's (sampling.overlap), or for a decision "
            "between two: see 'ftzard label --web'")
    elif path is None:
        say("no answer to hand in; every row stays in the queue")
    if path is not None:
        rows = len(labeling_queue.read_queue(path))
        say(f"{rows} labels handed in: data/labelled/{path.name}")


def application(session: LabelingSession, **terminal: Any) -> Application[bool]:
    """Return the full-screen application, which returns whether to submit the answers.

    Args:
        session: What is to be labeled.
        terminal: `input` and `output` of prompt_toolkit; by default those of the process.
    """
    editor = Buffer(multiline=True)
    writing = Condition(lambda: session.draft is not None)

    def text(lines: Callable[..., list[str]]) -> Window:
        def shown() -> str:
            size = app.output.get_size()
            return "" if session.row is None else "\n".join(lines(session, size.columns, size.rows))
        return Window(FormattedTextControl(shown), wrap_lines=True, dont_extend_height=True)

    def room() -> Dimension:
        return Dimension(min=1, max=_answer_room(session, app.output.get_size().rows))

    answer = Window(BufferControl(editor), wrap_lines=True, height=room, dont_extend_height=True)
    unfocused = Window(FormattedTextControl(focusable=True, show_cursor=False), height=0)
    app: Application[bool] = Application(
        Layout(HSplit([
            text(_upper_lines),
            ConditionalContainer(HSplit([Window(FormattedTextControl("\n  your answer:"), height=2),
                                         VSplit([Window(width=2), answer])]), writing),
            text(_lower_lines), unfocused]), focused_element=unfocused),
        key_bindings=_bindings(session, editor, writing, answer, unfocused), full_screen=True,
        **terminal)
    app.ttimeoutlen = app.timeoutlen = 0.05  # Escape by itself is no beginning of another key
    return app


def _bindings(session: LabelingSession, editor: Buffer, writing: Condition, answer: Window,
              unfocused: Window) -> KeyBindings:
    """Return the keys: those of the session, and while an answer is written, of the editor."""
    bindings = KeyBindings()

    def show(event: KeyPressEvent) -> None:
        """Draw the next state whole, so that a recorded terminal reads row by row."""
        session.hold()
        if session.row is None:
            event.app.exit(result=True)
            return
        if session.draft is not None:
            editor.text = session.draft
            editor.cursor_position = len(editor.text)
        event.app.layout.focus(unfocused if session.draft is None else answer)
        event.app.renderer.erase(leave_alternate_screen=False)

    @bindings.add(Keys.Any, filter=~writing)
    def command(event: KeyPressEvent) -> None:
        if event.data in (HAND_IN, QUIT):
            event.app.exit(result=event.data == HAND_IN)
            return
        press(session, event.data)
        show(event)

    @bindings.add(Keys.BracketedPaste, filter=~writing)
    def ignore(event: KeyPressEvent) -> None:
        """Nothing in a pasted text is a command."""

    @bindings.add("enter", filter=writing)
    def save(event: KeyPressEvent) -> None:
        if write(session, editor.text):
            show(event)

    @bindings.add("escape", filter=writing)
    def back(event: KeyPressEvent) -> None:
        session.draft = None
        show(event)

    @bindings.add("c-n", filter=writing)
    @bindings.add("escape", "enter", filter=writing)
    def new_line(event: KeyPressEvent) -> None:
        editor.insert_text("\n")

    @bindings.add("c-u", filter=writing)
    def clear(event: KeyPressEvent) -> None:
        editor.text = ""

    unknown_key = False

    @bindings.add("escape", "[")
    @bindings.add("escape", "O")
    def begin_unknown_key(event: KeyPressEvent) -> None:
        """Take what an unknown key sends for one key, none of it for a command or a text."""
        nonlocal unknown_key
        unknown_key = True

    @bindings.add(Keys.Any, filter=Condition(lambda: unknown_key), eager=True)
    def skip_unknown_key(event: KeyPressEvent) -> None:
        nonlocal unknown_key
        unknown_key = not "@" <= event.data <= "~"

    @bindings.add("c-c")
    @bindings.add("<sigint>")
    def interrupt(event: KeyPressEvent) -> None:
        event.app.exit(exception=KeyboardInterrupt)

    return bindings


def press(session: LabelingSession, key: str) -> None:
    """Do what a key asks for while no answer is being written."""
    free = session.format.free_text
    if key in ENTER and session.marked:
        session.answer(session.marked)
    elif key in ENTER and session.reviewing:
        session.skip()
    elif key in ENTER and session.suggested or free and key == TAKE and session.reviewing:
        session.answer(session.suggested)
    elif free and key == WRITE:
        session.draft = ""
    elif free and key == EDIT and (session.suggested or session.reviewing):
        session.draft = session.given if session.reviewing else session.suggested
    elif key in session.keys:
        session.choose(session.keys[key])
    elif key == SKIP:
        session.skip()
    elif key == UNDO:
        session.undo()


def write(session: LabelingSession, text: str) -> bool:
    """Save a free answer; return False for an empty one, which is not saved."""
    answer = normalize_instruction(text)
    if answer:
        session.draft = None
        session.answer(answer)
    return bool(answer)


def screen(session: LabelingSession, width: int = 80, height: int = 24) -> str:
    """Return what the terminal shows, without the editor."""
    return "\n".join([*_upper_lines(session, width, height), *_lower_lines(session, width, height)])


def _upper_lines(session: LabelingSession, width: int, height: int) -> list[str]:
    """Return the progress and the text that is to be labeled."""
    head = (f" {session.batch.name}   {session.at + 1} of {len(session.rows)}"
            f"   {len(session.pending)} answers not handed in   {session.person}")
    text = session.row["text"]
    if not session.format.free_text:
        text = text.replace("\n", " ")
    return [escaping.one_line(head), "", *_indented(text, width, _text_room(session, height))]


def _lower_lines(session: LabelingSession, width: int, height: int) -> list[str]:
    """Return the answer, the suggestion if it may be shown, and the keys."""
    lines, writing = [], session.draft is not None
    confidence = session.row["confidence"]
    confidence = f" ({float(confidence):.2f})" if confidence else ""
    if session.format.free_text:
        room = _answer_room(session, height)
        if session.reviewing and not writing:
            lines += ["", "  your answer:", *_indented(session.given, width, room)]
        if session.suggested and (session.reviewing or not writing):
            lines += ["", f"  suggestion{confidence}:", *_indented(session.suggested, width, room)]
        return [*lines, "", *_wrapped(_keys_of_free_answers(session), width)]
    if session.reviewing:
        lines += ["", f"  your answer: {escaping.one_line(session.given)}"]
    if session.marked:
        lines += ["", f"  marked: {escaping.one_line(session.marked)}"]
    if session.suggested:
        lines += ["", f"  suggestion: {escaping.one_line(session.suggested)}{confidence}"]
    lines += ["", *(f"  {key}  {escaping.one_line(label)}" for key, label in session.keys.items())]
    if session.reviewing:
        keys = f"{KEEPING}; another key changes it"
    else:
        keys = (MARKING if session.marked else
                TAKING if session.suggested else " a key labels") + REST
    return [*lines, "", *_wrapped(keys, width)]


def _wrapped(keys: str, width: int) -> list[str]:
    """Return the line of keys on as many lines as it needs, a key beside what it does."""
    joined = "   ".join(key.replace(" ", "\u00a0") for key in keys.split("   "))
    return [line.replace("\u00a0", " ") for line in textwrap.wrap(joined, max(20, width))]


def _keys_of_free_answers(session: LabelingSession) -> str:
    if session.draft is not None:
        return WRITING
    if session.reviewing:
        return " enter keeps your answer   e edit   w write   t takes the suggestion   u undo"
    return (f"{TAKING}   e edit   w write" if session.suggested else " w write") + REST


def _text_room(session: LabelingSession, height: int) -> int:
    free = session.format.free_text
    return max(3, (height - 8) // 2 if free else height - 9 - len(session.format.names))


def _answer_room(session: LabelingSession, height: int) -> int:
    return max(3, _text_room(session, height) // (1 + session.reviewing))


def _indented(text: str, width: int, room: int) -> list[str]:
    """Return a text on at most `room` lines, of which nothing commands the terminal."""
    lines = []
    for paragraph in escaping.visible(text, tab=" ").split("\n"):
        lines += textwrap.wrap(paragraph, max(20, width - 4)) or [""]
    if len(lines) > room:
        lines = [*lines[:room - 1], "…"]
    return [f"  {line}" for line in lines]
