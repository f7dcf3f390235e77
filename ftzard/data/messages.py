"""Chats: a list of messages with role and content, read from the shapes that are in use."""

import json
import unicodedata
from collections.abc import Sequence

from ftzard.core.text import normalize_instruction
from ftzard.data import json_lines, prompt_columns

ROLES = ("system", "user", "assistant")


#: What the older form of chats, with `from` and `value`, calls its roles.
_OLDER = {"human": "user", "gpt": "assistant"}


#: Types of a part that is text, in chats whose contents are lists of parts.
_TEXT_PARTS = ("text", "input_text", "output_text")


NO_LIST = "messages are no list of role and content"


#: What a message may have beside its words without being another one: book-keeping of who, when
#: and where it comes from. Anything else that it says would be lost, and so is refused.
HARMLESS = ("created_at", "created_date", "date", "id", "lang", "language", "message_id", "model",
            "name", "parent_id", "timestamp")


def as_text(messages: Sequence[dict]) -> str:
    """Return what is asked as a person reads it: '' for no message at all."""
    parts = ["\n\n".join(filter(None, (m["content"], m.get("input")))) for m in messages]
    if len(messages) == 1:
        return parts[0]
    return "\n\n".join(f"{m['role']}: {words}" for m, words in zip(messages, parts, strict=True))


def to_json(messages: Sequence[dict]) -> str:
    """Return messages as the tables keep them."""
    return json.dumps(list(messages), ensure_ascii=False)


def one_turn(instruction: str, about: str = "") -> list[dict]:
    """Return the messages of an instruction and, if it has one, its input."""
    turn = {"role": "user", "content": instruction}
    return [{**turn, "input": about} if about else turn]


def preceded(messages: Sequence[dict], system: str, history: object
             ) -> tuple[list[dict], str]:
    """Return (messages, '' or what is wrong) with a system prompt and a history before them.

    Args:
        messages: what is asked: one turn, or a chat, which needs no history.
        system: the system prompt; '' is none.
        history: earlier turns as `prompt_columns.turns` takes them.
    """
    system = normalize_instruction(system)
    earlier, reason = prompt_columns.turns(history)
    if not reason and earlier:
        earlier, reason = chat(earlier)
    if reason:
        return [], reason
    if earlier and len(messages) > 1:
        return [], "both a history and messages"
    if not blank(system):
        first = (earlier or messages)[0]
        if first["role"] != "system":
            earlier = [{"role": "system", "content": system}, *earlier]
        elif first["content"] != system:
            return [], "two system prompts"
    if not earlier:
        return list(messages), ""
    return [*earlier, *messages], _disorder([*earlier, *messages])


def blank(text: str) -> bool:
    """Return whether nothing of a text can be seen."""
    return all(unicodedata.category(c)[0] in "ZC" or "\ufe00" <= c <= "\ufe0f" for c in text)


def chat(given: object) -> tuple[list[dict], str]:
    """Return (messages, '' or what is wrong with them) of a chat as JSON has it.

    Messages have role, content and, of a user, input, if they have one. A key beside these that
    says anything, such as 'tool_calls', is wrong: it would be lost.
    """
    if not isinstance(given, list) or not all(isinstance(m, dict) for m in given):
        return [], NO_LIST
    if json_lines.half_pair(given):
        return [], json_lines.NO_CHARACTER
    messages: list[dict] = []
    for message in given:
        role_key, content_key = (new if new in message else old for new, old in
                                 (("role", "from"), ("content", "value")))
        role = message.get(role_key)
        others = message.keys() - {role_key, *HARMLESS}  # a call of a tool may have no content
        if not isinstance(role, str) or content_key not in message and not others:
            return [], NO_LIST
        content, wrong = _content(message.get(content_key))
        if wrong:
            return [], wrong
        turn = {"role": _OLDER.get(role, role), "content": normalize_instruction(content)}
        about = message.get("input") if turn["role"] == "user" else None
        if isinstance(about, list | dict) and about:
            return [], f"an input that is a {type(about).__name__}, no text or number"
        if not _empty(about):
            about = normalize_instruction(about if isinstance(about, str) else json.dumps(about))
            turn |= {"input": about} if not blank(about) else {}
        known = {role_key, content_key, *HARMLESS, *(["input"] if turn["role"] == "user" else [])}
        for key, value in message.items():
            if key not in known and not _empty(value):
                return [], f"messages with '{key[:40]}', which are not learned"
        messages.append(turn)
    return messages, _disorder(messages)


def _content(content: object) -> tuple[str, str]:
    """Return (the words of a message's content, '' or why it is no text).

    A list of parts is one text, a part a line, if all of them are texts.
    """
    if content is None:  # as beside 'tool_calls', which are named as what is not learned
        return "", ""
    if isinstance(content, str):
        return content, ""
    if not isinstance(content, list):
        return "", f"a content that is a {type(content).__name__}, no text"
    words = []
    for part in content:
        if not isinstance(part, dict):
            return "", f"a content that is a list of {type(part).__name__}, no text"
        kind = part.get("type", "text")
        if kind not in _TEXT_PARTS or not isinstance(part.get("text"), str):
            return "", f"a part of type '{str(kind)[:40]}', which is not learned"
        for key, value in part.items():
            if key not in ("type", "text", "cache_control", *HARMLESS) and not _empty(value):
                return "", f"a part with '{key[:40]}', which is not learned"
        words.append(part["text"])
    return "\n".join(words), ""


def _empty(value: object) -> bool:
    """Return whether a value of JSON says nothing: null, no text, an empty list or object."""
    return value is None or value in ([], {}) or isinstance(value, str) and not value.strip()


def parse_chat(cell: str) -> tuple[list[dict], str]:
    """Return (messages, '' or what is wrong with them) of a cell with JSON."""
    try:
        given = json_lines.parse(cell)
    except ValueError:
        return [], "messages are not JSON"
    return chat(given)


def _disorder(messages: Sequence[dict]) -> str:
    """Return what is wrong with the roles of messages: a system's first, then in turns the user's
    and the assistant's; '' if nothing is."""
    before = ""
    for number, message in enumerate(messages):
        role = message["role"]
        if role not in ROLES:
            return f"unknown role '{role[:40]}'"
        if role == "system" and number or role == "assistant" and before != "user" or \
                role == "user" and before == "user":
            after = f"{role} after {before}" if before else f"they begin with {role}"
            return f"messages in the wrong order: {after}"
        if blank(message["content"]) and not (role == "assistant" and number + 1 == len(messages)):
            return f"empty message of the {role}"
        before = role
    return "" if before in ("user", "assistant") else "messages without a user's"


def split_answer(messages: list[dict], answer: str, answered: bool) -> tuple[list[dict], str, str]:
    """Return (messages before the answer, the answer, '' or what is wrong) of a chat in order.

    Args:
        answer: What the row's own column for it says, if anything.
    """
    asks = messages[-1]["role"] == "user"
    if not answered:
        return messages, "", "" if asks else "nothing is asked: the last message is the assistant's"
    if asks:
        return messages, answer, "" if answer else "no answer"
    *messages, last = messages
    two = answer not in ("", last["content"])
    return messages, last["content"], "two answers" if two else ""
