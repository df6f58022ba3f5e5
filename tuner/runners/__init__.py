"""Who runs a trial: the seam, and processes on this machine."""
