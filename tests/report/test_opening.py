"""Sentences at the head of a report."""

from types import SimpleNamespace

import pytest

from tfpipe.report import opening


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("accuracy", "expect an accuracy from 0.80 to 0.90"),
        ("balanced_accuracy", "expect a balanced accuracy from"),
        ("f1", "expect an F1 from"),
        ("layer_f1", "expect a layer F1 from"),
    ],
)
def test_the_article_fits_the_metric(metric, words):
    data = SimpleNamespace(
        group_column="run", interval=(0.8, 0.9), is_autoencoder=False, main_metric=metric
    )
    assert words in opening.expected_score(data)
