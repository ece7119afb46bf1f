"""Augmentation of objects on an even background: turned, mirrored, scaled, moved.

What an image lacks then has the colour of its own border, as a particle's background has. Which
turns and mirror images the images allow is measured, see `symmetries`.
"""

import math

import tensorflow as tf

ZOOM = 1.25  # an object is made up to this many times larger or smaller
ASPECT = 1.12  # and as much longer on one side than on the other
SHIFT = 0.08  # and moved by up to this share of the image's sides
TILT_DEG = 12.0  # and turned by up to this angle, where it has an up


def object_augmentation(seed: int, *, is_turned: bool = False, mirrored_axes: int = 0):
    """Returns a function from (batch number, batch) to the batch with its images changed.

    Each image is turned, mirrored, scaled and moved, with interpolated pixels. All is a function of
    seed and batch number alone.

    Args:
      seed: random seed.
      is_turned: whether by any angle; else by up to `TILT_DEG`.
      mirrored_axes: 1 to mirror half of the images left to right; 2 to turn half over as well.
    """

    def augment(number, batch):
        inputs, label = batch
        image = inputs["image"]
        draws = tf.random.stateless_uniform(
            (7, tf.shape(image)[0]), minval=-1.0, seed=tf.stack([seed, tf.cast(number, tf.int32)])
        )
        angle = draws[2] * (math.pi if is_turned else math.radians(TILT_DEG))
        signs = tf.where(draws[:2] < 0, -1.0, 1.0)
        across, down = (
            signs[axis] if axis < mirrored_axes else tf.ones_like(angle) for axis in (0, 1)
        )
        changed = _transformed(
            tf.cast(image, tf.float32),
            angle=angle,
            mirrored=(across, down),
            scale=tf.exp(draws[3] * math.log(ZOOM)),
            aspect=tf.exp(draws[4] * math.log(ASPECT)),
            shift=draws[5:] * SHIFT,
        )
        if image.dtype.is_integer:
            changed = tf.round(tf.clip_by_value(changed, 0, image.dtype.max))
        return {**inputs, "image": tf.cast(changed, image.dtype)}, label

    return augment


def _transformed(image, *, angle, mirrored, scale, aspect, shift):
    """Returns images [n, height, width, channels] float32 turned, mirrored, scaled and moved.

    Args:
      image: the images.
      angle: [n], radians.
      mirrored: two of [n], across and down: -1 for a mirror image and 1 for none.
      scale: [n], factors of the size.
      aspect: [n], factors of the width over that of the height.
      shift: [2, n], shares of width and height.
    """
    height, width = image.shape[1:3]
    background = _border(image)
    cos, sin = tf.cos(angle) / scale, tf.sin(angle) / scale
    # Where each pixel comes from, about the middle.
    across, down = mirrored
    from_x = across * cos * aspect, -down * sin * aspect
    from_y = across * sin / aspect, down * cos / aspect
    middle = (width - 1) / 2, (height - 1) / 2
    left, top = (
        middle[i] - a * middle[0] - b * middle[1] + shift[i] * (width, height)[i]
        for i, (a, b) in enumerate((from_x, from_y))
    )
    zero = tf.zeros_like(cos)
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=image - background,
        transforms=tf.stack([*from_x, left, *from_y, top, zero, zero], axis=1),
        output_shape=[height, width],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
    return moved + background


def _border(image):
    """Returns the median of each image's border, [n, 1, 1, channels]."""
    border = tf.concat([image[:, 0], image[:, -1], image[:, :, 0], image[:, :, -1]], axis=1)
    return tf.sort(border, axis=1)[:, border.shape[1] // 2][:, None, None, :]
