"""Questions about what happened, answered by ML Metadata without importing TensorFlow or TFX."""

from operations.ledger.ledger import Ledger
from operations.ledger.opening import LedgerError

__all__ = ["Ledger", "LedgerError"]
