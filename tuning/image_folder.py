"""Spaces for any folder of pictures, and for a task of the user's that has none of its own.

    tfpipe tune ./photos [--model resnet18]

Nothing is known of the pictures, so these are the spaces that the published networks have
elsewhere: seed 002's Simple CNN, residual networks, and bodies trained on ImageNet for those who
have few pictures.
"""

from tuning import autoencoders, insolubles, melt_layer, resnets, transfer

SEARCHES = {
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
