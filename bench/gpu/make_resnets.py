#!/usr/bin/env python3
"""Writes resnet18.toml and resnet50.toml beside this file: residual networks (He et al., 2016) layer by layer.

resnet50 is torchvision's (version 1.5: the stride is in the 3x3 convolution); 25,557,032 parameters. resnet18 is the one for
32 x 32 pixels (a 3x3 convolution instead of 7x7 and pooling); 11,173,962 parameters.
"""
import pathlib

HEAD = """# {title} Made by bench/gpu/make_resnets.py.

[data]
train = "{data}"
split = 0
normalize = 255

[train]
epochs = 1000000
steps = {steps}
global_batch = {batch}
microbatches = 1
loss = "softmax_cross_entropy"
learning_rate = 0.001

[train.optimizer]
type = "sgd"
momentum = 0.9
weight_decay = 0.0001

[evaluate]
every = 0

[checkpoint]
every_steps = 1000000
"""


class Writer:
    def __init__(self, head):
        self.parts = [head]

    def layer(self, kind, **keys):
        def shown(value):
            if isinstance(value, bool):
                return str(value).lower()
            return '"%s"' % value if isinstance(value, str) else str(value).replace("'", '"')
        lines = ["[[layer]]", 'type = "%s"' % kind] + ["%s = %s" % (k, shown(v)) for k, v in keys.items()]
        self.parts.append("\n".join(lines) + "\n")

    def convolution(self, filters, size, stride=1, **more):
        self.layer("conv2d", filters=filters, kernel_size=size, strides=stride, padding=size // 2, use_bias=False,
                   kernel_initializer="he_normal", **more)

    def normalization(self, **more):
        self.layer("batch_normalization", momentum=0.9, epsilon=1e-05, **more)

    def block(self, name, before, convolutions, stride_of_branch, filters, projected):
        """Convolutions as (filters, size, stride); `before` names what the block reads."""
        for i, (width, size, stride) in enumerate(convolutions):
            self.convolution(width, size, stride, **({"inputs": before} if i == 0 else {}))
            last = i + 1 == len(convolutions)
            self.normalization(**({"name": name + "_branch"} if last else {}))
            if not last:
                self.layer("relu")
        beside = before
        if projected:
            self.convolution(filters, 1, stride_of_branch, inputs=before)
            self.normalization(name=name + "_projection")
            beside = name + "_projection"
        self.layer("add", inputs=[name + "_branch", beside])
        self.layer("relu", name=name)

    def text(self):
        return "\n".join(self.parts)


def resnet18():
    out = Writer(HEAD.format(title="ResNet-18 for 32 x 32 pixels.", data="images-32.h5", steps=300, batch=256))
    out.convolution(64, 3)
    out.normalization()
    out.layer("relu", name="stem")
    before, width = "stem", 64
    for stage, filters in enumerate((64, 128, 256, 512)):
        for i in range(2):
            stride = 2 if stage > 0 and i == 0 else 1
            name = "block%d_%d" % (stage + 1, i + 1)
            out.block(name, before, [(filters, 3, stride), (filters, 3, 1)], stride, filters,
                      stride != 1 or width != filters)
            before, width = name, filters
    out.layer("global_average_pooling2d")
    out.layer("dense", units=10)
    return out.text()


def resnet50():
    out = Writer(HEAD.format(title="ResNet-50, as torchvision's.", data="images-224.h5", steps=40, batch=256))
    out.convolution(64, 7, 2)
    out.normalization()
    out.layer("relu")
    out.layer("max_pooling2d", pool_size=3, strides=2, padding=1, name="stem")
    before = "stem"
    for stage, (filters, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3))):
        for i in range(blocks):
            stride = 2 if stage > 0 and i == 0 else 1
            name = "block%d_%d" % (stage + 1, i + 1)
            out.block(name, before, [(filters, 1, 1), (filters, 3, stride), (4 * filters, 1, 1)], stride, 4 * filters,
                      i == 0)
            before = name
    out.layer("global_average_pooling2d")
    out.layer("dense", units=1000)
    return out.text()


def main():
    folder = pathlib.Path(__file__).resolve().parent
    (folder / "resnet18.toml").write_text(resnet18())
    (folder / "resnet50.toml").write_text(resnet50())


if __name__ == "__main__":
    main()
