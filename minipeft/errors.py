"""The one error that is the user's to mend, and how it names what was meant."""

from difflib import get_close_matches


class InputError(ValueError):
    """One clear line: which file, line, tensor or option is wrong, and what to do.

    The command line prints it without a traceback and exits with code 2.
    """


def choose_from(name, known):
    """What to say after "no ... is called NAME": the nearest of the known names, and all of them."""
    near = get_close_matches(str(name), list(known), 1, 0.5)
    return f"{f'did you mean {near[0]}? There are' if near else 'choose from'} {', '.join(known)}"
