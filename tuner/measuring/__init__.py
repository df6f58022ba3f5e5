"""The work of a trial's process: load, call, time, weigh and compare."""
