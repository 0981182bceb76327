"""The pure contracts that every process shares: models, activity signatures, names, options, errors.

Nothing here does I/O or reads settings, so workflows import it without restriction (see `worker/sandbox.py`).
"""
