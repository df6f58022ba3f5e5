"""Rivals from other projects; ``pip install -e '.[rivals]'`` brings them."""
