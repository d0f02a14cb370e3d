"""Several methods at once, and what joins them."""
