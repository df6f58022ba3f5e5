"""The finalists against the baseline, and what each change brings."""
