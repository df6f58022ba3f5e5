"""The ledger: every machine, workload, study and trial, in one database."""

from storage.patience import PATIENCE_S
from storage.place import default_url
from storage.rows import StoredTrial
from storage.store import Store

__all__ = ["PATIENCE_S", "Store", "StoredTrial", "default_url"]
