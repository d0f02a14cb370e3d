"""results.json, which keeps every measurement, and RESULTS.md, which is always written from all of it.

    {device: {part: {name: entry}}}        an entry: its numbers, and what they are "about": see there

A run replaces the entries that it measures anew and leaves the others as they are.
"""

import time
from importlib.metadata import version
from pathlib import Path

from report import page

from minipeft.cost.machine import this_machine, versions
from minipeft.files.json_files import atomic, read_json, write_json


def recorded(folder):
    """All that was measured so far."""
    path = Path(folder) / "results.json"
    return read_json(path) if path.is_file() else {}


def record(folder, device, part, name, entry):
    """Keep one more entry, and write RESULTS.md anew."""
    results = recorded(folder)
    results.setdefault(device, {}).setdefault(part, {})[name] = entry
    write_json(Path(folder) / "results.json", results)
    with atomic(Path(folder) / "RESULTS.md") as temporary:
        Path(temporary).write_text(page(results), encoding="utf-8")


def about(device, model, threads, libraries=()):
    """What a measurement depends on."""
    return {
        "machine": this_machine(device) | {"threads": threads},
        "versions": versions() | {name: version(name) for name in libraries},
        "run": {"model": model, "date": time.strftime("%Y-%m-%d")},
    }
