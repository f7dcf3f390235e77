"""YAML that a person writes, read strictly: what is written is what is meant, or it is refused.

A key that stands twice in one block is an error. Keys are text as they are written, so that a raw
label `no`, `007` or `12:30` stays what it is in the data; of values, numbers are numbers (`1e-4`
too), `true` and `false` are booleans, and everything else is text.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from ftzard.core import text_file
from ftzard.errors import ConfigError

_TAG = "tag:yaml.org,2002:"


class NoYaml(ConfigError):
    """Raised for text that is no YAML."""


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """YAML's safe loader with the plain values of YAML 1.2, and with keys that are text."""

    yaml_implicit_resolvers: dict[str, Any] = {}

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[str, Any]:
        self.flatten_mapping(node)
        return {_key(key): self.construct_object(value, deep=deep) for key, value in node.value}


_PLAIN = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0|[1-9][0-9]*)", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
     r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", list("-+.0123456789")),
    ("merge", "<<", ["<"]),
)


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """Quotes text that this reader or one of YAML 1.1 would read as another value."""


for _kind, _pattern, _first in _PLAIN:
    for _side in (_Loader, _Dumper):
        _side.add_implicit_resolver(_TAG + _kind, re.compile(f"^(?:{_pattern})$"), _first)


def dump(values: object, flow: bool | None = False) -> str:
    """Return values as YAML that reads back the same, here and elsewhere; keys keep their order.

    Args:
        flow: As PyYAML's default_flow_style.
    """
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True,
                     width=float("inf"), default_flow_style=flow)


def read(path: Path, expected: str = "a YAML file") -> object:
    """Return the content of a YAML file, None for an empty one.

    Raises ConfigError, naming file and line, for a path that cannot be read (see `text_file`), for
    YAML that is none, and for a key that stands twice in one block.
    """
    return parse(text_file.read(path, expected), str(path))


def parse(text: str, name: str) -> object:
    """Return the content of YAML text."""
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        mistakes = list(dict.fromkeys(_mistakes(node, (), set())))
        if mistakes:
            raise ConfigError("\n".join(f"{name}: {mistake}" for mistake in mistakes))
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        raise NoYaml(f"{name} is not valid YAML: {_reason(error, text)}") from error
    except RecursionError as error:
        raise NoYaml(f"{name} is not valid YAML: it is nested too deeply.") from error
    except (ValueError, KeyError, AttributeError, TypeError) as error:  # such as !!int x
        raise NoYaml(f"{name} is not valid YAML: a value does not fit its tag "
                     f"({error}).") from error
    finally:
        if loader is not None:
            loader.dispose()


def _key(node: Node) -> str:
    """Return a key as it is written; a boolean as True or False, as labels are counted."""
    if node.tag == f"{_TAG}bool":
        return node.value.capitalize()
    return node.value


def _mistakes(node: Node, inside: tuple[int, ...], seen: set[int]) -> Iterator[str]:
    """Yield a sentence for every repeated key, every key that is no text, and recursive values."""
    if id(node) in inside:
        yield f"line {_line(node)}: this block refers to itself; expected values of its own."
        return
    if id(node) in seen or isinstance(node, ScalarNode):
        return
    seen.add(id(node))
    inside = (*inside, id(node))
    if isinstance(node, SequenceNode):
        for entry in node.value:
            yield from _mistakes(entry, inside, seen)
        return
    first: dict[str, int] = {}
    for key, value in node.value:
        if not isinstance(key, ScalarNode):
            yield f"line {_line(key)}: a key is a {key.id}; expected text."
            continue
        text = _key(key)
        if text in first:
            yield (f"the key '{text}' stands twice, in line {first[text]} and in line "
                   f"{_line(key)}; keep one of them, with the values of both.")
        first.setdefault(text, _line(key))
        yield from _mistakes(value, inside, seen)


def _line(node: Node) -> int:
    return node.start_mark.line + 1


def _reason(error: yaml.YAMLError, text: str) -> str:
    """Return the reason of YAML's own error on one line, with its line number."""
    mark = getattr(error, "problem_mark", None)
    reason = getattr(error, "problem", None) or str(error)
    if str(reason).startswith("but "):
        reason = f"{error.context}, {reason}"
    reason = " ".join(str(reason).split())
    if mark is None:
        return f"{reason}."
    hint = ""
    lines = text.splitlines()
    if "'\\t'" in reason:
        reason, hint = "a tab stands where the line is indented", " Indent with spaces."
    elif "<document start>" in reason and any(line.strip() == "{}" for line in lines):
        hint = " Take out the line '{}': it says that nothing else follows."
    return f"line {mark.line + 1}: {reason}.{hint}"
