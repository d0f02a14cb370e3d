"""The command line: minipeft compare, train, generate, evaluate, gradcheck, pretrain, download, info."""

import argparse
import json
import sys
import time
import warnings
from pathlib import Path

from .errors import InputError
from .train import Training

TINY = "weights/tiny"  # the embedded model


def main(argv=None):
    """Run one command. -> exit code: 0 well, 1 a check failed, 2 bad input, 130 interrupted."""
    args = parser().parse_args(argv)
    warnings.simplefilter("ignore", RuntimeWarning)  # overflow on the way to a loss that `train` reports
    try:
        return args.command(args) or 0
    except InputError as error:
        print(f"minipeft: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"minipeft: {error.filename or 'file system'}: {error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("minipeft: interrupted; what was written so far is kept", file=sys.stderr)
        return 130


# ----------------------------------------------------------------------------------------- the commands


def compare_command(args):
    """Fine-tune by several methods on the same data; print one table, and the same prompt under each."""
    from .compare import answers, compare, table

    out = args.out or f"runs/compare-{time.strftime('%Y%m%d-%H%M%S')}"
    settings = given_settings(args)
    source = data_of(args)
    methods = args.methods.split(",") if args.methods else None
    options = {"methods": methods, "device": args.device, "progress": not args.quiet}
    results = compare(args.model, out, **options, **source, **settings)
    show(
        args,
        results,
        f"\n{table(results)}\n\n{answers(results)}\n\nwritten to {out}/ (report.md has the commands)",
    )


def train_command(args):
    """Fine-tune a model by one method."""
    from .runs import load_model, make_method, run

    method = make_method(args.method, args.set)
    source, settings = data_of(args), given_settings(args)
    model = load_model(args.model, device=args.device)
    out = args.out or f"runs/{args.method}-{time.strftime('%Y%m%d-%H%M%S')}"
    model, student = distillation(args, model, out)
    options = {"progress": not args.quiet, "student": student} | task_object(source)
    result = run(model, method, out, **options, **settings)
    lines = [
        f"trainable {result['trainable']:,} of {result['parameters']:,} parameters",
        f"{result['steps']} steps in {result['seconds']:.1f} s, {result['tokens_per_second']:,.0f} tokens/s, "
        f"peak memory {result['peak_memory_mb']:,.0f} MB",
    ]
    if result["too_long"]:
        lines.append(f"{result['too_long']} rows were too long for the model: {settings['on_long']}")
    show(args, result, "\n".join([*lines, *scores_in_words(result), f"adapter in {out}/"]))


def evaluate_command(args):
    """Measure a model, with or without an adapter: loss, perplexity, accuracy; a task's score."""
    from .runs import measure, peak_memory_mb

    source = task_object({"task": args.task} if not args.data else {"data": args.data})
    model = load_with_adapter(args)
    result = measure(model, **source, progress=not args.quiet)
    result |= {"parameters": model.num_parameters, "peak_memory_mb": peak_memory_mb()}
    show(args, result, "\n".join(scores_in_words(result)))


def generate_command(args):
    """Continue one or more prompts, given as arguments or line by line on standard input."""
    model = load_with_adapter(args)
    prompts = args.prompt or [line.rstrip("\n") for line in sys.stdin if line.strip()]
    if not prompts:
        raise InputError("no prompt: give one as an argument, or lines on standard input")
    options = {
        "max_new_tokens": args.max_new_tokens, "do_sample": args.sample, "temperature": args.temperature,
        "top_k": args.top_k, "top_p": args.top_p, "repetition_penalty": args.repetition_penalty,
        "num_beams": args.beams, "length_penalty": args.length_penalty, "seed": args.seed,
    }  # fmt: skip
    if args.json or len(prompts) > 1:
        outputs = model.generate(prompts, **options)
        rows = [{"prompt": p, "output": o} for p, o in zip(prompts, outputs, strict=True)]
        show(args, rows, "\n".join(r["prompt"] + r["output"] for r in rows))
        return
    print(prompts[0], end="", flush=True)
    if args.beams > 1:  # a beam is known only at the end
        print(model.generate(prompts[0], **options))
        return
    model.generate(prompts[0], on_text=lambda piece: print(piece, end="", flush=True), **options)
    print()


def gradcheck_command(args):
    """Compare every gradient with differences of the loss, in float64; exit code 1 if one is off."""
    import numpy as np
    from tqdm import tqdm

    from .data import pack
    from .gradcheck import TOLERANCE, gradcheck
    from .peft_model import PeftModel
    from .runs import load_model, make_method

    method = make_method(args.method, args.set)
    model = load_model(args.model, dtype="float64", device=args.device)
    rng, V = np.random.default_rng(args.seed), model.config.vocab_size
    batch = pack([(rng.integers(0, V, p), rng.integers(0, V, c)) for p, c in ((3, 4), (0, 5), (2, 3))])
    bar = None if args.quiet else lambda names: tqdm(names, desc="gradcheck", unit="tensor")
    errors = gradcheck(
        PeftModel(model, method, seed=args.seed), batch, args.elements, seed=args.seed, progress=bar
    )
    worst = max(errors, key=errors.get)
    passed = errors[worst] <= TOLERANCE
    lines = [
        f"{error:8.1e}  {'' if error <= TOLERANCE else 'WRONG  '}{name}" for name, error in errors.items()
    ]
    lines.append(
        f"{'passed' if passed else 'FAILED'}: worst {errors[worst]:.1e} at {worst}, allowed {TOLERANCE:.0e}"
    )
    show(args, {"passed": passed, "tolerance": TOLERANCE, "errors": errors}, "\n".join(lines))
    return 0 if passed else 1


def pretrain_command(args):
    """Write the corpus, learn its tokenizer, train the embedded model from random weights."""
    from .pretrain import pretrain

    history = pretrain(args.out, args.documents, seed=args.seed, progress=not args.quiet)
    last = history.evals[-1]
    show(
        args,
        last,
        f"validation loss {last['eval_loss']:.3f} after {history.seconds / 60:.0f} minutes, in {args.out}/",
    )


def download_command(args):
    """Fetch a published GPT-2 into the hub's cache."""
    from .files import download

    folder = download(args.name)
    show(args, {"folder": str(folder)}, f"{args.name} is in {folder}")


def info_command(args):
    """Say what a model or adapter folder contains."""
    from .info import describe, in_words

    result = describe(args.folder)
    show(args, result, in_words(result))


# -------------------------------------------------------------------------------------------- the parser


def parser():
    """The argument parser, one subcommand each."""
    top = argparse.ArgumentParser(
        prog="minipeft", description="Parameter-efficient fine-tuning of GPT-2, by hand."
    )
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(name, function, *groups):
        text = function.__doc__
        p = commands.add_parser(
            name, help=text, description=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )
        p.set_defaults(command=function)
        for group in groups:
            group(p)
        p.add_argument("--json", action="store_true", help="print the result as JSON")
        p.add_argument("--quiet", action="store_true", help="no progress bars")
        return p

    p = add("compare", compare_command, model_options, data_options, training_options)
    p.add_argument(
        "--methods", help="names with commas, or all; none: the frozen model; default: none,full,lora"
    )
    p = add(
        "train", train_command, model_options, data_options, method_options, distill_options, training_options
    )
    p = add("generate", generate_command, model_options, adapter_options, generation_options)
    p = add("evaluate", evaluate_command, model_options, adapter_options)
    p.add_argument("--task", default="data-to-text", help="a built-in task")
    p.add_argument("--data", help="a JSONL file, instead of a task")
    p = add("gradcheck", gradcheck_command, model_options, method_options)
    p.add_argument("--elements", type=int, default=2, help="single elements to check in each tensor")
    p.add_argument("--seed", type=int, default=0, help="of the batch, the noise and the directions")
    p = add("pretrain", pretrain_command)
    p.add_argument("--out", default="runs/pretrain", help="the folder to write")
    p.add_argument(
        "--documents",
        type=int,
        help="how many to write and to train on (default: as many as the built-in model read)",
    )
    p.add_argument("--seed", type=int, default=0, help="of the corpus, the weights and the order")
    p = add("download", download_command)
    p.add_argument("name", help="gpt2, gpt2-medium, gpt2-large, gpt2-xl or distilgpt2")
    p = add("info", info_command)
    p.add_argument("folder", nargs="?", default=TINY, help="a model or adapter folder, or a model's name")
    return top


def model_options(p):
    """--model, --device."""
    p.add_argument("--model", default=TINY, help="a folder, a published name (gpt2), or random:NAME")
    p.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="cuda needs CuPy and a GPU")


def adapter_options(p):
    """--adapter."""
    p.add_argument("--adapter", help="a folder that `minipeft train` or Hugging Face PEFT wrote")


def data_options(p):
    """--task, or --train and --eval; --out."""
    p.add_argument("--task", default="data-to-text", help="a built-in task, unless --train is given")
    p.add_argument("--train", help="a JSONL file of prompt and completion, or text, a line")
    p.add_argument("--eval", help="a JSONL file to evaluate on")
    p.add_argument("--out", help="the folder to write; default: a new one under runs/")


def method_options(p):
    """--method, --set."""
    p.add_argument("--method", default="lora", help="the fine-tuning method")
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


def training_options(p):
    """A flag for each field of `Training`."""
    group = p.add_argument_group("training", "see minipeft/train.py, class Training")
    for name, f in Training.__dataclass_fields__.items():
        text = f"default {f.default}"
        group.add_argument(
            f"--{name.replace('_', '-')}", type=f.type, default=None, metavar=f.type.__name__, help=text
        )


def generation_options(p):
    """How to decode."""
    p.add_argument("prompt", nargs="*", help="text to continue; without one, lines of standard input")
    p.add_argument("--max-new-tokens", type=int, default=60, help="tokens to add at most")
    p.add_argument("--sample", action="store_true", help="sample instead of taking the likeliest token")
    p.add_argument("--temperature", type=float, default=1.0, help="of sampling")
    p.add_argument("--top-k", type=int, default=0, help="sample among the k likeliest; 0: among all")
    p.add_argument(
        "--top-p", type=float, default=1.0, help="sample among the likeliest that hold this probability"
    )
    p.add_argument("--repetition-penalty", type=float, default=1.0, help="above 1: repeat less")
    p.add_argument("--beams", type=int, default=1, help="beam search with so many beams")
    p.add_argument("--length-penalty", type=float, default=1.0, help="of beam search")
    p.add_argument("--seed", type=int, default=0, help="of sampling")


# -------------------------------------------------------------------------------------------- small parts


def given_settings(args):
    """The training settings that were given on the command line."""
    return {name: v for name in Training.__dataclass_fields__ if (v := getattr(args, name)) is not None}


def data_of(args):
    """{"task": name} or {"data": file, "eval_data": file}, the files there are."""
    if not args.train:
        return {"task": args.task}
    for path in (args.train, args.eval):
        if path and not Path(path).is_file():
            raise InputError(f"{path}: no such file")
    return {"data": args.train, "eval_data": args.eval}


def distillation(args, model, out):
    """The model to train, and what makes a PeftModel of it the student of --teacher; None without one."""
    if not args.teacher:
        if args.student_layers:
            raise InputError("--student-layers needs --teacher: whose layers?")
        return model, None
    from .distill import Distilled, student_of
    from .peft_model import PeftModel

    teacher = PeftModel.from_pretrained(model, args.teacher)
    if args.student_layers:
        model = student_of(teacher.merge_and_unload(), args.student_layers)
        model.name = str(Path(out) / "student")  # an adapter's folder holds no base: here it is
        model.save_pretrained(model.name)
    return model, lambda peft: Distilled(peft, teacher, args.temperature, args.distill_weight)


def task_object(source):
    """The same with the task itself in place of its name."""
    from .runs import task_of

    return {"task": task_of(source["task"])} if "task" in source else source


def load_with_adapter(args):
    """The model of --model, with the adapter of --adapter if there is one."""
    from .peft_model import PeftModel
    from .runs import load_model

    model = load_model(args.model, device=args.device)
    return PeftModel.from_pretrained(model, args.adapter) if args.adapter else PeftModel(model)


def scores_in_words(result):
    """The lines about evaluation that a result has."""
    lines = []
    if "eval_loss" in result:
        lines.append(
            f"loss {result['eval_loss']:.4f}, perplexity {result['eval_perplexity']:.2f}, "
            f"token accuracy {100 * result['eval_accuracy']:.1f} % ({result['eval_tokens']:,} tokens)"
        )
    for name, value in result.get("scores", {}).items():
        lines.append(f"{name}: {100 * value:.1f} %")
    return lines


def show(args, result, text):
    """Print a result: as JSON for a program, else as text for a person."""
    print(json.dumps(result) if args.json else text)
