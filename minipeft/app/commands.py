"""What each command of the command line does with its arguments; `cli.py` parses them."""

import math
import shlex
import sys
import time
from contextlib import suppress
from pathlib import Path

from ..cost import bench
from ..cost.machine import peak_memory_mb
from ..data.batches import pack
from ..distill import Distilled, student_of
from ..errors import InputError, SettingError, counted, visible, whole_characters
from ..files.hub import download, refuse_base
from ..files.json_files import as_json
from ..files.run_folder import run_folder
from ..gradcheck import TOLERANCE, gradcheck
from ..methods.named import make_method
from ..model import load_model
from ..peft_model import PeftModel
from ..reports.compare import compare, in_terminal
from ..reports.tune_report import tune_report
from ..resuming.state import STATE
from ..speed.ranks import world
from ..tasks import TASKS
from ..tasks.named import split_rows, task_of
from ..tasks.own import OwnData
from ..tasks.show import about, in_a_line_each, in_full, readable
from ..train import Training
from . import catalogue, info
from . import pretrain as pretraining
from .chat import Chat
from .named_adapters import generate_under, load_named, named_folders, note_another_base
from .runs import measure, measure_baseline, measure_few_shot, train_and_measure

DEFAULT_TASK = "data-to-text"


def methods_command(args):
    """List the methods; with a name: its formula, settings, source, and the lines where its code is."""
    if args.name is None:
        methods = catalogue.listed()
        show(args, methods, catalogue.list_in_words(methods))
        return
    method = catalogue.described(args.name)
    show(args, method, catalogue.one_in_words(method))


def compare_command(args):
    """Fine-tune by several methods on the same data: one table, pictures, a report.

    With the same --out again, it goes on where it stopped.
    """
    out = args.out or f"runs/compare-{time.strftime('%Y%m%d-%H%M%S')}"
    refuse_base(out, args.model)
    command = shlex.join(["minipeft", *args.words, *([] if args.out else ["--out", out])])
    methods = args.methods.split(",") if args.methods else ["all"] if args.all else None
    sources, scored = sources_of(args)
    try:
        comparison = compare(
            args.model, out, sources, methods, args.device, args.seeds, args.sweep, args.budget, scored,
            base=args.base, ops=args.ops, progress=not args.quiet, command=command, workers=args.workers,
            **given_settings(args),
        )  # fmt: skip
    except KeyboardInterrupt as stop:
        when = str(stop) or "before the report was written"
        raise type(stop)(f"{when}; go on with: {command}") from None
    show(
        args,
        comparison,
        f"\n{in_terminal(comparison)}\n\nwritten to {out}/: report.html, report.md, results.json",
    )


def train_command(args):
    """Fine-tune a model by one method.

    Stopped by Ctrl-C or SIGTERM, or killed with --save-every, it goes on with the same command and --resume.
    """
    method, settings = make_method(args.method, args.set), given_settings(args)
    if args.resume and not args.out:
        raise InputError("--resume needs --out: the folder of the run to go on with")
    check_data(args)  # before a large model is loaded
    out = args.out or f"runs/{args.method.replace(':', '.')}-{time.strftime('%Y%m%d-%H%M%S')}"
    refuse_base(out, args.model)
    try:
        base = load_base(args)
        task = chosen_task(args, base.tokenizer)
        model, student = distillation(args, base, out)
        result = train_and_measure(
            model,
            method,
            out,
            task,
            progress=not args.quiet,
            student=student,
            resume=args.resume,
            **settings,
        )
        if result is None:  # a rank that is not the first
            return
    except KeyboardInterrupt as stop:
        if str(stop) and not (Path(out) / STATE).is_file():  # trained, and its state is not kept
            raise type(stop)(f"{stop}; they come from: {evaluation_of(args, out)}") from None
        more = [*([] if args.out else ["--out", out]), *([] if args.resume else ["--resume"])]
        command = shlex.join(["minipeft", *args.words, *more])
        raise type(stop)(f"{str(stop) or 'before the first step'}; go on with: {command}") from None
    lines = [
        f"trainable {result['trainable']:,} of {result['parameters']:,} parameters",
        f"{counted(result['steps'], 'step')} in {result['seconds']:.1f} s, "
        f"{result['tokens_per_second']:,.0f} tokens/s, peak memory {result['peak_memory_mb']:,.0f} MB",
    ]
    if result["losses"]:
        lines.append("training loss {:.4f} at the first step, {:.4f} at the last".format(*result["losses"]))
    if result["too_long"]:
        long = counted(result["too_long"], "row")
        lines.append(f"too long for the model: {long}, by --on-long {settings['on_long']}")
    lines += [f"step {bad['step']} was skipped: {bad['why']}" for bad in result["skipped"]]
    show(args, result, "\n".join([*lines, *scores_in_words(result), f"adapter in {out}/"]))


def evaluate_command(args):
    """Measure a model, with or without an adapter: loss, perplexity, accuracy; a task's score.

    --few-shot K: the score alone, with K training rows in front of each prompt. --baseline: the score of an
    answer that needs no model.
    """
    task = chosen_task(args)
    if not split_rows(task, "validation") and not split_rows(task, "test"):
        raise InputError("there are no rows to evaluate on: give --data, --eval or --test")
    if args.baseline and args.adapter:
        raise InputError("--baseline needs no model: leave out --adapter")
    if args.baseline:
        result = measure_baseline(task, args.baseline)
    else:
        model, progress = load_with_adapter(args), not args.quiet
        task = chosen_task(args, model.tokenizer)
        if args.few_shot:
            result = measure_few_shot(model, task, args.few_shot, args.seed, progress)
        else:
            result = measure(model, task, progress, args.on_long)
        result |= {"parameters": model.num_parameters, "peak_memory_mb": peak_memory_mb()}
    show(args, result, "\n".join(scores_in_words(result)))


def task_command(args):
    """Print rows of a built-in task; without --show what it is about, without a name the tasks there are."""
    if not args.name:
        tasks = [about(task) for task in TASKS.values()]
        show(args, tasks, in_a_line_each(tasks))
        return
    task = task_of(args.name)
    if args.show is None:
        show(args, about(task), in_full(about(task)))
    else:
        rows = task.rows(args.split, args.show, args.seed)
        show(args, rows, readable(rows))


def generate_command(args):
    """Continue one or more prompts, given as arguments or line by line on standard input.

    With several --adapter, the same prompt under each of them; as JSON {name: text}.
    """
    folders = named_folders(args.adapter or ["none"])
    peft, (alone, *more) = load_base(args), folders.items()
    if more or alone[1] is None:
        peft = load_named(peft, folders)
    else:  # it may bring a part of the base
        note_another_base(peft, alone[1])
        peft = PeftModel.from_pretrained(peft, alone[1], alone[0])
    prompts = args.prompt or typed_prompts()
    if not prompts:
        raise InputError("no prompt: give one as an argument, or lines on standard input")
    options = generation_settings(args) | {"num_beams": args.num_beams, "length_penalty": args.length_penalty}
    if len(folders) > 1:
        outputs = generate_under(peft, list(folders), prompts, **options)
        rows = [dict(zip(outputs, texts, strict=True)) for texts in zip(*outputs.values(), strict=True)]
        blocks = [side_by_side(prompt, row) for prompt, row in zip(prompts, rows, strict=True)]
        show(args, rows if len(rows) > 1 else rows[0], "\n\n".join(blocks))
        return
    peft.set_adapter(*folders)
    if args.json or len(prompts) > 1:
        outputs = peft.generate(prompts, **options)
        rows = [{"prompt": p, "output": o} for p, o in zip(prompts, outputs, strict=True)]
        show(args, rows, "\n".join(r["prompt"] + r["output"] for r in rows))
        return
    if args.num_beams > 1:  # a beam is known only at the end
        print(prompts[0] + peft.generate(prompts[0], **options))
        return
    before = iter(prompts)  # said with the first piece: by then the options are known to be good
    say = lambda piece: print(next(before, "") + piece, end="", flush=True)
    peft.generate(prompts[0], on_text=say, **options)
    print()


def typed_prompts():
    """The lines on standard input that are not empty. Raises InputError where it is not UTF-8."""
    try:
        lines = [line.rstrip("\r\n").removeprefix("\ufeff") for line in sys.stdin]
    except UnicodeDecodeError as error:
        raise InputError(f"standard input: not UTF-8: {error}") from None
    return [whole_characters(line, "standard input") for line in lines if line.strip()]


def merge_command(args):
    """Write base and adapter as one plain GPT-2, which `transformers` loads."""
    out = Path(args.out)
    refuse_base(out, args.model)
    if (out / "adapter_config.json").exists():
        raise InputError(f"{out}: this folder holds an adapter: choose another --out")
    peft = load_with_adapter(args)
    try:
        merged = peft.merge_and_unload()
    except InputError as error:
        raise InputError(f"{args.adapter}: {error}") from None
    merged.save_pretrained(out)
    result = {"folder": str(out), "parameters": merged.num_parameters}
    show(args, result, f"a plain GPT-2 of {merged.num_parameters:,} parameters in {out}/")


def chat_command(args):
    """Continue what is typed, line by line, and switch between adapters by name."""
    folders = named_folders(args.adapter or [])
    peft = load_named(load_base(args), folders)
    peft.set_adapter(next(iter(folders), peft.active_adapter))
    settings = generation_settings(args)
    if not settings.pop("do_sample"):
        settings["temperature"] = 0.0  # how a chat says it
    Chat(peft, settings).run()


def serve_command(args):
    """Answer OpenAI's completions and chats over HTTP: the base and each adapter are models, by name."""
    try:
        from .serve.app import LOOPBACK, make_app, make_server
    except ImportError as error:
        raise InputError(f"serve needs {error.name}: pip install 'minipeft[serve]'") from None

    folders = {name: folder for name, folder in named_folders(args.adapter or []).items() if folder}
    base = Path(args.model).resolve().name
    peft = load_named(load_base(args), folders, base)
    hosts = LOOPBACK if args.host in LOOPBACK else ["*"]
    app = make_app(peft, base, hosts, args.batch, args.queue)
    server, sockets = make_server(app, args.host, args.port)
    host, port = sockets[0].getsockname()[:2]
    host = f"[{host}]" if ":" in host else host  # IPv6
    print(f"{', '.join(peft.adapters)} at http://{host}:{port}/v1 (Ctrl-C ends it)", flush=True)
    with suppress(KeyboardInterrupt):  # uvicorn has ended what was under way
        server.run(sockets)


def tune_report_command(args):
    """Explain one run: loss curves, and what its method did to the model, with pictures.

    The report is written into the run's folder: tune-report/report.html, report.md, and the pictures.
    """
    result = tune_report(args.run, args.model, args.task, args.data, progress=not args.quiet, ops=args.ops)
    lines = [f"{result['method']} on {result['model']}"]
    lines += [f"{name.replace('_', ' '):<12} {line}" for name, line in result["summary"].items()]
    lines.append(f"pictures and words in {result['folder']}/report.html")
    show(args, result, "\n".join(map(visible, lines)))


def gradcheck_command(args):
    """Compare every gradient with differences of the loss, in float64; exit code 1 if one is off."""
    import numpy as np
    from tqdm import tqdm

    method = make_method(args.method, args.set)
    model = load_base(args, "float64")
    rng, V = np.random.default_rng(args.seed), model.config.vocab_size
    batch = pack([(rng.integers(0, V, p), rng.integers(0, V, c)) for p, c in ((3, 4), (0, 5), (2, 3))])
    bar = None if args.quiet else lambda names: tqdm(names, desc="gradcheck", unit="tensor", disable=None)
    errors = gradcheck(
        PeftModel(model, method, seed=args.seed), batch, args.elements, seed=args.seed, progress=bar
    )
    worst = max(errors, key=lambda name: (math.isnan(errors[name]), errors[name]))
    passed = errors[worst] <= TOLERANCE  # NaN is not
    lines = [
        f"{error:8.1e}  {'' if error <= TOLERANCE else 'WRONG  '}{name}" for name, error in errors.items()
    ]
    lines.append(
        f"{'passed' if passed else 'FAILED'}: worst {errors[worst]:.1e} at {worst}, allowed {TOLERANCE:.0e}"
    )
    show(args, {"passed": passed, "tolerance": TOLERANCE, "errors": errors}, "\n".join(lines))
    return 0 if passed else 1


def bench_command(args):
    """Time training steps: tokens per second, forward, backward and optimizer, memory, and what is possible.

    What is possible: the step's matrix products (see minipeft/cost/flops.py) at the rate that one large
    product reaches on this machine in the same run. Padding and virtual tokens never count as tokens.
    """
    data = args.data or split_rows(task_of(DEFAULT_TASK), "train")
    result = bench.bench(
        args.model, args.method, data, args.tokenizer, args.device, args.batch, args.steps, args.set,
        args.base, args.ops, progress=not args.quiet,
    )  # fmt: skip
    show(args, result, bench.in_words(result))


def pretrain_command(args):
    """Train the embedded model on the corpus, from random weights or from where a folder stands."""
    try:
        about = pretraining.pretrain(
            args.out,
            args.documents,
            seed=args.seed,
            progress=not args.quiet,
            start=args.start,
            decay=args.decay,
            every=args.every,
            resume=args.resume,
            learning_rate=args.learning_rate,
            save_every=args.save_every,
        )
    except KeyboardInterrupt as stop:
        command = shlex.join(["minipeft", *args.words, *([] if args.resume else ["--resume"])])
        raise type(stop)(f"{str(stop) or 'before the first step'}; go on with: {command}") from None
    last = about["curve"][-1]
    show(
        args,
        last,
        f"{pretraining.in_words(last)}\nafter {about['minutes']:.0f} min in all, in {args.out}/",
    )


def download_command(args):
    """Fetch a published GPT-2 into the hub's cache."""
    folder = download(args.name)
    show(args, {"folder": str(folder)}, f"{args.name} is in {folder}")


def info_command(args):
    """Say what a model or adapter folder contains; with --memory, what training it will take, before you try.

    minipeft info gpt2 --memory --method lora --set r=8 --batch 8 --length 60
    """
    if not args.memory:
        refuse_given(args, MEMORY, "--memory")
        result = info.describe(args.folder)
        show(args, result, info.in_words(result))
        return
    result = info.training_memory(
        args.folder, make_method(args.method, args.set), args.batch_size, args.length, args.labelled,
        args.data, args.base, dropout=args.dropout, checkpointing=args.checkpointing,
    )  # fmt: skip
    show(args, result, info.memory_in_words(result))


# -------------------------------------------------------------------------------------------- small parts


def given_settings(args):
    """The training settings that were given on the command line."""
    return {name: v for name in Training.__dataclass_fields__ if (v := getattr(args, name)) is not None}


def sources_of(args):
    """{task: what the runs of a comparison are told of its data}, and whether there is a score for it."""
    if any((args.train, args.eval, args.test, args.metric)):
        task = check_data(args)
        if not args.eval:
            raise InputError("compare needs --eval beside --train: the loss in training misleads")
        words = [("--train", args.train), ("--eval", args.eval), ("--test", args.test)]
        words += [("--metric", args.metric)]
        return {task.NAME: tuple(w for pair in words if pair[1] for w in pair)}, bool(task.rows("test"))
    every = args.task == "all" or (args.all and not args.task)
    names = list(TASKS) if every else (args.task or DEFAULT_TASK).split(",")
    for name in names:
        task_of(name)
    return {name: ("--task", name) for name in names}, True


def distillation(args, model, out):
    """The model to train, and what makes a PeftModel of it the student of --teacher; None without one."""
    given = {"temperature": args.temperature, "weight": args.weight}
    given = {name: value for name, value in given.items() if value is not None}
    if not args.teacher:
        if args.student_layers:
            raise InputError("--student-layers needs --teacher: whose layers?")
        if given:
            option = {"temperature": "--temperature", "weight": "--distill-weight"}[min(given)]
            raise InputError(f"{option} needs --teacher: who is learnt from?")
        return model, None
    teacher = PeftModel.from_pretrained(model, args.teacher)
    if args.student_layers:
        model = student_of(teacher.merge_and_unload(), args.student_layers)
        model.name = str(Path(out) / "student")  # an adapter's folder holds no base: here it is
        if world().first:
            with run_folder(out):
                model.save_pretrained(model.name)
        model = model.held(args.base)
    return model, lambda peft: Distilled(peft, teacher, **given)


def evaluation_of(args, folder):
    """The command that gives the scores of the adapter that this training left in the folder."""
    names = ("model", "device", "base", "ops", "task", "train", "eval", "test", "metric", "on_long")
    given = {name: getattr(args, name) for name in names if getattr(args, name)}
    if args.student_layers:
        given["model"] = Path(folder) / "student"
    if ":" in args.method:
        given["register"] = args.method
    words = [w for name, value in given.items() for w in (f"--{name.replace('_', '-')}", str(value))]
    return shlex.join(["minipeft", "evaluate", "--adapter", str(folder), *words])


def check_data(args):
    """The task to train on. Raises InputError where there is none, or something is wrong with its files."""
    if not args.train and (args.eval or args.test):
        raise InputError("--eval and --test need --train: what is there to learn from?")
    return chosen_task(args)


def chosen_task(args, tokenizer=None):
    """The user's files as a task, where there are any, else the built-in one of --task.

    Raises InputError where a file has no such rows, or an option has no use.
    """
    data = getattr(args, "data", None)  # evaluate's
    if data and (args.eval or args.test):
        raise InputError("--data is the file to evaluate on, all of it: leave out --eval and --test")
    files = (args.train, args.eval or data, args.test or data)
    if any(files):
        if args.task:
            raise InputError("--task is a built-in task, with its own rows: leave it out, or the files")
        return OwnData(*files, args.metric, tokenizer)
    if args.metric:
        raise InputError("--metric is for files of your own: a built-in task has its own metrics")
    return task_of(args.task or DEFAULT_TASK)


def load_base(args, dtype="float32"):
    """The model of --model, on --device, held as --base says, computing by --ops."""
    return load_model(args.model, dtype, args.device, args.base, args.ops)


def load_with_adapter(args):
    """The model of --model, with the adapter of --adapter if there is one."""
    model = load_base(args)
    if not args.adapter:
        return PeftModel(model)
    peft = PeftModel.from_pretrained(model, args.adapter)
    note_another_base(model, args.adapter)
    return peft


MEMORY = (
    "method",
    "set",
    "batch_size",
    "length",
    "labelled",
    "data",
    "dropout",
    "checkpointing",
    "base",
)  # what `info` asks for a prediction
SAMPLING = ("temperature", "top_k", "top_p", "seed")


def refuse_given(args, names, needed):
    """Raise SettingError for the first of these options that has another value than its default.

    It would do nothing without the option `needed`.
    """
    for name in names:
        if getattr(args, name) != args.parser.get_default(name):
            raise SettingError(name, f"{{}} does nothing without {needed}")


def generation_settings(args):
    """How to decode, as `generate` takes it. Raises SettingError for an option that would do nothing."""
    if not args.do_sample:
        refuse_given(args, SAMPLING, "--sample")
    return {
        "max_new_tokens": args.max_new_tokens, "do_sample": args.do_sample, "temperature": args.temperature,
        "top_k": args.top_k, "top_p": args.top_p, "repetition_penalty": args.repetition_penalty,
        "seed": args.seed,
    }  # fmt: skip


def side_by_side(prompt, outputs):
    """A prompt and {name: what follows it}, one below the other, the names in a column."""
    width = max(map(len, outputs))
    lines = [f"{name.ljust(width)} :{text}" for name, text in outputs.items()]
    return "\n".join([f"prompt: {prompt}", *lines])


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
    if result.get("examples", math.inf) < result.get("few_shot", 0):
        lines.append(f"of {result['few_shot']:,} examples {result['examples']:.1f} fitted, on average")
    return lines + [f"note: {note}" for note in result.get("notes", ())]


def show(args, result, text):
    """Print a result: as JSON for a program, else as text for a person."""
    print(as_json(result) if args.json else text)
