"""A process that runs several DVC commands: the server side of `ftzard.versioning.dvc.Dvc`.

Run as a script by its path, with `-P`, so that this folder's `git.py` and `dvc.py` hide no package.
Each line on standard input is a JSON list of arguments; each answer is a JSON line with the exit
code and the output. It ends with its standard input.
"""

import json
import os
import sys
import tempfile


def main() -> None:
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    printed, errors = tempfile.TemporaryFile(), tempfile.TemporaryFile()
    os.dup2(printed.fileno(), 1)
    os.dup2(errors.fileno(), 2)
    try:
        import dvc.repo  # noqa: F401  most of what the first command would wait for
        from dvc.cli import main as command
        from dvc.cli import parse_args

        parse_args(["add", "x"])
    except ImportError as error:
        answer(replies, {"ready": False, "said": str(error)})
        return
    answer(replies, {"ready": True})
    for line in sys.stdin:
        code = command(json.loads(line))
        sys.stdout.flush()
        sys.stderr.flush()
        answer(replies, {"code": code, "printed": taken(printed), "said": taken(errors)})
    os._exit(0)  # every command has ended; tidying up DVC's modules would take 0.2 s


def answer(replies, value: dict) -> None:
    replies.write(json.dumps(value) + "\n")
    replies.flush()


def taken(stream) -> str:
    """Return the text written to a capture file so far and empty it."""
    stream.seek(0)
    text = stream.read().decode("utf-8", errors="replace")
    stream.seek(0)
    stream.truncate()
    return text


if __name__ == "__main__":
    main()
