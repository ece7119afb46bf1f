"""Coverage of intervals for new groups, and precision of the layers that are sure."""

import numpy as np
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    roc_auc_score,
)

from tfpipe.evaluation import group_intervals, prevalence
from tfpipe.tasks.melt_layer.layer_metrics import LayerCounts
from verification.row import Row

KNOWN = (6, 12, 20)
LOW, HIGH = 0.92, 0.98


def check() -> list[Row]:
    """Returns the rows of the table."""
    return [*_scores(), *_counts(), *_uncertain()]


def _covered(name: str, truth: str, rates: dict[int, float], of: int) -> Row:
    return Row(
        name,
        f"{truth}; {of:,} repetitions",
        f"0.95, from {LOW} to {HIGH}",
        ", ".join(f"{rate:.3f} at {known} groups" for known, rate in rates.items()),
        all(LOW <= rate <= HIGH for rate in rates.values()),
    )


def _scores(repetitions: int = 400) -> list[Row]:
    rng = np.random.default_rng(1)

    def drawn(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        labels, scores, groups = [], [], []
        for group in range(count):
            size = rng.integers(20, 60)
            share = 1 / (1 + np.exp(-rng.normal(-1.2, 0.7)))
            label = (rng.random(size) < share).astype(int)
            contrast, offset = rng.normal(2, 0.6), rng.normal(0, 0.3)
            labels.append(label)
            scores.append(rng.normal(0, 1, size) + contrast * label + offset)
            groups.append(np.full(size, group))
        return np.concatenate(labels), np.concatenate(scores), np.concatenate(groups)

    def f1(labels: np.ndarray, scores: np.ndarray) -> float:
        named = scores > 1.2
        return 2 * (named & (labels == 1)).sum() / max(named.sum() + labels.sum(), 1)

    def precision(labels: np.ndarray, scores: np.ndarray) -> float:
        return average_precision_score(labels, scores) if labels.any() else np.nan

    def balanced(labels: np.ndarray, scores: np.ndarray) -> float:
        is_both = 0 < labels.mean() < 1
        return balanced_accuracy_score(labels, scores > 1.2) if is_both else np.nan

    def area(labels: np.ndarray, scores: np.ndarray) -> float:
        return roc_auc_score(labels, scores) if 0 < labels.mean() < 1 else np.nan

    metrics = {
        "accuracy": lambda labels, scores: float(((scores > 1.2) == labels).mean()),
        "balanced accuracy": balanced,
        "F1": f1,
        "average precision": precision,
        "area under the ROC curve": area,
        "mean absolute error": lambda labels, scores: float(np.abs(scores - 2 * labels).mean()),
    }
    labels, scores, _ = drawn(4000)
    truth = {name: metric(labels, scores) for name, metric in metrics.items()}
    rates: dict[str, dict[int, float]] = {name: {} for name in metrics}
    for known in KNOWN:
        inside = dict.fromkeys(metrics, 0)
        for _ in range(repetitions):
            labels, scores, groups = drawn(known)
            for name, metric in metrics.items():
                bounds = group_intervals.score_interval(
                    lambda rows, m=metric, y=labels, s=scores: m(y[rows], s[rows]), groups
                )
                inside[name] += bounds is not None and bounds[0] <= truth[name] <= bounds[1]
        for name in metrics:
            rates[name][known] = inside[name] / repetitions
    how = "groups that differ in share, contrast and light"
    return [_covered(f"95 % interval of {name}", how, rates[name], repetitions) for name in metrics]


def _counts(repetitions: int = 400) -> list[Row]:
    rng = np.random.default_rng(2)
    usual = np.array([[0.85, 0.1, 0.05], [0.1, 0.8, 0.1], [0.05, 0.15, 0.8]])

    def predicted(labels: np.ndarray, concentration: float) -> np.ndarray:
        """Returns the predictions in one run, whose rates are Dirichlet about the usual ones."""
        rates = np.stack([rng.dirichlet(concentration * row) for row in usual])
        drawn = rng.random((len(labels), 1)) > rates[labels].cumsum(axis=1)
        return np.minimum(drawn.sum(axis=1), 2)

    rows = []
    for concentration, differ in ((25, ".07"), (10, ".11")):
        for new in (1, 4):
            worst = {}
            for known in KNOWN:
                inside = []
                for repetition in range(repetitions):
                    labels = rng.choice(3, (known, 60), p=[0.5, 0.3, 0.2])
                    named = [predicted(run, concentration) for run in labels]
                    groups = np.repeat(np.arange(known), 60)
                    truth = rng.choice(3, 400, p=[0.8, 0.15, 0.05])
                    found = [predicted(run, concentration) for run in np.array_split(truth, new)]
                    counts = prevalence.estimate(
                        prevalence.count_predictions(np.concatenate(found), classes=3),
                        prevalence.confusions(
                            labels.ravel(), np.concatenate(named), groups, classes=3
                        ),
                        new_groups=new,
                        seed=repetition,
                    )
                    real = np.bincount(truth, minlength=3)
                    inside.append((counts.low <= real) & (real <= counts.high))
                # The class whose coverage is farthest off, so that no mean hides it.
                by_class = np.mean(inside, axis=0)
                worst[known] = float(by_class[np.abs(by_class - 0.95).argmax()])
            rows.append(
                _covered(
                    f"95 % interval of counts.csv, {new} new run{'s' if new > 1 else ''}",
                    f"runs whose error rates differ by {differ}, the class farthest off",
                    worst,
                    repetitions,
                )
            )
    return rows


def _uncertain(repetitions: int = 2000) -> list[Row]:
    """Layers not marked uncertain: the lowest threshold whose bound allows it is chosen."""
    rng = np.random.default_rng(3)
    rows = []
    for layers in (8, 60, 200):
        below = said = 0
        for _ in range(repetitions):
            probability = np.sort(rng.uniform(0.5, 1, layers))
            right = rng.random(layers) < probability
            chosen = None
            for threshold in np.linspace(0.5, 0.95, 10):
                sure = probability >= threshold
                hits, false = int((right & sure).sum()), int((~right & sure).sum())
                if LayerCounts(hits, 0, false, (), (), hits + false).precision_bound >= 0.95:
                    chosen = threshold
                    break
            if chosen is not None:
                said += 1
                below += (chosen + 1) / 2 < 0.95  # the true precision above the threshold
        share = below / repetitions
        rows.append(
            Row(
                f'layers not "uncertain", {layers} layers to choose by',
                f"a calibrated model; {repetitions:,} repetitions",
                "precision 0.95, 80 % confidence",
                f"true precision lower in {share:.1%}; some named in {said / repetitions:.1%}",
                share <= 0.2,
            )
        )
    return rows
