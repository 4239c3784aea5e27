"""Makes the C library give the memory of a burst back."""

import ctypes
from typing import Final

#: glibc's number of the setting (malloc.h).
_M_MMAP_THRESHOLD: Final = -3
#: Bytes: pieces of this size and more are asked of the system one by one, and given back so.
_LARGE_BYTES: Final = 256 * 1024


def give_large_pieces_back() -> bool:
    """Keep glibc from holding on to large pieces; return whether it listened.

    Left alone it raises the threshold whenever a large piece is freed (mallopt(3)), so that after
    one burst those of the next lie on the heap, and the process keeps hundreds of MB for good.
    Other C libraries (musl) have no such setting, and do not need it.
    """
    try:
        return bool(ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES))
    except (OSError, AttributeError):
        return False
