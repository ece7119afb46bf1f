"""The comparison of versions in retraining: how often it refuses equal and worse versions."""

import numpy as np

from tfpipe.evaluation import group_intervals, version_comparison
from tfpipe.evaluation.version_comparison import FAMILY, SPREAD, Score
from verification.row import Row

GROUPS = (3, 6, 12, 20)
SPREADS = (0.05, 0.1, 0.2)
MOST = 0.06  # of equal versions refused: the family's .05 and what chance adds to a worst case
MOST_BEYOND = 0.12  # of those whose groups differ more than is allowed for, as the docs say
SEEN = 0.85  # of losses that the documentation calls noticed


def _lognormal(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    sigma = 0.8
    values = np.exp(sigma * rng.normal(size=shape)) - np.exp(sigma**2 / 2)
    return values / np.sqrt((np.exp(sigma**2) - 1) * np.exp(sigma**2))


SHAPES = {
    "symmetric": lambda rng, shape: rng.normal(size=shape),
    "skewed to gains": lambda rng, shape: rng.exponential(size=shape) - 1,
    "skewed to losses": lambda rng, shape: 1 - rng.exponential(size=shape),
}


def check() -> list[Row]:
    """Returns the rows of the table."""
    return [*_equal(), _equal_by_compare_scores(), *_worse(), _detectable()]


def _refused(gains: np.ndarray, *, tests: int) -> np.ndarray:
    """Returns whether each version is worse by one of so many tests, [repetitions] bool.

    Args:
      gains: [groups, repetitions], differences of groups.
      tests: number of deciding differences; consecutive repetitions are those of one version.
    """
    result = group_intervals.difference_test(
        lambda rows: gains[rows].mean(axis=0), np.arange(len(gains)), spread=SPREAD
    )
    return (result.p_below <= FAMILY / tests).reshape(-1, tests).any(axis=1)


def _equal(repetitions: int = 10_000) -> list[Row]:
    rng = np.random.default_rng(4)

    def rate(draw, groups: int, spread: float, tests: int) -> float:
        gains = spread * draw(rng, (groups, repetitions * tests))
        return float(_refused(gains, tests=tests).mean())

    def row(name: str, how: str, cases: list[tuple[str, float]], *, claim: str, most: float) -> Row:
        worst = {
            groups: max(
                (rate(SHAPES.get(shape, _lognormal), groups, spread, tests), shape, spread, tests)
                for shape, spread in cases
                for tests in (1, 2, 4)
            )
            for groups in GROUPS
        }
        shown = ", ".join(f"{found[0]:.1%} at {groups} groups" for groups, found in worst.items())
        _, shape, spread, tests = max(worst.values())
        return Row(
            name,
            f"{how}; 1, 2 or 4 differences decide; {repetitions:,} repetitions",
            claim,
            f"worst cases {shown} ({shape}, spread {spread:g}, {tests} tests)",
            max(found[0] for found in worst.values()) <= most,
        )

    grid = [(shape, spread) for shape in SHAPES for spread in SPREADS]
    beyond = [("skewed to gains", 0.3), ("lognormal", 0.1), ("lognormal", 0.2)]
    return [
        row(
            "retraining refuses an equal version",
            "differences of groups with a spread of .05, .1 or .2, symmetric, or exponential to "
            "either side",
            grid,
            claim="at most 5 %, the worst case within 6 %",
            most=MOST,
        ),
        row(
            "the same, where groups differ more than is allowed for",
            "spread .3 and exponential, or skewed as a lognormal variable of sigma .8",
            beyond,
            claim="no more than 12 %",
            most=MOST_BEYOND,
        ),
    ]


def _equal_by_compare_scores(repetitions: int = 600) -> Row:
    """Two scores on six old and six new groups, as retraining itself tests them."""
    rng, refused = np.random.default_rng(5), 0
    groups = np.arange(12).astype(str)
    for _ in range(repetitions):
        scores = []
        for _ in range(2):
            gain = 0.2 * SHAPES["skewed to gains"](rng, (12,))
            scores.append(
                (Score("s", groups, lambda rows, is_new, g=gain: is_new * g[rows].mean()), True)
            )
        by_score = version_comparison.compare_scores(scores, old_groups=set(groups[:6]))
        refused += any(
            one["verdict"] == version_comparison.WORSE
            for score in by_score
            for one in score["sets"].values()
            if one["decides"]
        )
    rate = refused / repetitions
    return Row(
        "the same, 6 old and 6 new groups, two scores",
        f"differences skewed to gains, spread .2, by compare_scores; {repetitions} repetitions",
        "at most 5 %, within 7 % of so few repetitions",
        f"{rate:.1%}",
        rate <= 0.07,
    )


def _worse(repetitions: int = 4000) -> list[Row]:
    rng = np.random.default_rng(6)
    rows = []
    for groups, noticed, tests in (
        (3, 0.3, 1),
        (6, 0.2, 1),
        (12, 0.15, 1),
        (20, 0.1, 1),
        (3, 0.4, 2),
        (6, 0.25, 2),
        (12, 0.16, 2),
        (20, 0.12, 2),
    ):
        rates = {
            loss: min(
                float(_refused(0.1 * draw(rng, (groups, repetitions)) - loss, tests=1).mean())
                if tests == 1
                else _one_of(draw, groups, loss, rng=rng, repetitions=repetitions)
                for draw in SHAPES.values()
            )
            for loss in (noticed / 2, noticed)
        }
        deciding = "one difference decides" if tests == 1 else "one of two deciding differences"
        rows.append(
            Row(
                f"retraining refuses a version that loses {noticed:g} at {groups} groups",
                f"{deciding}, spread .1, worst of three shapes; {repetitions:,} repetitions",
                f"at least {SEEN:.0%}",
                f"{rates[noticed]:.0%}; of half the loss {rates[noticed / 2]:.0%}",
                rates[noticed] >= SEEN,
            )
        )
    return rows


def _one_of(draw, groups: int, loss: float, *, rng, repetitions: int) -> float:
    """Returns how often a version is refused that loses in the first of two differences."""
    gains = 0.1 * draw(rng, (groups, 2 * repetitions))
    gains[:, ::2] -= loss
    return float(_refused(gains, tests=2).mean())


def _detectable(repetitions: int = 4000) -> Row:
    """The loss that the comparison says would be seen every second time."""
    rng, rates = np.random.default_rng(7), {}
    for groups in GROUPS:
        # Exactly this spread among groups without difference.
        values = np.resize([-1.0, 1.0], groups)
        values = 0.1 * (values - values.mean()) / values.std(ddof=1)
        loss = group_intervals.difference_test(
            lambda rows, v=values: v[rows].mean(), np.arange(groups), spread=SPREAD
        ).detectable(FAMILY)
        gains = rng.normal(-loss, 0.1, (groups, repetitions))
        rates[groups] = float(_refused(gains, tests=1).mean())
    return Row(
        'the loss that "would be seen every second time"',
        f"normal differences of groups, spread .1; {repetitions:,} repetitions",
        "50 %, within 15",
        ", ".join(f"{rate:.0%} at {groups} groups" for groups, rate in rates.items()),
        all(0.35 <= rate <= 0.65 for rate in rates.values()),
    )
