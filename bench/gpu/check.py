"""The program behind bench/gpu_check.sh, which says how it is used."""
import argparse
import importlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from session import Session  # noqa: E402

# Parts in their order, and the seconds that each may take at most; the last takes what is left.
PARTS = {"tests": 105, "sanitizer": 85, "kernels": 170, "training": 330}
TIMED = {"kernels", "training"}  # nothing may run beside these


def reason_for_no_gpu(env):
    """None where there is a GPU, else why there is none. Asks in another process, with the build's library path."""
    script = """
import ctypes
cuda = ctypes.CDLL("libcuda.so.1")
count = ctypes.c_int(0)
code = cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count))
if code: raise SystemExit("the driver fails with error %d" % code)
if count.value == 0: raise SystemExit("the driver sees none")
"""
    found = subprocess.run([sys.executable, "-c", script], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return None if found.returncode == 0 else found.stderr.strip().splitlines()[-1]


def describe(session):
    """Which machine and libraries these are, in machine.log; beside the first part."""
    session.start_beside("machine", ["nvidia-smi"], 60)
    session.start_beside("machine", ["lscpu"], 60)
    if session.program("lockstep") is not None:
        session.start_beside("machine", [session.program("lockstep"), "doctor"], 60)
    script = ("import torch; print('PyTorch', torch.__version__, 'CUDA', torch.version.cuda, 'cuDNN', "
              "torch.backends.cudnn.version(), torch.cuda.get_device_name(0))")
    session.start_beside("machine", [sys.executable, "-c", script], 60, session.own_env)


def read_arguments():
    parser = argparse.ArgumentParser(prog="gpu_check.sh", description="Verifies the GPU backend; see bench/gpu/README.md.")
    parser.add_argument("build", help="a folder with bin/ and lib/, or an archive of one")
    parser.add_argument("out", nargs="?", default="gpu-check", help="folder for the table and the logs")
    parser.add_argument("--only", default=",".join(PARTS), help="parts: " + ", ".join(PARTS))
    parser.add_argument("--limit", type=float, default=530, help="seconds for all parts together")
    arguments = parser.parse_args()
    arguments.only = arguments.only.split(",")
    for part in arguments.only:
        if part not in PARTS:
            parser.error("there is no part %s; parts are %s" % (part, ", ".join(PARTS)))
    if not pathlib.Path(arguments.build).exists():
        parser.error("there is no build at %s" % arguments.build)
    return arguments


def main():
    arguments = read_arguments()
    session = Session(arguments.build, arguments.out, arguments.limit)
    why = reason_for_no_gpu(session.env)
    if why is not None:
        print("gpu_check: no GPU on this machine (%s): nothing was run" % why)
        return 77

    def finish(number=None, _=None):
        if number is not None:
            session.failed("gpu_check", "gpu_check", "cut off by signal %d" % number)
        session.stop_all()
        (session.out / "table.txt").write_text(session.table() + "\n")
        print(session.table(everything=False), flush=True)
        shutil.rmtree(session.scratch, ignore_errors=True)
        os._exit(1 if session.missed() else 0)

    signal.signal(signal.SIGTERM, finish)
    signal.signal(signal.SIGINT, finish)
    describe(session)
    parts = [(name, importlib.import_module("part_" + name)) for name in PARTS if name in arguments.only]
    for name, part in parts:
        if hasattr(part, "prepare"):
            part.prepare(session)  # what can go on beside the parts before it
    for name, part in parts:
        print("%s: %.0f s left" % (name, session.left()), flush=True)
        if name in TIMED:
            session.settle(100)
        try:
            part.run(session, min(PARTS[name], session.left()))
        except Exception:
            session.log(name, traceback.format_exc())
            session.failed(name, name, traceback.format_exc().strip().splitlines()[-1])
    finish()


if __name__ == "__main__":
    sys.exit(main())
