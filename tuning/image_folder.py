"""Spaces for any folder of images, and for tasks of users without spaces.

    tfpipe tune ./photos [--model resnet18]

They do not depend on the content of the images. They are the spaces of the published networks for
other tasks: the Simple CNN of seed document 002 (2022), residual networks, and networks pretrained
on ImageNet for small data sets.
"""

from tuning import autoencoders, compact_resnet, insolubles, melt_layer, resnets, transfer

SEARCHES = {
    "compact-resnet": compact_resnet.COMPACT_RESNET,
    "simple-cnn": melt_layer.SEARCHES["simple-cnn"],
    "resnet9": resnets.RESNET,
    "resnet18": resnets.RESNET,
    "resnet34": resnets.RESNET,
    "image-and-columns": insolubles.SEARCHES["image-and-columns"],
    "columns-mlp": insolubles.SEARCHES["columns-mlp"],
    "resnet50": transfer.RESNET,
    "vgg16": transfer.VGG16,
    "conv-autoencoder": autoencoders.CONV_AUTOENCODER,
    "conv-vae": autoencoders.CONV_VAE,
}
