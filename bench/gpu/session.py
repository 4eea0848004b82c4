"""What the parts of gpu_check share: the programs of a build, commands with a time limit and a log, and the table.

Every command gets a process group of its own and is ended with it; its output goes to OUT/<part>.log. Rows of the table
are written to OUT/results.jsonl as they come, so nothing is lost where the whole is cut off.
"""
import dataclasses
import json
import os
import pathlib
import shlex
import signal
import subprocess
import tarfile
import tempfile
import threading
import time


# What is printed; everything is in OUT.
MOST_NOTES = 20
MOST_DETAILS = 40


@dataclasses.dataclass
class Row:
    """A line of the table. `ratio` is value over peer or limit, or the other way where less is better: more is better."""
    part: str
    name: str
    value: str
    peer: str = ""
    ratio: str = ""
    wanted: str = ""
    ok: bool | None = None  # None: nothing was wanted
    detail: bool = False    # one of many: printed only where it is missed


@dataclasses.dataclass
class Finished:
    code: int | None  # None: it ran out of time and was ended
    output: str
    seconds: float

    def said(self):
        """In a few words how it ended, for a row of the table."""
        if self.code is None:
            return "out of time after %.0f s" % self.seconds
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        return "exit %d: %s" % (self.code, lines[-1] if lines else "no output")


def unpacked(build, out):
    """The build's folder; an archive is unpacked beside the logs' folder first."""
    build = pathlib.Path(build)
    if build.is_dir():
        return build.resolve()
    folder = pathlib.Path(str(out.resolve()) + ".build")
    with tarfile.open(build) as archive:
        archive.extractall(folder)
    return next(path.parent for path in sorted(folder.rglob("bin")) if path.is_dir())


def environment_of(build):
    """What programs of the build run with: this process' environment, after the build's env.sh where it has one."""
    env = dict(os.environ)
    script = build / "env.sh"
    if script.exists():
        command = "source %s >/dev/null && env -0" % shlex.quote(str(script))
        text = subprocess.run(["bash", "-c", command], stdout=subprocess.PIPE, check=True).stdout.decode()
        env = dict(entry.split("=", 1) for entry in text.split("\0") if "=" in entry)
    env.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMPI_MCA_pml="ob1",
               OMPI_MCA_btl="self,vader,tcp", OMPI_MCA_rmaps_base_oversubscribe="1")
    return env


class Session:
    def __init__(self, build, out, seconds):
        self.out = pathlib.Path(out).resolve()
        self.out.mkdir(parents=True, exist_ok=True)
        for old in list(self.out.glob("*.log")) + list(self.out.glob("*.jsonl")):
            old.unlink()
        self.build = unpacked(build, self.out)
        self.env = environment_of(self.build)
        self.own_env = dict(os.environ)  # of programs that are not the build's
        self.begin = time.monotonic()
        self.end = self.begin + seconds
        self.rows, self.notes, self.running, self.beside = [], [], set(), []
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="gpu-check-"))
        self.lock = threading.RLock()  # a signal may come while the main thread has it

    def left(self):
        return max(0.0, self.end - time.monotonic())

    def program(self, name):
        for folder in ("bin", "tests"):
            if (self.build / folder / name).exists():
                return str(self.build / folder / name)
        return None

    def run(self, part, command, limit, env=None):
        """Runs the command, with the build's environment unless another is given, for `limit` seconds at most."""
        begin = time.monotonic()
        limit = min(limit, self.left())
        try:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                       env=self.env if env is None else env, start_new_session=True, text=True,
                                       errors="replace")
        except OSError as error:
            self.log(part, str(error))
            return Finished(127, str(error), 0.0)
        with self.lock:
            self.running.add(process)
        try:
            output, _ = process.communicate(timeout=limit)
            code = process.returncode
        except subprocess.TimeoutExpired:
            self.stop(process)
            output, _ = process.communicate()
            code = None
        with self.lock:
            self.running.discard(process)
        finished = Finished(code, output, time.monotonic() - begin)
        self.log(part, "$ %s\n%s[%s after %.1f s]\n" % (
            " ".join(map(shlex.quote, command)), output, "exit %s" % code if code is not None else "out of time",
            finished.seconds))
        return finished

    def start_beside(self, part, command, limit, env=None):
        """Runs the command beside what follows, until settle()."""
        thread = threading.Thread(target=self.run, args=(part, command, limit, env), daemon=True)
        thread.start()
        self.beside.append(thread)

    def settle(self, limit):
        """Waits for what runs beside, then ends it: before anything is timed."""
        end = time.monotonic() + limit
        for thread in self.beside:
            thread.join(max(0.0, end - time.monotonic()))
        if any(thread.is_alive() for thread in self.beside):
            self.note("what ran beside the tests was not done in time and was ended")
            self.stop_all()
        for thread in self.beside:
            thread.join(5)
        self.beside = []

    @staticmethod
    def stop(process):
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def stop_all(self):
        with self.lock:
            for process in self.running:
                self.stop(process)

    def log(self, part, text):
        with self.lock, open(self.out / (part + ".log"), "a") as file:
            file.write("== at %.1f s\n%s\n" % (time.monotonic() - self.begin, text))

    def row(self, part, name, value, **more):
        row = Row(part, name, value[:100], **more)
        with self.lock:
            self.rows.append(row)
            with open(self.out / "results.jsonl", "a") as file:
                file.write(json.dumps(dataclasses.asdict(row)) + "\n")

    def failed(self, part, name, why):
        self.row(part, name, why, wanted="to run", ok=False)

    def note(self, text, detail=False):
        """A line above the table; a detail is not printed."""
        with self.lock:
            self.notes.append((text, detail))

    def missed(self):
        return [row for row in self.rows if row.ok is False]

    def table(self, everything=True):
        rows = [row for row in self.rows if everything or not row.detail]
        if not everything:
            missed = [row for row in self.missed() if row.detail]
            kept = set(map(id, rows + missed[:MOST_DETAILS]))
            rows = [row for row in self.rows if id(row) in kept]
        header = Row("part", "name", "value", "limit or peer", "ratio", "wanted")
        columns = ("name", "value", "peer", "ratio", "wanted")
        width = {c: min(48, max(len(getattr(row, c)) for row in rows + [header])) for c in columns}
        lines, part = [], None
        for row in [header] + rows:
            if row.part != part and row is not header:
                part = row.part
                lines.append("-- " + part)
            state = {None: "", True: "ok", False: "MISSED"}[row.ok]
            cells = [getattr(row, c).ljust(width[c]) if c == "name" else getattr(row, c).rjust(width[c]) for c in columns]
            lines.append(("  ".join(cells) + "  " + state).rstrip())
        lines.append("%d rows, %d as wanted, %d MISSED, %.0f s%s" % (
            len(self.rows), sum(row.ok is True for row in self.rows), len(self.missed()), time.monotonic() - self.begin,
            "" if everything else "; all rows are in " + str(self.out / "table.txt")))
        kept = [text if everything else text[:200] for text, detail in self.notes if everything or not detail]
        if not everything and len(kept) > MOST_NOTES:
            kept[MOST_NOTES:] = ["... and %d more: see table.txt" % (len(kept) - MOST_NOTES)]
        return "\n".join(kept + lines)
