"""What a comparison comes to: a row for each model."""

from typing import Any

import pandas as pd

METRICS = ("accuracy", "balanced_accuracy", "log_loss")
ERROR = "mean_absolute_error"  # where classes are numbers


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Returns a row for each model: its scores, its mean seconds of training and its megabytes.

    Of folds each metric's mean and deviation; of splits each metric as <split>_<metric>, with what
    seed 004's table tells besides: pretrained, grey and machine.
    """
    rows = []
    for name, own in frame.groupby("model", sort=False):
        row: dict[str, Any] = {"model": name, "failed": _only(own, "failed") or ""}
        if "split" in frame:
            row |= {told: _only(own, told) for told in ("pretrained", "grey", "machine")}
            for split in own["split"].dropna().unique():
                scored = own[own["split"] == split]
                row |= {f"{split}_{m}": _only(scored, m) for m in ("examples", *metrics_of(frame))}
        else:
            row |= {"folds": int(own["accuracy"].notna().sum())}
            for metric in metrics_of(frame):
                row |= {metric: own[metric].mean(), f"{metric}_sd": own[metric].std(ddof=1)}
        row |= {"seconds": own["seconds"].mean(), "megabytes": own["megabytes"].mean()}
        rows.append(row)
    return pd.DataFrame(rows)


def _only(frame: pd.DataFrame, name: str) -> Any:
    """Returns a column's first value; None where there is none."""
    values = frame[name].dropna() if name in frame else ()
    return values.iloc[0] if len(values) else None


def metrics_of(frame: pd.DataFrame) -> tuple[str, ...]:
    """Returns the scores that a comparison has."""
    return (*METRICS, *((ERROR,) if ERROR in frame else ()))
