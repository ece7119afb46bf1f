"""Grouped folds: every group judged once by a model that never saw it, the test groups by none."""

from dataclasses import replace

import numpy as np
import pytest
import tiny
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tfpipe.base.errors import UserError
from tfpipe.data import dataset
from tfpipe.training import cross_validation, loop

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> loop.Dataset:
    return tiny.packed(tmp_path_factory.mktemp("tiny"))


def groups_and_images(data, part):
    names = dataset.groups_of(data.folder, part.splits, manifest=data.manifest)
    chosen = np.ones(len(names), bool) if part.chosen is None else part.chosen
    batches = dataset.batches(data.folder, part, manifest=data.manifest)
    return names[chosen], np.concatenate([x["image"].numpy() for x, _ in batches])


def test_every_group_is_judged_once_and_never_by_a_model_that_saw_it(data):
    found = cross_validation.folds_of(data, tiny.spec_of(data), 4)
    judged = []
    for fold, _ in found:
        learnt, own = (set(groups_and_images(data, p)[0]) for p in (fold.train, fold.validation))
        assert not learnt & own
        judged += own
    everything = {*dataset.groups_of(data.folder, ("train", "validation"), manifest=data.manifest)}
    assert sorted(judged) == sorted(everything)
    assert not everything & {*dataset.groups_of(data.folder, ("test",), manifest=data.manifest)}


def test_scaling_knows_the_training_groups_of_the_fold_only(data):
    for fold, spec in cross_validation.folds_of(data, tiny.spec_of(data), 3):
        _, images = groups_and_images(data, fold.train)
        np.testing.assert_allclose(spec.image_mean, images.mean(axis=(0, 1, 2)), rtol=1e-6)
        np.testing.assert_allclose(spec.image_std, images.std(axis=(0, 1, 2)), rtol=1e-6)


def test_both_classes_are_in_every_fold(data):
    for fold, _ in cross_validation.folds_of(data, tiny.spec_of(data), 5):
        for part in (fold.train, fold.validation):
            assert dataset.class_counts(data.folder, part, manifest=data.manifest).min() > 0


@pytest.mark.parametrize("count", [1, 12, 40])
def test_more_folds_than_groups_are_refused_with_what_is_possible(data, count):
    with pytest.raises(UserError, match=f"--folds is {count}, but there are 11 .*Give 2 to 11"):
        cross_validation.folds_of(data, tiny.spec_of(data), count)


def test_a_class_that_one_group_has_alone_is_refused(data, monkeypatch):
    groups = dataset.groups_of(data.folder, cross_validation.SPLITS, manifest=data.manifest)
    labels = (groups == groups[0]).astype(int)
    monkeypatch.setattr(dataset, "labels_of", lambda *_, **__: labels)
    with pytest.raises(UserError, match="fold 1 has no 'bright' among its .* Give fewer folds"):
        cross_validation.folds_of(data, tiny.spec_of(data), 3)


@settings(max_examples=25, deadline=None, suppress_health_check=[*HealthCheck])
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 1)), min_size=30, max_size=60))
def test_no_group_is_ever_on_both_sides(data, drawn):
    names = np.array([f"group{group}".encode() for group, _ in drawn])
    labels = np.array([label for _, label in drawn])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "labels_of", lambda *_, **__: labels)
        sums = {name: {"image": np.ones((3, 1)), "column": np.ones((3, 0))} for name in {*names}}
        patch.setattr(cross_validation, "statistics_by_group", lambda *_, **__: (names, sums))
        try:
            found = cross_validation.folds_of(data, replace(tiny.spec_of(data)), 3)
        except UserError:
            return
        for fold, _ in found:
            assert not {*names[fold.train.chosen]} & {*names[fold.validation.chosen]}
            assert (fold.train.chosen ^ fold.validation.chosen).all()
