"""The command line: it alone imports click and prints."""
