"""`python -m minipeft` and the script `minipeft`."""

import sys


def main():
    """The command line. -> exit code; of a Ctrl-C while it is being imported, too: one line, and 130."""
    try:
        from .app.cli import main as command_line

        return command_line()
    except KeyboardInterrupt:
        print("minipeft: interrupted; nothing was begun", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
