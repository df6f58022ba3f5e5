"""What could be done: machines, workloads, knobs and the rules between them."""
