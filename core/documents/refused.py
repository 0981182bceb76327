"""The error of a file that is not taken."""

from core.contracts.errors import AtelierError, ErrorType
from core.contracts.files import FileReason


class FileRefusedError(AtelierError):
    """A file that is not taken or cannot be read: the reason, and a sentence that says what to do."""

    def __init__(self, reason: FileReason, message: str) -> None:
        super().__init__(ErrorType.FILE_REFUSED, message, details={"reason": reason.value})
        self.reason = reason
