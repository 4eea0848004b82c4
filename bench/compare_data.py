#!/usr/bin/env python3
"""An epoch of images from HDF5: Lockstep's loader against the bytes of the file, one H5Dread for each sample, and h5py with
PyTorch's DataLoader of two processes. Every round runs all of them in turn; medians of the rates, and of the ratios
of each round.

Run:  python3 bench/compare_data.py FOLDER [--program BUILD/bin/lockstep_data_reading] [--rounds 5]
Needs h5py, NumPy and PyTorch. FOLDER gets two files of 20,000 images of 64 x 64 x 3 bytes: contiguous, and gzip in chunks
of 64 images. Cached, Lockstep and the limits
run four epochs in turn, cold one. "Cold" means that the system was told to forget the file (posix_fadvise) before each run; where the disk is
virtual, the host may still remember it. The peers that read sample by sample read 2,000 samples.
"""
import argparse
import os
import platform
import statistics
import subprocess
import sys
import time

IMAGES, SIDE, CHANNELS, CHUNK, SAMPLES, BATCH = 20000, 64, 3, 64, 2000, 64


def write_files(folder):
    import h5py
    import numpy as np
    paths = {"contiguous": os.path.join(folder, "images.h5"), "gzip": os.path.join(folder, "images-gzip.h5")}
    if all(os.path.exists(path) for path in paths.values()):
        return paths
    random = np.random.default_rng(1)
    ramp = np.linspace(0, 1, SIDE)
    options = {"contiguous": {}, "gzip": dict(chunks=(CHUNK, SIDE, SIDE, CHANNELS), compression="gzip", compression_opts=4)}
    for kind, path in paths.items():
        with h5py.File(path, "w") as file:
            x = file.create_dataset("x", (IMAGES, SIDE, SIDE, CHANNELS), "u1", **options[kind])
            for first in range(0, IMAGES, CHUNK):
                count = min(CHUNK, IMAGES - first)
                # Slopes of colour with a little noise: as compressible as photographs.
                a, b = random.uniform(-90, 90, (2, count, 1, 1, CHANNELS))
                slope = 128 + a * ramp[None, :, None, None] + b * ramp[None, None, :, None]
                noise = random.normal(0, 3, (count, SIDE, SIDE, CHANNELS))
                x[first:first + count] = np.clip(slope + noise, 0, 255).astype("u1")
    return paths


def forget(path):
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def torch_epoch(path, shuffle, samples):
    """Samples and seconds of PyTorch's DataLoader with two processes, each of which opens the file itself."""
    import h5py
    import torch

    class Images(torch.utils.data.Dataset):
        file = None

        def __len__(self):
            return samples

        def __getitem__(self, i):
            if self.file is None:
                self.file = h5py.File(path, "r")["x"]
            return torch.from_numpy(self.file[i])

    loader = torch.utils.data.DataLoader(Images(), batch_size=BATCH, shuffle=shuffle, num_workers=2)
    iterator = iter(loader)
    first = next(iterator)  # the start of the processes is not counted
    begin = time.perf_counter()
    seen = sum(len(batch) for batch in iterator)
    assert first.dtype == torch.uint8
    return seen, time.perf_counter() - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--program", default="build/release/bin/lockstep_data_reading")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    import h5py
    import torch
    paths = write_files(arguments.folder)

    def ours(mode, threads):
        def run(path, epochs):
            out = subprocess.run([arguments.program, mode, path, str(threads), str(epochs)], check=True, capture_output=True, text=True)
            samples, seconds = out.stdout.split()
            return float(samples) / float(seconds)
        return run

    def theirs(shuffle, samples):
        def run(path, epochs):
            seen, seconds = torch_epoch(path, shuffle, samples)
            return seen / seconds
        return run

    cpu = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    print("h5py %s (HDF5 %s), PyTorch %s, Python %s, %s, %d cores" % (
        h5py.__version__, h5py.version.hdf5_version, torch.__version__, platform.python_version(), cpu[0], len(cpu)))
    print("images of %d x %d x %d bytes; MB/s of pixels; median of %d rounds" % (SIDE, SIDE, CHANNELS, arguments.rounds))
    rows = [("contiguous, in order, 1 thread", "contiguous",
             {"bytes": ours("bytes", 1), "Lockstep": ours("sequential", 1), "h5py": theirs(False, IMAGES)}),
            ("contiguous, shuffled, 1 thread", "contiguous",
             {"bytes": ours("bytes", 1), "Lockstep": ours("shuffled", 1), "H5Dread": ours("h5dread", 1),
              "h5py": theirs(True, IMAGES)}),
            ("gzip, in order, 2 threads", "gzip",
             {"decode": ours("decode", 2), "Lockstep": ours("sequential", 2), "h5py": theirs(False, SAMPLES)}),
            ("gzip, shuffled, 2 threads", "gzip",
             {"decode": ours("decode", 2), "sequential": ours("sequential", 2), "Lockstep": ours("shuffled", 2),
              "H5Dread": ours("h5dread", 1), "h5py": theirs(True, SAMPLES)})]
    megabytes = SIDE * SIDE * CHANNELS / 1e6
    for name, kind, peers in rows:
        for cold in (False, True):
            rates = {peer: [] for peer in peers}
            for _ in range(arguments.rounds):
                for peer, run in peers.items():
                    if cold:
                        forget(paths[kind])
                    rates[peer].append(run(paths[kind], 1 if cold else 4) * megabytes)
            line = "%-32s %-6s" % (name, "cold" if cold else "cached")
            for peer, list_ in rates.items():
                line += "  %s %.0f" % (peer, statistics.median(list_))
                if peer != "Lockstep":
                    line += " (%.2fx)" % statistics.median(ours / one for ours, one in zip(rates["Lockstep"], list_))
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
