"""What a trial's process does: load, call, time, weigh and compare."""
