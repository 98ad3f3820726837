"""Run a command from a small process and say what it has used, so that its peak is its own.

A process begins with the peak of the one that starts it, so a test run of 300 MB would hide all
below. `python -I -S launch.py FD COMMAND...` writes status, wall s, CPU s and peak to FD.
"""

import os
import sys
import time


def main() -> None:
    """Start, wait, write."""
    descriptor, command = int(sys.argv[1]), sys.argv[2:]
    os.set_inheritable(descriptor, False)
    started_s = time.perf_counter()
    pid = os.posix_spawnp(command[0], command, os.environ)
    _, status, used = os.wait4(pid, 0)
    wall_s = time.perf_counter() - started_s
    code = os.waitstatus_to_exitcode(status)
    cpu_s = used.ru_utime + used.ru_stime
    os.write(descriptor, f"{code} {wall_s!r} {cpu_s!r} {used.ru_maxrss}".encode())


if __name__ == "__main__":
    main()
