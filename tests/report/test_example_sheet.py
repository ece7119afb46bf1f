"""Sheet of examples: a row for each class that a split has, of as many groups as there are."""

import four_class_task
import numpy as np
import pytest

from tfpipe.base.errors import UserError
from tfpipe.data import dataset
from tfpipe.results import Records

pytestmark = pytest.mark.slow  # it needs records

NAMES = [*four_class_task.CLASSES, "(unlabelled)"]
N_IMAGES = 5


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    data = four_class_task.packed(tmp_path_factory.mktemp("kinds"))
    return Records(data.folder, data.manifest)


def test_each_class_has_a_row_with_its_count_and_its_own_images(records):
    figure = records.plot_examples("train", per_class=N_IMAGES)
    rows = np.reshape(figure.axes, (len(NAMES), N_IMAGES))
    counts = records.manifest.counts["train"]
    names = [text.get_text() for row in rows for text in row[0].texts]
    assert names == [f"{name}\n{counts[name]:,}" for name in NAMES]
    middles = [[axes.images[0].get_array()[4:12, 4:12].mean() for axes in row] for row in rows]
    brightest = np.array(middles[: len(four_class_task.CLASSES)])
    assert (brightest[1:].min(axis=1) > brightest[:-1].max(axis=1)).all()  # as `read` draws them


def test_the_images_are_of_different_groups_and_of_the_split(records):
    place = {"folder": records.path, "splits": ("test",), "manifest": records.manifest}
    groups = dataset.groups_of(**place)[dataset.labels_of(**place) == 0]
    pixels = four_class_task.read
    figure = records.plot_examples("test", per_class=len(set(groups)))
    images = [axes.images[0].get_array().tobytes() for axes in figure.axes[: len(set(groups))]]
    drawn = {
        example.image.repeat(3, axis=-1).tobytes(): example.group
        for source in four_class_task.TASK.survey(
            records.path.parent / "raw", four_class_task.TASK.options
        ).sources
        for example in pixels(source, four_class_task.TASK.options).examples
    }
    assert {drawn[image].encode() for image in images} == set(groups)


def test_the_seed_chooses_and_a_split_that_is_not_there_is_named(records):
    def shown(seed):
        figure = records.plot_examples("train", per_class=1, seed=seed)
        return [axes.images[0].get_array().tobytes() for axes in figure.axes]

    assert shown(1) == shown(1) != shown(2)
    with pytest.raises(UserError, match="No split called 'tset'. Did you mean 'test'"):
        records.plot_examples("tset")
