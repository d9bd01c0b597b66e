"""Questions about what happened, answered by ML Metadata without importing TensorFlow or TFX."""

from operations.ledger.ledger import Ledger, LedgerError

__all__ = ["Ledger", "LedgerError"]
