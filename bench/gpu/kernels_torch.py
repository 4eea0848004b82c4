#!/usr/bin/env python3
"""The cases of lockstep_gpu_kernels by PyTorch, timed in the same way: CUDA graphs of many calls over buffers that no cache
holds, events around the replays, medians.

    lockstep_gpu_kernels --list | python3 bench/gpu/kernels_torch.py [--device cuda]

Reads the cases from standard input and prints a JSON line for each, with the seconds of one call or with "error". Calls
are eager PyTorch: a chain of elementwise ops is several kernels, as it is in a training without torch.compile. Images
are channels_last, and cuDNN chooses by trying (cudnn.benchmark).
"""
import argparse
import json
import math
import statistics
import sys
import time

import torch
import torch.nn.functional as F

aten = torch.ops.aten
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "i32": torch.int32, "i64": torch.int64, "u8": torch.uint8}
CACHE_BYTES, MOST_SETS, MOST_CALLS = 192 << 20, 64, 512
RECORDING_SECONDS, SAMPLE_SECONDS, SAMPLES = 1e-3, 4e-3, 5


class Case:
    """The inputs of one call, made as the case says; images (n, h, w, c) are seen as (n, c, h, w), channels_last."""

    def __init__(self, line, device):
        self.line, self.name, self.numbers, self.device = line, line["name"], line["numbers"], device

    def input(self, i):
        dtype, shape = self.line["inputs"][i]
        return self.tensor(DTYPES[dtype], shape)

    def output(self, i):
        dtype, shape = self.line["outputs"][i]
        return self.tensor(DTYPES[dtype], shape)

    def tensor(self, dtype, shape):
        if dtype.is_floating_point:
            return torch.rand(shape, device=self.device, dtype=torch.float32).mul_(2).sub_(1).to(dtype)
        return torch.randint(0, 100, shape, device=self.device, dtype=dtype)

    def image(self, i):
        return self.input(i).permute(0, 3, 1, 2)

    def positive(self, i):
        return self.input(i).abs_().add_(0.5)

    def labels(self, i, classes):
        return torch.randint(0, classes, self.line["inputs"][i][1], device=self.device)


def batch_norm(case):
    x, w, b, relu = case.image(0), case.positive(1), case.input(2), "relu" in case.name
    return lambda: F.relu(F.batch_norm(x, None, None, w, b, True)) if relu else F.batch_norm(x, None, None, w, b, True)


def batch_norm_backward(case):
    dy, x, w, b, relu = case.image(0), case.image(1), case.positive(2), case.input(3), "relu" in case.name
    y, mean, deviation, reserve, kind = torch._batch_norm_impl_index(x, w, b, None, None, True, 0.1, 1e-5, True)

    def call():
        d = aten.threshold_backward(dy, y, 0) if relu else dy
        return aten._batch_norm_impl_index_backward(kind, x, d, w, None, None, mean, deviation, True, 1e-5,
                                                    [True, True, True], reserve)
    return call


def batch_norm_residual(case):
    x, w, b, r = case.image(0), case.positive(1), case.input(2), case.image(3)
    return lambda: F.relu(F.batch_norm(x, None, None, w, b, True) + r)


def batch_norm_residual_backward(case):
    dy, result, x, w, b, more = (case.image(0), case.image(1), case.image(2), case.positive(3), case.input(4), case.image(7))
    y, mean, deviation, reserve, kind = torch._batch_norm_impl_index(x, w, b, None, None, True, 0.1, 1e-5, True)

    def call():
        d = aten.threshold_backward(dy + more, result, 0)
        return d, aten._batch_norm_impl_index_backward(kind, x, d, w, None, None, mean, deviation, True, 1e-5,
                                                       [True, True, True], reserve)
    return call


def layer_norm(case):
    x = case.input(0)
    w, b = case.positive(1).to(x.dtype), case.input(2).to(x.dtype)
    return lambda: F.layer_norm(x, w.shape, w, b)


def layer_norm_backward(case):
    dy, x = case.input(0), case.input(1)
    w = case.positive(2).to(x.dtype)
    _, mean, deviation = aten.native_layer_norm(x, w.shape, w, w, 1e-5)
    return lambda: aten.native_layer_norm_backward(dy, x, w.shape, mean, deviation, w, w, [True, True, True])


def softmax(case):
    x = case.input(0)
    return lambda: torch.softmax(x, -1)


def softmax_backward(case):
    dy, y = case.input(0), torch.softmax(case.input(1), -1)
    return lambda: aten._softmax_backward_data(dy, y, -1, y.dtype)


def cross_entropy(case):
    x = case.input(0)
    labels = case.labels(1, x.shape[-1])
    return lambda: F.cross_entropy(x, labels)


def cross_entropy_backward(case):
    x = torch.log_softmax(case.input(0), -1)
    labels = case.labels(1, x.shape[-1])
    one = torch.ones((), device=case.device)
    total = torch.full((), float(x.shape[0]), device=case.device)

    def call():
        d = aten.nll_loss_backward(one, x, labels, None, 1, -100, total)
        return aten._log_softmax_backward_data(d, x, -1, x.dtype)
    return call


def cross_entropy_with_gradient(case):
    x, one = case.input(0), torch.ones((), device=case.device)
    labels = case.labels(1, x.shape[-1])
    total = torch.full((), float(x.shape[0]), device=case.device)

    def call():
        p = torch.log_softmax(x, -1)
        d = aten.nll_loss_backward(one, p, labels, None, 1, -100, total)
        return F.nll_loss(p, labels), aten._log_softmax_backward_data(d, p, -1, p.dtype)
    return call


def mean_squared_error(case):
    x, y = case.input(0), case.input(1)
    return lambda: F.mse_loss(x, y)


def mean_squared_error_backward(case):
    x, y, one = case.input(0), case.input(1), torch.ones((), device=case.device)
    return lambda: aten.mse_loss_backward(one, x, y, 1)


def embedding(case):
    table = case.input(0)
    ids = case.labels(1, table.shape[0])
    return lambda: F.embedding(ids, table)


def embedding_backward(case):
    dy, rows = case.input(0), case.line["outputs"][0][1][0]
    ids = case.labels(1, rows)
    return lambda: aten.embedding_dense_backward(dy, ids, rows, -1, False)


def unary(function):
    def make(case):
        x = case.input(0)
        return lambda: function(x)
    return make


def binary(function):
    def make(case):
        x, y = case.input(0), case.input(1)
        return lambda: function(x, y)
    return make


def residual_backward(case):
    a, b, y = case.input(0), case.input(1), case.input(2)
    return lambda: aten.threshold_backward(a + b, y, 0)


def average_of_images(case):
    x = case.image(0)
    return lambda: x.mean((2, 3))


def pool_sizes(case):
    n = case.numbers
    return [n["size"]] * 2, [n["stride"]] * 2, [n["padding"]] * 2


def max_pool(case):
    x, (size, stride, padding) = case.image(0), pool_sizes(case)
    return lambda: aten.max_pool2d_with_indices(x, size, stride, padding)


def max_pool_backward(case):
    x, (size, stride, padding) = case.output(0).permute(0, 3, 1, 2), pool_sizes(case)
    y, places = aten.max_pool2d_with_indices(x, size, stride, padding)
    return lambda: aten.max_pool2d_with_indices_backward(y, x, size, stride, padding, [1, 1], False, places)


def average_pool(case):
    x, (size, stride, _) = case.image(0), pool_sizes(case)
    return lambda: F.avg_pool2d(x, size, stride)


def average_pool_backward(case):
    dy, x, (size, stride, _) = case.image(0), case.output(0).permute(0, 3, 1, 2), pool_sizes(case)
    return lambda: aten.avg_pool2d_backward(dy, x, size, stride, [0, 0], False, False, None)


def update(make):
    def of(case):
        p = case.input(0).requires_grad_()
        p.grad = case.input(1)
        optimizer = make([p], case.device == "cuda")
        optimizer.step()
        return optimizer.step
    return of


def from_bytes(case):
    x = case.input(0)
    shift = torch.tensor([124.0, 117.0, 104.0], device=case.device)
    scale = torch.tensor([0.017, 0.018, 0.017], device=case.device)
    return lambda: (x.float() - shift) * scale


def dense_relu(case):
    x, w = case.input(0), case.input(1)
    b = case.input(2).to(x.dtype)
    return lambda: aten._addmm_activation(b, x, w)


def convolution(case):
    n, transposed = case.numbers, (3, 2, 0, 1)
    stride, padding = [n["stride"]] * 2, [n["padding"]] * 2
    if case.name == "conv2d":
        x, w = case.image(0), case.input(1).permute(*transposed).contiguous(memory_format=torch.channels_last)
        return lambda: F.conv2d(x, w, None, stride, padding)
    data = case.name == "conv2d, backward data"
    dtype = DTYPES[case.line["inputs"][0][0]]
    dy = case.image(0 if data else 1)
    x = case.output(0).permute(0, 3, 1, 2) if data else case.image(0)
    w = case.tensor(dtype, [n["out"], n["kernel"], n["kernel"], n["in"]]).permute(0, 3, 1, 2)
    return lambda: aten.convolution_backward(dy, x, w, None, stride, padding, [1, 1], False, [0, 0], 1,
                                             [data, not data, False])


CALLS = {
    "copy": unary(torch.clone), "add": binary(torch.add), "relu": unary(F.relu), "gelu": unary(F.gelu),
    "relu, backward": binary(lambda dy, y: aten.threshold_backward(dy, y, 0)),
    "gelu, backward": binary(aten.gelu_backward), "add + relu": binary(lambda a, b: F.relu(a + b)),
    "add + relu, backward": residual_backward, "cast to bf16": unary(lambda x: x.to(torch.bfloat16)),
    "cast to f32": unary(lambda x: x.to(torch.float32)), "dropout": unary(lambda x: aten.native_dropout(x, 0.5, True)),
    "concat": binary(lambda a, b: torch.cat([a, b], -1)),
    "batch_norm": batch_norm, "batch_norm + relu": batch_norm,
    "batch_norm, backward": batch_norm_backward, "batch_norm + relu, backward": batch_norm_backward,
    "batch_norm + add + relu": batch_norm_residual, "batch_norm + add + relu, backward": batch_norm_residual_backward,
    "layer_norm": layer_norm, "layer_norm, backward": layer_norm_backward,
    "softmax": softmax, "softmax, backward": softmax_backward,
    "bias": binary(lambda x, b: x + b.to(x.dtype)), "bias, backward": unary(lambda dy: dy.sum(0, dtype=torch.float32)),
    "reduce_sum, all": unary(torch.sum), "reduce_sum, rows": unary(lambda x: x.sum(1)),
    "reduce_sum, columns": unary(lambda x: x.sum(0)), "reduce_max, rows": unary(lambda x: x.amax(1)),
    "global_average_pooling2d": average_of_images,
    "max_pool2d 3x3": max_pool, "max_pool2d 3x3, backward": max_pool_backward,
    "max_pool2d 2x2": max_pool, "max_pool2d 2x2, backward": max_pool_backward,
    "average_pool2d 2x2": average_pool, "average_pool2d 2x2, backward": average_pool_backward,
    "softmax_cross_entropy": cross_entropy, "softmax_cross_entropy, backward": cross_entropy_backward,
    "softmax_cross_entropy + backward": cross_entropy_with_gradient,
    "mean_squared_error": mean_squared_error, "mean_squared_error, backward": mean_squared_error_backward,
    "embedding": embedding, "embedding, backward": embedding_backward,
    "adam": update(lambda p, gpu: torch.optim.Adam(p, fused=True, capturable=gpu)),
    "adamw": update(lambda p, gpu: torch.optim.AdamW(p, fused=True, capturable=gpu)),
    "sgd": update(lambda p, gpu: torch.optim.SGD(p, 0.01, fused=True)),
    "sgd, momentum": update(lambda p, gpu: torch.optim.SGD(p, 0.01, momentum=0.9, weight_decay=1e-4, fused=True)),
    "square_sums": unary(torch.linalg.vector_norm), "from_bytes": from_bytes,
    "dense": binary(torch.mm), "dense + bias + relu": dense_relu,
    "dense, backward data": binary(lambda dy, w: torch.mm(dy, w.t())),
    "dense, backward weights": binary(lambda x, dy: torch.mm(x.t(), dy)),
    "conv2d": convolution, "conv2d, backward data": convolution, "conv2d, backward weights": convolution,
}


def replay_seconds(graph, replays):
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    for _ in range(replays):
        graph.replay()
    end.record()
    end.synchronize()
    return max(begin.elapsed_time(end) * 1e-3, 1e-7)


def recorded(calls, count):
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for i in range(count):
            calls[i % len(calls)]()
    return graph


def seconds_on_gpu(calls):
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(2):
            calls[0]()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    graph = recorded(calls, len(calls))
    replay_seconds(graph, 1)
    guess = replay_seconds(graph, 1)
    rounds = max(1, min(int(RECORDING_SECONDS / guess), MOST_CALLS // len(calls)))
    if rounds > 1:
        graph = recorded(calls, rounds * len(calls))
    replays = max(1, min(50, int(SAMPLE_SECONDS / replay_seconds(graph, 1))))
    samples = [replay_seconds(graph, replays) / (replays * rounds * len(calls)) for _ in range(SAMPLES)]
    return statistics.median(samples)


def seconds_on_cpu(calls):
    begin = time.perf_counter()
    calls[0]()
    return time.perf_counter() - begin


def measure(line, device):
    tf32 = line["precision"] == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    case = Case(line, device)
    calls = [CALLS[line["name"]](case)]
    held = sum(math.prod(shape) * DTYPES[dtype].itemsize for dtype, shape in line["inputs"] + line["outputs"])
    if device == "cpu":
        return seconds_on_cpu(calls)
    for _ in range(min(MOST_SETS, math.ceil(CACHE_BYTES / held)) - 1):
        calls.append(CALLS[line["name"]](case))
    return seconds_on_gpu(calls)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    arguments = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    with torch.no_grad():
        for text in sys.stdin:
            line = json.loads(text)
            if line["group"] == "copy":
                continue
            try:
                line["seconds"] = measure(line, arguments.device)
            except Exception as error:
                line["error"] = "%s: %s" % (type(error).__name__, str(error).splitlines()[0] if str(error) else "")
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
