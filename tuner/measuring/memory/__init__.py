"""The memory that a trial holds, by phase, and the limits that it is held to."""
