"""Processes for tasks: started, watched, ended."""
