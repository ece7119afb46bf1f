"""The space that benchmarks/searching.py searches, by either side: a small simple-cnn."""

from tuning.melt_layer import sgd_or_nadam, simple_cnn_quick

space, training = simple_cnn_quick, sgd_or_nadam
