"""What is here: the model, the machine, what the knobs' probes find."""
