"""Raw CSV to tokens: seconds and peak memory of each stage, for many made rows.

    python bench/many_rows.py [ROWS ...]       default 1600000 3200000

Each number of rows is measured in a process of its own, with the functions that the steps call:
read, clean, write, assign splits, drop near-duplicates, tokenize, write. The peak is that of the
whole process (`ru_maxrss`). The texts are drawn from a vocabulary, with repeated ones among them.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROWS = (1_600_000, 3_200_000)
WORDS, PER_TEXT = 30_000, (5, 20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", type=int, default=list(ROWS))
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--no-store", dest="store", action="store_false")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one)))
        return
    found = {}
    for rows in arguments.rows:
        done = subprocess.run([sys.executable, __file__, "--one", str(rows)], check=True, text=True,
                              stdout=subprocess.PIPE)
        found[rows] = json.loads(done.stdout.splitlines()[-1])
        print(f"{rows:,} rows: peak {found[rows]['peak_mb']:,} MB; " + ", ".join(
            f"{name} {stage['seconds']} s ({stage['peak_mb']:,} MB)"
            for name, stage in found[rows]["stages"].items()), flush=True)
    if arguments.store:
        from machine import store

        print(store("many_rows", {"rows": found}))


def measure(rows: int) -> dict:
    stages: dict[str, dict] = {}

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        stages[name] = {"seconds": round(time.perf_counter() - wall, 1),
                        "cpu_seconds": round(time.process_time() - cpu, 1), "peak_mb": peak()}

    with tempfile.TemporaryDirectory(prefix="ftzard-bench-") as scratch:
        folder = Path(scratch)
        write_rows(folder / "rows.csv", rows)
        import numpy as np

        from ftzard.data import near_duplicates, reading, splitting, storage
        from ftzard.data.identity import LATEST
        from ftzard.modeling import tiny_falcon
        from ftzard.modeling.tokenizer import encode_column, load_tokenizer
        from ftzard.tasks.classification import text_rows

        with stage("imports"):
            pass
        with stage("read"):
            raw = reading.read_raw(folder / "rows.csv", text_column="text", label_column="label")
        with stage("clean"):
            cleaned, _ = text_rows.clean(raw, batch="b", labels=None, identity=LATEST,
                                         mention="@user", link="http", max_characters=2000)
            del raw
        with stage("write cleaned"):
            storage.write_parquet(cleaned, folder / "cleaned.parquet", identity=LATEST)
            del cleaned
        with stage("split"):
            frame = storage.read_parquet(folder / "cleaned.parquet")
            frame = splitting.assign(frame, ratio={"train": .8, "validation": .1, "test": .1},
                                     salt="bench", identity=LATEST)
        with stage("near-duplicates"):
            frame, near = near_duplicates.drop_near_duplicates(frame, LATEST)
        tokenizer = load_tokenizer(tiny_falcon.build(
            folder / "base", frame["text"].head(20_000), layers=1, width=32, heads=2,
            vocabulary=4096, seed=0))
        with stage("tokenize"):
            ids, length, cut = encode_column(frame["text"], tokenizer, 64)
        with stage("write tokens"):
            storage.write_parquet(frame.assign(input_ids=ids, length=length, cut=cut),
                                  folder / "tokenized.parquet", identity=LATEST)
        return {"stages": stages, "peak_mb": peak(), "near_duplicates": len(near),
                "tokens": int(np.sum(length)), "rows_out": len(frame)}


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def write_rows(path: Path, rows: int) -> None:
    """Write rows in blocks; every twentieth repeats an earlier text of its block less a word."""
    draw = random.Random(7)
    words = [f"{draw.choice('abcdefghijklmnoprstuvw')}{number:x}" for number in range(WORDS)]
    with open(path, "w", encoding="utf-8") as stream:
        stream.write("text,label\n")
        before = ["nothing yet to repeat here"]
        for number in range(rows):
            if number % 20 == 19:
                text = draw.choice(before).rpartition(" ")[0]
            else:
                text = " ".join(draw.choices(words, k=draw.randint(*PER_TEXT)))
                before = [*before[-50:], text]
            stream.write(f"{text},{'glad' if number % 2 else 'sad'}\n")


if __name__ == "__main__":
    main()
