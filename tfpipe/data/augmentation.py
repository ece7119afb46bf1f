"""Augmentation: random changes of training images, as each kind of image allows them."""

import functools
import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfpipe.data.object_augmentation import object_augmentation
from tfpipe.data.strip_augmentation import strip_augmentation

BRIGHTNESS = 0.15  # a training image is made up to this share brighter or darker
TURNS = 8  # of a square: four quarter turns, and their mirror images
SHIFT_ROWS = 0.06  # and moved along its rows by up to this share of its height (3 of 50 rows)

# Seed 004's, of photographs.
TURN_DEG = 10.0
SHIFT = (0.4, 0.5)  # of width and height; its crop's 4 px of 64 are within these
JITTER = 0.1  # of brightness, contrast, saturation, and hue in turns
YIQ = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))


def slice_augmentation(seed: int):
    """Returns a function from (batch number, batch) to the batch with its images changed.

    Flips, brightness, and small shifts along the rows. Where "interval" gives the rows of an
    object, the shift ends where the object meets the image's edge, so that none of its rows is
    lost. The change is a function of seed and batch number alone (seed 002: flips and brightness; a
    shift along the rows is what another stride would have cut).
    """

    def augment(number, batch):
        inputs, label = batch
        image = inputs["image"]
        count, height = tf.shape(image)[0], image.shape[1]
        draws = tf.random.stateless_uniform(
            (4, count), seed=tf.stack([seed, tf.cast(number, tf.int32)])
        )
        most = max(1, int(height * SHIFT_ROWS))
        moved = tf.cast(tf.round((draws[2][:, None] * 2 - 1) * most), tf.int32)
        if "interval" in inputs:
            ends = inputs["interval"]
            ends = tf.where(draws[0][:, None] < 0.5, flip_intervals(ends), ends)
            moved = _moved_within(ends, moved, height=height)
            ends = _moved_ends(ends, tf.cast(moved, tf.float32) / height)
            inputs = {**inputs, "interval": ends}
        rows = tf.clip_by_value(tf.range(height) + moved, 0, height - 1)
        rows = tf.where(draws[0][:, None] < 0.5, height - 1 - rows, rows)
        # One gather of rows, of the images or of their mirror images, is twice as fast as
        # choosing between whole images.
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


def _moved_within(ends, moved, *, height: int):
    """Returns by how many rows [n, 1] int32 images move up, so that no row of an object leaves.

    Args:
      ends: [n, 2] float32, where each object begins and ends, in shares of the height; below 0
        without an object, whose image moves as drawn.
      moved: [n, 1] int32, as drawn; below 0 is down.
      height: rows of an image.
    """
    rows = tf.cast(tf.round(ends * height), tf.int32)
    above, below = rows[:, :1], height - rows[:, 1:]
    within = tf.clip_by_value(moved, -tf.maximum(below, 0), tf.maximum(above, 0))
    return tf.where(ends[:, :1] < 0, moved, within)


def _moved_ends(ends, up):
    """Returns where intervals [n, 2] lie when all rows move up, in shares of the height.

    An end at the image's edge stays there: rows that come in repeat the edge's.
    """
    is_still = (ends <= 0) | (ends >= 1)
    return tf.where(is_still, ends, tf.clip_by_value(ends - up, 0.0, 1.0))


def flip_intervals(ends):
    """Returns where intervals [n, 2] lie when the rows are turned over."""
    return tf.where(ends < 0, ends, 1 - tf.reverse(ends, [1]))


def turn_augmentation(seed: int):
    """Returns a function from (batch number, batch) to the batch with its images turned.

    Each takes one of the eight quarter turns and mirror images of a square, with equal probability.
    They are the eight copies of each track in seed document 001, made while training and so never
    across a split. Pixels keep their values, whatever their dtype.
    """

    def augment(number, batch):
        inputs, label = batch
        image = inputs["image"]
        draws = tf.random.stateless_uniform(
            (tf.shape(image)[0],), seed=tf.stack([seed, tf.cast(number, tf.int32)])
        )
        ways = tf.cast(draws * TURNS, tf.int32)
        every = tf.stack([orient_squares(image, way) for way in range(TURNS)])
        places = tf.stack([ways, tf.range(tf.shape(image)[0])], axis=1)
        image = tf.ensure_shape(tf.gather_nd(every, places), image.shape)
        return {**inputs, "image": image}, label

    return augment


def orient_squares(image, way: int):
    """Returns square images [batch, side, side, channels] in one of eight positions.

    Args:
      image: NumPy or TensorFlow.
      way: 0 to 7: bit 2 exchanges rows and columns, bit 1 turns over rows, bit 0 columns.
    """
    if way & 4:
        transpose = np.transpose if isinstance(image, np.ndarray) else tf.transpose
        image = transpose(image, (0, 2, 1, 3))
    return image[:, :: -1 if way & 2 else 1, :: -1 if way & 1 else 1]


def periodic_augmentation(seed: int):
    """Returns a function from (batch number, batch) to the batch, its images turned and shifted.

    Shifts are by any number of rows and columns. This is for slices through a periodic box, whose
    opposite edges meet: pixels that leave on one side come back on the other.
    """
    turn = turn_augmentation(seed)

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


def photo_augmentation(seed: int):
    """Returns a function from (batch number, batch) to the batch with its images changed.

    Seed 004's for photographs: a crop of the image padded by reflection, flips, a shift by up to
    0.4 of the width and half the height, a rotation by up to 10 degrees (nearest pixel), and a
    jitter of brightness, contrast, saturation and hue by a tenth. What an image lacks then is its
    own reflection, where the seed has black. All is a function of seed and batch number alone.
    """

    def augment(number, batch):
        inputs, label = batch
        image = inputs["image"]
        draws = tf.random.stateless_uniform(
            (9, tf.shape(image)[0]), minval=-1.0, seed=tf.stack([seed, tf.cast(number, tf.int32)])
        )
        changed = flip_shift_rotate(tf.cast(image, tf.float32), draws[:5])
        changed = _jittered(changed, draws[5:] * JITTER)
        if image.dtype.is_integer:
            changed = tf.round(tf.clip_by_value(changed, 0, image.dtype.max))
        return {**inputs, "image": tf.cast(changed, image.dtype)}, label

    return augment


def flip_shift_rotate(image, draws):
    """Returns images [n, height, width, channels] flipped, shifted and turned by draws [5, n]."""
    height, width = image.shape[1:3]
    angle = draws[4] * (TURN_DEG * math.pi / 180)
    across, down = tf.where(draws[0] < 0, -1.0, 1.0), tf.where(draws[1] < 0, -1.0, 1.0)
    cos, sin = tf.cos(angle), tf.sin(angle)
    middle = [(width - 1) / 2, (height - 1) / 2]
    shift = [draws[2] * (SHIFT[0] * width), draws[3] * (SHIFT[1] * height)]
    # Where each pixel comes from: about the middle turned, flipped, then shifted.
    rows = [across * cos, -across * sin], [down * sin, down * cos]
    offsets = [
        middle[i] - rows[i][0] * middle[0] - rows[i][1] * middle[1] + shift[i] for i in (0, 1)
    ]
    zero = tf.zeros_like(cos)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=image,
        transforms=tf.stack([*rows[0], offsets[0], *rows[1], offsets[1], zero, zero], axis=1),
        output_shape=[height, width],
        fill_value=0.0,
        interpolation="NEAREST",
        fill_mode="REFLECT",
    )


def _jittered(image, draws):
    """Returns images with brightness, contrast, saturation and hue changed by draws [4, n]."""
    gain, contrast, saturation, hue = tf.unstack(draws[:, :, None, None, None])
    mean = tf.reduce_mean(image, axis=[1, 2, 3], keepdims=True)
    image = (mean + (image - mean) * (1 + contrast)) * (1 + gain)
    if image.shape[-1] != 3:
        return image
    # In luma and two differences of colours (YIQ), a hue is an angle and a saturation a length.
    angle, length = 2 * math.pi * hue[..., 0], 1 + saturation[..., 0]
    cos, sin = length * tf.cos(angle), length * tf.sin(angle)
    one, none = tf.ones_like(cos), tf.zeros_like(cos)
    turn = tf.concat([one, none, none, none, cos, -sin, none, sin, cos], axis=-1)
    to_yiq = tf.constant(YIQ)
    whole = tf.linalg.inv(to_yiq) @ tf.reshape(turn, (-1, 3, 3)) @ to_yiq
    pixels = tf.reshape(image, (-1, image.shape[1] * image.shape[2], 3))
    return tf.reshape(tf.matmul(pixels, whole, transpose_b=True), tf.shape(image))


# By the name that a task gives (`Preprocessing.augmentation`).
KINDS: dict[str, Callable[[int], Callable]] = {
    "slices": slice_augmentation,
    "turns": turn_augmentation,
    "periodic": periodic_augmentation,
    "photos": photo_augmentation,
    "strips": strip_augmentation,
    "objects": functools.partial(object_augmentation, is_turned=True, mirrored_axes=1),
    "flipped-objects": functools.partial(object_augmentation, mirrored_axes=2),
    "mirrored-objects": functools.partial(object_augmentation, mirrored_axes=1),
    "upright-objects": object_augmentation,
}
