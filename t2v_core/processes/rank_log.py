"""What the processes of one job print, in one log: the first one's lines as they are, the others' with their rank."""

from __future__ import annotations

import os
import select
import threading
from pathlib import Path

from torch.distributed.elastic.multiprocessing import LogsDest, LogsSpecs

POLL_S = 0.1
# A program that never ends its line must not fill the memory.
LONGEST_LINE = 1 << 16


class RankLog(LogsSpecs):
    """Gives rank 0 this process's own output, and each other one a pipe whose lines are copied there.

    torchrun's own way has a file for each rank, which grows as long as the run lasts, and loses the last lines of one
    that is killed.
    folder: for the pipes; output: descriptor that the lines go to
    """

    def __init__(self, folder: Path, output: int = 1) -> None:
        super().__init__(log_dir=str(folder))
        self._folder, self._output = folder, output
        self._threads: list[threading.Thread] = []
        self._is_over = threading.Event()

    @property
    def root_log_dir(self) -> str:
        """Return the folder of the pipes."""
        return str(self._folder)

    def reify(self, envs: dict[int, dict[str, str]]) -> LogsDest:
        """Return where the output of each process of this machine goes. envs: their environments, by local rank"""
        outputs = {local: "" if env["RANK"] == "0" else self._pipe(env["RANK"]) for local, env in envs.items()}
        errors = {local: str(self._folder / f"{env['RANK']}.torch") for local, env in envs.items()}
        for local, env in envs.items():
            env["TORCHELASTIC_ERROR_FILE"] = errors[local]
        return LogsDest(dict(outputs), dict(outputs), {}, {}, errors, "", "")

    def _pipe(self, rank: str) -> str:
        path = self._folder / f"{rank}.log"
        os.mkfifo(path, 0o600)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        thread = threading.Thread(target=self._pass_on, args=(reader, f"[rank {rank}] ".encode()), name=f"log {rank}")
        self._threads.append(thread)
        thread.start()
        return str(path)

    def _pass_on(self, reader: int, prefix: bytes) -> None:
        rest = b""
        while data := self._next(reader):
            *lines, rest = (rest + data).split(b"\n")
            if len(rest) > LONGEST_LINE:
                lines, rest = [*lines, rest], b""
            if lines:
                os.write(self._output, b"".join(prefix + line + b"\n" for line in lines))
        if rest:
            os.write(self._output, prefix + rest + b"\n")
        os.close(reader)

    def _next(self, reader: int) -> bytes:
        """What is there to read; empty when no more will come."""
        while True:
            is_over = self._is_over.is_set()
            if select.select([reader], [], [], POLL_S)[0]:
                return os.read(reader, LONGEST_LINE)
            if is_over:
                return b""

    def close(self) -> None:
        """Copy what is left, once the processes have ended."""
        self._is_over.set()
        for thread in self._threads:
            thread.join()
