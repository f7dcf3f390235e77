"""What a new workspace for instruction tuning begins with: its columns, its limits, its sample."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ftzard.data import reading, rejection
from ftzard.data.columns import columns_of_lists, layout_values, require_columns
from ftzard.data.identity import LATEST
from ftzard.errors import ConfigError, DataError, nearest
from ftzard.tasks.instruction_tuning import instructions

#: Options of `ftzard init` that are of this task.
OPTIONS = frozenset({"input", "messages", "ignore"})


def config_for(file: Path | None, layout: Mapping[str, str], say: Callable[[str], object], *,
               text: str | None = None, label: str | None = None, input: str | None = None,
               messages: str | None = None, ignore: Sequence[str] = ()) -> dict:
    """Return what ftzard.yaml says of a user's file of instructions or chats.

    Args:
        file: the file; None leaves its columns at their defaults.
        layout: encoding, delimiter and quoting of the file.
        say: gets a sentence on filled columns that are not read.
        text: the column with the instruction; None takes `instruction`.
        label: the column with the answer; None takes `output`.
        input: the column with what an instruction is about; None takes `input`, if it is there.
        messages: the column with chats; None takes `messages`, if it is there.
        ignore: columns of the prompt that are left out on purpose.

    Raises:
        DataError: For a file that cannot be used.
    """
    if file is None:
        return instruction_config({})
    group = describe_data(file, instruction=text or "instruction", output=label or "output",
                          input=input, messages=messages, ignored=ignore, **layout)
    unread = instructions.not_read(
        file, [group[f"{name}_column"] for name in ("text", "input", "label", "messages")],
        ignored=ignore, **layout)
    if unread:
        say(f"not read: {', '.join(unread)} (filled, but no model learns from them)")
    return instruction_config(group)


def sample_config() -> dict:
    """Return what ftzard.yaml says of the sample."""
    return instruction_config({"messages_column": "messages"})


def describe_data(file: Path, *, instruction: str, output: str, input: str | None = None,
                  messages: str | None = None, ignored: Sequence[str] = (),
                  encoding: str = "utf-8", delimiter: str = ",", quoting: str = "csv") -> dict:
    """Return the `data` group for a user's file of instructions or chats: its columns.

    Args:
        input, messages: None takes the columns of that name, if the file has them.
        ignored: Columns of the prompt that are left out on purpose.

    Raises:
        DataError: For a missing column, for a filled one that would be lost, or for a file of
            which no row can be used.
    """
    written = {"encoding": encoding, "delimiter": delimiter, "quoting": quoting}
    there = reading.header(file, **written)
    columns = {"text_column": instruction, "input_column": input or ("input" if "input" in there
                                                                     else None),
               "label_column": output,
               "messages_column": messages or ("messages" if "messages" in there else None)}
    named = {"--text": instruction, "--label": output, "--input": columns["input_column"]}
    if columns["messages_column"] in there and instruction not in there:
        named = {}  # chats alone
    if messages is not None:
        named = {"--messages": messages, **named}
    require_columns(file, there, named, delimiter,
                    nested=lambda: columns_of_lists(file, there, written))
    for column in ignored:
        if column not in there or column in columns.values():
            raise ConfigError(f"--ignore {column} names no column of {file} that could be left out"
                              f"{nearest(column, set(there) - set(columns.values()))}")
    rows = instructions.read(
        file, instruction_column=instruction, output_column=output, **written,
        input_column=columns["input_column"], messages_column=columns["messages_column"],
        ignored=ignored)
    cleaned, rejected = instructions.clean(rows, batch="", identity=LATEST)
    if cleaned.empty:
        reasons = ", ".join(f"{count} {reason}" for reason, count in
                            rejected["reason"].value_counts().items())
        raise DataError(f"{file}: none of {len(rejected)} rows can be used ({reasons}); expected "
                        f"instructions in '{instruction}' and answers in '{output}', or chats. "
                        f"{rejection.remedies(rejected)}")
    return {"choice": "instructions", **columns,
            **({"ignored_columns": list(ignored)} if ignored else {}), **layout_values(**written)}


def instruction_config(data: dict) -> dict:
    """Return what ftzard.yaml says for instruction tuning, with a description of the data.

    The gate compares losses: its limits are in nats per token. A person who writes answers gives
    fewer of them than one who picks labels. Batches are small: of a thousand rows, larger
    ones would make too few steps.
    """
    return {
        "task": "instruction_tuning",
        "data": {"choice": "instructions", **data},
        "model": {"choice": "falcon_tiny_answers"},
        "training": {"batch_size": 8},
        "tuning": {"metric": "validation_loss"},
        "sampling": {"strategy": "least_confidence", "budget": 150, "audit_rows": 60,
                     "min_labelled": 20},
        "gate": {"min_gain": 0.01, "min_rows": 50, "max_forgetting": 0.1},
    }
