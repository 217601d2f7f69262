"""Videos that several processes draw for one of them, handed over as files in the job's folder."""

from __future__ import annotations

import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from t2v_core.disk.files import describe_os_error
from t2v_core.processes.process_group import ProcessGroup

FOLDER = "drawn"


class SharedVideos:
    """What was drawn, by number; of a process that is alone it stays in memory."""

    def __init__(self, group: ProcessGroup) -> None:
        self._group, self._folder = group, group.job.directory / FOLDER
        self._own: dict[int, Tensor] = {}

    def put(self, number: int, videos: Tensor) -> None:
        """Keep some, for the first process. Raises WorkFailed when the disk does not take them."""
        if self._group.is_first:
            self._own[number] = videos
            return
        path = self._path(number)
        try:
            path.parent.mkdir(exist_ok=True)
            save_file({"videos": videos.contiguous()}, path.with_suffix(".partial"))
            path.with_suffix(".partial").rename(path)
        except OSError as error:
            raise describe_os_error(error, path) from error

    def all(self, count: int) -> list[Tensor]:
        """Return all of them, in order, once every process has put what it drew; their files go."""
        found = [self._own[n] if n in self._own else load_file(self._path(n))["videos"] for n in range(count)]
        shutil.rmtree(self._folder, ignore_errors=True)
        return found

    def _path(self, number: int) -> Path:
        return self._folder / f"{number}.safetensors"
