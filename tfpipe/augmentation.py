"""Random changes to training pictures: flips, brightness, small shifts along the rows."""

import tensorflow as tf

BRIGHTNESS = 0.15  # a training picture is made up to this share brighter or darker
SHIFT_ROWS = 0.06  # and moved along its rows by up to this share of its height (3 of 50 rows)


def changed(seed: int):
    """Returns a function from (batch number, batch) to the batch with its pictures changed.

    The change is a function of seed and batch number alone (seed 002: flips and brightness; a
    shift along the rows is what another stride would have cut).
    """

    def augment(number, batch):
        inputs, label = batch
        image = inputs["image"]
        count, height = tf.shape(image)[0], image.shape[1]
        draws = tf.random.stateless_uniform(
            (4, count), seed=tf.stack([seed, tf.cast(number, tf.int32)])
        )
        each = [tf.reshape(draw, (-1, 1, 1, 1)) for draw in tf.unstack(draws)]
        image = tf.where(each[0] < 0.5, tf.reverse(image, [1]), image)
        image = tf.where(each[1] < 0.5, tf.reverse(image, [2]), image)
        most = max(1, int(height * SHIFT_ROWS))
        rows = tf.range(height) + tf.cast(tf.round((draws[2][:, None] * 2 - 1) * most), tf.int32)
        rows = tf.clip_by_value(rows, 0, height - 1)
        image = tf.gather(image, rows, axis=1, batch_dims=1)
        gain = 1 + BRIGHTNESS * (each[3] * 2 - 1)
        bright = tf.cast(image, tf.float32) * gain
        bright = tf.round(tf.minimum(bright, image.dtype.max)) if image.dtype.is_integer else bright
        return {**inputs, "image": tf.cast(bright, image.dtype)}, label

    return augment
