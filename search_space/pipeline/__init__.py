"""The pipeline's spec, sizes and layers, read from its files."""
