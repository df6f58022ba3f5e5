"""The machine, and its detection."""
