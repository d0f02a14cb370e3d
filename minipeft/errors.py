"""The one error that is the user's to mend, and how it names what was meant."""

from difflib import get_close_matches

LONGEST = 300  # characters of a message; a longer one loses its middle


class InputError(ValueError):
    """One clear line: which file, line, tensor or option is wrong, and what to do.

    The command line prints it without a traceback and exits with code 2. What it quotes of a file is made
    `visible`, and the whole is at most LONGEST characters.
    """

    def __init__(self, message):
        super().__init__(shortened(visible(message)))


class SettingError(InputError):
    """An InputError about one setting. In the message "{}" stands for its name.

    Python says `batch_size`; the command line says its option, `--batch-size`, by `naming`.
    """

    def __init__(self, setting, message):
        self.setting, self.message = setting, message
        super().__init__(self.naming(setting))

    def naming(self, name):
        """The message, with this name for the setting."""
        return shortened(visible(self.message.replace("{}", name)))


def visible(text):
    """The text, with escapes for what is no visible character: a terminal obeys some of them."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def shortened(text, most=LONGEST):
    """The text, without its middle where it is longer than `most`: a file's name is in front."""
    end = most // 3
    return text if len(text) <= most else f"{text[: most - end - 5]} ... {text[-end:]}"


def nearest(name, known):
    """The known name that is most like `name`; None where none is like it."""
    return next(iter(get_close_matches(str(name), list(known), 1)), None)


def choose_from(name, known):
    """What to say after "no ... is called NAME": the nearest of the known names, and all of them."""
    near = nearest(name, known)
    return f"{f'did you mean {near}? There are' if near else 'choose from'} {', '.join(known)}"


def check_choice(setting, value, known):
    """Raise SettingError unless the value of this setting is a known one."""
    if value not in known:
        raise SettingError(setting, f"{{}} {value!r} is not known: {choose_from(value, known)}")


def whole_characters(text, where):
    """The text. Raises InputError where it holds half a character (a lone surrogate), which is no text.

    JSON can spell one (\\ud83d), and Python makes them of bytes that are not UTF-8 on the command line.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        half = ascii(text[error.start])
        raise InputError(f"{where}: no text: half a character, {half}, at place {error.start + 1}") from None
    return text


def counted(n, what):
    """ "1 step", "2 steps", "1,000 steps"."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"
