"""The files of a run that applications use."""
