"""The ledger as a log that others can check: checkpoints, proofs, witnesses, erasure."""
