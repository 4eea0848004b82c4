#!/usr/bin/env python3
"""What checkpoints cost: how long the training stands still for one, against copying the state once in memory, and the
training throughput with a checkpoint every 50 steps against that without.

Runs are interleaved; medians of `--rounds` rounds, and the range. Needs numpy (for the copy in memory).

    bench/checkpoint.py build/release/bin/lockstep [--workers 1] [--steps 250] [--rounds 5]
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

import numpy

HERE = pathlib.Path(__file__).resolve().parent
EVERY = 50


def train(program, workers, steps, every, folder):
    """Seconds from the end of the first step to the end of the last one, and seconds that stood still, by checkpoint."""
    command = [program, "train", str(HERE / "checkpoint" / "state-100mb.toml"), "--run", folder, "--overwrite", "--quiet",
               "--set", f"train.steps={steps}", "--set", f"checkpoint.every_steps={every}"]
    launcher = ["taskset", "-c", "0,1"] if workers == 1 else ["mpirun", "-n", str(workers), "--bind-to", "none"]
    subprocess.run(launcher + command, check=True, timeout=600)
    log = [json.loads(line) for line in open(folder + "/log.jsonl")]
    log = [line for line in log if "event" not in line]
    # The checkpoint that is written at the end belongs to every run and stands behind the last step.
    stalls = [line["seconds"]["checkpoint"] for line in log if line["seconds"]["checkpoint"] > 0]
    return log[-1]["elapsed"] - log[0]["elapsed"], stalls


def state_bytes(folder):
    newest = max(pathlib.Path(folder, "checkpoints").glob("step-*"))
    return sum(part.stat().st_size for part in newest.glob("part-*.h5"))


def copy_seconds(size):
    """To copy that many bytes from memory to memory that was touched before, median of nine."""
    source, target = numpy.ones(size, "u1"), numpy.zeros(size, "u1")
    times = []
    for _ in range(9):
        begin = time.perf_counter()
        numpy.copyto(target, source)
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    os.environ.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
                      OMPI_MCA_pml="ob1", OMPI_MCA_btl="self,vader,tcp")
    ratios, stalls, copies = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.rounds):
            without, _ = train(options.program, options.workers, options.steps, 10**9, folder + "/run")
            with_, stalled = train(options.program, options.workers, options.steps, EVERY, folder + "/run")
            size = state_bytes(folder + "/run")
            copies.append(copy_seconds(size))
            ratios.append(without / with_)
            stalls += stalled
    stall, copy = statistics.median(stalls), statistics.median(copies)
    print(f"workers {options.workers}, state {size / 1e6:.0f} MB, {options.steps} steps, a checkpoint every {EVERY}")
    print(f"stall of a checkpoint {stall * 1e3:.1f} ms ({min(stalls) * 1e3:.1f}-{max(stalls) * 1e3:.1f}), "
          f"a copy of the state {copy * 1e3:.1f} ms ({min(copies) * 1e3:.1f}-{max(copies) * 1e3:.1f}): {stall / copy:.2f} times")
    print(f"throughput with checkpoints {statistics.median(ratios):.3f} of that without "
          f"({min(ratios):.3f}-{max(ratios):.3f})")


if __name__ == "__main__":
    main()
