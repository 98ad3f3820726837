"""Where a figure was measured: printed above every one, since none means anything without it."""

import os
import platform
import shlex
import sys
from pathlib import Path


def print_machine() -> None:
    """Print the processor, the memory, the software and the command line that got us here."""
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    print(f"machine   {_processor()}, {os.cpu_count()} cores, {memory_gb:.0f} GB")
    print(f"software  Python {platform.python_version()}, {platform.platform(terse=True)}")
    print(f"command   {shlex.join(['python', *sys.orig_argv[1:]])}", flush=True)


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
