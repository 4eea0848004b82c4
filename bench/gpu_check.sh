#!/usr/bin/env bash
# The whole verification of the GPU backend on a machine with a GPU, in under 9 minutes: tests, compute-sanitizer,
# benchmarks against PyTorch, and one table at the end.
#
#   bench/gpu_check.sh BUILD [OUT] [--only tests,sanitizer,kernels,training] [--limit SECONDS]
#     BUILD   a folder with bin/ and lib/ (and env.sh, where it was packed for another machine), an archive of one
#             (.tar.gz, .tar.xz), or a build folder as CMake left it
#     OUT     where table.txt, results.jsonl and a log of each part go (default: gpu-check)
#
# Needs python3; with PyTorch for what is compared with it, with h5py for the trainings. What fails is told and does not
# stop the rest. Exit codes: 0 all is as wanted, 1 something is not, 2 wrong usage, 77 there is no GPU.
set -euo pipefail
command -v python3 >/dev/null || { echo "gpu_check: python3 is needed" >&2; exit 2; }
exec python3 "$(dirname "${BASH_SOURCE[0]}")/gpu/check.py" "$@"
