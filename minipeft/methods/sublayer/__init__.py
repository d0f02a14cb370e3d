"""Methods that act on what attention and the MLP add to the residual stream."""
