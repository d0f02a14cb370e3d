"""Which test notices a bug in a backward? Each one is changed in one place, and the gradient checks run.

    python benchmarks/mutants.py                    # all of them; writes mutants.md
    python benchmarks/mutants.py "lora LoRA"        # those of the functions whose name has this in it

Of the checks those run that come to the changed line, the quickest first, until one fails. A mutant is found
(a check says that a number is wrong), raises, or survives. Who survives has to be explained in EXPLAINED:
else the exit code is 1.
"""

import argparse
import os
import sys
import time
from collections import Counter
from pathlib import Path

os.environ["MINIPEFT_THREADS"] = "1"  # one shard runs in the thread that is watched

import pytest
from _pytest.runner import runtestprotocol

from minipeft.exercises.puzzles.choosing import span
from minipeft.exercises.puzzles.looking import lines_run
from minipeft.exercises.puzzles.mutations import changed_lines, mutants
from minipeft.exercises.puzzles.planting import places, planted

HERE = Path(__file__).parent
TESTS = HERE.parent / "tests"
CHECKS = [  # the tests that compare a gradient with differences, and what else holds of every backward
    *(f"test_ops.py::test_{name}" for name in (
        "linear", "layer_norm", "gelu", "attention", "dropout", "embedding_adds_up_a_token_that_occurs_twice",
        "lm_loss", "prepend", "a_fast_op_gives_what_its_plain_twin_gives",
    )),
    "test_methods.py::test_gradients_are_the_derivatives_of_the_loss",
    "test_methods.py::test_gradients_with_plain_operations_are_the_derivatives_too",
    "test_methods.py::test_gradients_are_right_with_dropout",
    "test_methods.py::test_every_trainable_tensor_gets_a_gradient_of_its_shape_and_its_own",
    "test_methods.py::test_no_backward_of_a_method_writes_into_the_gradient_that_it_was_given",
    "test_virtual.py::test_gradients_of_the_encoder_alone",
    "test_sublayer.py::test_activation_backward_is_the_derivative",
    "test_gpt2.py::test_every_site_passes_its_gradients_on",
    "test_gpt2.py::test_an_untied_head_has_a_gradient_of_its_own",
    "test_linear.py::test_doras_gradient_is_that_with_its_norms_held_and_the_true_one_differs",
    "test_distill.py::test_distill_loss",
]  # fmt: skip
EXPLAINED = {  # {(function, the changed line): why no gradient check can see it}
    ("reflections reflect_backward", "dv = (4 / n**2) * (w @ g) * v - (2 / n) * (dE @ w + E @ g)"):
        "w and g are vectors: their product is the same either way round",
}  # fmt: skip


class Mutation:
    """A plugin for pytest: in place of running the tests once, it runs them on every mutant."""

    def __init__(self, part):
        self.part, self.results, self.raised = part, [], None

    def pytest_runtest_makereport(self, item, call):
        """What ended a test."""
        if call.excinfo is not None and call.when != "teardown":
            self.raised = call.excinfo.type

    def run(self, test):
        """What a test raised, None if it passed; and the seconds of the processor that it took."""
        self.raised, begin = None, time.process_time()
        runtestprotocol(test, log=False)
        return self.raised, time.process_time() - begin

    def pytest_runtestloop(self, session):
        """All mutants of all functions."""
        seconds, lines = {}, {}
        for test in session.items:
            with lines_run() as ran:
                raised, seconds[test] = self.run(test)
            if raised:
                raise SystemExit(f"{test.nodeid} fails without a change: {raised.__name__}")
            lines[test] = ran
        tests = sorted(session.items, key=seconds.get)
        for name, where in places().items():
            if self.part not in name:
                continue
            inside = span(where)
            reaching = [test for test in tests if any(at in inside for at in lines[test])]
            for mutant in mutants(where.text):
                at = {(str(where.path), where.first + i) for i in changed_lines(mutant.text, where.text)}
                nearest = [test for test in reaching if lines[test] & at] or reaching
                self.results.append(
                    (name, changed(where.text, mutant), *self.verdict(where, mutant, nearest))
                )
            print(f"{name:60} {dict(Counter(r[2] for r in self.results if r[0] == name))}", flush=True)
        return True

    def verdict(self, where, mutant, tests):
        """("found" | "raises" | "survives", what to say: the test that noticed, or how many did not)."""
        try:
            with planted(where, mutant.text):
                for test in tests:
                    raised, _ = self.run(test)
                    if raised is not None:
                        found = issubclass(raised, AssertionError)
                        return "found" if found else "raises", test.nodeid
        except ValueError as error:  # a function without its `super()` has another number of variables
            return "raises", str(error)
        return "survives", f"{len(tests)} tests"


def changed(text, mutant):
    """The changed line, without its comment; of a missing one the line that is no more."""
    after = mutant.text.split("\n")
    now = [after[i] for i in changed_lines(text, mutant.text)]
    if len(after) < text.count("\n") + 1:
        before = text.split("\n")
        now = ["without: " + " ".join(before[i].strip() for i in changed_lines(mutant.text, text))]
    return " ".join(line.partition("  #")[0].strip() for line in now)


def report(results, seconds):
    """The page: counts by function, and every survivor."""
    total = Counter(verdict for _, _, verdict, _ in results)
    rows = [
        f"{len(results):,} mutants of {len({r[0] for r in results})} backward functions, "
        f"{seconds:.0f} seconds of one core: {total['found']:,} found, {total['raises']:,} raise, "
        f"{total['survives']:,} survive. Written by `python benchmarks/mutants.py`.",
        "",
        "| function | mutants | found | raise | survive |",
        "|---|---:|---:|---:|---:|",
    ]
    for name in dict.fromkeys(r[0] for r in results):
        own = Counter(r[2] for r in results if r[0] == name)
        rows.append(f"| `{name}` | {own.total()} | {own['found']} | {own['raises']} | {own['survives']} |")
    rows += ["", "| survivor | the line | why |", "|---|---|---|"]
    for name, line, verdict, _ in results:
        if verdict == "survives":
            why = EXPLAINED.get((name, line), "NOT EXPLAINED")
            rows.append(f"| `{name}` | `{line.replace('|', chr(92) + '|')}` | {why} |")
    noticed = Counter(said.split("::")[1].split("[")[0] for *_, verdict, said in results if "::" in said)
    rows += ["", "| noticed first by | mutants |", "|---|---:|"]
    rows += [f"| `{test}` | {n} |" for test, n in noticed.most_common()]
    return "# Mutants\n\n" + "\n".join(rows) + "\n"


def main():
    """Run them all. -> exit code: 1 if one survives that nobody explained."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("part", nargs="?", default="", help="of the functions' names; default: all")
    args = parser.parse_args()
    plugin, begin = Mutation(args.part), time.process_time()
    options = ["-q", "-s", "--tb=no", "-p", "no:cacheprovider", f"--rootdir={HERE.parent}"]
    code = pytest.main([*options, *(str(TESTS / check) for check in CHECKS)], plugins=[plugin])
    if not plugin.results:
        return code or 2
    text = report(plugin.results, time.process_time() - begin)
    if args.part:
        print(text)
    else:
        (HERE / "mutants.md").write_text(text, encoding="utf-8")
    survivors = [(name, line) for name, line, verdict, _ in plugin.results if verdict == "survives"]
    unexplained = [survivor for survivor in survivors if survivor not in EXPLAINED]
    for name, line in unexplained:
        print(f"survives: {name}: {line}")
    return int(bool(unexplained))


if __name__ == "__main__":
    sys.exit(main())
