"""Everything that can be tried: machines, workloads, knobs and the rules between them."""
