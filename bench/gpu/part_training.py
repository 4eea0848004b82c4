"""Training throughput of four networks against the best way of PyTorch, and what a step of a tiny network costs beside its
kernels.
"""
import json
import pathlib
import statistics
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
PRECISIONS = ("bf16", "tf32", "f32")
# Precisions that PyTorch compiles: ResNet-50 takes long.
COMPILED = {"mlp": PRECISIONS, "keras-cnn": PRECISIONS, "resnet18": PRECISIONS, "resnet50": ("bf16",)}
WANTED = {"mlp": 1.5, "keras-cnn": 1.5, "resnet18": 1.5, "resnet50": 1.0}
DATA = {"mlp": "vectors-784", "keras-cnn": "images-32", "resnet18": "images-32", "resnet50": "images-224",
        "tiny-linear": "linear-10", "tiny-mlp": "vectors-64"}
PARAMETERS = {"resnet18": 11173962, "resnet50": 25557032}
MOST_OVERHEAD = 15e-6  # seconds


def torch_environment(session):
    return dict(session.own_env, TORCHINDUCTOR_CACHE_DIR=str(session.scratch / "inductor"),
                TRITON_CACHE_DIR=str(session.scratch / "triton"), TORCHINDUCTOR_FX_GRAPH_CACHE="1",
                TORCHINDUCTOR_AUTOGRAD_CACHE="1", OMP_NUM_THREADS="4")


def torch_command(network, *more):
    return [sys.executable, str(HERE / "training_torch.py"), network, *more]


def prepare(session):
    """Data, and PyTorch's compilations, beside the parts that are not timed."""
    session.start_beside("training", [sys.executable, str(HERE / "make_data.py"), str(session.scratch / "data")], 100,
                         session.own_env)
    for network in ("resnet50", "resnet18", "keras-cnn", "mlp"):
        session.start_beside("training", torch_command(network, "--warm", "--precisions", ",".join(COMPILED[network])), 200,
                             torch_environment(session))


def train(session, network, settings, limit, options=()):
    """(summary, log lines, how it ended) of a run of Lockstep."""
    folder = session.scratch / "run"
    command = [session.program("lockstep"), "train", str(HERE / (network + ".toml")), "--device", "cuda", "--quiet",
               "--overwrite", "--run", str(folder), "--set", "data.train=" + str(session.scratch / "data" / (DATA[network] + ".h5"))]
    for setting in settings:
        command += ["--set", setting]
    command += options
    for old in folder.glob("*.json*"):
        old.unlink()
    finished = session.run("training", command, limit)
    try:
        summary = json.loads((folder / "summary.json").read_text())
        lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    except (OSError, ValueError):
        return None, [], finished
    session.log("training", json.dumps(summary) + "\nlast step: " + json.dumps(lines[-1]))
    ended = finished.code in (0, 75) and summary.get("device") == "cuda"  # 75: the time limit
    return (summary if ended else None), lines, finished


def share_of(lines, phases):
    """Median seconds of a step in these phases, over the later half of the run."""
    steps = [line["seconds"] for line in lines if "seconds" in line and "loss" in line and isinstance(line["seconds"], dict)]
    later = steps[len(steps) // 2:]
    return statistics.median(sum(step.get(phase, 0) for phase in phases) for step in later) if later else float("nan")


def our_throughput(session, network, end):
    """Samples a second by precision, and of the default number of microbatches for one."""
    found = {}
    variants = [(precision, precision, []) for precision in PRECISIONS]
    if network == "resnet18":
        variants.append(("bf16, 8 microbatches", "bf16", ["train.microbatches=8"]))
    for name, precision, more in variants:
        limit = min(25, end - time.monotonic())
        if limit < 3:
            session.failed("training", "%s %s" % (network, name), "out of time")
            continue
        settings = ['train.precision="%s"' % precision, "run.time_limit=10", "run.autotune=true"] + more
        summary, lines, finished = train(session, network, settings, limit)
        if summary is None:
            why = finished.said() if finished.code not in (0, 75) else "it did not compute on the GPU"
            session.failed("training", "%s %s" % (network, name), why)
            continue
        found[name] = summary["samples_per_second"]
        wanted = PARAMETERS.get(network, summary["parameters"])
        if summary["parameters"] != wanted:
            session.failed("training", network, "%d parameters, not %d" % (summary["parameters"], wanted))
        busy = share_of(lines, ("forward", "backward", "update", "exchange"))
        session.note("training: %s %s: step %.1f us, GPU at work %.1f us, waited for data %.1f us, first step after %.2f s" % (
            network, name, 1e6 * summary["global_batch"] / summary["samples_per_second"], 1e6 * busy,
            1e6 * share_of(lines, ("data",)), summary["seconds_to_first_step"]), detail=True)
    return found


def where_the_time_goes(session, network, end):
    """The microseconds of a step by kind of kernel, each by itself (`--trace`): what the next improvement has to look at."""
    limit, first, last = min(15, end - time.monotonic()), 20, 23
    if limit < 3:
        return
    trace = session.scratch / "trace.json"
    trace.unlink(missing_ok=True)
    train(session, network, ['train.precision="bf16"', "train.steps=24"], limit,
          ["--trace", str(trace), "--trace-steps", "%d:%d" % (first, last)])
    try:
        events = json.loads(trace.read_text())["traceEvents"]
    except (OSError, ValueError):
        return session.failed("training", "%s: trace" % network, "none was written")
    kinds = {}
    for event in events:
        kernel = event.get("args", {}).get("kernel")
        if kernel:
            seconds, count = kinds.get(kernel.split(" (")[0], (0.0, 0))
            kinds[kernel.split(" (")[0]] = (seconds + event["dur"], count + 1)
    steps = last - first + 1
    words = ["%s %.1f us (%d)" % (kind, kinds[kind][0] / steps, kinds[kind][1] / steps)
             for kind in sorted(kinds, key=lambda kind: -kinds[kind][0])]
    total = sum(seconds for seconds, _ in kinds.values()) / steps
    session.note("training: %s bf16, kernel by kernel %.1f us: %s" % (network, total, "; ".join(words)), detail=True)


def torch_throughput(session, network, limit):
    """Best (samples a second, mode) by precision."""
    command = torch_command(network, "--compile", ",".join(COMPILED[network]), "--seconds", "0.5")
    finished = session.run("training", command, limit, torch_environment(session))
    best, modes = {}, {}
    for text in finished.output.splitlines():
        if not text.startswith("{"):
            continue
        line = json.loads(text)
        if "error" in line:
            session.note("training: PyTorch %(network)s %(precision)s %(mode)s: %(error)s" % line)
            continue
        if line["network"] == network and line["parameters"] != PARAMETERS.get(network, line["parameters"]):
            session.failed("training", "PyTorch " + network, "%d parameters" % line["parameters"])
        modes.setdefault(line["precision"], []).append("%(mode)s %(samples_per_second).0f" % line)
        best[line["precision"]] = max(best.get(line["precision"], (0, "")), (line["samples_per_second"], line["mode"]))
    for precision, words in modes.items():
        session.note("training: PyTorch %s %s: %s samples/s" % (network, precision, "; ".join(words)), detail=True)
    if finished.code != 0:
        session.failed("training", "PyTorch " + network, finished.said())
    return best


def compare(session, network, ours, best):
    for name, rate in ours.items():
        peer = best.get(name)
        label = "%s %s" % (network, name)
        if peer is None:
            session.row("training", label, "%.0f samples/s" % rate)
            continue
        # ResNet-50 is held against torch.compile, in bf16.
        wanted = WANTED[network] if network != "resnet50" or name == "bf16" else None
        session.row("training", label, "%.0f samples/s" % rate, peer="%.0f %s" % peer, ratio="%.2f" % (rate / peer[0]),
                    wanted=">= %.2f" % wanted if wanted else "", ok=rate >= wanted * peer[0] if wanted else None)


def overhead(session, network, end):
    """Seconds of a step less those in which the GPU was at work."""
    limit = min(20, end - time.monotonic())
    if limit < 3:
        return session.failed("training", network, "out of time")
    summary, lines, finished = train(session, network, ["run.time_limit=10"], limit)
    if summary is None:
        return session.failed("training", network, finished.said())
    step = summary["global_batch"] / summary["samples_per_second"]
    busy = share_of(lines, ("forward", "backward", "update", "exchange"))
    session.row("training", network + ": step less the GPU's work", "%.1f us" % (1e6 * (step - busy)),
                peer="step %.1f us" % (1e6 * step), ratio="GPU %.1f us" % (1e6 * busy), wanted="<= 15 us",
                ok=step - busy <= MOST_OVERHEAD)


def run(session, limit):
    end = time.monotonic() + limit
    if session.program("lockstep") is None:
        return session.failed("training", "lockstep", "not in the build")
    if not (session.scratch / "data" / "images-224.h5").exists():
        session.failed("training", "data", "make_data.py failed; see training.log")
    for network in ("tiny-linear", "tiny-mlp"):
        overhead(session, network, end)
    # What is asked for most comes first; each gets its part of the time that is left.
    shares = {"resnet50": 2, "mlp": 1, "keras-cnn": 1, "resnet18": 1.2}
    for number, network in enumerate(shares):
        begin = time.monotonic()
        part = (end - begin) * shares[network] / sum(list(shares.values())[number:])
        ours = our_throughput(session, network, begin + 0.45 * part)
        where_the_time_goes(session, network, begin + 0.5 * part)
        compare(session, network, ours, torch_throughput(session, network, max(5, begin + part - time.monotonic())))
