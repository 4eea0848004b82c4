#!/usr/bin/env python3
"""Training throughput of several workers on this machine against one, and of exact against fast reduction.

Every worker has the same batch (128) and one core. Runs are interleaved; medians of `--rounds` rounds, and the range.

    bench/scaling.py build/release/bin/lockstep [--workers 2] [--rounds 5]
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
BATCH = 128


def throughput(program, config, workers, reduction, folder):
    """Samples per second in steady state."""
    command = [program, "train", str(config), "--run", folder, "--overwrite", "--quiet",
               "--set", 'train.microbatches="world"', "--set", f"train.global_batch={BATCH * workers}",
               "--set", f'train.reduction="{reduction}"']
    launcher = ["taskset", "-c", "0"] if workers == 1 else ["mpirun", "-n", str(workers), "--bind-to", "core"]
    if workers > os.cpu_count():
        launcher = ["mpirun", "-n", str(workers), "--oversubscribe", "--bind-to", "none"]
    subprocess.run(launcher + command, check=True, timeout=600)
    return json.loads((pathlib.Path(folder) / "summary.json").read_text())["samples_per_second"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    os.environ.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
                      OMPI_MCA_pml="ob1", OMPI_MCA_btl="self,vader,tcp")
    print(f"{'network':8} {'one worker':>12} {f'{options.workers} workers':>12} {'times':>16} {'exact/fast':>18}")
    for config in sorted((HERE / "scaling").glob("*.toml")):
        alone, together, fast = [], [], []
        with tempfile.TemporaryDirectory() as folder:
            for _ in range(options.rounds):
                alone.append(throughput(options.program, config, 1, "exact", folder + "/run"))
                together.append(throughput(options.program, config, options.workers, "exact", folder + "/run"))
                fast.append(throughput(options.program, config, options.workers, "fast", folder + "/run"))
        times = [b / a for a, b in zip(alone, together)]
        cost = [b / a for a, b in zip(fast, together)]
        print(f"{config.stem:8} {statistics.median(alone):12.0f} {statistics.median(together):12.0f} "
              f"{statistics.median(times):6.2f} ({min(times):.2f}-{max(times):.2f}) "
              f"{statistics.median(cost):6.2f} ({min(cost):.2f}-{max(cost):.2f})")


if __name__ == "__main__":
    main()
