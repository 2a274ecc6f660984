"""Steps of a benchmark, each in a process of its own: what it takes of time and memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path


class AnonymousPeak(threading.Thread):
    """Watch the memory that no file backs: pages of mapped files can be dropped at any time."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.megabytes = 0.0

    def run(self) -> None:
        while True:
            self.megabytes = max(self.megabytes, status()["RssAnon"])
            time.sleep(0.05)


def status() -> dict[str, float]:
    """Memory of this process, in MB: its peak with all pages, and what of it no file backs now."""
    # Not getrusage: its peak begins with that of the process that started this one.
    lines = (line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {name: int(value.split()[0]) / 1024 for name, value in lines if name in {"VmHWM", "RssAnon"}}


def child(steps: Mapping[str, Callable[..., dict[str, object]]], step: str, *arguments: str) -> None:
    """Run a step on one thread, and print what it cost."""
    import torch

    torch.set_num_threads(1)
    watch = AnonymousPeak()
    watch.start()
    begun, cpu = time.perf_counter(), time.process_time()
    found = steps[step](Path(arguments[0]), *arguments[1:])
    used = {"seconds": time.perf_counter() - begun, "cpu_seconds": time.process_time() - cpu}
    anonymous = max(watch.megabytes, status()["RssAnon"])
    print(json.dumps({**used, "peak_mb": status()["VmHWM"], "anonymous_mb": anonymous, **found}))


def run(module: str, step: str, *arguments: object) -> dict[str, object]:
    """Start a step of a module, and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", module, "--step", step, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    result = json.loads(done.stdout.splitlines()[-1])
    print(step, arguments[1:], result, flush=True)
    return {"step": " ".join([step, *map(str, arguments[1:])]), **result}
