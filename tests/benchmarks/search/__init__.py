"""The benchmark of searches: measured and synthetic tables, replayed for each strategy."""
