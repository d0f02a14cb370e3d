"""The command line: commands, options, exit codes. What each command does is in `commands.py`."""

import argparse
import json
import os
import sys

from ..data.batches import ON_LONG
from ..errors import InputError
from ..methods.named import method_class
from ..optim import SCHEDULES
from ..resuming.stopping import Terminated, end_with_parent, sigterm_raises
from ..speed.choose import KINDS
from ..train import Training
from ..version import __version__
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

TINY = "weights/tiny"  # the embedded model
ADAPTER = "a folder that `minipeft train` or Hugging Face PEFT wrote"


def main(argv=None):
    """Run one command. -> exit code.

    0 well, 1 a check failed, 2 bad input, 130 ended by Ctrl-C (SIGINT), 143 by SIGTERM.
    """
    args = parser().parse_args(argv)
    args.words = sys.argv[1:] if argv is None else argv  # as typed: a comparison's report says it
    try:
        for name in getattr(args, "register", None) or ():
            method_class(name)
        end_with_parent()
        with sigterm_raises():
            code = args.command(args) or 0
            sys.stdout.flush()
            return code
    except BrokenPipeError:  # who reads our output has had enough, as `head` has: nothing to complain of
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except InputError as error:
        print(f"minipeft: {error}", file=sys.stderr)
        if getattr(args, "json", False):
            print(json.dumps({"error": str(error)}))
        return 2
    except OSError as error:
        print(f"minipeft: {error.filename or 'file system'}: {error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"minipeft: interrupted; {str(stop) or 'what was written so far is kept'}", file=sys.stderr)
        return 143 if isinstance(stop, Terminated) else 130


# -------------------------------------------------------------------------------------------- the parser


class Help(argparse.ArgumentDefaultsHelpFormatter):
    """Help with the defaults, where there is something to say: not of a switch, and not None."""

    def _get_help_string(self, action):
        said = action.default not in (None, False, [], ())
        return super()._get_help_string(action) if said else action.help


def parser():
    """The argument parser, one subcommand each."""
    top = argparse.ArgumentParser(
        prog="minipeft", description="Parameter-efficient fine-tuning of GPT-2, by hand."
    )
    top.add_argument("--version", action="version", version=f"minipeft {__version__}")
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(name, function, *groups, result=True):
        text = function.__doc__
        summary = text.partition("\n")[0]
        p = commands.add_parser(name, help=summary, description=text, formatter_class=Help)
        p.set_defaults(command=function)
        for group in groups:
            group(p)
        if result:
            p.add_argument("--json", action="store_true", help="print the result as JSON")
            p.add_argument("--quiet", action="store_true", help="no progress bars")
        return p

    data = (data_options, out_option)
    p = add("compare", compare_command, model_options, *data, compare_options, training_options)
    p.set_defaults(task=None)  # --all has to know whether it was given
    p = add("train", train_command, model_options, *data, method_options, distill_options, training_options)
    resume_option(p)
    p = add("generate", generate_command, model_options, adapters_options, prompt_options, decoding_options)
    p = add("chat", chat_command, model_options, adapters_options, decoding_options, result=False)
    p = add("serve", serve_command, model_options, adapters_options, server_options, result=False)
    p = add("evaluate", evaluate_command, model_options, adapter_options, data_options)
    p.add_argument("--data", help="a file to evaluate on, all of it, instead of a task")
    p.add_argument("--on-long", default="refuse", help="rows longer than the model: refuse, cut, drop, split")
    p.add_argument("--seed", type=int, default=0, help="of the rows that --few-shot draws")
    instead = p.add_mutually_exclusive_group()
    instead.add_argument("--few-shot", type=int, metavar="K", help="score it with K training rows in front")
    instead.add_argument("--baseline", choices=("majority", "copying"), help="score this instead of a model")
    p = add("task", task_command)
    p.add_argument("name", nargs="?", help="a built-in task; default: list them")
    p.add_argument("--show", type=int, nargs="?", const=12, metavar="N", help="print so many rows, or 12")
    p.add_argument("--split", default="test", choices=("train", "validation", "test"), help="of --show")
    p.add_argument("--seed", type=int, default=0, help="of --show")
    p = add("methods", methods_command)
    p.add_argument("name", nargs="?", help="a method, or module:Class; default: list them")
    p = add("tune-report", tune_report_command)
    p.add_argument("run", metavar="RUN", help="a folder that `minipeft train` wrote")
    p.add_argument("--model", help="the base, where the run does not name it, or it has moved")
    p.add_argument("--task", help="a built-in task to measure on; default: the run's own evaluation rows")
    p.add_argument("--data", help="the same: a file, see minipeft/data/rows.py")
    register_option(p)
    ops_option(p)
    p = add("merge", merge_command, model_options)
    register_option(p)
    p.add_argument(
        "--adapter", required=True, help="a folder that `minipeft train` or Hugging Face PEFT wrote"
    )
    p.add_argument("--out", required=True, help="the folder to write")
    p = add("gradcheck", gradcheck_command, model_options, method_options)
    p.add_argument("--elements", type=int, default=2, help="single elements to check in each tensor")
    p.add_argument("--seed", type=int, default=0, help="of the batch, the noise and the directions")
    p = add("bench", bench_command, model_options, method_options)
    p.add_argument(
        "--data", help="a file, see minipeft/data/rows.py; without one, rows of the task data-to-text"
    )
    p.add_argument("--tokenizer", help="a folder with a tokenizer, for a --model that has none")
    p.add_argument("--batch", type=int, default=8, help="sequences in a batch")
    p.add_argument("--steps", type=int, default=6, help="measured steps, after one to warm up")
    p = add("pretrain", pretrain_command)
    p.add_argument("--out", default="runs/pretrain", help="the folder to write")
    p.add_argument(
        "--documents",
        type=int,
        help="how many of the stream to train on now (default: 600,000, about 60 million tokens)",
    )
    p.add_argument("--from", dest="start", help="a folder to go on from, at the document where it stopped")
    p.add_argument(
        "--decay", type=int, default=0, help="over how many of the last documents the rate falls to zero"
    )
    p.add_argument("--every", type=int, default=8000, help="documents between checkpoints, with their probes")
    p.add_argument("--lr", type=float, default=1e-3, help="the rate between warm-up and decay")
    p.add_argument("--seed", type=int, default=0, help="of the corpus, the weights and the order")
    p.add_argument(
        "--save-every", default="", metavar="N", help="steps, or a time such as 5m, between states"
    )
    resume_option(p)
    p = add("download", download_command)
    p.add_argument("name", help="gpt2, gpt2-medium, gpt2-large, gpt2-xl or distilgpt2")
    p = add("info", info_command, memory_options)
    p.add_argument("folder", nargs="?", default=TINY, help="a model or adapter folder, or a model's name")
    return top


def model_options(p):
    """--model, --device, --ops, --quantize."""
    p.add_argument("--model", default=TINY, help="a folder, a published name (gpt2), or random:NAME")
    p.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="cuda needs CuPy and a GPU")
    ops_option(p)
    p.add_argument(
        "--quantize",
        choices=("int8", "nf4"),
        help="hold the base in 8 or 4 bits: see minipeft/speed/quantized.py",
    )


def ops_option(p):
    """--ops."""
    p.add_argument(
        "--ops",
        default="fast",
        choices=KINDS,
        help="compute by the formulas of minipeft/ops.py (plain), or by the same made fast",
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
    p.add_argument("--task", default="data-to-text", help="a built-in task, unless there are files")
    p.add_argument("--train", help="a JSONL, CSV, TSV or text file: see minipeft/data/rows.py")
    p.add_argument("--eval", help="a file that chooses the best adapter; half of it, if there is no --test")
    p.add_argument("--test", help="a file that gives the score")
    p.add_argument(
        "--metric", help="of files; default: accuracy for labels, else chrf; see minipeft/data/metrics.py"
    )


def out_option(p):
    """--out."""
    p.add_argument(
        "--out", help="the folder to write (compare goes on in it); default: a new one under runs/"
    )


def compare_options(p):
    """--methods, --all, --seeds, --budget, --sweep."""
    p.add_argument(
        "--methods", help="names with commas, or all; see `minipeft methods`; module:Class is one of your own"
    )
    p.add_argument(
        "--all", action="store_true", help="all tasks and all methods, unless --task or --methods say which"
    )
    p.add_argument(
        "--seeds", type=int, default=1, help="runs of each method; the score is their mean ± spread"
    )
    p.add_argument(
        "--budget", metavar="TIME", help="90s, 10m, 1h: as many steps as fit, the same for all methods"
    )
    p.add_argument(
        "--sweep",
        nargs="+",
        metavar="NAME=V,V",
        help="lr=1e-4,1e-3 r=4,16: try every combination, keep each method's best by validation",
    )


def method_options(p):
    """--method, --set."""
    p.add_argument(
        "--method",
        default="lora",
        help="see `minipeft methods`; module:Class is one of your own, in this folder",
    )
    p.add_argument(
        "--set", nargs="+", default=[], metavar="NAME=VALUE", help="the method's settings: r=8 lora_alpha=16"
    )


def distill_options(p):
    """--teacher, --student-layers, --temperature, --distill-weight."""
    group = p.add_argument_group("distillation", "see minipeft/distill.py")
    group.add_argument(
        "--teacher", help="an adapter on --model, or a whole model of its shape, to learn from"
    )
    group.add_argument(
        "--student-layers", type=int, help="train so many of the teacher's layers, not --model"
    )
    group.add_argument("--temperature", type=float, default=2.0, help="of the soft targets")
    group.add_argument(
        "--distill-weight", type=float, default=0.5, help="0: labels alone, 1: the teacher alone"
    )


CHOICES = {  # what else the help says of a setting of `Training`
    "schedule": f"; one of {', '.join(SCHEDULES)}",
    "on_long": f"; one of {', '.join(ON_LONG)}",
}


def training_options(p):
    """A flag for each field of `Training`."""
    group = p.add_argument_group("training", "see minipeft/train.py, class Training")
    for name, f in Training.__dataclass_fields__.items():
        value = {"action": "store_true"} if f.type is bool else {"type": f.type, "metavar": f.type.__name__}
        option = f"--{name.replace('_', '-')}"
        group.add_argument(option, default=None, help=f"default {f.default}{CHOICES.get(name, '')}", **value)


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
    group.add_argument("--batch", type=int, default=Training.batch_size, help="sequences in a batch")
    group.add_argument("--length", type=int, default=60, help="tokens in a sequence")
    group.add_argument("--labelled", type=int, help="tokens with a label in a sequence (default: all)")
    group.add_argument("--data", help="a file of rows: count its largest batch, instead of --length")
    group.add_argument("--dropout", type=float, default=0.0, help="GPT-2's own")
    group.add_argument("--checkpointing", action="store_true", help="as `train` has it")


def server_options(p):
    """Where to listen, and how much to take on."""
    p.add_argument("--host", default="127.0.0.1", help="the address; there is no password: beware of others")
    p.add_argument("--port", type=int, default=8000, help="0: any that is free")
    p.add_argument("--batch", type=int, default=8, help="sequences to generate at once, and of one request")
    p.add_argument("--queue", type=int, default=32, help="requests that may wait; more are refused (429)")


def prompt_options(p):
    """The prompts, and beam search."""
    p.add_argument("prompt", nargs="*", help="text to continue; without one, lines of standard input")
    p.add_argument("--beams", type=int, default=1, help="beam search with so many beams")
    p.add_argument("--length-penalty", type=float, default=1.0, help="of beam search")


def decoding_options(p):
    """How to choose each token."""
    p.add_argument("--max-new-tokens", type=int, default=60, help="tokens to add at most")
    p.add_argument("--sample", action="store_true", help="sample instead of taking the likeliest token")
    p.add_argument("--temperature", type=float, default=1.0, help="of sampling")
    p.add_argument("--top-k", type=int, default=0, help="sample among the k likeliest; 0: among all")
    p.add_argument(
        "--top-p", type=float, default=1.0, help="sample among the likeliest that hold this probability"
    )
    p.add_argument("--repetition-penalty", type=float, default=1.0, help="above 1: repeat less")
    p.add_argument("--seed", type=int, default=0, help="of sampling")
