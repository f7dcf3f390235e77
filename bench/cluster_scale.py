"""How long, and at what price, a cluster of so many workers would take: a simulation, no cluster.

    python bench/cluster_scale.py            # writes bench/results/cluster_scale.{json,png}

Three tasks: 10 million and 1 billion rows to predict, and a search of 64 trials. What is simulated
is what compute=ray does: the head sends shards one after the other, each of the workers' jobs
starts and takes every n-th shard, a shard takes as long as its rows and a random share more or
less, a node is lost now and then and its job starts again without its finished shards, and the head
fetches the results. Everything measured and everything assumed stands in Assumed and in the
results.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot

RESULTS = Path(__file__).parent / "results"
WORKERS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


@dataclass(frozen=True)
class Assumed:
    """The constants, with where each is from."""

    start_s: float = 15.0         # measured: to the first step, tiny base, nodes of one machine
    shard_rows: int = 2048        # as in the code
    rows_per_s: float = 880.0     # published: DistilBERT, 100 tokens, one L4
    trial_s: float = 3.0 * 1500   # published: QLoRA 7B, 8 rows of 512 tokens, 1,500 steps of 3.0 s
    spread: float = 0.1           # assumed: standard deviation of a shard's or trial's time
    row_bytes: int = 600          # assumed: a row of 100 tokens as it is sent, and its answer
    head_bytes_per_s: float = 1e8   # assumed: what the head sends and fetches, 100 MB/s
    request_s: float = 0.05         # assumed: one request to S3
    requests: int = 4               # of the head for a shard, as in the code: one after the other
    losses_per_hour: float = 0.01   # assumed: of each node
    dollars_per_hour: float = 0.8   # assumed: of one L4 node


ASSUMED = Assumed()


def predict(rows: int, workers: int, seed: int = 0) -> tuple[float, float]:
    """Return (seconds in all, node hours) for so many rows."""
    a, draw = ASSUMED, np.random.default_rng(seed)
    shards = -(-rows // a.shard_rows)
    per_shard = a.shard_rows / a.rows_per_s
    busy = []
    for worker in range(min(workers, shards)):
        own = len(range(worker, shards, workers))
        computing = own * per_shard + draw.normal(0, a.spread * per_shard * own ** 0.5)
        lost = draw.poisson(a.losses_per_hour * computing / 3600)
        busy.append(a.start_s * (1 + lost) + computing + lost * per_shard / 2)
    transfer = 2 * rows * a.row_bytes / a.head_bytes_per_s + shards * a.requests * a.request_s
    # Before the jobs, and after them.
    return transfer + max(busy), sum(busy) / 3600


def search(trials: int, workers: int, seed: int = 0) -> tuple[float, float]:
    """Return (seconds in all, node hours) for a search in groups of as many trials as workers."""
    a, draw, whole, busy = ASSUMED, np.random.default_rng(seed), 0.0, 0.0
    for begin in range(0, trials, workers):
        took = a.start_s + a.trial_s * np.maximum(
            draw.normal(1, a.spread, min(workers, trials - begin)), 0.1)
        whole, busy = whole + float(took.max()), busy + float(took.sum())
    return whole, busy / 3600


def main() -> None:
    tasks = {"10 million rows": lambda n: predict(10**7, n),
             "1 billion rows": lambda n: predict(10**9, n), "64 trials": lambda n: search(64, n)}
    found = {name: {n: dict(zip(("seconds", "node_hours"), task(n), strict=True))
                    for n in WORKERS} for name, task in tasks.items()}
    for name, by_workers in found.items():
        for n in WORKERS:
            one, double = by_workers[n], by_workers.get(2 * n)
            one["dollars"] = one["node_hours"] * ASSUMED.dollars_per_hour
            one["faster_with_twice_as_many"] = double and one["seconds"] / double["seconds"]
        saturates = next((n for n in WORKERS if (by_workers[n]["faster_with_twice_as_many"] or 1)
                          < 1.2), WORKERS[-1])
        print(f"{name}: 1 worker {by_workers[1]['seconds'] / 3600:,.1f} h, {saturates} workers "
              f"{by_workers[saturates]['seconds'] / 3600:,.2f} h at "
              f"{by_workers[saturates]['dollars']:,.0f} $; twice as many would gain less than 20 %")
        by_workers["saturates_at"] = saturates
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "cluster_scale.json").write_text(json.dumps(
        {"simulation": True, "assumed": asdict(ASSUMED), "found": found}, indent=1) + "\n")
    figure, axes = pyplot.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    for axis, (name, by_workers) in zip(axes, found.items(), strict=True):
        hours = [by_workers[n]["seconds"] / 3600 for n in WORKERS]
        axis.loglog(WORKERS, hours, "o-", label="simulated")
        axis.loglog(WORKERS, [hours[0] / n for n in WORKERS], ":", color="grey", label="ideal")
        axis.axvline(by_workers["saturates_at"], color="tab:red", lw=0.8, label="saturates")
        axis.set(title=f"{name} (simulation)", xlabel="workers", ylabel="hours")
    axes[0].legend()
    figure.savefig(RESULTS / "cluster_scale.png", dpi=110)


if __name__ == "__main__":
    main()
