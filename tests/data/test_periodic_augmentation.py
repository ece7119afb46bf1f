"""Pictures of a periodic box, turned and shifted: nothing is lost, and every way occurs."""

import numpy as np
import tensorflow as tf

from tfpipe.data import augmentation


def ways(image: np.ndarray):
    """Returns (shift of rows, shift of columns, bytes) of all a picture may become."""
    side = len(image)
    for own in (image, image.transpose(1, 0, 2)):
        for turned in (own, own[::-1], own[:, ::-1], own[::-1, ::-1]):
            for rows in range(side):
                for columns in range(side):
                    shifted = np.roll(turned, (rows, columns), (0, 1))
                    yield rows, columns, shifted.tobytes()


def test_every_change_is_a_turn_and_a_shift_around_the_box():
    images = np.random.default_rng(0).random((96, 5, 5, 1)).astype("f4")
    batch = ({"image": tf.constant(images)}, tf.range(96))
    features, labels = augmentation.KINDS["periodic"](7)(3, batch)
    changed = features["image"].numpy()
    assert labels.numpy().tolist() == list(range(96))
    seen = []
    for old, new in zip(images, changed, strict=True):
        found = [number for number, way in enumerate(ways(old)) if way[2] == new.tobytes()]
        assert len(found) == 1
        seen.append(found[0])
    assert len({number // 25 for number in seen}) == 8  # of 96 draws
    assert len({number % 25 for number in seen}) >= 20
    again = augmentation.KINDS["periodic"](7)(3, batch)[0]["image"].numpy()
    other = augmentation.KINDS["periodic"](7)(4, batch)[0]["image"].numpy()
    np.testing.assert_array_equal(again, changed)
    assert (other != changed).any()
