"""Random changes to training pictures, as each kind of picture bears them."""

import numpy as np
import tensorflow as tf

BRIGHTNESS = 0.15  # a training picture is made up to this share brighter or darker
TURNS = 8  # of a square: four quarter turns, and their mirror images
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


def of_turns(seed: int):
    """Returns a function from (batch number, batch) to the batch with its pictures turned.

    Each by one of the eight quarter turns and mirror images of a square, all as likely: seed 001's
    eight copies of each track, made while training and so never across a split. Pixels keep their
    values, whatever their dtype.
    """

    def augment(number, batch):
        inputs, label = batch
        image = inputs["image"]
        draws = tf.random.stateless_uniform(
            (tf.shape(image)[0],), seed=tf.stack([seed, tf.cast(number, tf.int32)])
        )
        ways = tf.cast(draws * TURNS, tf.int32)
        every = tf.stack([turned(image, way) for way in range(TURNS)])
        places = tf.stack([ways, tf.range(tf.shape(image)[0])], axis=1)
        image = tf.ensure_shape(tf.gather_nd(every, places), image.shape)
        return {**inputs, "image": image}, label

    return augment


def turned(image, way: int):
    """Returns square pictures [batch, side, side, channels] in one of eight positions.

    Args:
      image: NumPy or TensorFlow.
      way: 0 to 7: bit 2 exchanges rows and columns, bit 1 turns over rows, bit 0 columns.
    """
    if way & 4:
        transpose = np.transpose if isinstance(image, np.ndarray) else tf.transpose
        image = transpose(image, (0, 2, 1, 3))
    return image[:, :: -1 if way & 2 else 1, :: -1 if way & 1 else 1]


def of_periodic(seed: int):
    """Returns a function likewise: turns, and shifts by any number of rows and columns.

    For slices through a periodic box, whose opposite edges meet: what leaves on one side comes back
    on the other, and nothing changes but where the box was opened.
    """
    turn = of_turns(seed)

    def augment(number, batch):
        inputs, label = turn(number, batch)
        image = inputs["image"]
        count = tf.shape(image)[0]
        # Numbers below 0 are no batch's, so these draws are not those of the turns.
        key = tf.stack([seed, -1 - tf.cast(number, tf.int32)])
        shifts = tf.random.stateless_uniform((2, count, 1), seed=key)
        for axis, shift in ((1, shifts[0]), (2, shifts[1])):
            side = image.shape[axis]
            places = tf.range(side) + tf.cast(shift * side, tf.int32)
            image = tf.gather(image, places % side, axis=axis, batch_dims=1)
        return {**inputs, "image": image}, label

    return augment


KINDS = {
    "slices": of_slices,
    "turns": of_turns,
    "periodic": of_periodic,
}  # by the name that a task gives (`Task.augmentation`)
