"""Records as tables, sentences and JSON."""
