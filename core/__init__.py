"""What every process of Atelier is made of."""

VERSION = "0.1.0"
"""Of the API's document, and what we say of ourselves to the servers of others."""
