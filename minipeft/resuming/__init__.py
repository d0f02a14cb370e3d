"""A run that is stopped: its state on disk, and the signals that stop it."""
