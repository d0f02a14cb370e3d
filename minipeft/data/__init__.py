"""Files to rows, rows to batches of token ids, and metrics."""
