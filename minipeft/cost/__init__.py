"""What a training step takes: its arithmetic, its memory, its time."""
