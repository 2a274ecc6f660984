"""Stores whose reader fails as real ones do: processes that read them die, or the disk that is written to is full."""

import os
import signal
from pathlib import Path

from modalsplit.stores import ArrayStore


class Deadly(ArrayStore):
    """Kills the process that reads a row, at most some times; each death leaves a file in a folder."""

    def __init__(self, views, ids, row, folder, deaths=1):
        super().__init__(views, ids)
        self.row, self.folder, self.deaths = row, Path(folder), deaths

    def read(self, rows, modality):
        hit = isinstance(rows, slice) and rows.start <= self.row < rows.stop
        if hit and os.getpid() != self.safe and len(list(self.folder.iterdir())) < self.deaths:
            (self.folder / str(os.getpid())).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(rows, modality)

    safe = os.getpid()  # the process of the test; by reference it would be the worker's own

    def __getstate__(self):
        return {**vars(self), "safe": self.safe}


class Slow(ArrayStore):
    """Waits at each block, so that there is time to kill somebody."""

    def read(self, rows, modality):
        import time

        if isinstance(rows, slice):
            time.sleep(0.05)
        return super().read(rows, modality)
