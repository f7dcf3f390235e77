"""Run the inputs that once failed, each in its own folder, and hold what comes out against what is
right.

A fault is a folder `NN-name` with a `try.sh` that calls `ftzard`. Here stands, for each, what its
output must and must not hold.

    python bench/faults.py FOLDER [DEMO] [NN …]

FOLDER: that of the faults. DEMO: a finished demo's workspace, which 12, 13 and 17 copy; without it
they are left out, and named. The exit code is the number of faults that came out wrong.
"""

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Right:
    """What an output holds: patterns that must be found (so many times), and that must not."""

    holds: tuple[tuple[str, int], ...] = ()
    never: tuple[str, ...] = ()


def right(*holds: str | tuple[str, int], never: tuple[str, ...] = ()) -> Right:
    return Right(tuple(h if isinstance(h, tuple) else (h, 1) for h in holds), never)


RIGHT = {
    "01": right(("^rc=0$", 2), ("✓ cleaning_job", 2)),
    "02": right((r"cleaned 120 \{\"'negative'\": \d+, \"'positive'\": \d+\}", 1),
                (r"cleaned 120 \{\"'0'\": \d+, \"'1'\": \d+\}", 1),
                (r"cleaned 120 \{\"'calme'\": \d+, \"'fâché'\": \d+\}", 1),
                r"(?s)'Negative' \(\d+ rows\).*'negative' \(\d+", r"(?s)true.*\(\d+"),
    "03": right(r"120 of 120 rows|line \d+.*--quoting none", never=("70 of 70",)),
    "04": right(r"alpaca 60 .*\"system\"|system", never=(r"^sharegpt 60 \[\{\"role\": \"user\"",
                                                        r"^image 60 \[\{\"role\": \"user\"")),
    "05": right(r"in test: 0 of 300"),
    "06": right(r"in test: 0 of 120"),
    # A sixth of the rows has no label, more than data.max_rejected: both jobs are refused, so that
    # the counts at the end of the script find no table.
    "07": right("negative: negative", "positive: positive", never=("NaN",)),
    "08": right((r"training.*twice|twice.*training|duplicate", 1), (r"line", 2),
                never=("epochs: 5", "expected <document start>")),
    "09": right((r"rc=0", 1), "Set up the FTzard workspace", never=("ascii", "Traceback")),
    "10": right(never=("Traceback", "OperationalError", "OverrideParseException", r"\.db\b")),
    "11": right((r"rejected 0 \{\}", 2)),
    "12": right((r'"text"', 6), never=("not utf-16", "no column 'text'")),
    "13": right((r"empty text", 5), never=('"confidence"',)),
    "14": right((r"is a workspace; its config|is a workspace already", 1), "afile is a file",
                r"expected one character|empty",
                never=("Traceback", "TypeError", r"ftzard\.yaml$")),
    "15": right((r"UTF-8|learning_rate: 0\.\d+", 1), never=("Traceback", "expected NAME=value",
                                                          r"\(str\); expected float")),
    "16": right("✓ cleaning_job|look:", never=("is not in list",)),
    "17": right("verdict|report:|look:", never=("0 of 0", "Traceback")),
    "18": right(("✓ cleaning_job|look:", 1), never=("Run the command by hand", "Traceback")),
    "19": right(("look:", 2), never=("outside the workspace",)),
    "20": right("is a workspace;", never=("Its header is: sep",)),
    "21": right("Excel", "gzip", "LFS|lfs", never=("latin-1",)),
    "22": right("is a workspace;", never=("expected 2 to 50",)),
    "23": right(never=("cannot be read", "deletes or sweeps", "Traceback")),
    "24": right(r"data\.max_characters"),
    "25": right(r"seed is -1; expected 0 to 4294967295", never=("^accepted", "Traceback")),
    "26": right("instances|output", "text part|content in parts|is a workspace;",
                never=("'instances' holds chats", "no list of role and content")),
    "27": right(never=("Traceback", "UnicodeEncodeError")),
}
NEEDS_DEMO = ("12", "13", "17")


def wrong(expected: Right, output: str) -> list[str]:
    """Return a sentence for each pattern that an output lacks, or holds against the rule."""
    missing = [f"expected {count} × {pattern!r}, there are {n}" for pattern, count in expected.holds
               if (n := len(re.findall(pattern, output, flags=re.M))) < count]
    return missing + [f"must not hold {pattern!r}" for pattern in expected.never
                      if re.search(pattern, output, flags=re.M)]


def main(faults: Path, demo: Path | None, only: list[str]) -> int:
    tools = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    if demo:
        environment["DEMO"] = str(demo.resolve())
    failed = []
    for folder in sorted(faults.glob("[0-9][0-9]-*")):
        number = folder.name[:2]
        if only and number not in only:
            continue
        if number in NEEDS_DEMO and demo is None:
            print(f"- {folder.name}: left out, it needs a demo's workspace")
            continue
        began = time.monotonic()
        done = subprocess.run(["bash", str(folder.resolve() / "try.sh")], env=environment,
                              text=True, errors="replace", stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        found = wrong(RIGHT[number], done.stdout)
        mark = "✗" if found else "✓"
        print(f"{mark} {folder.name} ({time.monotonic() - began:.0f} s)", *found, sep="\n    ",
              flush=True)
        if found:
            failed.append(number)
            print("    | " + "\n    | ".join(done.stdout.splitlines()[-25:]))
    print(f"{len(failed)} came out wrong{': ' + ', '.join(failed) if failed else ''}")
    return len(failed)


if __name__ == "__main__":
    folder, *rest = sys.argv[1:]
    own = [Path(a) for a in rest if not a.isdigit()]
    sys.exit(main(Path(folder), own[0] if own else None, [a for a in rest if a.isdigit()]))
