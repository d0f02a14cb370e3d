"""The command line: commands, options, exit codes. What each command does is in `commands.py`."""

import argparse
import inspect
import json
import math
import os
import sys

from ..backend import use_tf32
from ..config import SIZES
from ..data.batches import ON_LONG
from ..data.metrics import METRICS
from ..errors import InputError, SettingError, choose_from, nearest, whole_characters
from ..methods import METHODS
from ..methods.named import method_class
from ..optim import SCHEDULES
from ..reports.compare.recipes import BASELINES, RECIPES
from ..resuming.stopping import Terminated, end_with_parent, sigterm_raises
from ..speed.bases import BASES
from ..speed.choose import KINDS
from ..speed.parallel import limit_blas
from ..speed.quantized import KINDS as QUANTIZED
from ..speed.ranks import ALONE, complain, launched, world
from ..tasks import TASKS
from ..train import Training
from ..version import __version__
from .catalogue import meaning
from .check import check_command
from .commands import (
    bench_command,
    chat_command,
    compare_command,
    download_command,
    evaluate_command,
    generate_command,
    gradcheck_command,
    info_command,
    merge_command,
    methods_command,
    pretrain_command,
    serve_command,
    task_command,
    train_command,
    tune_report_command,
)
from .puzzle import puzzle_command

TINY = "weights/tiny"  # the embedded model
ADAPTER = "a folder that `minipeft train` or Hugging Face PEFT wrote"
OWN_METHOD = "module:Class is one of your own, in this folder"


def main(argv=None):
    """Run one command. -> exit code.

    0 well, 1 a check failed, 2 bad input, 130 ended by Ctrl-C (SIGINT), 143 by SIGTERM. Of several ranks that
    mpirun started, one that does not end well ends all.
    """
    args = argparse.Namespace(words=sys.argv[1:] if argv is None else argv)  # a comparison's report says them
    args.ranks = ALONE
    code = run(args)
    if code and args.ranks.size > 1:
        args.ranks.end(code)
    return code


def run(args):
    """Run the command that args.words say. -> exit code."""
    try:
        for word in args.words:
            whole_characters(word, ascii(word))
        _, unknown = parser().parse_known_args(args.words, args)
        if unknown:
            args.parser.refuse(unknown)
        for name in getattr(args, "register", None) or ():
            method_class(name)
        if getattr(args, "tf32", False):
            use_tf32(args.device)
        end_with_parent()
        args.ranks = ranks_for(args.command)
        if hasattr(args, "model"):  # exercises and puzzles need NumPy alone
            limit_blas()
        with sigterm_raises():
            code = args.command(args) or 0
            sys.stdout.flush()
            return code
    except BrokenPipeError:  # who reads our output has had enough, as `head` has: nothing to complain of
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except InputError as error:
        text = error.naming(args.parser.option(error.setting)) if isinstance(error, SettingError) else error
        complain(text)
        if "--json" in args.words:
            print(json.dumps({"error": str(text)}))
        return 2
    except MemoryError as error:
        complain(f"out of memory: {error}" if str(error) else "out of memory")
        return 2
    except OSError as error:
        line = InputError(f"{error.filename or 'file system'}: {error.strerror or error}")
        complain(line)
        return 2
    except KeyboardInterrupt as stop:
        complain(f"interrupted; {str(stop) or 'what was written so far is kept'}")
        return 143 if isinstance(stop, Terminated) else 130


def ranks_for(command):
    """The ranks that run this command. Raises InputError where there are several and it is not `train`."""
    if launched()[1] > 1 and command is not train_command:
        raise InputError("mpirun is for `minipeft train` alone: run this command without it")
    return world()


# -------------------------------------------------------------------------------------------- the parser


def number(convert, least=-math.inf):
    """A type of argparse's: a finite number, `least` or more."""

    def read(text):
        value = convert(text)
        if not least <= value < math.inf:  # nan is neither
            wanted = "a finite number" if least == -math.inf else f"{least} or more"
            raise argparse.ArgumentTypeError(f"must be {wanted}, not {text}")
        return value

    read.__name__ = convert.__name__  # help shows it
    return read


whole, positive, finite = number(int, 0), number(int, 1), number(float)


class Parser(argparse.ArgumentParser):
    """argparse's, but that bad input is an InputError: one line, with the nearest of what there is."""

    def error(self, message):
        """Raise InputError with what argparse has to say."""
        message = message.removeprefix("argument ").replace(": must ", " must ", 1)
        raise InputError(f"{message}; see {self.prog} --help")

    def refuse(self, words):
        """Raise InputError for words that no option or argument takes."""
        near = nearest(words[0], self._option_string_actions)
        self.error(f"{words[0]} is not known" + (f": {near} may be meant" if near else ""))

    def option(self, setting):
        """The option that sets this field or argument of Python; its own name where there is none."""
        options = self._option_string_actions.items()
        return next((option for option, action in options if action.dest == setting), setting)

    def _get_values(self, action, words):
        whole = action.nargs == argparse.PARSER or action.dest == "prompt"  # all words of a command; a text
        if "" in words and not whole:  # a shell's variable that is not set, most often
            raise argparse.ArgumentError(action, "must not be empty")
        return super()._get_values(action, words)

    def _check_value(self, action, value):
        if action.choices is not None and value not in action.choices:
            said = f"{value!r} is not known: {choose_from(value, action.choices)}"
            raise argparse.ArgumentError(action, said)


class Help(argparse.ArgumentDefaultsHelpFormatter):
    """Help in paragraphs, with the kinds of values, and the defaults where there is something to say.

    Nothing is to be said of a switch, and of None.
    """

    def _get_help_string(self, action):
        silent = action.default is False or action.default in (None, "", [], ())  # 0 is False's equal
        return action.help if silent else super()._get_help_string(action)

    def _get_default_metavar_for_optional(self, action):
        return action.type.__name__ if action.type else super()._get_default_metavar_for_optional(action)

    def _fill_text(self, text, width, indent):
        fill = super()._fill_text
        return "\n\n".join(fill(paragraph, width, indent) for paragraph in text.split("\n\n"))


def parser():
    """The argument parser, one subcommand each."""
    top = Parser(prog="minipeft", description="Parameter-efficient fine-tuning of GPT-2, by hand.")
    top.add_argument("--version", action="version", version=f"minipeft {__version__}")
    top.set_defaults(parser=top)
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(name, function, *groups):
        text = inspect.getdoc(function)
        p = commands.add_parser(name, help=text.partition("\n")[0], description=text, formatter_class=Help)
        p.set_defaults(command=function, parser=p)
        for group in groups:
            group(p)

    base, data, out = (model_options, result_options), (data_options,), (out_option,)
    add("compare", compare_command, *base, *data, *out, compare_options, training_options)
    add("train", train_command, *base, *data, *out, method_options, distill_options, training_options,
        resume_option)  # fmt: skip
    add("generate", generate_command, *base, adapters_options, prompt_options, decoding_options)
    add("chat", chat_command, model_options, adapters_options, decoding_options)
    add("serve", serve_command, model_options, adapters_options, server_options)
    add("evaluate", evaluate_command, *base, adapter_options, *data, evaluate_options)
    add("task", task_command, result_options, task_options)
    add("methods", methods_command, result_options, methods_options)
    add("tune-report", tune_report_command, result_options, tune_report_options)
    add("merge", merge_command, *base, merge_options)
    add("gradcheck", gradcheck_command, *base, method_options, gradcheck_options)
    add("check", check_command, check_options)
    add("puzzle", puzzle_command, puzzle_options)
    add("bench", bench_command, *base, method_options, bench_options)
    add("pretrain", pretrain_command, result_options, pretrain_options, resume_option)
    add("download", download_command, result_options, download_options)
    add("info", info_command, result_options, info_options, memory_options)
    return top


# ------------------------------------------------------------------------- the options of one command


def evaluate_options(p):
    """What to score, and how."""
    p.add_argument("--data", help="a file to evaluate on, all of it, instead of a task")
    p.add_argument("--on-long", default="refuse", choices=ON_LONG, help="rows longer than the model")
    p.add_argument("--seed", type=whole, default=0, help="of the rows that --few-shot draws")
    instead = p.add_mutually_exclusive_group()
    instead.add_argument(
        "--few-shot", type=positive, metavar="K", help="score it with K training rows in front"
    )
    instead.add_argument("--baseline", choices=("majority", "copying"), help="score this instead of a model")


def task_options(p):
    """A task, and which of its rows to print."""
    p.add_argument("name", nargs="?", help=f"a built-in task: {', '.join(TASKS)}; without one, list them")
    p.add_argument(
        "--show", type=positive, nargs="?", const=12, metavar="N", help="print so many rows, or 12"
    )
    p.add_argument("--split", default="test", choices=("train", "validation", "test"), help="of --show")
    p.add_argument("--seed", type=whole, default=0, help="of --show")


def methods_options(p):
    """A method."""
    p.add_argument("name", nargs="?", help="a method, or module:Class; without one, list them")


def tune_report_options(p):
    """A run, and on what to measure."""
    p.add_argument("run", metavar="RUN", help="a folder that `minipeft train` wrote")
    p.add_argument("--model", help="the base, where the run does not name it, or it has moved")
    p.add_argument("--task", help="a built-in task to measure on; default: the run's own evaluation rows")
    p.add_argument("--data", help="the same: a file, see minipeft/data/rows.py")
    register_option(p)
    ops_option(p)


def merge_options(p):
    """From where, and where to."""
    p.add_argument("--adapter", required=True, help=ADAPTER)
    p.add_argument("--out", required=True, help="the folder to write")
    register_option(p)


def gradcheck_options(p):
    """How much to check."""
    p.add_argument("--elements", type=whole, default=2, help="single elements to check in each tensor")
    p.add_argument("--seed", type=whole, default=0, help="of the batch, the noise and the directions")


def check_options(p):
    """Which exercise, and what is wanted of it."""
    p.add_argument("exercise", nargs="?", help="a number (10), a name (lora) or a path; default: list them")
    what = p.add_mutually_exclusive_group()
    what.add_argument("--watch", action="store_true", help="check again whenever the file is saved")
    what.add_argument("--hint", action="store_true", help="the next of three hints")
    what.add_argument("--solution", action="store_true", help="show the lines that were to be written")
    what.add_argument("--copy", metavar="FOLDER", help="write the exercises' files; those that exist stay")


def puzzle_options(p):
    """Which puzzle, and what is wanted of it."""
    p.add_argument("puzzle", nargs="?", help="a number (3) or a name (P03); without one, list them")
    p.add_argument("--level", type=int, choices=(1, 2, 3), help="draw one: from near (1) to far (3)")
    p.add_argument("--seed", type=int, default=0, help="of the one that is drawn")
    p.add_argument(
        "--blind", nargs="?", const="", metavar="NAME", help="a bug that a check does not see (B01)"
    )
    what = p.add_mutually_exclusive_group()
    what.add_argument("--line", type=int, help="the answer: the number of the line with the bug")
    what.add_argument("--hint", action="store_true", help="the next of three hints; of a blind one, the hint")
    what.add_argument("--solution", action="store_true", help="show the line, or the check that finds it")
    what.add_argument("--file", metavar="PATH", help="write the changed file there, to be opened")
    p.add_argument("--probe", metavar="FILE", help="with --blind: your file with `batch`, `model` or both")


def bench_options(p):
    """What to time."""
    p.add_argument("--data", help="a file, see minipeft/data/rows.py; else rows of the task data-to-text")
    p.add_argument("--tokenizer", help="a folder with a tokenizer, for a --model that has none")
    p.add_argument("--batch", type=positive, default=8, help="sequences in a batch")
    p.add_argument("--steps", type=positive, default=6, help="measured steps, after one to warm up")


def pretrain_options(p):
    """How much of the corpus to read, and how."""
    p.add_argument("--out", default="runs/pretrain", help="the folder to write")
    p.add_argument(
        "--documents",
        type=positive,
        help="how many of the stream to train on now (default: 600,000, of about 100 tokens)",
    )
    p.add_argument("--from", dest="start", help="a folder to go on from, at the document where it stopped")
    p.add_argument(
        "--decay", type=whole, default=0, help="over how many of the last documents the rate falls to zero"
    )
    p.add_argument(
        "--every", type=positive, default=8000, help="documents between checkpoints, with their probes"
    )
    p.add_argument(
        "--lr", dest="learning_rate", type=finite, default=2e-3, help="the rate between warm-up and decay"
    )
    p.add_argument("--seed", type=whole, default=0, help="of the corpus, the weights and the order")
    p.add_argument("--save-every", default="", metavar="N", help=meaning(Training, "save_every"))


def download_options(p):
    """A published model."""
    p.add_argument("name", help=", ".join(SIZES))


def info_options(p):
    """A folder."""
    p.add_argument("folder", nargs="?", default=TINY, help="a model or adapter folder, or a model's name")


# ------------------------------------------------------------------------- options of several commands


def result_options(p):
    """--json, --quiet."""
    p.add_argument("--json", action="store_true", help="print the result as JSON")
    p.add_argument("--quiet", action="store_true", help="no progress bars")


def model_options(p):
    """--model, --device, --tf32, --ops, --base."""
    p.add_argument("--model", default=TINY, help="a folder, a published name (gpt2), or random:NAME")
    p.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="cuda needs CuPy and a GPU")
    p.add_argument(
        "--tf32", action="store_true", help="on a GPU: products of float32 rounded to 10 bits, faster"
    )
    ops_option(p)
    base_options(p)


def base_options(p):
    """--base, and --quantize."""
    held = p.add_mutually_exclusive_group()
    held.add_argument(
        "--base",
        choices=BASES,
        metavar="FORM",
        help="hold the frozen weights packed once (float32, bfloat16: see minipeft/speed/packed.py), or in 8 "
        "or 4 bits (int8, nf4: minipeft/speed/quantized.py)",
    )
    held.add_argument("--quantize", dest="base", choices=QUANTIZED, help="the same by another word")


def ops_option(p):
    """--ops."""
    p.add_argument(
        "--ops",
        default="fast",
        choices=KINDS,
        help="compute by the formulas of minipeft/ops.py (plain), by the same made fast, or, on a GPU, with "
        "products of bfloat16 (minipeft/speed/mixed_precision.py)",
    )


def adapter_options(p):
    """--adapter."""
    p.add_argument("--adapter", help=ADAPTER)
    register_option(p)


def adapters_options(p):
    """--adapter, as often as wanted."""
    p.add_argument(
        "--adapter",
        action="append",
        metavar="[NAME=]FOLDER",
        help=f"{ADAPTER}; again for more of them; none: the base (default: the base alone)",
    )
    register_option(p)


def register_option(p):
    """--register."""
    p.add_argument(
        "--register",
        action="append",
        metavar="MODULE:CLASS",
        help="a method of your own, in the working folder, that an adapter was trained by",
    )


def data_options(p):
    """--task, or --train, --eval, --test, --metric."""
    p.add_argument(
        "--task", help=f"without files, a built-in task: {', '.join(TASKS)} (default: data-to-text)"
    )
    p.add_argument("--train", help="a JSONL, CSV, TSV or text file: see minipeft/data/rows.py")
    p.add_argument("--eval", help="a file that chooses the best adapter; half of it, if there is no --test")
    p.add_argument("--test", help="a file that gives the score")
    about = f"of files: {', '.join(METRICS)} (default: accuracy for labels, else chrf)"
    p.add_argument("--metric", choices=METRICS, metavar="METRIC", help=about)


def out_option(p):
    """--out."""
    p.add_argument(
        "--out", help="the folder to write; compare goes on in it (default: a new one under runs/)"
    )


def compare_options(p):
    """--methods, --all, --seeds, --budget, --workers, --sweep."""
    p.add_argument(
        "--methods",
        metavar="NAME,NAME",
        help=f"all, or some of: {', '.join((*BASELINES, *RECIPES))}; {OWN_METHOD}",
    )
    p.add_argument(
        "--all", action="store_true", help="all tasks and all methods, unless --task or --methods say which"
    )
    p.add_argument(
        "--seeds", type=positive, default=1, help="runs of each method; the score is their mean ± spread"
    )
    p.add_argument(
        "--budget", metavar="TIME", help="90s, 10m, 1h: as many steps as fit, the same for all methods"
    )
    p.add_argument(
        "--workers", type=positive, default=1, metavar="N", help="N runs side by side, which share the cores"
    )
    p.add_argument(
        "--sweep",
        action="extend",
        nargs="+",
        metavar="NAME=V,V",
        help="lr=1e-4,1e-3 r=4,16: try every combination, keep each method's best by validation",
    )


def method_options(p):
    """--method, --set."""
    p.add_argument(
        "--method",
        default="lora",
        metavar="NAME",
        help=f"one of: {', '.join(METHODS)}; {OWN_METHOD}; `minipeft methods` says what they are",
    )
    p.add_argument(
        "--set",
        action="extend",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="the method's settings: r=8 lora_alpha=16",
    )


def distill_options(p):
    """--teacher, --student-layers, --temperature, --distill-weight."""
    group = p.add_argument_group("distillation", "see minipeft/distill.py")
    group.add_argument(
        "--teacher", help="an adapter on --model, or a whole model of its shape, to learn from"
    )
    group.add_argument(
        "--student-layers", type=positive, help="train so many of the teacher's layers, not --model"
    )
    group.add_argument("--temperature", type=finite, help="of the soft targets (default: 2)")
    group.add_argument(
        "--distill-weight",
        dest="weight",
        type=finite,
        help="0: labels alone, 1: the teacher alone (default: 0.5)",
    )


CHOICES = {"schedule": SCHEDULES, "on_long": ON_LONG}  # of the settings of `Training` that have some


def training_options(p):
    """An option for each field of `Training`, with what its docstring says; one that is not given is None."""
    group = p.add_argument_group("training", "see minipeft/train.py, class Training")
    for name, f in Training.__dataclass_fields__.items():
        said = meaning(Training, name).replace("%", "%%")
        if f.type is bool:
            value = {"action": "store_true"}
        else:
            value = {"type": type(f.default), "choices": CHOICES.get(name)}
            said += f" (default: {f.default})" if f.default != "" else ""
        group.add_argument(f"--{name.replace('_', '-')}", default=None, help=said, **value)


def resume_option(p):
    """--resume."""
    p.add_argument(
        "--resume", action="store_true", help="go on from the state that --out holds; without one, begin"
    )


def memory_options(p):
    """--memory, and what it depends on."""
    group = p.add_argument_group("memory in training", "see minipeft/cost/memory.py")
    group.add_argument("--memory", action="store_true", help="predict it, on a CPU; the weights are not read")
    method_options(group)
    group.add_argument(
        "--batch", dest="batch_size", type=positive, default=Training.batch_size, help="sequences in a batch"
    )
    group.add_argument("--length", type=positive, default=60, help="tokens in a sequence")
    group.add_argument("--labelled", type=positive, help="tokens with a label in a sequence (default: all)")
    group.add_argument("--data", help="a file of rows: count its largest batch, instead of --length")
    group.add_argument("--dropout", type=finite, default=0.0, help="GPT-2's own")
    group.add_argument("--checkpointing", action="store_true", help="as `train` has it")
    base_options(group)


def server_options(p):
    """Where to listen, and how much to take on."""
    p.add_argument("--host", default="127.0.0.1", help="the address; there is no password: beware of others")
    p.add_argument("--port", type=whole, default=8000, help="0: any that is free")
    p.add_argument(
        "--batch", type=positive, default=8, help="sequences to generate at once, and of one request"
    )
    p.add_argument(
        "--queue", type=positive, default=32, help="requests that may wait; more are refused (429)"
    )


def prompt_options(p):
    """The prompts, and beam search."""
    p.add_argument("prompt", nargs="*", help="text to continue; without one, lines of standard input")
    p.add_argument(
        "--beams", dest="num_beams", type=positive, default=1, help="beam search with so many beams"
    )
    p.add_argument("--length-penalty", type=finite, default=1.0, help="of beam search")


def decoding_options(p):
    """How to choose each token."""
    p.add_argument("--max-new-tokens", type=positive, default=60, help="tokens to add at most")
    p.add_argument(
        "--sample", dest="do_sample", action="store_true", help="sample instead of taking the likeliest token"
    )
    p.add_argument("--temperature", type=finite, default=1.0, help="of sampling")
    p.add_argument("--top-k", type=whole, default=0, help="sample among the k likeliest; 0: among all")
    p.add_argument(
        "--top-p", type=finite, default=1.0, help="sample among the likeliest that hold this probability"
    )
    p.add_argument("--repetition-penalty", type=finite, default=1.0, help="above 1: repeat less")
    p.add_argument("--seed", type=whole, default=0, help="of sampling")
