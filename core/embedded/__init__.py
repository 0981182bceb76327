"""The servers a fresh machine gets without Docker: PostgreSQL and the Temporal development server, out of wheels.

Both run as programs of their own on 127.0.0.1, keep everything in one data folder, and outlive a crash of ours:
whoever starts on that folder next adopts what still runs. POSIX only (Linux and macOS). This package imports nothing
here, so that a process that needs one server does not load the other's code.
"""
