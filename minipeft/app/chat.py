"""An interactive prompt: what is typed is continued, under an adapter that is switched by its name."""

import sys
from contextlib import suppress

from ..errors import InputError, choose_from, whole_characters
from ..resuming.stopping import Terminated

HELP = """text                  continue it
/adapter NAME         continue under this adapter from now on
/adapters             the adapters there are
/set NAME=VALUE ...   change settings; /set alone shows them
/clear                forget what was said (with keep=true it stands in front of what you type)
/help                 this
/quit                 leave; so does Ctrl-D. Ctrl-C stops an answer, and leaves where there is none"""


class Chat:
    """A PeftModel, how to decode, and what was said.

    settings   max_new_tokens, temperature (0: the likeliest token, no sampling), top_k, top_p,
               repetition_penalty, seed; keep: is what was said so far read again with every line?
    said       the lines so far, each with its continuation, while `keep` is on
    """

    def __init__(self, peft, settings):
        if peft.tokenizer is None:
            raise InputError("the model has no tokenizer: put tokenizer.json into its folder")
        self.peft, self.settings, self.said = peft, {"keep": False} | settings, []

    def run(self):
        """Read lines until they end, or /quit. Without a terminal no prompt is shown: answers alone."""
        terminal = sys.stdin.isatty()
        if terminal:
            self.edit_lines()
            print(f"adapters: {', '.join(self.peft.adapters)}. /help says what else there is.")
        while True:
            try:
                line = input(f"{self.peft.active_adapter}> " if terminal else "")
            except Terminated:
                raise
            except (EOFError, KeyboardInterrupt):
                if terminal:
                    print()
                return
            except UnicodeDecodeError as error:
                raise InputError(f"standard input: not UTF-8: {error}") from None
            line = line.rstrip("\r").removeprefix("\ufeff")
            try:
                if line.split()[:1] == ["/quit"]:
                    return
                if line.startswith("/"):
                    print(self.command(*line.split()))
                elif line.strip():
                    self.answer(line)
            except InputError as error:
                print(f"minipeft: {error}", file=sys.stderr, flush=True)
            except KeyboardInterrupt as stop:
                if not terminal or isinstance(stop, Terminated):
                    raise
                print()

    def edit_lines(self):
        """Arrow keys, history, and Tab for commands and names of adapters, where Python has readline."""
        with suppress(ImportError):
            import readline

            def complete(text, i):
                words = ["/adapter", "/adapters", "/set", "/clear", "/help", "/quit", *self.peft.adapters]
                return [*(word for word in words if word.startswith(text)), None][i]

            readline.set_completer(complete)
            readline.set_completer_delims(" ")
            readline.parse_and_bind("tab: complete")

    def answer(self, line):
        """Print the continuation of a line as it comes."""
        options = {name: value for name, value in self.settings.items() if name != "keep"}
        prompt = self.within_reach(line, options["max_new_tokens"]) if self.settings["keep"] else line
        options["do_sample"] = options["temperature"] != 0
        output = self.peft.generate(prompt, on_text=lambda piece: print(piece, end="", flush=True), **options)
        print(flush=True)
        if options["do_sample"]:
            self.settings["seed"] += 1  # the same line twice is drawn anew, yet a whole chat can be repeated
        if self.settings["keep"]:
            self.said.append(f"{line}{output}\n")

    def within_reach(self, line, max_new_tokens):
        """The line with what was said in front of it; the oldest is forgotten where not all has room."""
        room = self.peft.config.n_positions - self.peft.num_virtual_tokens - max_new_tokens
        for first in range(len(self.said) + 1):
            prompt = "".join(self.said[first:]) + line
            if len(self.peft.tokenizer.encode(whole_characters(prompt, "the line")).ids) <= room:
                del self.said[:first]
                return prompt
        return line  # it does not fit alone, and is refused: nothing is forgotten for it

    def command(self, name, *words):
        """Do what a line that begins with "/" says. -> what to print."""
        if name == "/adapter" and len(words) == 1:
            self.peft.set_adapter(words[0])
            return f"under {words[0]}"
        if name == "/adapters" and not words:
            active = self.peft.active_adapter
            return "\n".join(f"{'*' if name == active else ' '} {name}" for name in self.peft.adapters)
        if name == "/set":
            for word in words:
                self.set(*word.partition("="))
            return " ".join(f"{name}={value}" for name, value in self.settings.items())
        if name == "/clear" and not words:
            self.said.clear()
            return "forgotten"
        if name == "/help":
            return HELP
        raise InputError(f"{' '.join([name, *words])!r} is no command: /help shows them all")

    def set(self, name, _, text):
        """Change one setting. Raises InputError for an unknown name, or a value of another kind."""
        if name not in self.settings:
            raise InputError(f"there is no setting {name!r}: {choose_from(name, self.settings)}")
        kind = type(self.settings[name])
        try:
            self.settings[name] = {"true": True, "false": False}[text.lower()] if kind is bool else kind(text)
        except (ValueError, KeyError):
            wanted = {bool: "true or false", int: "a whole number", float: "a number"}[kind]
            raise InputError(f"{name} must be {wanted}, not {text!r}") from None
