"""Exercises with a checker that says why: `check` here, `minipeft check` on the command line."""

from .checking import check as check
