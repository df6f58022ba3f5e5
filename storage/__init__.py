"""The ledger: every machine, workload, study and trial, in one database."""

from storage.claims import POLL_S, Claims
from storage.patience import PATIENCE_S
from storage.place import default_url
from storage.rows import StoredTrial
from storage.store import Store

__all__ = ["PATIENCE_S", "POLL_S", "Claims", "Store", "StoredTrial", "default_url"]
