"""Deterministic orchestration: one file per pipeline. No I/O, no settings, no clock but Temporal's."""
