"""Optuna's part of the search: it alone imports Optuna."""
