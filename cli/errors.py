"""Errors that a person at the terminal can act on."""


class CliError(Exception):
    """What went wrong in a sentence, what to do next, and the exit code. Shown without a traceback."""

    def __init__(self, message: str, hint: str = "", *, code: int = 1, kind: str = "") -> None:
        """`kind` is the problem document's stable code, where there was one."""
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code
        self.kind = kind
