"""Methods that act beside a weight matrix."""
