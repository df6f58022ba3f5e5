"""What is here: the model, the machine, the results of the knobs' probes."""
