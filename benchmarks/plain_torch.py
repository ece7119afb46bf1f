"""The same networks as a user of PyTorch writes them, eager, on arrays."""

import time

import torch
from torch import nn


class Block(nn.Module):
    """relu(F(x) + x), He et al. (2015)."""

    def __init__(self, before: int, filters: int, *, stride: int):
        super().__init__()
        self.body = nn.Sequential(
            *_conv_norm(before, filters, size=3, stride=stride),
            nn.ReLU(),
            *_conv_norm(filters, filters, size=3, stride=1),
        )
        self.shortcut = nn.Identity()
        if stride == 2:
            self.shortcut = nn.Sequential(*_conv_norm(before, filters, size=1, stride=2))

    def forward(self, x):
        return torch.relu(self.body(x) + self.shortcut(x))


def simple_cnn(shape: tuple[int, int, int]) -> nn.Module:
    """2,551,105 parameters at 50 x 200 x 3."""
    height, width, before = shape
    parts = []
    for filters in (32, 64, 128):
        parts += [nn.Conv2d(before, filters, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        parts += [nn.Dropout(0.25)]
        before = filters
    inside = before * (height // 8) * (width // 8)
    dense = [nn.Flatten(), nn.Linear(inside, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 1)]
    return nn.Sequential(*parts, *dense)


def resnet18(shape: tuple[int, int, int]) -> nn.Module:
    """He et al. (2015) with the head of seed 000, 512-64-40."""
    parts = [*_conv_norm(shape[-1], 64, size=7, stride=2), nn.ReLU()]
    parts += [nn.MaxPool2d(3, stride=2, padding=1)]
    before = 64
    for filters in (64, 128, 256, 512):
        parts += [Block(before, filters, stride=2 if filters > before else 1)]
        parts += [Block(filters, filters, stride=1)]
        before = filters
    parts += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    for units in (64, 40):
        parts += [nn.Linear(before, units), nn.BatchNorm1d(units), nn.ReLU(), nn.Dropout(0.2)]
        before = units
    return nn.Sequential(*parts, nn.Linear(before, 1))


MODELS = {"simple-cnn": simple_cnn, "resnet18": resnet18}


def fit(model: nn.Module, train, validation, *, epochs: int, batch: int, rate: float, bfloat16):
    """Trains a model on (images [n, height, width, channels] uint8, labels [n]), all as tensors.

    Returns:
      Seconds of each epoch, scoring of the validation pictures included, and what the model says
      of these at the end, [n] float32.
    """
    x, y = (torch.from_numpy(array) for array in train)
    pairs = torch.utils.data.TensorDataset(x.permute(0, 3, 1, 2).contiguous(), y.float())
    batches = torch.utils.data.DataLoader(pairs, batch_size=batch, shuffle=True, drop_last=False)
    inputs = torch.from_numpy(validation[0]).permute(0, 3, 1, 2).contiguous()
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    loss = nn.BCEWithLogitsLoss()
    seconds = []
    for _ in range(epochs):
        began = time.perf_counter()
        model.train()
        for images, labels in batches:
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                outputs = model(images.float() / 127.5 - 1).squeeze(1)
            loss(outputs.float(), labels).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            outputs = torch.cat([model(part.float() / 127.5 - 1) for part in inputs.split(256)])
        seconds.append(time.perf_counter() - began)
    return seconds, torch.sigmoid(outputs.float()).squeeze(1).numpy()


def _conv_norm(before: int, filters: int, *, size: int, stride: int) -> list[nn.Module]:
    conv = nn.Conv2d(before, filters, size, stride=stride, padding=size // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    return [conv, nn.BatchNorm2d(filters)]
