#!/usr/bin/env python3
"""Ten training steps of three small networks in PyTorch, whole and partly frozen, as references for tests/launcher/training_reference_test.cpp.

Run:  python3 training_losses.py > training_losses.h      (PyTorch 1.13 or newer; made in float64)

Weights and data are a hash of their index, so that both sides make the same: see value().
"""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)


def value(count, salt, scale):
    """scale * (2 u - 1) with u = hash(index, salt) / 2^32, rounded to float32."""
    i = np.arange(count, dtype=np.uint64)
    h = (i * np.uint64(2654435761) + np.uint64(salt) * np.uint64(40503)) & np.uint64(0xFFFFFFFF)
    h = ((h ^ (h >> np.uint64(15))) * np.uint64(2246822519)) & np.uint64(0xFFFFFFFF)
    h = h ^ (h >> np.uint64(13))
    u = h.astype(np.float64) / 2.0**32
    return (scale * (2 * u - 1)).astype(np.float32).astype(np.float64)


def salt_of(name):
    """FNV-1a of the parameter's name, 16 bits."""
    h = 2166136261
    for c in name.encode():
        h = ((h ^ c) * 16777619) & 0xFFFFFFFF
    return h & 0xFFFF


def named(name, layer):
    """The layer, with the name that it has in tests/launcher/small_training.cpp."""
    layer.name = name
    return layer


def norm(name, channels):
    return named(name, nn.BatchNorm2d(channels, eps=1e-3))


def freeze(model, names):
    """No gradients, and a batch norm goes by its running statistics."""
    for layer in model.modules():
        if getattr(layer, "name", None) in names:
            layer.eval().requires_grad_(False)


def dense(name, inputs, outputs):
    layer = named(name, nn.Linear(inputs, outputs))
    scale = (3.0 / inputs) ** 0.5
    weight = value(inputs * outputs, salt_of(name + "/weight"), scale).reshape(inputs, outputs)
    layer.weight.data = torch.tensor(weight.T.copy())
    layer.bias.data = torch.tensor(value(outputs, salt_of(name + "/bias"), 0.1))
    return layer


def conv(name, inputs, outputs, padding, bias=True):
    layer = named(name, nn.Conv2d(inputs, outputs, 3, padding=padding, bias=bias))
    scale = (3.0 / (9 * inputs)) ** 0.5
    weight = value(9 * inputs * outputs, salt_of(name + "/weight"), scale)
    weight = weight.reshape(3, 3, inputs, outputs).transpose(3, 2, 0, 1)  # HWIO -> OIHW
    layer.weight.data = torch.tensor(weight.copy())
    if bias:
        layer.bias.data = torch.tensor(value(outputs, salt_of(name + "/bias"), 0.1))
    return layer


class FlattenNhwc(nn.Module):
    def forward(self, x):
        return x.permute(0, 2, 3, 1).reshape(x.shape[0], -1)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.n0 = conv("stem", 1, 8, 1, False), norm("batch_normalization", 8)
        self.c1, self.n1 = conv("conv1", 8, 8, 1, False), norm("batch_normalization_1", 8)
        self.c2, self.n2 = conv("conv2", 8, 8, 1, False), norm("branch", 8)
        self.head = dense("head", 8, 10)

    def forward(self, x):
        x = F.relu(self.n0(self.stem(x)))
        y = F.relu(self.n1(self.c1(x)))
        x = F.relu(self.n2(self.c2(y)) + x)
        return self.head(x.mean((2, 3)))


MODELS = {
    "mlp": lambda: nn.Sequential(FlattenNhwc(), dense("hidden", 64, 32), nn.ReLU(), dense("head", 32, 10)),
    "cnn": lambda: nn.Sequential(conv("conv1", 1, 8, 1), nn.ReLU(), nn.MaxPool2d(2), conv("conv2", 8, 16, 0),
                                 nn.ReLU(), FlattenNhwc(), dense("head", 2 * 2 * 16, 10)),
    "residual": Residual,
}
OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, 0.05, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p, 0.003),
}
CASES = [(model, optimizer, []) for model in MODELS for optimizer in OPTIMIZERS] + [
    ("mlp", "sgd", ["hidden"]),                        # below what is trained
    ("cnn", "sgd", ["conv1"]),
    ("cnn", "adam", ["conv2", "head"]),                # above what is trained
    ("residual", "sgd", ["stem", "batch_normalization"]),
    ("residual", "adam", ["conv2", "branch"]),         # a branch
]
STEPS, BATCH = 10, 16

print("// Made by training_losses.py with PyTorch", torch.__version__.split("+")[0] + ": do not edit.")
print("#pragma once\n")
print("struct TrainingReference {\n  const char* model;\n  const char* optimizer;\n  const char* freeze;  // TOML\n"
      "  double losses[%d];\n};\n" % STEPS)
print("inline constexpr TrainingReference kTrainingReferences[] = {")
images = value(STEPS * BATCH * 64, 7, 1.0).reshape(STEPS, BATCH, 8, 8, 1).transpose(0, 1, 4, 2, 3)
labels = (value(STEPS * BATCH, 11, 0.5) + 0.5) * 10
labels = np.clip(np.floor(labels), 0, 9).astype(np.int64).reshape(STEPS, BATCH)
for model_name, optimizer_name, frozen in CASES:
    model = MODELS[model_name]()
    freeze(model, frozen)
    optimizer = OPTIMIZERS[optimizer_name]([p for p in model.parameters() if p.requires_grad])
    losses = []
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(torch.tensor(images[step].copy())), torch.tensor(labels[step]))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    numbers = ",\n      ".join(", ".join("%.12g" % v for v in losses[k:k + 5]) for k in range(0, STEPS, 5))
    names = ", ".join('"%s"' % name for name in frozen)
    print('    {"%s", "%s", R"([%s])",\n     {%s}},' % (model_name, optimizer_name, names, numbers))
print("};")
