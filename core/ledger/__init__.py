"""Paid work: one row an attempt, opened before the provider is asked and closed with the step's result."""
