"""Prompts as Markdown files, `<pipeline>/<name>.md`, each with the composer that answers it without a model."""
