#!/usr/bin/env python3
"""Random bytes as data for the trainings of this folder: vectors and images as their configurations name them, in a folder.

    python3 bench/gpu/make_data.py FOLDER [--samples-224 1024]

Numbers of samples are multiples of the batches, so that every step has the same shape. Needs numpy and h5py.
"""
import argparse
import pathlib

import h5py
import numpy


def write(path, samples, shape, classes):
    random = numpy.random.default_rng(1)
    with h5py.File(path, "w") as file:
        file["x"] = numpy.frombuffer(random.bytes(samples * int(numpy.prod(shape))), numpy.uint8).reshape(samples, *shape)
        file["y"] = random.integers(0, classes, samples, dtype=numpy.int32)


def write_linear(path, samples, features):
    random = numpy.random.default_rng(1)
    x = random.standard_normal((samples, features), dtype=numpy.float32)
    with h5py.File(path, "w") as file:
        file["x"] = x
        file["y"] = x.sum(1) + 0.1 * random.standard_normal(samples, dtype=numpy.float32)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--samples-224", type=int, default=1024)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    write_linear(arguments.folder / "linear-10.h5", 51200, 10)
    write(arguments.folder / "vectors-64.h5", 51200, (64,), 10)
    write(arguments.folder / "vectors-784.h5", 51200, (784,), 10)
    write(arguments.folder / "images-32.h5", 25600, (32, 32, 3), 10)
    write(arguments.folder / "images-224.h5", arguments.samples_224, (224, 224, 3), 1000)


if __name__ == "__main__":
    main()
