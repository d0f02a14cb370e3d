"""Methods that train existing weights of the base, and add none."""
