"""Files that are broken on purpose, very many of them: is each one loaded, or refused in one line?

    python benchmarks/fuzz.py --seeds 0 20000            # these mutants; prints counts as it goes
    python benchmarks/fuzz.py --seeds 20000 40000        # others
    python benchmarks/fuzz.py --seeds 17 18 --kind lora  # one of them

Seed i is a mutant of the kind of folder i modulo the number of kinds: see tests/hostile.py, which makes them.
They run in forks, each with so much memory more than it began with, and so many seconds for a mutant. What is
neither loaded nor refused, or takes longer, or more, is printed with its seed, and the exit code is 1.
"""

import argparse
import json
import os
import resource
import signal
import sys
import traceback
import warnings
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import hostile

SECONDS, MEGABYTES = 5, 200
IN_A_FORK = 1000  # mutants


def main():
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--seeds", type=int, nargs=2, default=(0, 2000), metavar=("FROM", "TO"))
    p.add_argument("--kind", choices=hostile.KINDS, help="of this kind of folder alone")
    args = p.parse_args()
    os.environ["MINIPEFT_THREADS"] = "1"
    for kind in hostile.KINDS:
        hostile.good(kind)
    hostile.base(), hostile.tiny()
    counts, done = Counter(), args.seeds[0]
    while done < args.seeds[1]:
        for seed, kind, what in in_a_fork(done, min(args.seeds[1], done + IN_A_FORK), args.kind):
            done = seed + 1
            group = what if what in ("loaded", "refused") else "BAD"
            counts[group] += 1
            if group == "BAD":
                print(f"seed {seed} ({kind}): {what}", flush=True)
        print(f"{args.seeds[0]} to {done}: {dict(counts)}", flush=True)
    return 1 if counts["BAD"] else 0


def in_a_fork(first, end, kind):
    """Yield (seed, kind, what happened), as far as one process comes: it may die of one."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        with os.fdopen(write, "w") as out, TemporaryDirectory() as top:
            limit_memory()
            for seed in range(first, end):
                each = kind or hostile.KINDS[seed % len(hostile.KINDS)]
                print(json.dumps([seed, each, None]), file=out, flush=True)
                print(
                    json.dumps([seed, each, happened(each, seed, Path(top) / str(seed))]),
                    file=out,
                    flush=True,
                )
        os._exit(0)
    os.close(write)
    begun = None
    with os.fdopen(read) as lines:
        for line in lines:
            begun = json.loads(line)
            if begun[2]:
                yield begun
    status = os.waitpid(pid, 0)[1]
    if begun and not begun[2]:
        how = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else "an exit"
        yield begun[0], begun[1], f"longer than {SECONDS} s" if how == "SIGALRM" else f"ended by {how}"


def limit_memory():
    """So much more address space than there is now; the largest file is far smaller."""
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MEGABYTES * 10**6,) * 2)


def happened(kind, seed, folder):
    """ "loaded", "refused", or the last lines of a traceback."""
    warnings.simplefilter("ignore")
    folder.mkdir()
    signal.alarm(SECONDS)  # nobody catches it: it ends the process
    try:
        return hostile.outcome(kind, seed, folder)
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {str(error)[:200]} ({Path(where.filename).name}:{where.lineno})"
    finally:
        signal.alarm(0)


if __name__ == "__main__":
    sys.exit(main())
