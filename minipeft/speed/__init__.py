"""What makes a step fast, apart from the formulas: operations in blocks, threads, weights in fewer bits."""
