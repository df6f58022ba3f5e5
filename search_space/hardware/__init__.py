"""The machine: what it is, and how it is found."""
