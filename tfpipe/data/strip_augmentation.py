"""Augmentation of strips of an ice core: cameras, light, and stratification that is no layer."""

import tensorflow as tf

GAMMA = 0.25  # a camera's contrast is changed by up to this share
LIGHT = 0.12  # and its light by up to this share from end to end of a strip
NOISE = 0.03  # largest standard deviation of added noise, as a share of the brightness
BANDS = 4  # of a strip, of other brightness than the ice around; each occurs with
BAND_SHARE = 0.5
# A band's brightness is changed by between these shares, darker and brighter ones, and its half
# width is between these shares of the strip's rows. Most layers are darker.
DARKER, BRIGHTER = 0.25, 0.1
HALF_WIDTHS = (0.006, 0.06)


def strip_augmentation(seed: int):
    """Returns a function from (batch number, batch) to the batch with its strips changed.

    Flips; contrast, light, focus and noise of other cameras; and smooth bands along the rows, which
    have no label: the stratification of ice without layers, in places and shapes that the photos do
    not have. The change is a function of seed and batch number alone.
    """

    def augment(number, batch):
        inputs, label = batch
        image, rows = tf.cast(inputs["image"], tf.float32), inputs["row_labels"]
        count, height = tf.shape(image)[0], image.shape[1]
        key = tf.stack([seed, tf.cast(number, tf.int32)])
        draws = tf.random.stateless_uniform((7, count, 1, 1, 1), seed=key)
        is_turned, is_mirrored = draws[0] < 0.5, draws[1] < 0.5
        image = tf.where(is_turned, tf.reverse(image, [1]), image)
        image = tf.where(is_mirrored, tf.reverse(image, [2]), image)
        rows = tf.where(is_turned[:, :, 0, 0], tf.reverse(rows, [1]), rows)
        softened = _softened(image)
        focus = tf.maximum(2 * draws[2] - 1, 0)
        image = focus * softened + (1 - focus) * image
        mean = tf.reduce_mean(image, axis=[1, 2, 3], keepdims=True) + 1e-3
        image = mean * tf.pow(image / mean, 1 + GAMMA * (2 * draws[3] - 1))
        along = tf.reshape(tf.linspace(-1.0, 1.0, height), (1, height, 1, 1))
        image *= 1 + LIGHT * (2 * draws[4] - 1) * along
        image *= _bands(count, height, key=tf.stack([seed, -1 - tf.cast(number, tf.int32)]))
        noise = tf.random.stateless_normal(tf.shape(image), seed=key)
        image += mean * NOISE * tf.square(draws[5]) * noise
        image *= 0.75 + 0.5 * draws[6]
        dtype = inputs["image"].dtype
        if dtype.is_integer:
            image = tf.round(tf.clip_by_value(image, 0, dtype.max))
        return {**inputs, "image": tf.cast(image, dtype), "row_labels": rows}, label

    return augment


def _softened(image):
    """Returns images out of focus along the rows: each row is averaged with those beside it."""
    padded = tf.pad(image, [[0, 0], [2, 2], [0, 0], [0, 0]], mode="SYMMETRIC")
    rows = image.shape[1]
    weights = (0.1, 0.25, 0.3, 0.25, 0.1)
    return tf.add_n([weight * padded[:, i : i + rows] for i, weight in enumerate(weights)])


def _bands(count, height: int, *, key):
    """Returns the factor [count, height, 1, 1] of smooth bands along the rows."""
    draws = tf.random.stateless_uniform((4, count, BANDS, 1), seed=key)
    narrow, wide = HALF_WIDTHS
    half_width = height * narrow * tf.pow(wide / narrow, draws[1])
    distance = (tf.range(height, dtype=tf.float32) - height * draws[0]) / half_width
    strength = -BRIGHTER + (DARKER + BRIGHTER) * draws[2]
    strength *= tf.cast(draws[3] < BAND_SHARE, tf.float32)
    return tf.reduce_prod(1 - strength * tf.exp(-tf.square(distance)), axis=1)[:, :, None, None]
