"""Whether the workspace is still the folder that was opened."""

from __future__ import annotations

from pathlib import Path


class WorkspaceWatch:
    """is_gone: moved or deleted while the app was open"""

    def __init__(self, root: Path) -> None:
        self.root, self.is_gone = root, False
        self._was = identity_of(root)

    def has_just_gone(self) -> bool:
        """Look again; True once, when the folder that was there is so no more."""
        is_now = identity_of(self.root)
        if self._was is None:
            self._was = is_now
        elif is_now != self._was and not self.is_gone:
            self.is_gone = True
            return True
        return False


def identity_of(folder: Path) -> tuple[int, int] | None:
    """Return which folder it is (device, inode), whatever its name; None when it is not there."""
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
