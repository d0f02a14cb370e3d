"""Methods that act on the keys and values of attention."""
