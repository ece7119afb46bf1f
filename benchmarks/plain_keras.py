"""The same networks as a user of Keras writes them, float32, on arrays."""

import keras
from keras import layers


def simple_cnn(
    shape: tuple[int, int, int],
    *,
    filters: int = 32,
    dropout: float = 0.25,
    dense_units: int = 128,
    dense_dropout: float = 0.5,
) -> keras.Model:
    """2,551,105 parameters at 50 x 200 x 3."""
    model = keras.Sequential([keras.Input(shape), layers.Rescaling(1 / 127.5, offset=-1)])
    for width in (filters, 2 * filters, 4 * filters):
        model.add(layers.Conv2D(width, 3, padding="same", activation="relu"))
        model.add(layers.MaxPooling2D())
        model.add(layers.Dropout(dropout))
    model.add(layers.Flatten())
    model.add(layers.Dense(dense_units, activation="relu"))
    model.add(layers.Dropout(dense_dropout))
    model.add(layers.Dense(1, activation="sigmoid"))
    return model


def resnet18(shape: tuple[int, int, int]) -> keras.Model:
    """He et al. (2015) with the head of seed 000, 512-64-40."""
    image = keras.Input(shape)
    x = layers.Rescaling(1 / 127.5, offset=-1)(image)
    x = layers.ReLU()(_conv_norm(x, filters=64, size=7, strides=2))
    x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
    for stage, filters in enumerate((64, 128, 256, 512)):
        for block in range(2):
            shortcut, strides = x, 2 if stage and not block else 1
            if strides == 2:
                shortcut = _conv_norm(x, filters=filters, size=1, strides=2)
            x = layers.ReLU()(_conv_norm(x, filters=filters, size=3, strides=strides))
            x = _conv_norm(x, filters=filters, size=3, strides=1)
            x = layers.ReLU()(layers.Add()([x, shortcut]))
    x = layers.GlobalAveragePooling2D()(x)
    for units in (64, 40):
        x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(layers.Dense(units)(x))
        x = layers.Dropout(0.2)(layers.ReLU()(x))
    return keras.Model(image, layers.Dense(1, activation="sigmoid")(x))


MODELS = {"simple-cnn": simple_cnn, "resnet18": resnet18}


def _conv_norm(x, *, filters: int, size: int, strides: int):
    x = layers.Conv2D(
        filters,
        size,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
    )(x)
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)
