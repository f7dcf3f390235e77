"""`import ftzard.definitions` against `import dagster, dagstermill`, in turn, medians of ten."""

import statistics
import subprocess
import sys
import time

from machine import store

ROUNDS = 10
WAYS = {"dagster": "import dagster, dagstermill", "ftzard": "import ftzard.definitions"}


def seconds(statement: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-W", "ignore", "-c", statement], check=True)
    return time.perf_counter() - began


def main() -> None:
    for statement in WAYS.values():
        seconds(statement)
    taken: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(ROUNDS):
        for name, statement in WAYS.items():
            taken[name].append(seconds(statement))
    ratio = statistics.median(f / d for f, d in zip(taken["ftzard"], taken["dagster"], strict=True))
    figures = {f"{name}_seconds": round(statistics.median(t), 3) for name, t in taken.items()}
    figures["ratio"] = round(ratio, 3)
    print(figures, store("import_time", figures))


if __name__ == "__main__":
    main()
