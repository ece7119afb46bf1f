"""Coverage of intervals for new groups, of the sure layers, and of the comparison of versions."""

import numpy as np
from sklearn.metrics import average_precision_score

from tfpipe.evaluation import group_intervals, prevalence, version_comparison
from tfpipe.evaluation.version_comparison import Score
from tfpipe.tasks.melt_layer.layer_metrics import LayerCounts
from verification.row import Row

KNOWN = (6, 12, 20)
LOW, HIGH = 0.92, 0.98


def check() -> list[Row]:
    """Returns the rows of the table."""
    return [*_scores(), *_counts(), *_uncertain(), *_gate()]


def _covered(name: str, truth: str, rates: dict[int, float], of: int) -> Row:
    # A share of so many repetitions has a deviation of its own.
    slack = 2 * np.sqrt(0.95 * 0.05 / of)
    return Row(
        name,
        f"{truth}; {of} repetitions",
        "0.95",
        ", ".join(f"{rate:.3f} at {known} groups" for known, rate in rates.items()),
        all(LOW - slack <= rate <= HIGH + slack for rate in rates.values()),
    )


def _scores(repetitions: int = 200) -> list[Row]:
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

    metrics = {
        "accuracy": lambda labels, scores: float(((scores > 1.2) == labels).mean()),
        "F1": f1,
        "average precision": precision,
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


def _counts(repetitions: int = 150) -> list[Row]:
    rng = np.random.default_rng(2)
    usual = np.array([[0.85, 0.1, 0.05], [0.1, 0.8, 0.1], [0.05, 0.15, 0.8]])

    def confusion() -> np.ndarray:
        """Returns the rates of one run: Dirichlet about the usual ones, sd of about .07."""
        return np.stack([rng.dirichlet(25 * row) for row in usual])

    def predicted(labels: np.ndarray, rates: np.ndarray) -> np.ndarray:
        return np.array([rng.choice(3, p=rates[label]) for label in labels], int)

    rows = []
    for new in (1, 4):
        rates = {}
        for known in KNOWN:
            inside = []
            for repetition in range(repetitions):
                labels = rng.choice(3, 60 * known, p=[0.5, 0.3, 0.2])
                groups = np.repeat(np.arange(known), 60)
                runs = [confusion() for _ in range(known)]
                named = np.concatenate(
                    [predicted(labels[groups == g], runs[g]) for g in range(known)]
                )
                matrices = prevalence.confusions(labels, named, groups, classes=3)
                truth = rng.choice(3, 400, p=[0.8, 0.15, 0.05])
                parts = np.array_split(truth, new)
                found = np.concatenate([predicted(part, confusion()) for part in parts])
                counts = prevalence.estimate(
                    prevalence.count_predictions(found, classes=3),
                    matrices,
                    new_groups=new,
                    seed=repetition,
                )
                real = np.bincount(truth, minlength=3)
                inside.append((counts.low <= real) & (real <= counts.high))
            rates[known] = float(np.mean(inside))
        rows.append(
            _covered(
                f"95 % interval of counts.csv, {new} new run{'s' if new > 1 else ''}",
                "runs whose error rates differ by .07",
                rates,
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


def _gate(repetitions: int = 400) -> list[Row]:
    rng = np.random.default_rng(4)
    rows = []
    for name, draw, most in (
        ("equal", lambda n: rng.normal(0, 0.02, n), 0.05),
        ("equal, differences skewed", lambda n: 0.02 * (rng.exponential(1, n) - 1), 0.05),
        ("worse by twice the spread", lambda n: rng.normal(-0.04, 0.02, n), None),
    ):
        rates = {}
        for old, new in ((12, 0), (12, 12)):
            groups = np.arange(old + new).astype(str)
            refused = 0
            for _ in range(repetitions):
                deciding = []
                for _ in range(2):  # the score of windows and that of whole files
                    gain = draw(old + new)
                    sets = version_comparison.compare_sets(
                        Score("s", groups, lambda r, is_new, g=gain: 0.8 + is_new * g[r].mean()),
                        old_groups={str(i) for i in range(old)},
                    )
                    deciding += version_comparison.deciding_sets(sets)
                refused += version_comparison.is_worse(deciding)
            rates[f"{old} old, {new} new groups"] = refused / repetitions
        shown = ", ".join(f"{rate:.1%} at {where}" for where, rate in rates.items())
        holds = max(rates.values()) <= most + 0.01 if most else min(rates.values()) >= 0.95
        rows.append(
            Row(
                f"retraining refuses a version that is {name}",
                f"two scores of both versions; {repetitions} repetitions",
                f"at most {most:.0%}" if most else "always",
                shown,
                holds,
            )
        )
    return rows
