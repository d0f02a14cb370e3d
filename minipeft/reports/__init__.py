"""What is shown of training: a comparison of methods, a report on one run; their pages and pictures."""
