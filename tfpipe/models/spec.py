"""Spec: shape, dtype, classes, columns and training statistics that a model is built from."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Spec:
    """Properties of the data that a model is built from.

    Attributes:
      image_shape: (height, width, channels).
      classes: names, in label order.
      image_mean: per channel, of the training split, in raw pixel values.
      image_std: likewise; never 0.
      columns: names of the columns of numbers.
      column_mean: per column, of the training split.
      column_std: likewise; never 0.
      image_dtype: "uint8", "uint16" or "float32".
      per_image_standardization: whether each image is also scaled by its mean and deviation,
        for cameras whose settings vary; not where brightness itself separates the classes.
      letterbox: whether an encoded image of another size is padded with its background when served,
        as the task's reader does; else it is stretched.
      row_classes: names of the classes of an image's rows, where rows have classes.
    """

    image_shape: tuple[int, int, int]
    classes: tuple[str, ...]
    image_mean: tuple[float, ...]
    image_std: tuple[float, ...]
    columns: tuple[str, ...] = ()
    column_mean: tuple[float, ...] = ()
    column_std: tuple[float, ...] = ()
    image_dtype: str = "uint8"
    per_image_standardization: bool = False
    letterbox: bool = False
    row_classes: tuple[str, ...] = ()
