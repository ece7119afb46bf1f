"""Shares of classes among images without labels."""

import numpy as np
import pytest

from tfpipe.evaluation import prevalence


@pytest.mark.parametrize("shares", [(0.8, 0.15, 0.05), (1 / 3, 1 / 3, 1 / 3)])
def test_a_shifted_prior_is_found_from_calibrated_probabilities(shares):
    rng = np.random.default_rng(0)
    prior = np.array([0.3, 0.3, 0.4])
    labels = rng.choice(3, 4000, p=shares)
    means = np.eye(3) * 2
    points = means[labels] + rng.normal(size=(4000, 3))
    density = np.exp(-((points[:, None] - means) ** 2).sum(axis=2) / 2)
    probabilities = density * prior
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    estimated = prevalence.shifted_prior(probabilities, prior)
    assert estimated.sum() == pytest.approx(1)
    assert np.abs(estimated - np.array(shares)).max() < 0.03
    assert np.abs(probabilities.mean(axis=0) - np.array(shares)).max() > 0.03 or shares[0] < 0.5
