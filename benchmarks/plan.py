"""What 150,000, 3 million and 100 million pictures take: disk, hours, and money by engine.

    python benchmarks/plan.py

Computed from what scale.py measures and from list prices; docs/plan.md has their sources. Prices
change: look them up before you rent.
"""

import argparse
from dataclasses import dataclass

SIZES = (150_000, 3_000_000, 100_000_000)
SHARD_MB = 150


@dataclass(frozen=True)
class Measured:
    """Processor seconds a picture of each stage beyond its start, bytes on disk and in memory.

    Near-copies take so long among `near_copies_at` pictures, and more for each of more: times the
    pictures / `near_copies_at`, to the power of `near_copies_growth`.
    """

    pack_s: float
    near_copies_s: float
    near_copies_at: int
    near_copies_growth: float
    train_s: float
    predict_s: float
    disk_bytes: float
    memory_bytes: float
    memory_start_gb: float


@dataclass(frozen=True)
class Engine:
    """What an hour of one processor with its memory costs where packing and predicting run."""

    name: str
    worker_usd: float
    price: str


# Pictures of 64 x 64 px, grey; see the table of docs/scale.md.
MEASURED = Measured(
    pack_s=34.6 / 128_000,
    near_copies_s=541e-6,
    near_copies_at=512_000,
    near_copies_growth=0.08,
    train_s=(641 - 13) / 1e6,
    predict_s=(301 - 6) / 1e6,
    disk_bytes=6_005 * 2**20 / 1e6,
    memory_bytes=270.0,
    memory_start_gb=0.87,
)
# Where these prices stand, and of which date they are, is in docs/plan.md.
EC2_USD = 0.17 / 4  # c5.xlarge, us-east-1, on demand
EMR_USD = 0.043 / 4  # on top of it
DATAFLOW_GB, DATAFLOW_DISK_GB = 3.75, 25  # of a worker with one processor
DATAFLOW_USD = 0.056 + DATAFLOW_GB * 0.003557 + DATAFLOW_DISK_GB * 0.000054  # us-central1, batch
ENGINES = (
    Engine("one's own machine, or Slurm", 0.0, "no fee; electricity is not counted"),
    Engine("AWS EC2, on demand", EC2_USD, "0.17 an hour of c5.xlarge, 4 processors, us-east-1"),
    Engine("AWS EMR (Spark)", EC2_USD + EMR_USD, "EC2's, and 0.043 an hour of c5.xlarge"),
    Engine(
        "Google Dataflow, batch",
        DATAFLOW_USD,
        "0.056 a processor hour, 0.003557 a GB hour of memory (3.75 GB), 0.000054 of disk (25 GB)",
    ),
)
LAUNCHER_USD = EC2_USD  # of an hour of the machine that looks for near-copies and trains
S3_USD, GCS_USD = 0.023, 0.020  # a GB and month


def hours(pictures: int, measured: Measured = MEASURED) -> dict[str, float]:
    """Returns the processor hours of each stage."""
    growth = (pictures / measured.near_copies_at) ** measured.near_copies_growth
    return {
        "pack": pictures * measured.pack_s / 3600,
        "near-copies": pictures * measured.near_copies_s * growth / 3600,
        "train": pictures * measured.train_s / 3600,
        "predict": pictures * measured.predict_s / 3600,
    }


def usd(pictures: int, engine: Engine, measured: Measured = MEASURED) -> float:
    """Returns what an engine costs: its workers pack and predict, one rented machine does the rest.

    On one's own machine all is free.
    """
    spent = hours(pictures, measured)
    launcher = LAUNCHER_USD if engine.worker_usd else 0.0
    workers = spent["pack"] + spent["predict"]
    return workers * engine.worker_usd + (spent["near-copies"] + spent["train"]) * launcher


def main() -> None:
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
    print("| pictures | records, GB | shards | packing's memory, GB |", end="")
    print(" processor hours: pack | near-copies | train, one epoch | predict |")
    print("|---|---|---|---|---|---|---|---|")
    for pictures in SIZES:
        size_gb = pictures * MEASURED.disk_bytes / 1e9
        memory_gb = MEASURED.memory_start_gb + pictures * MEASURED.memory_bytes / 1e9
        cells = [f"{pictures:,}", short(size_gb), f"{max(3, round(1000 * size_gb / SHARD_MB)):,}"]
        cells += [short(value) for value in (memory_gb, *hours(pictures).values())]
        print("| " + " | ".join(cells) + " |")
    sizes = [f"{pictures:,}" for pictures in SIZES]
    print(f"\n| USD | {' | '.join(sizes)} | price |\n|---|---|---|---|---|")
    for engine in ENGINES:
        costs = [short(usd(pictures, engine)) for pictures in SIZES]
        print(f"| {engine.name} | {' | '.join(costs)} | {engine.price} |")
    for name, price in (("S3 Standard", S3_USD), ("Google Cloud Storage, Standard", GCS_USD)):
        costs = [short(pictures * MEASURED.disk_bytes / 1e9 * price) for pictures in SIZES]
        print(f"| {name}, a month | {' | '.join(costs)} | {price:.3f} a GB |")


def short(value: float) -> str:
    """Returns a number with two digits that count."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


if __name__ == "__main__":
    main()
