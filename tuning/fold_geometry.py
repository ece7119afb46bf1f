"""Spaces of the models of folds, with a lab note.

    tfpipe tune folds --model resnet50 [--hp weights=FILE.h5]

Seed document 004 ("Deep Learning as Fold Geometry Classification Tool", Abdallah 2021) had 3,913
training, 300 validation and 68 test images. It trained with Adam and a one-cycle schedule up to
7e-4 for 80 epochs, weight decay 1e-4, and gradients clipped at 0.1. Its accuracies in per cent:

    model       pretrained  colours  test  validation  GPU
    forest      -           -        57    64          13 min 3 s (CPU)
    ResNet-9    no          grey     61.7  55.7        20 min 35 s
    ResNet-9    no          colour   69    60          22 min 45 s
    ResNet-34   no          colour   42.6  45          25 min 15 s
    ResNet-34   yes         colour   63    60          25 min 9 s
    ResNet-50   no          colour   33.8  45          31 min 16 s
    ResNet-50   yes         colour   75    70          27 min 43 s
    ResNet-101  no          colour   39.7  38.9        32 min 11 s
    ResNet-101  yes         colour   61.7  61          44 min 9 s
    ResNet-152  no          colour   33.8  36.7        34 min 7 s
    ResNet-152  yes         colour   66.2  61.3        58 min 6 s

With 68 test images, two standard errors are 11 per cent, and the test set has several copies of one
outcrop. So few of these differences are significant. The document searched by hand and published no
space. The spaces here are those of `tuning.resnets` and `tuning.transfer`, with its one-cycle
schedule.
"""

from dataclasses import replace

from tuning import autoencoders, compact_resnet, melt_layer, resnets, transfer
from tuning.training_spaces import one_cycle

RESNET = replace(transfer.RESNET, training=one_cycle)

SEARCHES = {
    "resnet9": resnets.RESNET,
    "resnet18": resnets.RESNET,
    "resnet34": resnets.RESNET,
    "resnet50": RESNET,
    "resnet101": RESNET,
    "resnet152": RESNET,
    "simple-cnn": melt_layer.SEARCHES["simple-cnn"],
    "compact-resnet": compact_resnet.COMPACT_RESNET,
    "vgg16": transfer.VGG16,
    "conv-autoencoder": autoencoders.CONV_AUTOENCODER,
    "conv-vae": autoencoders.CONV_VAE,
}
