"""Which runs a comparison consists of: each one a command, with a folder for what comes out of it."""

import inspect
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from ...backend import uses_tf32
from ...config import published
from ...files.content import content_of_files
from ...files.hub import find_folder
from ...files.json_files import read_object
from ...methods.named import method_class
from .recipes import BASELINES, COMMON, FEW_SHOT, LENGTH, method_of, recipe_of
from .sweep import TRAINING, variants

CODE = Path(__file__).parents[2]  # the package: a result is one of its code


@dataclass(frozen=True)
class PlannedRun:
    """A baseline or a method on a task, with one seed: an ordinary `minipeft` command.

    variant  what a sweep gives it: (("learning_rate", "1e-3"), ("r", "4"))
    words    what follows `minipeft`
    folder   where its result is, and a method's adapter
    files    those of the user's that it reads
    """

    task: str
    name: str
    seed: int
    variant: tuple
    words: tuple
    folder: Path
    files: tuple = ()

    @property
    def command(self):
        """The line to type."""
        return shlex.join(["minipeft", *self.words])

    @property
    def about(self):
        """What tells this run from the others, for its result."""
        about = {"task": self.task, "name": self.name, "seed": self.seed, "variant": dict(self.variant)}
        return about | {"folder": str(self.folder), "command": self.command}

    def content(self):
        """Fingerprints of all that a result depends on besides the command: data, base, code, adapter."""
        model = self.words[self.words.index("--model") + 1]
        name = model.removeprefix("random:")
        base = [] if name != model and published(name) else [find_folder(name)]  # a shape has no files
        return {
            "data": content_of_files(self.files),
            "base": content_of_files(base),
            "code": content_of_files([*sorted(CODE.rglob("*.py")), *own_code(method_of(self.name))]),
            "adapter": content_of_files(
                sorted(self.folder.glob("adapter*")) + sorted(self.folder.glob("model*"))
            ),
        }

    def earlier_result(self):
        """What this very command gave before, where everything that it depends on is as it was; else None."""
        path = self.folder / "result.json"
        if not path.is_file():
            return None
        result = read_object(path)
        same = result.get("command") == self.command and result.get("content") == self.content()
        return result if same else None


def own_code(method):
    """The file of a method that is none of the package: "module:Class"."""
    return [inspect.getfile(method_class(method))] if ":" in method else []


@dataclass(frozen=True)
class Plan:
    """What to compare.

    model     as `minipeft train` takes it;  device  "cpu" or "cuda"
    sources   {task: what a command is told of its data}, such as {"sentiment": ("--task", "sentiment")}
    names     of baselines and methods, as in `recipes`
    seeds     runs of each method;  settings["seed"] is the first
    settings  of `Training`, for all methods alike: they come before a recipe's
    sweep     {name: values}, see `sweep`
    base, ops as `load_model` takes them
    """

    model: str
    out: Path
    sources: dict
    names: tuple
    device: str = "cpu"
    seeds: int = 1
    settings: dict = field(default_factory=dict)
    sweep: dict = field(default_factory=dict)
    base: str | None = None
    ops: str = "fast"

    @property
    def first_seed(self):
        """The seed of a comparison's only run, or first."""
        return self.settings.get("seed", 0)

    def baselines(self, task):
        """The runs without training."""
        return [self.run(task, name) for name in self.names if name in BASELINES]

    def tried(self, task, name):
        """A method's runs with the first seed: one for every variant of the sweep."""
        return [self.run(task, name, variant) for variant in variants(self.sweep, name)]

    def repeats(self, run):
        """The same run with the other seeds."""
        seeds = range(self.first_seed + 1, self.first_seed + self.seeds)
        return [self.run(run.task, run.name, run.variant, seed) for seed in seeds]

    @property
    def methods(self):
        """The names of what trains."""
        return [name for name in self.names if name not in BASELINES]

    @property
    def count(self):
        """How many runs there are in all."""
        trained = sum(len(variants(self.sweep, name)) + self.seeds - 1 for name in self.methods)
        return len(self.sources) * (len(self.names) - len(self.methods) + trained)

    def run(self, task, name, variant=(), seed=None):
        """One run, its command put together."""
        seed, source = self.first_seed if seed is None else seed, self.sources[task]
        label = ",".join(f"{key}={value}" for key, value in variant).replace("/", "_")
        folder = Path(self.out) / task / name.replace(":", ".") / label / f"seed-{seed}"
        model = f"random:{self.model}" if name == "lora_random" else self.model
        words = ["--model", model, "--device", self.device]
        words += ["--tf32"] if uses_tf32() and self.device == "cuda" else []
        words += ["--ops", self.ops] if self.ops != "fast" else []
        words += [*(["--base", self.base] if self.base else []), *source]
        if name in BASELINES:
            words = ["evaluate", *words, *BASELINE_WORDS[name]]
            words += ["--seed", str(seed)] if name == "few_shot" else []
            if "on_long" in self.settings:
                words += ["--on-long", self.settings["on_long"]]
        else:
            words = ["train", "--method", method_of(name), *words, "--out", str(folder)]
            words += self.settings_words(name, dict(variant), seed)
        files = tuple(word for word in source[1::2] if Path(word).is_file())
        return PlannedRun(task, name, seed, tuple(variant), tuple(words), folder, files)

    def settings_words(self, name, variant, seed):
        """--set and the training options: COMMON, LENGTH, recipe, user's, sweep's; the later ones count."""
        own, training = recipe_of(name)
        given = {key: value for key, value in variant.items() if key in TRAINING}
        own = dict(setting.split("=", 1) for setting in own) | {
            key: value for key, value in variant.items() if key not in TRAINING
        }
        length = {} if {"steps", "epochs"} & {*self.settings, *variant} else LENGTH
        values = COMMON | length | training | self.settings | given | {"seed": seed}
        if "steps" in values and "warmup_steps" not in {**self.settings, **variant}:
            values["warmup_steps"] = min(values["warmup_steps"], int(values["steps"]) // 5)
        words = ["--set", *(f"{key}={value}" for key, value in own.items())] if own else []
        for key, value in values.items():
            option = f"--{key.replace('_', '-')}"
            words += ([option] if value else []) if isinstance(value, bool) else [option, str(value)]
        return words


BASELINE_WORDS = {
    "majority": ("--baseline", "majority"),
    "copying": ("--baseline", "copying"),
    "few_shot": ("--few-shot", str(FEW_SHOT)),
    "none": (),
}
