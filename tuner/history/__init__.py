"""Trials and winners of earlier runs."""
