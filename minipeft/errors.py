"""The one error that is the user's to mend."""


class InputError(ValueError):
    """One clear line: which file, line, tensor or option is wrong, and what to do.

    The command line prints it without a traceback and exits with code 2.
    """
