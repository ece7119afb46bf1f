"""Probabilities of unequal classes, against a posterior that is known."""

import numpy as np
from scipy import optimize, stats
from sklearn.metrics import log_loss

from tfpipe.baselines import train_trees
from tfpipe.data.columns import ColumnExamples
from tfpipe.evaluation import calibration
from tfpipe.models import boosted_trees
from verification.row import Row

SHARES = np.array([0.90, 0.08, 0.02])
N_TRAIN, N_VALIDATION, N_NEW = 4000, 1500, 20_000
COLUMNS = 4
TREES = {"trees": 150, "max_depth": 3, "learning_rate": 0.1}
SEEDS = range(3)


def check() -> list[Row]:
    """Returns the rows of the table."""
    losses: dict[str, list[float]] = {"posterior": [], "tfpipe": [], "temperature": []}
    errors, rates = [], []
    for seed in SEEDS:
        splits = {
            name: _drawn(count, seed=10 * seed + i)
            for i, (name, count) in enumerate(
                {"train": N_TRAIN, "validation": N_VALIDATION, "test": N_NEW}.items()
            )
        }
        examples = {name: part[0] for name, part in splits.items()}
        trees = boosted_trees.fit(
            examples["train"], classes=3, arguments=TREES, balanced="weights", seed=seed
        )
        nobody = np.zeros(0, int), np.zeros((0, 3), np.float32), np.zeros(0, "S9")
        evaluated = train_trees.evaluate(
            trees, examples, nobody, classes=("a", "b", "c"), balance="weights"
        )
        fitted = evaluated.card["calibration"]
        raw = boosted_trees.classify(trees, examples["test"].columns)
        labels = examples["test"].labels
        after = calibration.apply(raw, fitted["temperature"], fitted["bias"])
        validation = examples["validation"]
        warm = _temperature(validation.labels, boosted_trees.classify(trees, validation.columns))
        for name, probabilities in (
            ("posterior", splits["test"][1]),
            ("tfpipe", after),
            ("temperature", calibration.apply(raw, warm)),
        ):
            losses[name].append(log_loss(labels, probabilities, labels=range(3)))
        errors.append(calibration.class_calibration_error(labels, after))
        is_sure = after[:, 2] > 0.8
        rates.append((int(is_sure.sum()), float((labels[is_sure] == 2).mean())))
    mean = {name: float(np.mean(values)) for name, values in losses.items()}
    n_sure, share = np.mean(rates, axis=0)
    truth = (
        f"normal classes of shares .90, .08, .02; boosted trees with class weights, {N_TRAIN:,} "
        f"to train, {N_VALIDATION:,} to calibrate, {N_NEW:,} new, {len(SEEDS)} seeds"
    )
    return [
        Row(
            "probability of a class: log loss",
            truth,
            f"the posterior's own {mean['posterior']:.3f}",
            f"{mean['tfpipe']:.3f}; by a temperature alone {mean['temperature']:.3f}",
            mean["tfpipe"] <= mean["temperature"] and mean["tfpipe"] < 1.25 * mean["posterior"],
        ),
        Row(
            "probability of a class: class-wise calibration error",
            truth,
            "0",
            f"{np.mean(errors):.4f}",
            float(np.mean(errors)) < 0.02,
        ),
        Row(
            "the rarest class, where its probability is above .8",
            truth,
            "more than .8 right",
            f"{share:.2f} of {n_sure:.0f} a seed",
            share > 0.75,
        ),
    ]


def _temperature(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Returns the best temperature without biases, for comparison."""
    return optimize.minimize_scalar(
        lambda t: log_loss(labels, calibration.apply(probabilities, t), labels=range(3)),
        bounds=(0.3, 5),
        method="bounded",
    ).x


def _drawn(count: int, *, seed: int) -> tuple[ColumnExamples, np.ndarray]:
    """Returns examples, and the true posterior [n, classes]."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(len(SHARES), count, p=SHARES)
    means = np.linspace(0, 2, len(SHARES))
    values = rng.normal(means[labels][:, None], [1, 1.5, 2, 2], (count, COLUMNS))
    likelihoods = np.prod(stats.norm.pdf(values[:, None], means[:, None], [1, 1.5, 2, 2]), axis=2)
    posterior = likelihoods * SHARES
    posterior /= posterior.sum(axis=1, keepdims=True)
    names = np.array([f"{seed}-{i}".encode() for i in range(count)])
    return ColumnExamples(values.astype(np.float32), labels, names, names), posterior
