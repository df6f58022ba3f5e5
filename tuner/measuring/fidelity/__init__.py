"""How far a trial's images are from the reference."""
