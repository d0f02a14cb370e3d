"""The interactive prompt: lines in, continuations out; switching, settings, and leaving."""

import io
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest
from folders import write_adapters, write_model

from minipeft import PeftModel
from minipeft.app.cli import main


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """-> the folder of a model, the model, {name: folder} of its adapters."""
    folder = tmp_path_factory.mktemp("model")
    model = write_model(folder)
    return folder, model, write_adapters(model, folder)


@pytest.fixture
def chat(served, monkeypatch, capsys):
    """A function: lines of standard input -> standard output, standard error."""
    folder, _, adapters = served
    given = [f"--adapter={name}={where}" for name, where in adapters.items()]

    def run(*lines, options=("--max-new-tokens", "6")):
        monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        assert main(["chat", "--model", str(folder), *given, *options]) == 0
        captured = capsys.readouterr()
        return captured.out, captured.err

    return run


def expected(served, name, prompt, **options):
    _, model, adapters = served
    peft = PeftModel.from_pretrained(model, adapters[name]) if name else PeftModel(model)
    return peft.generate(prompt, max_new_tokens=6, **options) + "\n"


def test_each_line_is_continued_under_the_adapter_that_was_chosen(chat, served):
    out, err = chat("name :", "", "/adapter low_rank", "name :", "/adapter none", "name :", "/quit", "name :")
    answers = [expected(served, name, "name :") for name in ("bias", "low_rank", None)]
    assert out == f"{answers[0]}under low_rank\n{answers[1]}under none\n{answers[2]}" and not err
    assert len(set(answers)) == 3


def test_adapters_help_and_settings_are_shown(chat):
    out, _ = chat("/adapter prefix", "/adapters", "/help", "/set temperature=0.5 top_k=3", "/set")
    assert "  none\n  bias\n* prefix\n  low_rank\n" in out and "/adapter NAME" in out
    assert out.count("keep=False max_new_tokens=6 temperature=0.5 top_k=3 top_p=1.0") == 2


def test_settings_are_those_of_the_next_answer(chat, served):
    out, _ = chat("/set temperature=0.9 seed=7", "name :", "name :", "/set temperature=0", "name :")
    sampled = [expected(served, "bias", "name :", do_sample=True, temperature=0.9, seed=s) for s in (7, 8)]
    assert "".join(sampled) in out and out.endswith(expected(served, "bias", "name :"))
    flags = ["--max-new-tokens", "6", "--sample", "--temperature", "0.9", "--seed", "7"]
    assert chat("name :", options=flags)[0] == sampled[0] != sampled[1]


def test_what_was_said_is_read_again_until_it_is_forgotten(chat, served):
    out, _ = chat("/set keep=true", "name :", "food :", "/clear", "food :")
    first = expected(served, "bias", "name :")
    second = expected(served, "bias", f"name :{first}food :")
    third = expected(served, "bias", "food :")
    assert out.split("\n", 1)[1] == f"{first}{second}forgotten\n{third}"
    assert second != third


def test_the_oldest_is_forgotten_when_the_model_is_full(chat):
    out, err = chat("/set keep=true max_new_tokens=100", *["name : The Eagle"] * 6)
    assert not err and out.count("\n") >= 7


def test_a_line_that_does_not_fit_alone_makes_nothing_forgotten(chat, served):
    out, err = chat("/set keep=true", "name :", "name : " * 200, "food :")
    first = expected(served, "bias", "name :")
    assert out.endswith(f"{first}{expected(served, 'bias', f'name :{first}food :')}") and "do not fit" in err


def test_errors_are_one_line_and_the_chat_goes_on(chat, served):
    bad = {
        "/adapter nobody": "no adapter is called 'nobody': choose from none, bias",
        "/adapter": "'/adapter' is no command",
        "/sing": "'/sing' is no command: /help shows them all",
        "/set size=3": "there is no setting 'size': choose from keep, max_new_tokens",
        "/set top_k=many": "top_k must be a whole number, not 'many'",
        "/set keep=3": "keep must be true or false, not '3'",
        "name : " * 200: "do not fit the model's 320 positions",
    }
    out, err = chat(*bad, "name :")
    for line, message in zip(err.splitlines(), bad.values(), strict=True):
        assert line.startswith("minipeft: ") and message in line
    assert out == expected(served, "bias", "name :")


def test_a_model_without_a_tokenizer_is_refused(served, tmp_path, capsys):
    _, model, _ = served
    model.save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    assert main(["chat", "--model", str(tmp_path)]) == 2
    assert "no tokenizer" in capsys.readouterr().err


class Terminal:
    """`minipeft chat` in a terminal of its own."""

    def __init__(self, *args):
        import pty

        self.screen, end = pty.openpty()
        command = [sys.executable, "-m", "minipeft", "chat", *map(str, args)]
        self.process = subprocess.Popen(command, stdin=end, stdout=end, stderr=end, start_new_session=True)
        os.close(end)
        self.seen = ""

    def wait_for(self, text):
        """Read until `text` has come; forget it and what was before."""
        deadline = time.monotonic() + 60
        while text not in self.seen:
            assert time.monotonic() < deadline, self.seen
            self.seen += os.read(self.screen, 4096).decode()
        self.seen = self.seen.partition(text)[2]

    def type(self, text):
        os.write(self.screen, text.encode())

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)


def test_in_a_terminal_ctrl_c_stops_an_answer_and_ctrl_d_leaves(served):
    pytest.importorskip("pty")
    folder, _, adapters = served
    terminal = Terminal("--model", folder, "--adapter", adapters["bias"], "--max-new-tokens", 300)
    terminal.wait_for("/help says what else there is")
    terminal.wait_for("bias> ")
    terminal.type("name :\n")
    terminal.wait_for("name :\r\n")
    terminal.wait_for("serves")  # the answer has begun, and has long to go
    terminal.interrupt()
    terminal.wait_for("bias> ")
    terminal.type("/adapter none\n")
    terminal.wait_for("none> ")
    terminal.type("\x04")
    assert terminal.process.wait(timeout=30) == 0


def test_in_a_terminal_sigterm_ends_an_answer_and_the_chat(served):
    pytest.importorskip("pty")
    folder, _, adapters = served
    terminal = Terminal("--model", folder, "--adapter", adapters["bias"], "--max-new-tokens", 300)
    terminal.wait_for("bias> ")
    terminal.type("name :\n")
    terminal.wait_for("name :\r\n")
    terminal.wait_for("serves")
    terminal.process.terminate()
    assert terminal.process.wait(timeout=30) == 143


def test_in_a_terminal_ctrl_c_leaves_where_there_is_no_answer(served):
    pytest.importorskip("pty")
    terminal = Terminal("--model", served[0])
    terminal.wait_for("none> ")
    for _ in range(10):  # a signal between the prompt and the wait for a key is only seen with the next one
        terminal.interrupt()
        with suppress(subprocess.TimeoutExpired):
            terminal.process.wait(timeout=3)
            break
    assert terminal.process.returncode == 0
