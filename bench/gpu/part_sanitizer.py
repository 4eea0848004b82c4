"""compute-sanitizer over tests of ops, each room in a process of its own and several at a time, and over a training."""
import concurrent.futures
import os
import re
import shutil
import tempfile
import time

from part_tests import EXAMPLES, all_tests, outcomes

# Rooms with barriers and shared memory.
SHARING = re.compile(r"Softmax|LayerNorm|BatchNorm|BatchMoments|Loss|Reduce|Bias|SquareSums|GradientScale|Embedding")
AT_ONCE = 6
CLEAN = re.compile(r"========= (ERROR SUMMARY: 0 errors|RACECHECK SUMMARY: 0 hazards)")


def path_of_sanitizer():
    return shutil.which("compute-sanitizer") or shutil.which("/usr/local/cuda/bin/compute-sanitizer")


class Sanitizer:
    """compute-sanitizer as installed; versions differ in the names of options."""

    def __init__(self, session, path):
        self.session, self.path = session, path
        known = session.run("sanitizer", [path, "--help"], 20).output
        self.port = "--port" if "--port " in known else "--base-port"
        # Codes of calls are checked by the program itself, and libraries try what may fail.
        wanted = {"--error-exitcode": "99", "--print-limit": "5", "--check-exit-code": "no", "--report-api-errors": "no",
                  "--target-processes": "application-only"}
        self.options = [word for option, value in wanted.items() if option in known for word in (option, value)]

    def run(self, tool, number, command, limit):
        """`number` tells apart what runs at the same time: each needs ports of its own."""
        options = ["--tool", tool, self.port, str(50000 + 16 * number), *self.options]
        return self.session.run("sanitizer", [self.path, *options, *command], limit)


def first_error(output):
    lines = [line.lstrip("= ") for line in output.splitlines() if line.startswith("=========")]
    lines = [line for line in lines if line and not line.startswith(("COMPUTE-SANITIZER", "ERROR SUMMARY", "RACECHECK"))]
    return " | ".join(line.strip() for line in lines[:3])[:300]


def verdict(finished):
    """clean, errors, failed (without errors of memory), or partial: clean until it ran out of time."""
    if finished.code == 99 or re.search(r"SUMMARY: [1-9]\d* (error|hazard)", finished.output):
        return "errors"
    if finished.code is None:
        return "errors" if re.search(r"========= (Error|Invalid|Race|Barrier)", finished.output) else "partial"
    return "clean" if finished.code == 0 and CLEAN.search(finished.output) else "failed"


def rooms(session):
    """Tests by suite."""
    program = session.program("gpu_op_test")
    if program is None:
        session.failed("sanitizer", "gpu_op_test", "not in the build")
        return {}
    listing = session.run("sanitizer", [program, "--device=cpu", "--gtest_list_tests"], 30).output
    found = {}
    for test in all_tests(listing):
        found.setdefault(test.split(".")[0], []).append(test)
    return found


def jobs_of(session, folder):
    """(name, tool, command) of everything to run; the long ones first."""
    jobs = []
    program = session.program("lockstep")
    if program is not None:
        for precision in ("f32", "bf16"):
            command = [program, "train", str(EXAMPLES / "digits-cnn.toml"), "--run", os.path.join(folder, precision),
                       "--device", "cuda", "--quiet", "--set", "train.steps=3", "--set", "evaluate.every=0",
                       "--set", 'train.precision="%s"' % precision]
            jobs.append(("training, " + precision, "memcheck", command))
    suites = rooms(session)
    tests = session.program("gpu_op_test")
    for tool in ("memcheck", "racecheck", "synccheck"):
        for suite in suites:
            if tool == "memcheck" or SHARING.search(suite):
                jobs.append((suite, tool, [tests, "--device=cuda", "--gtest_filter=%s.*" % suite]))
    return jobs


def run(session, limit):
    path = path_of_sanitizer()
    if path is None:
        return session.failed("sanitizer", "compute-sanitizer", "not found")
    end = time.monotonic() + limit
    sanitizer = Sanitizer(session, path)
    with tempfile.TemporaryDirectory() as folder:
        jobs = jobs_of(session, folder)
        results = {}

        def one(item):
            number, (name, tool, command) = item
            left = end - time.monotonic()
            if left > 3:
                results[number] = sanitizer.run(tool, number, command, left)

        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(one, enumerate(jobs)))
    summarise(session, jobs, results)


def summarise(session, jobs, results):
    """A row for each training, and one for each tool over all suites; what is not clean is named above the table."""
    verdicts = {number: verdict(finished) for number, finished in results.items()}
    for number, (name, tool, _) in enumerate(jobs):
        word = verdicts.get(number, "not reached")
        if word in ("errors", "failed"):
            finished = results[number]
            session.note("sanitizer: %s of %s: %s" % (tool, name, first_error(finished.output) or finished.said()))
        if name.startswith("training"):
            session.row("sanitizer", "%s of a %s" % (tool, name), word, peer="3 steps", wanted="clean",
                        ok=word in ("clean", "partial"))
    for tool in ("memcheck", "racecheck", "synccheck"):
        suites = [i for i, (name, job_tool, _) in enumerate(jobs) if job_tool == tool and not name.startswith("training")]
        words = [verdicts.get(i, "not reached") for i in suites]
        if suites:
            ran = sum(len(outcomes(results[i].output)) for i in suites if i in results)
            told = ", ".join("%d %s" % (words.count(word), word) for word in sorted(set(words)))
            session.row("sanitizer", tool + " of suites", told, peer="%d suites, %d tests ran" % (len(suites), ran),
                        wanted="clean", ok="clean" in words and not {"errors", "failed"} & set(words))
