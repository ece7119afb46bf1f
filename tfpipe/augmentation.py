"""Random changes to training pictures, as each kind of picture bears them."""

import tensorflow as tf

BRIGHTNESS = 0.15  # a training picture is made up to this share brighter or darker
SHIFT_ROWS = 0.06  # and moved along its rows by up to this share of its height (3 of 50 rows)


def of_slices(seed: int):
    """Returns a function from (batch number, batch) to the batch with its pictures changed.

    Flips, brightness, and small shifts along the rows. The change is a function of seed and batch
    number alone (seed 002: flips and brightness; a shift along the rows is what another stride
    would have cut).
    """

    def augment(number, batch):
        inputs, label = batch
        image = inputs["image"]
        count, height = tf.shape(image)[0], image.shape[1]
        draws = tf.random.stateless_uniform(
            (4, count), seed=tf.stack([seed, tf.cast(number, tf.int32)])
        )
        most = max(1, int(height * SHIFT_ROWS))
        rows = tf.range(height) + tf.cast(tf.round((draws[2][:, None] * 2 - 1) * most), tf.int32)
        rows = tf.clip_by_value(rows, 0, height - 1)
        rows = tf.where(draws[0][:, None] < 0.5, height - 1 - rows, rows)
        # One gather of rows, of the pictures or of their mirror images, is twice as fast as
        # choosing between whole pictures.
        both = tf.concat([image, tf.reverse(image, [2])], axis=0)
        chosen = tf.range(count) + tf.where(draws[1] < 0.5, count, 0)
        lines = tf.reshape(both, (2 * count * height, -1))
        picked = tf.gather(lines, chosen[:, None] * height + rows)
        image = tf.ensure_shape(tf.reshape(picked, tf.shape(image)), image.shape)
        gain = 1 + BRIGHTNESS * (tf.reshape(draws[3], (-1, 1, 1, 1)) * 2 - 1)
        bright = tf.cast(image, tf.float32) * gain
        bright = tf.round(tf.minimum(bright, image.dtype.max)) if image.dtype.is_integer else bright
        return {**inputs, "image": tf.cast(bright, image.dtype)}, label

    return augment


KINDS = {"slices": of_slices}  # by the name that a task gives (`Task.augmentation`)
