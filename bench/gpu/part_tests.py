"""The tests with the label gpu: those of kernels in shards side by side (what fails runs again alone, as one bad kernel
spoils the GPU for all that its process does after it), and tests/launcher/gpu_test.sh, of the program itself. And equal
bits for any number of workers in bf16.
"""
import concurrent.futures
import json
import os
import pathlib
import re
import tempfile
import time

SOURCE = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = SOURCE / "examples"
SHARDS = 8
BEGAN = re.compile(r"^\[ RUN      \] (\S+)", re.M)
ENDED = re.compile(r"^\[ +(OK|FAILED|SKIPPED) +\] (\S+?)(?:, .*)? \(\d+ ms\)", re.M)


def all_tests(listing):
    """Names from what --gtest_list_tests prints."""
    tests, suite = [], ""
    for line in listing.splitlines():
        name = line.split("#")[0].rstrip()
        if re.fullmatch(r"\S+\.", name):
            suite = name
        elif suite and re.fullmatch(r"  \S+", name):
            tests.append(suite + name.strip())
    return tests


def outcomes(output):
    """By test that began: OK, FAILED, SKIPPED or died."""
    found = {name: "died" for name in BEGAN.findall(output)}
    found.update({name: word for word, name in ENDED.findall(output)})
    return found


def complaint(output, test):
    """The first lines that a failed test wrote."""
    if "[ RUN      ] " + test not in output:
        return ""
    text = output.split("[ RUN      ] " + test, 1)[1]
    text = re.split(r"^\[  ", text, maxsplit=1, flags=re.M)[0]
    lines = [line.strip() for line in text.splitlines() if line.strip() and not re.search(r": Failure$", line)]
    return " | ".join(lines[:3])[:300]


class Suite:
    """One GoogleTest program."""

    def __init__(self, session, program, end):
        self.session, self.program, self.end = session, program, end
        self.path = session.program(program)

    def start(self, options, limit, env=None):
        return self.session.run("tests", [self.path, "--device=cuda"] + options, limit, dict(self.session.env, **env or {}))

    def left(self):
        return max(0.0, self.end - time.monotonic())

    def run(self, shards):
        listing = self.session.run("tests", [self.path, "--device=cpu", "--gtest_list_tests"], 30)
        tests = [test for test in all_tests(listing.output) if ".DISABLED_" not in test]
        if not tests:
            return self.session.failed("tests", self.program, listing.said())
        limit = self.left() / 2  # the rest is for those that fail or hang

        def shard(i):
            return self.start([], limit, {"GTEST_TOTAL_SHARDS": str(shards), "GTEST_SHARD_INDEX": str(i)})

        with concurrent.futures.ThreadPoolExecutor(max(8, shards)) as pool:
            runs = list(pool.map(shard, range(shards)))
            found = {}
            for finished in runs:
                found.update(outcomes(finished.output))
            if not found:
                return self.session.failed("tests", self.program, runs[0].said())
            again = [test for test in tests if found.get(test, "not reached") not in ("OK", "SKIPPED")]
            alone = dict(zip(again, pool.map(self.run_alone, again)))
        for test, (word, why) in alone.items():
            if word == "not run again":
                word, why = found.get(test, "not reached"), "".join(complaint(r.output, test) for r in runs)
            if found.get(test) in ("FAILED", "died") and word == "OK":
                self.session.note("tests: %s failed beside others, not alone" % test)
            found[test] = word
            if word != "OK":
                self.session.note("tests: %s %s: %s" % (test, word, why))
        self.tell(tests, found)

    def run_alone(self, test):
        if self.left() < 1:
            return "not run again", ""
        finished = self.start(["--gtest_filter=" + test], min(20, self.left()))
        word = outcomes(finished.output).get(test, "not run")
        return word, complaint(finished.output, test) if word == "FAILED" else finished.said()

    def tell(self, tests, found):
        passed = sum(found.get(test) == "OK" for test in tests)
        self.session.row("tests", self.program, "%d passed" % passed, peer="%d tests" % len(tests), wanted="all",
                         ok=passed == len(tests))


def run_of(session, folder, workers, settings):
    command = [session.program("lockstep"), "train", str(EXAMPLES / "digits-cnn.toml"), "--run", folder, "--device", "cuda",
               "--quiet"]
    for setting in settings:
        command += ["--set", setting]
    if workers > 1:
        command = ["mpirun", "-n", str(workers), "--bind-to", "none"] + command
    return session.run("tests", command, 30)


def summary_of(folder):
    try:
        return json.loads((pathlib.Path(folder) / "summary.json").read_text())
    except OSError:
        return {}


def same_bits(session, folder, precision):
    """SHA-256 of the parameters after 20 steps with 1, 2 and 4 workers on one GPU."""
    hashes = {}
    for workers in (1, 2, 4):
        place = os.path.join(folder, "%s-%d" % (precision, workers))
        finished = run_of(session, place, workers,
                          ["train.steps=20", "evaluate.every=0", "run.share_gpu=true", 'train.precision="%s"' % precision])
        summary = summary_of(place)
        if finished.code != 0 or summary.get("device") != "cuda":
            why = finished.said() if finished.code != 0 else "it computed on: %s" % summary.get("device")
            return session.failed("tests", "%d workers on one GPU, %s" % (workers, precision), why)
        hashes[workers] = summary["parameters_sha256"]
    session.row("tests", "equal bits, %s" % precision, "%d hashes" % len(set(hashes.values())), peer="1, 2, 4 workers",
                wanted="1 hash", ok=len(set(hashes.values())) == 1)


def program_test(session, limit):
    begin = time.monotonic()
    command = ["bash", str(SOURCE / "tests" / "launcher" / "gpu_test.sh"), session.program("lockstep"), str(SOURCE)]
    finished = session.run("tests", command, limit)
    session.row("tests", "gpu_test.sh", "passed" if finished.code == 0 else finished.said(),
                peer="%.0f s" % (time.monotonic() - begin), wanted="passed", ok=finished.code == 0)


def run(session, limit):
    suites = [Suite(session, name, time.monotonic() + 0.75 * limit) for name in ("gpu_op_test", "gpu_training_test")]
    program = session.program("lockstep")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        waiting = []
        for suite in suites:
            if suite.path is None:
                session.failed("tests", suite.program, "not in the build")
            else:
                waiting.append(pool.submit(suite.run, SHARDS))
        if program is None:
            session.failed("tests", "lockstep", "not in the build")
        else:
            waiting.append(pool.submit(program_test, session, 0.85 * limit))
        for one in waiting:
            one.result()
    if program is not None:
        with tempfile.TemporaryDirectory() as folder:
            same_bits(session, folder, "bf16")
