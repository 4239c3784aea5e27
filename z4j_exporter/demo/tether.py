"""Ties a program's life to the demo's, so that not even ``kill -9`` leaves a process behind.

``python -m z4j_exporter.demo.tether PARENT_PID PROGRAM ARGUMENT…`` becomes PROGRAM (exec, same
process id), which the kernel kills as soon as its parent is gone.
"""

import ctypes
import os
import signal
import sys

#: ``PR_SET_PDEATHSIG`` of linux/prctl.h: the signal a process gets when its parent dies. It
#: outlives exec, but not fork: each process of a tree must ask for itself.
_PR_SET_PDEATHSIG = 1


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent, ``parent_pid``, is gone.

    Only Linux can: elsewhere this does nothing, and a demo that was killed with SIGKILL leaves
    its processes behind. Ends this process at once if the parent has gone already, because the
    kernel sends no signal for that.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(0)


if __name__ == "__main__":
    die_with_parent(int(sys.argv[1]))
    # The program and its arguments come from processes.py, not from a user.
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - no shell is what we want
