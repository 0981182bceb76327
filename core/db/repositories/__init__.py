"""All SQL. A repository wraps the connection of one transaction; whoever opened it commits."""
