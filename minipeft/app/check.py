"""`minipeft check`: an exercise checked, watched, hinted at, solved; what was done is kept in one file."""

import json
import time
from pathlib import Path

from ..exercises import files
from ..exercises.checking import check_file
from ..exercises.named import EXERCISES, find

FOLDER, STATE = Path("exercises"), ".progress.json"  # the state lies beside the exercises


def check_command(args):
    """Check an exercise: say what is right, and why a wrong number is wrong. Without one: list them all.

    The exercise is a number (10), a name (lora) or a path. `--hint` gives the next of three hints.
    """
    if args.copy:
        written, kept = files.copy(EXERCISES.values(), args.copy)
        print(
            f"{len(written)} files written to {args.copy}/" + (f", {len(kept)} kept as they are" * bool(kept))
        )
        return 0
    if args.exercise is None:
        print(listed(read_state(FOLDER if FOLDER.is_dir() else Path())))
        return 0
    exercise = find(args.exercise)
    path = path_of(exercise, args.exercise)
    if args.solution:
        print(solved(exercise))
        return 0
    if args.hint:
        print(next_hint(exercise, path.parent))
        return 0
    return watch(exercise, path) if args.watch else check_once(exercise, path)


def path_of(exercise, said):
    """The learner's file: the path itself, or the exercise's, here or in the folder `exercises`."""
    said, here = Path(said), Path(f"{exercise.name}.py")
    if said.suffix == ".py" and (said.is_file() or said.parent != Path()):
        return said
    return here if here.is_file() else FOLDER / here


def check_once(exercise, path):
    """Print the report. -> 0 if all is right, else 1."""
    report = check_file(exercise, path)
    print(report)
    if not report.ok:
        return 1
    state = read_state(path.parent)
    state.setdefault(exercise.number, {})["done"] = True
    write_state(path.parent, state)
    print(f"To compare: minipeft check {exercise.number} --solution. The real code: {exercise.where}")
    return 0


def watch(exercise, path, wait=time.sleep):
    """Check whenever the file is saved, until it is right."""
    seen = None
    while True:
        changed = path.stat().st_mtime_ns if path.is_file() else 0
        if changed != seen and (changed or seen is None):  # an editor may put a new file in its place
            seen = changed
            if check_once(exercise, path) == 0:
                return 0
            print("watching; Ctrl-C ends it\n", flush=True)
        wait(0.3)


def next_hint(exercise, folder):
    """The next of three hints; after the third, all of them."""
    state = read_state(folder)
    mine = state.setdefault(exercise.number, {})
    asked = mine.get("hints", 0)
    if asked >= len(exercise.hints):
        all_of_them = "\n".join(f"{k}. {hint}" for k, hint in enumerate(exercise.hints, 1))
        return f"{all_of_them}\nThere are no more: minipeft check {exercise.number} --solution"
    mine["hints"] = asked + 1
    write_state(folder, state)
    return f"hint {asked + 1} of {len(exercise.hints)}: {exercise.hints[asked]}"


def solved(exercise):
    """The lines that were to be written, function by function."""
    text = files.solution(exercise).read_text(encoding="utf-8")
    parts = (f"{name}:\n" + "\n".join(lines) for name, lines in files.written(text).items())
    return "\n\n".join(parts) + f"\n\nThe real code: {exercise.where}"


def listed(state):
    """The exercises, a line each."""
    rows = [f"{'':4}{'':4}{'exercise':48}{'level':>6}{'minutes':>9}  after"]
    for number, exercise in EXERCISES.items():
        done = "yes" if state.get(number, {}).get("done") else ""
        rows.append(
            f"{done:4}{number:4}{exercise.title:48}{exercise.level:6}{exercise.minutes:9}"
            f"  {', '.join(exercise.after)}".rstrip()
        )
    files_here = "" if Path(FOLDER).is_dir() else " `minipeft check --copy exercises` writes the files."
    return "\n".join(rows) + f"\n\n`minipeft check 01` checks the file in {FOLDER}/.{files_here}"


def read_state(folder):
    """{number: {"done": True, "hints": how many were given}}; a file that cannot be read counts as none."""
    try:
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def write_state(folder, state):
    """Keep it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / STATE).write_text(json.dumps(state, indent=1, sort_keys=True) + "\n", encoding="utf-8")
