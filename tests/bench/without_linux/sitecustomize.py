"""On PYTHONPATH: the calls that only Linux has are not there, as on a Mac."""

import os
import time

_ONLY_LINUX = (
    "pidfd_open", "sched_getaffinity", "sched_setaffinity", "posix_fadvise", "posix_fallocate", "copy_file_range",
    "memfd_create", "eventfd", "splice", "getxattr", "setxattr", "listxattr", "removexattr", "setresuid", "unshare",
)  # fmt: skip
for _name in _ONLY_LINUX:
    if hasattr(os, _name):
        delattr(os, _name)
for _name in ("CLOCK_BOOTTIME", "CLOCK_TAI"):
    if hasattr(time, _name):
        delattr(time, _name)
