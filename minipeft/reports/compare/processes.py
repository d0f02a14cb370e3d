"""Runs in processes of their own, so that their peak memory is their own; and the bar over all runs."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Lock

from ...files.json_files import write_json
from ...resuming.state import STATE
from ...resuming.stopping import ENDS_WITH_STDIN
from ...speed.parallel import num_threads


class Runner:
    """Runs what has not been run yet, and keeps what comes out in the run's folder.

    A bar above each run's own says how many of `total` runs are done; `progress` False: no bars, no words.
    workers: so many runs side by side, each with its share of the cores.
    """

    def __init__(self, total, progress, workers=1):
        from tqdm import tqdm

        self.progress, self.total, self.done, self.started = progress, total, 0, 0
        self.workers, self.processes, self.ending, self.lock = workers, set(), False, Lock()
        self.bar = tqdm(
            total=total, desc="compare", unit="run", smoothing=0, disable=None if progress else True
        )

    def __call__(self, run):
        """The run's result, of earlier or of now; one that failed has "failed", the message, and no more."""
        result = run.earlier_result()
        if result is None:
            self.say(f"$ {run.command}")
            with self.lock:
                self.started += 1
            read = run.content()  # before: a file may change while the run reads it
            result = run.about | self.process(run)
            if "failed" not in result:
                result["content"] = read | {"adapter": run.content()["adapter"]}
                write_json(run.folder / "result.json", result)
        with self.lock:
            if not self.ending:  # else it was killed
                self.done += 1
                self.bar.update()
        return result

    def all(self, runs):
        """The results of these runs, in their order. A thread waits for each of the `workers` processes.

        What ends one of them by an exception, or us by a signal, ends all.
        """
        with ThreadPoolExecutor(self.workers) as pool:
            try:
                return list(pool.map(self, runs))
            except BaseException:
                self.end()
                raise

    def end(self):
        """Kill the runs that are under way, and those that are just being started."""
        with self.lock:
            self.ending = True
            for process in self.processes:
                process.kill()

    def skip(self, runs):
        """So many of the runs are not needed after all."""
        self.total -= runs
        self.bar.total = self.total
        self.bar.refresh()

    def process(self, run):
        """Run the command. -> what it printed as JSON, and the seconds that it took in all."""
        # a run's own bars go below ours, and away when it ends (tqdm reads its defaults from TQDM_...)
        environment = os.environ | {"TQDM_POSITION": "1", "TQDM_LEAVE": "", ENDS_WITH_STDIN: "1"}
        environment |= threads_of_each(self.workers)
        words = [sys.executable, "-m", "minipeft", *run.words, "--json"]
        one_bar = self.workers == 1 and sys.stderr.isatty()
        words += [] if self.progress and one_bar else ["--quiet"]  # a log has a line for each run
        begin = time.perf_counter()
        (run.folder / STATE).unlink(missing_ok=True)  # of a run that was ended here: this one begins
        theirs, ours = os.pipe()  # nothing is written: it closes when we end, and the run ends then
        with deaf_to_interrupts():
            process = subprocess.Popen(
                words, stdin=theirs, stdout=subprocess.PIPE, text=True, env=environment
            )
        os.close(theirs)
        with self.lock:
            self.processes.add(process)
            if self.ending:
                process.kill()
        try:
            output = self.wait(process)
        finally:
            with self.lock:
                self.processes.discard(process)
            process.kill()  # where we are interrupted; one that has ended does not mind
            process.wait()
            os.close(ours)
        said = last_line(output)
        if process.returncode or said is None:
            return {"failed": message_of(said, process.returncode)}
        return said | {"wall_seconds": time.perf_counter() - begin}

    def wait(self, process):
        """All that the process prints, our bar's clock moving on meanwhile."""
        while True:
            try:
                return process.communicate(timeout=1)[0]
            except subprocess.TimeoutExpired:
                self.bar.refresh()

    def say(self, text):
        """A line above the bars."""
        if self.progress:
            self.bar.write(text, file=sys.stderr)

    def close(self):
        """Leave the bar as it is, and nothing below: a run that was ended may have left its own there."""
        self.bar.close()
        if self.progress and sys.stderr.isatty():
            print("\x1b[J", end="", file=sys.stderr, flush=True)


def threads_of_each(workers):
    """What makes so many runs side by side share the cores; a MINIPEFT_THREADS that is set stays as it is."""
    if workers == 1 or os.environ.get("MINIPEFT_THREADS"):
        return {}
    return {"MINIPEFT_THREADS": str(max(1, num_threads() // workers))}


def last_line(output):
    """The dict that the last line of a command's output is, as JSON; None if it is none.

    What stands before it a method of the user's own has printed.
    """
    try:
        said = json.loads(output.rstrip().rpartition("\n")[2])
    except json.JSONDecodeError:
        return None
    return said if isinstance(said, dict) else None


def message_of(said, code):
    """Why a command ended with `code`: what it said at last, or that a signal ended it."""
    if code < 0:
        return f"ended by signal {-code}" + (" (out of memory?)" if code == -signal.SIGKILL else "")
    return (said or {}).get("error", f"ended with code {code}, and no result: see its message above")


@contextmanager
def deaf_to_interrupts():
    """A process started in here does not hear Ctrl-C: only we do, we end it, and one line says so."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
