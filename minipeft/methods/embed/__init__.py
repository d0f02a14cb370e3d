"""Methods that put virtual tokens in front of the text."""
