"""Times of single kernels: those that memory limits against the rate of a copy, matrix products against the best that
cuBLASLt can do, convolutions against PyTorch's cuDNN; and all of them beside eager PyTorch.
"""
import json
import pathlib
import statistics
import sys
import tempfile
import time

WANTED = {"bandwidth": 0.85, "product": 0.95}
HERE = pathlib.Path(__file__).resolve().parent


def lines_of(output):
    found = []
    for text in output.splitlines():
        if text.startswith("{"):
            try:
                found.append(json.loads(text))
            except ValueError:
                pass  # cut off
    return found


def our_times(session, end):
    """Lines of lockstep_gpu_kernels; it is started again behind a case that spoiled the GPU for its process."""
    program, lines, first = session.program("lockstep_gpu_kernels"), [], 0
    if program is None:
        session.failed("kernels", "lockstep_gpu_kernels", "not in the build")
        return []
    while time.monotonic() < end:
        finished = session.run("kernels", [program, "--autotune", "--first", str(first)], end - time.monotonic())
        lines += lines_of(finished.output)
        cases = [line["case"] for line in lines if "case" in line]
        if finished.code != 3 or not cases:
            if finished.code != 0:
                session.failed("kernels", "lockstep_gpu_kernels", finished.said())
            break
        first = cases[-1] + 1
    return lines


def best_products(session, limit):
    program = session.program("lockstep_gpu_products")
    if program is None:
        session.failed("kernels", "lockstep_gpu_products", "not in the build")
        return {}
    finished = session.run("kernels", [program], limit)
    if finished.code != 0:
        session.failed("kernels", "lockstep_gpu_products", finished.said())
    return {line["case"]: line for line in lines_of(finished.output)}


def times_of_torch(session, cases, limit):
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        file.write("".join(json.dumps(case) + "\n" for case in cases))
        file.flush()
        command = ["bash", "-c", '"$0" "$1" < "$2"', sys.executable, str(HERE / "kernels_torch.py"), file.name]
        finished = session.run("kernels", command, limit, session.own_env)
    lines = lines_of(finished.output)
    if not lines:
        session.failed("kernels", "kernels_torch.py", finished.said())
    return {line["case"]: line for line in lines}


def shown(line, seconds):
    if line["group"] == "bandwidth":
        return "%.2f TB/s" % (line["bytes"] / seconds * 1e-12)
    return "%.1f TFLOP/s" % (line["flops"] / seconds * 1e-12)


def add_case(session, line, limit, torch):
    """The row of a case; returns its ratio to the limit or peer, or None."""
    name = "%s %s %s" % (line["name"], line["size"], line["precision"])
    wanted = WANTED.get(line["group"])
    if "error" in line:
        session.row("kernels", name, line["error"][:60], wanted="to run", ok=False, detail=True)
        return None
    ours, eager = line["seconds"], torch.get("seconds")
    value = shown(line, ours) + ("" if eager is None else ", %.2fx PyTorch" % (eager / ours))
    best = eager if line["group"] == "convolution" else limit
    if best is None:
        session.row("kernels", name, value, detail=True)
        return None
    ratio = best / ours
    session.row("kernels", name, value, peer=shown(line, best), ratio="%.2f" % ratio,
                wanted=">= %.2f" % wanted if wanted else "", ok=ratio >= wanted if wanted else None, detail=True)
    return ratio


def summarise(session, group, precision, ratios, failed):
    """One row for the cases of a group in one precision: ratios by name."""
    if not ratios:
        return
    worst = min(ratios, key=ratios.get)
    against = {"bandwidth": "of the copy rate", "product": "of cuBLASLt's best", "convolution": "x PyTorch"}[group]
    wanted = WANTED.get(group)
    good = sum(ratio >= (wanted or 1) for ratio in ratios.values())
    session.row("kernels", "%s, %s: %d cases" % (group, precision, len(ratios) + failed),
                "median %.2f %s" % (statistics.median(ratios.values()), against),
                peer="%d of %d" % (good, len(ratios) + failed), ratio="%.2f worst" % ratios[worst],
                wanted="all >= %.2f" % wanted if wanted else "",
                ok=(good == len(ratios) and not failed) if wanted else None)


def run(session, limit):
    begin = time.monotonic()
    lines = our_times(session, begin + 0.5 * limit)
    copies = [line for line in lines if line["group"] == "copy"]
    cases = [line for line in lines if line["group"] != "copy"]
    if not cases:
        return
    best = best_products(session, 0.25 * limit)
    torch = times_of_torch(session, cases, begin + limit - time.monotonic())
    rate = max((line["bytes"] / line["seconds"] for line in copies), default=None)
    for line in copies:
        session.row("kernels", "copy: " + line["name"], "%.2f TB/s" % (line["bytes"] / line["seconds"] * 1e-12))
    groups = {}
    for line in cases:
        ratios, failures = groups.setdefault((line["group"], line["precision"]), ({}, []))
        limits = {"bandwidth": None if rate is None else line["bytes"] / rate,
                  "product": best.get(line["case"], {}).get("seconds")}
        ratio = add_case(session, line, limits.get(line["group"]), torch.get(line["case"], {}))
        if ratio is not None:
            ratios[line["name"] + line["size"]] = ratio
        elif "error" in line:
            failures.append(line["name"])
    for (group, precision), (ratios, failures) in groups.items():
        summarise(session, group, precision, ratios, len(failures))
