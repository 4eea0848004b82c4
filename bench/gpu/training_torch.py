#!/usr/bin/env python3
"""Training throughput of the networks of this folder in PyTorch, in all the ways in which it can be fast.

    python3 bench/gpu/training_torch.py NETWORK [--precisions f32,tf32,bf16] [--compile f32,tf32,bf16] [--seconds 1]

NETWORK is mlp, keras-cnn, resnet18, resnet50, tiny-linear or tiny-mlp. Prints a JSON line for each precision and mode:

    eager           channels_last, fused optimizer, autocast for bf16
    eager, graph    the same, the whole step captured as one CUDA graph
    compile         torch.compile of forward and loss (and so backward)
    compile, graph  the same, the whole step captured as one CUDA graph

Data is floating-point and resident on the GPU, in the layout that the network wants; the loss is not read. --warm only
compiles, to fill Inductor's cache for a later run; which of its kernels are best is found out anew in each run. --device
cpu runs a few steps, to see that all works.
"""
import argparse
import itertools
import json
import statistics
import sys
import time

import torch
import torch._inductor.config
import torch.nn as nn
import torch.nn.functional as F

# Batch, shape of a sample, classes (0: regression).
NETWORKS = {"mlp": (256, (784,), 10), "keras-cnn": (128, (3, 32, 32), 10), "resnet18": (256, (3, 32, 32), 10),
            "resnet50": (256, (3, 224, 224), 1000), "tiny-linear": (512, (10,), 0), "tiny-mlp": (64, (64,), 10)}


class Block(nn.Module):
    """Convolutions as (filters, size, stride), each normalised; what goes around them is projected where shapes differ."""

    def __init__(self, channels, convolutions, stride, filters):
        super().__init__()
        layers = []
        for width, size, step in convolutions:
            layers += [nn.Conv2d(channels if not layers else layers[-3].out_channels, width, size, step, size // 2, bias=False),
                       nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        self.branch = nn.Sequential(*layers[:-1])
        self.around = nn.Identity()
        if stride != 1 or channels != filters:
            self.around = nn.Sequential(nn.Conv2d(channels, filters, 1, stride, bias=False), nn.BatchNorm2d(filters))

    def forward(self, x):
        return F.relu(self.branch(x) + self.around(x), inplace=True)


def resnet18():
    layers, channels = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)], 64
    for stage, filters in enumerate((64, 128, 256, 512)):
        for i in range(2):
            stride = 2 if stage > 0 and i == 0 else 1
            layers.append(Block(channels, [(filters, 3, stride), (filters, 3, 1)], stride, filters))
            channels = filters
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


def resnet50():
    layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    channels = 64
    for stage, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3))):
        for i in range(blocks):
            stride = 2 if stage > 0 and i == 0 else 1
            layers.append(Block(channels, [(width, 1, 1), (width, 3, stride), (4 * width, 1, 1)], stride, 4 * width))
            channels = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000))


def network_of(name):
    if name == "mlp":
        return nn.Sequential(nn.Linear(784, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 10))
    if name == "keras-cnn":
        return nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(),
                             nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2304, 128), nn.ReLU(), nn.Linear(128, 10))
    if name == "tiny-linear":
        return nn.Linear(10, 1)
    if name == "tiny-mlp":
        return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    return resnet18() if name == "resnet18" else resnet50()


class Training:
    """One network in one precision: step(i) is a step on batch i, modulo the batches that there are."""

    def __init__(self, name, precision, device, batch, compiled):
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        torch.backends.cudnn.allow_tf32 = precision == "tf32"
        torch.manual_seed(1)
        _, shape, classes = NETWORKS[name]
        self.device, self.precision, self.regression = device, precision, classes == 0
        images = len(shape) == 3
        self.net = network_of(name).to(device)
        if images:
            self.net = self.net.to(memory_format=torch.channels_last)
        gpu = device == "cuda"
        if name.startswith("resnet"):
            self.optimizer = torch.optim.SGD(self.net.parameters(), 1e-3, momentum=0.9, weight_decay=1e-4, fused=True)
        elif self.regression:
            self.optimizer = torch.optim.SGD(self.net.parameters(), 1e-2, momentum=0.9, fused=True)
        else:
            self.optimizer = torch.optim.Adam(self.net.parameters(), 1e-3, fused=True, capturable=gpu)
        self.data = []
        for _ in range(4):
            x = torch.rand(batch, *shape, device=device)
            y = torch.rand(batch, 1, device=device) if self.regression else torch.randint(0, classes, (batch,), device=device)
            self.data.append((x.to(memory_format=torch.channels_last) if images else x, y))
        self.loss = torch.compile(self.loss_of) if compiled else self.loss_of
        self.graph = None

    def loss_of(self, x, y):
        result = self.net(x)
        return F.mse_loss(result, y) if self.regression else F.cross_entropy(result.float(), y)

    def compute(self, x, y):
        with torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bf16", cache_enabled=self.graph is None):
            loss = self.loss(x, y)
        loss.backward()
        self.optimizer.step()
        return loss

    def step(self, i):
        x, y = self.data[i % len(self.data)]
        if self.graph is None:
            self.optimizer.zero_grad(set_to_none=True)
            return self.compute(x, y)
        self.x.copy_(x)
        self.y.copy_(y)
        self.graph.replay()

    def capture(self):
        x, y = self.data[0]
        self.x, self.y = x.clone(), y.clone()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self.optimizer.zero_grad(set_to_none=True)
                self.compute(self.x, self.y)
        torch.cuda.current_stream().wait_stream(stream)
        self.optimizer.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.compute(self.x, self.y)
        self.graph = graph


def synchronize(device):
    if device == "cuda":
        torch.cuda.synchronize()


def seconds_of_step(training, seconds):
    """Median over blocks: five, three of a slow network."""
    device = training.device
    for i in range(3 if device == "cuda" else 1):
        training.step(i)
    synchronize(device)

    def block(steps):
        begin = time.perf_counter()
        for i in range(steps):
            training.step(i)
        synchronize(device)
        return (time.perf_counter() - begin) / steps
    if device == "cpu":
        return block(1)
    guess = block(3)
    steps = max(2, int(seconds / 5 / guess))
    return statistics.median(block(steps) for _ in range(3 if guess > 0.1 else 5))


def measure(arguments, precision, compiled):
    batch = arguments.batch or NETWORKS[arguments.network][0]
    training = Training(arguments.network, precision, arguments.device, batch, compiled)
    parameters = sum(p.numel() for p in training.net.parameters())
    for captured in (False, True):
        mode = ("compile" if compiled else "eager") + (", graph" if captured else "")
        line = {"network": arguments.network, "precision": precision, "mode": mode, "batch": batch, "parameters": parameters}
        try:
            if captured and arguments.device == "cpu":
                continue
            begin = time.perf_counter()
            training.step(0)
            synchronize(arguments.device)
            line["first_step"] = time.perf_counter() - begin  # with compilation
            if arguments.warm:
                return
            if captured:
                training.capture()
            seconds = seconds_of_step(training, arguments.seconds)
            line.update(seconds=seconds, samples_per_second=batch / seconds)
        except Exception as error:
            line["error"] = "%s: %s" % (type(error).__name__, str(error).splitlines()[0][:200] if str(error) else "")
        print(json.dumps(line), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=list(NETWORKS))
    parser.add_argument("--precisions", default="bf16,tf32,f32")
    parser.add_argument("--compile", default="bf16,tf32,f32", help="precisions that are also compiled")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    parser.add_argument("--batch", type=int, default=0)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--warm", action="store_true")
    arguments = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    torch._inductor.config.autotune_local_cache = False
    for precision, compiled in itertools.product(arguments.precisions.split(","), (False, True)):
        if compiled and precision not in arguments.compile.split(","):
            continue
        if arguments.warm and not compiled:
            continue
        torch._dynamo.reset()
        measure(arguments, precision, compiled)
        if arguments.device == "cuda":
            torch.cuda.empty_cache()


if __name__ == "__main__":
    sys.exit(main())
