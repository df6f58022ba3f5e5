"""The knobs: one optimization, one file."""
