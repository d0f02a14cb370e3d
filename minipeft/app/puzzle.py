"""`minipeft puzzle`: a bug planted in a backward; the learner names the line, or writes the check."""

from pathlib import Path
from textwrap import fill

from ..errors import InputError
from ..exercises.puzzles import probe
from ..exercises.puzzles.choosing import LEVELS, draw, formed_in, span
from ..exercises.puzzles.chosen import CHOSEN, changed, chosen
from ..exercises.puzzles.planting import place, places
from ..exercises.puzzles.unseen import UNSEEN, try_file, unseen
from ..step import depth
from .check import FOLDER, read_state, write_state

WINDOW = 5  # lines that the last hint leaves
WIDTH = 100  # of the commentary


def puzzle_command(args):
    """Find the planted bug: a backward's source with one change, the tensors that fail; name the line.

    A number (3) or name (P03) is one of ten with a commentary; --level draws another from the source as it
    is. --blind: bugs that a gradient check does not see; you write the check that does.
    """
    if args.blind is not None:
        return blind(args)
    if args.probe:
        raise InputError("--probe goes with --blind")
    if args.puzzle is None and args.level is None:
        print(listed(read_state(Path(FOLDER))))
        return 0
    if args.puzzle is not None and args.level is not None:
        raise InputError("a chosen puzzle has its level: give its number, or --level, not both")
    if args.puzzle is None:
        puzzle, commentary = draw(args.level, args.seed), ""
    else:
        one = chosen(args.puzzle)
        puzzle, commentary = one.puzzle(), one.commentary
    if args.line is not None:
        return answered(puzzle, args.line, commentary)
    if args.file:
        print(written(puzzle, Path(args.file)))
    elif args.hint:
        print(next_hint(puzzle))
    elif args.solution:
        print(solved(puzzle, commentary))
    else:
        print(shown(puzzle))
    return 0


# ----------------------------------------------------------------------------------- what a learner sees


def shown(puzzle):
    """The source, the tensors, the question."""
    errors = puzzle.errors
    lines = [f"{puzzle.name}: one place in {puzzle.where.file} is not as it should be.", ""]
    for _, numbered in sources(puzzle):
        lines += [*(f"{number:5}  {text}" for number, text in numbered), ""]
    wrong = probe.wrong(errors)
    order = lambda name: -depth(name.rpartition(".")[0], probe.CONFIG.n_layer)
    lines.append(f"Gradients with {puzzle.case}, from the loss down, and their relative errors:")
    lines += [
        f"{errors[name]:8.1e}  {'WRONG  ' if name in wrong else '       '}{name}"
        for name in sorted(errors, key=order)
    ]
    lines += [
        "",
        f"Which line? {said(puzzle)} --line NUMBER. A line may be missing: then name one beside it.",
    ]
    return "\n".join(lines)


def sources(puzzle):
    """[(place, [(number, line), ...])]: of the changed file the function; at level 3 all that took part."""
    shown_places = [puzzle.where]
    if puzzle.level == 3:
        ran = puzzle.seen.lines
        shown_places = [
            where
            for where in places().values()
            if where.module == puzzle.where.module and any(at in span(where) for at in ran)
        ]
    text = puzzle.where.file_with(puzzle.text).split("\n")
    longer = puzzle.text.count("\n") - puzzle.where.text.count("\n")
    for where in sorted(shown_places, key=lambda where: where.first):
        first = where.first + (longer if where.first > puzzle.where.first else 0)
        size = (puzzle.text if where == puzzle.where else where.text).count("\n") + 1
        yield where, [(n, text[n - 1]) for n in range(first, first + size)]


def said(puzzle):
    """The command that asks for this puzzle."""
    if puzzle.name in CHOSEN:
        return f"minipeft puzzle {puzzle.name}"
    return f"minipeft puzzle --{puzzle.name.replace(', seed', ' --seed')}"


def answered(puzzle, line, commentary):
    """Print whether it is the line. -> 0 if it is, else 1."""
    numbers = {number for _, numbered in sources(puzzle) for number, _ in numbered}
    if line not in numbers:
        raise InputError(f"--line {line} is none of those shown: {min(numbers)} to {max(numbers)}")
    if line not in puzzle.lines:
        print(f"line {line} is as it was.")
        return 1
    remember(puzzle.name, done=True)
    print(f"right: line {line}.\n{solved(puzzle, commentary)}")
    return 0


def solved(puzzle, commentary):
    """The line as it is and as it was."""
    before, after = puzzle.where.text.split("\n"), puzzle.text.split("\n")
    first = puzzle.where.first
    gone = len(after) < len(before)
    lines = [f"{puzzle.where}: {puzzle.what}."]
    lines += [f"{n:5}  is   {after[n - first].strip()}" for n in puzzle.lines if not gone]
    lines += [f"{n:5}  was  {before[n - first].strip()}" for n in puzzle.original_lines]
    return "\n".join([*lines, *(["", fill(commentary, WIDTH)] if commentary else [])])


def next_hint(puzzle):
    """The next of three hints: where the wrong gradients are formed, what was changed, a few lines."""
    numbers = [
        number for where, numbered in sources(puzzle) if where == puzzle.where for number, _ in numbered
    ]
    begin = max(numbers[0], puzzle.lines[0] - puzzle.lines[0] % WINDOW)
    end = min(numbers[-1], max(puzzle.lines[-1], begin + WINDOW - 1))
    hints = (
        f"Level {puzzle.level}: {LEVELS[puzzle.level]}. The wrong ones are formed in "
        f"{' and '.join(formed_in(puzzle))}.",
        f"The change: {puzzle.what}.",
        f"It is one of the lines {begin} to {end}.",
    )
    asked = min(len(hints), read_state(Path(FOLDER)).get(puzzle.name, {}).get("hints", 0) + 1)
    remember(puzzle.name, hints=asked)
    return f"hint {asked} of {len(hints)}: {hints[asked - 1]}"


def written(puzzle, path):
    """Write the changed file, to be opened."""
    if path.exists():
        raise InputError(f"{path} is there already: give another name")
    path.write_text(puzzle.where.file_with(puzzle.text), encoding="utf-8")
    return f"{path}: {puzzle.where.file}, changed in one place. Nothing imports it."


def remember(name, **what):
    """Keep it in the file of the exercises' state."""
    state = read_state(Path(FOLDER))
    state.setdefault(name, {}).update(what)
    write_state(Path(FOLDER), state)


def listed(state):
    """The chosen puzzles and the blind ones, a line each."""
    done = lambda name: "yes" if state.get(name, {}).get("done") else ""
    rows = [f"{'':4}{'':4}{'find the line':44}level"]
    rows += [f"{done(name):4}{name:4}{one.title:44}{one.level:5}" for name, one in CHOSEN.items()]
    rows += ["", f"{'':4}{'':4}write the check that finds it"]
    rows += [f"{done(name):4}{name:4}{one.title}" for name, one in UNSEEN.items()]
    levels = "\n".join(f"  --level {level}  {what}" for level, what in LEVELS.items())
    return "\n".join(rows) + (
        f"\n\n`minipeft puzzle P01`, `minipeft puzzle --blind B01`; others, drawn from the source:\n{levels}"
    )


# ------------------------------------------------------------------------------ bugs that no check sees


def blind(args):
    """Show a blind puzzle, or try a file on it. -> 1 if the file does not find the bug, else 0."""
    if args.puzzle is not None or args.level is not None or args.line is not None or args.file:
        raise InputError("--blind goes with --probe, --hint or --solution, and with nothing else")
    one = unseen(args.blind or 1)
    if args.probe:
        found, text = try_file(one, Path(args.probe))
        print(text + (f"\n{one.why}" if found else ""))
        if found:
            remember(one.name, done=True)
        return 0 if found else 1
    if args.hint:
        print(one.hint)
    elif args.solution:
        print(f"{one.found.read_text(encoding='utf-8')}\n{one.why}")
    else:
        print(riddle(one))
    return 0


def riddle(one):
    """The change, the check that does not see it, the task."""
    where, after = place(one.where), changed(one)
    _, text = try_file(one, one.blind)
    lines = [f"{one.name}: {one.title}", "", where.file]
    lines += [f"-  {line}" for line in where.text.split("\n") if line not in after.split("\n")]
    lines += [f"+  {line}" for line in after.split("\n") if line not in where.text.split("\n")]
    lines += ["", one.blind.read_text(encoding="utf-8"), f"With the bug: {text}", ""]
    lines.append(
        f"Write a file with another `batch`, another `model`, or both: minipeft puzzle --blind {one.name} "
        "--probe FILE"
    )
    return "\n".join(lines)
