"""A process that runs DVC commands: the server side of `ftzard.versioning.dvc.Dvc`.

Run as a script by its path, with `-P`, so that this folder's `git.py` and `dvc.py` hide no package.
Each line that it reads is a JSON list of arguments; each answer is a JSON line with the exit code
and the output.

Without an argument it reads from its standard input and ends with that. With the number of an open
socket it imports DVC once, and forks for each connection a process that does the same for its
client: the first line of a connection says in which folder and environment. It ends with its
standard input.
"""

import gc
import json
import os
import select
import signal
import socket
import sys
import tempfile
from importlib import import_module


def main() -> None:
    if len(sys.argv) > 1:
        serve(socket.socket(fileno=int(sys.argv[1])))
        return
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    problem = imported()
    run_commands(sys.stdin, replies, problem)


def imported() -> str | None:
    """Import most of what a first command would wait for; return why it cannot be, or None."""
    try:
        for name in ("dvc.repo", "dvc.commands.add", "dvc.commands.data_sync",
                     "dvc_objects.fs.local"):
            import_module(name)
        from dvc.cli import parse_args

        parse_args(["add", "x"])
    except ImportError as error:
        return str(error)
    return None


def serve(server: socket.socket) -> None:
    """Fork a process per connection until standard input ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # forks are not waited for
    problem = imported()
    gc.collect()
    gc.freeze()
    while True:
        ready, _, _ = select.select([server, sys.stdin], [], [])
        if sys.stdin in ready:
            return
        client, _ = server.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            server.close()
            sys.stdin.close()
            lines = client.makefile("r", encoding="utf-8")
            hello = json.loads(lines.readline() or "null")
            if hello is None:
                os._exit(0)
            os.environ.clear()
            os.environ.update(hello["env"])
            os.chdir(hello["root"])
            run_commands(lines, client.makefile("w", encoding="utf-8"), problem)
        client.close()


def run_commands(lines, replies, problem: str | None) -> None:
    """Run the command of each line; problem: why DVC cannot be imported."""
    printed, errors = tempfile.TemporaryFile(), tempfile.TemporaryFile()
    os.dup2(printed.fileno(), 1)
    os.dup2(errors.fileno(), 2)
    if problem is not None:
        answer(replies, {"ready": False, "errors": problem})
        os._exit(0)
    from dvc.cli import main as command

    answer(replies, {"ready": True, "pid": os.getpid()})
    for line in lines:
        code = command(json.loads(line))
        sys.stdout.flush()
        sys.stderr.flush()
        answer(replies, {"code": code, "printed": drained(printed), "errors": drained(errors)})
    os._exit(0)  # every command has ended; tidying up DVC's modules would take 0.2 s


def answer(replies, value: dict) -> None:
    replies.write(json.dumps(value) + "\n")
    replies.flush()


def drained(stream) -> str:
    """Return the text written to a capture file so far and empty it."""
    stream.seek(0)
    text = stream.read().decode("utf-8", errors="replace")
    stream.seek(0)
    stream.truncate()
    return text


if __name__ == "__main__":
    main()
