#!/usr/bin/env python3
"""Training step of Lockstep against PyTorch on one core: block by block in turn, medians and their ratio.

Run:  python3 bench/compare_pytorch.py [BUILD/bin/lockstep_training_step] [--blocks 9] [--seconds 0.5]
Needs PyTorch. Each row is one network and batch; the ratio is PyTorch's median step time over Lockstep's, so above 1
Lockstep is faster. PyTorch runs eager with one thread, channels_last for the CNN, and its multi-tensor optimizer
("foreach"); the better of that and its defaults is quoted. glibc's malloc is told to keep large blocks, which PyTorch
gains from. A PyTorch that is linked to a slow BLAS (Debian's reference BLAS) is no fair peer and is refused: install
libopenblas0-openmp.
"""
import argparse
import os
import platform
import statistics
import subprocess
import sys
import time

ROWS = [("mlp", 128, "1", "f32"), ("cnn", 32, "1", "f32"), ("cnn", 128, "1", "f32"), ("linreg", 100, "1", "f32"),
        ("mlp", 128, "8", "f32"), ("cnn", 32, "8", "f32"), ("cnn", 128, "8", "f32"), ("linreg", 100, "8", "f32")]


def torch_server(workload, batch, tuned):
    import torch
    import torch.nn as nn
    import torch.nn.functional as F
    torch.set_num_threads(1)
    torch.manual_seed(1)
    if workload == "mlp":
        net = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
        data = [(torch.randn(batch, 784), torch.randint(0, 10, (batch,))) for _ in range(8)]
    elif workload == "cnn":
        net = nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(),
                            nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2304, 128), nn.ReLU(), nn.Linear(128, 10))
        data = [(torch.randn(batch, 3, 32, 32), torch.randint(0, 10, (batch,))) for _ in range(8)]
        if tuned:
            net = net.to(memory_format=torch.channels_last)
            data = [(x.to(memory_format=torch.channels_last), y) for x, y in data]
    else:
        net = nn.Linear(1, 1)
        data = [(torch.randn(batch, 1), torch.randn(batch, 1))]
    loss_of = F.mse_loss if workload == "linreg" else F.cross_entropy
    extra = {"foreach": True} if tuned else {}
    make = torch.optim.SGD if workload == "linreg" else torch.optim.Adam
    optimizer = make(net.parameters(), 1e-3, **extra)

    def step(i):
        x, y = data[i % len(data)]
        optimizer.zero_grad(set_to_none=True)
        loss_of(net(x), y).backward()
        optimizer.step()

    for i in range(3):
        step(i)
    for line in sys.stdin:
        seconds, steps, start = float(line), 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            for _ in range(4):
                step(steps)
                steps += 1
        print(steps, time.perf_counter() - start, flush=True)


def check_blas(torch):
    """A matrix product of one thread must come near what the processor can do."""
    torch.set_num_threads(1)
    a, n = torch.randn(512, 512), 10
    a @ a
    start = time.perf_counter()
    for _ in range(n):
        a @ a
    rate = n * 2 * 512**3 / (time.perf_counter() - start) / 1e9
    if rate < 20:
        sys.exit("PyTorch's matrix product reaches %.1f GFLOP/s: its BLAS is slow, so a comparison says nothing; "
                 "install libopenblas0-openmp" % rate)


class Peer:
    def __init__(self, command):
        env = dict(os.environ, OMP_NUM_THREADS="1", MALLOC_TRIM_THRESHOLD_="-1", MALLOC_TOP_PAD_="67108864",
                   MALLOC_MMAP_MAX_="0")
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        self.times = []

    def block(self, seconds):
        self.process.stdin.write("%g\n" % seconds)
        self.process.stdin.flush()
        steps, took = self.process.stdout.readline().split()
        self.times.append(float(took) / int(steps))

    def median(self):
        return statistics.median(self.times)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def main():
    if len(sys.argv) > 1 and sys.argv[1] == "--torch-server":
        return torch_server(sys.argv[2], int(sys.argv[3]), sys.argv[4] == "tuned")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", nargs="?", default="build/release/bin/lockstep_training_step")
    parser.add_argument("--blocks", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.5)
    arguments = parser.parse_args()
    import torch
    check_blas(torch)
    cpu = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    print("PyTorch %s, Python %s, %s, %d cores" % (torch.__version__, platform.python_version(), cpu[0], len(cpu)))
    print("%-8s %6s %14s %14s %14s %8s" % ("network", "batch", "microbatches", "Lockstep us", "PyTorch us", "ratio"))
    for workload, batch, microbatches, precision in ROWS:
        ours = Peer([arguments.program, workload, str(batch), microbatches, precision])
        server = [sys.executable, os.path.abspath(__file__), "--torch-server", workload, str(batch)]
        theirs = [Peer(server + [preset]) for preset in ("default", "tuned")]
        for peer in [ours] + theirs:
            peer.block(arguments.seconds)
            peer.times.clear()
        for _ in range(arguments.blocks):
            for peer in [ours] + theirs:
                peer.block(arguments.seconds)
        best = min(peer.median() for peer in theirs)
        print("%-8s %6d %14s %14.1f %14.1f %8.2f" % (workload, batch, microbatches, ours.median() * 1e6, best * 1e6,
                                                     best / ours.median()), flush=True)
        for peer in [ours] + theirs:
            peer.close()


if __name__ == "__main__":
    main()
