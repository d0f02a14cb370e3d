"""Find the planted bug: a backward of the package, changed in one place, and the gradients that show it."""
