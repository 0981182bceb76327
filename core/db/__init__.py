"""Postgres: tables, the connection pool, and the repositories, where all SQL lives."""
