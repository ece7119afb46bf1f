"""Run as a process that the tests kill: a search of the tiny task; prints a line an epoch."""

import sys
from pathlib import Path

import tiny

from tfpipe import manifests, search, training

PLAN = search.Plan(tiny.space, tiny.rate, "hyperband", max_epochs=2, factor=2, max_trials=3)
SETTINGS = training.Settings(seed=3, batch_size=16)


def run(folder: Path) -> dict:
    """Runs or resumes the search kept in `folder`/search on the records beside it."""
    records = folder / "records"
    data = training.Data(records, manifests.read(records), tiny.TASK.objective)
    spec = tiny.spec_of(data)
    return search.tune(
        lambda arguments: tiny.build(spec, **arguments),
        data,
        folder / "search",
        plan=PLAN,
        settings=SETTINGS,
        report=lambda told: print(told["trial"], told["epoch"], flush=True),
    )


if __name__ == "__main__":
    run(Path(sys.argv[1]))
    print("done", flush=True)
