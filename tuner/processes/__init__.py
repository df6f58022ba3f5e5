"""Processes for tasks: start them, watch them, end them."""
