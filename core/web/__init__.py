"""Everything that is fetched from, or posted to, a URL that a user gave: one set of rules, one way out."""
