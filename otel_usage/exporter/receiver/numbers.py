"""Numbers that the workers of one receiver share: each writes a row of its own, whoever reads adds them up.

They are in memory that is inherited over fork, so a worker that was killed takes nothing with it. What they mean is
`metrics`'s.
"""

import mmap
from typing import Final

_DOUBLE_BYTES: Final = 8


class Numbers:
    """Rows of floating-point numbers, exact for whole ones up to 2**53.

    Args:
        rows: One for each worker, made before any of them is forked.
        columns: Numbers in a row.
    """

    def __init__(self, rows: int, columns: int) -> None:
        self._columns = columns
        self._numbers: memoryview[float] = memoryview(mmap.mmap(-1, rows * columns * _DOUBLE_BYTES)).cast("d")

    def row(self, index: int) -> "memoryview[float]":
        """The numbers of one worker, which nobody else may write."""
        return self._numbers[index * self._columns : (index + 1) * self._columns]

    def sums(self) -> list[float]:
        """Each number, over all workers."""
        return [sum(self._numbers[column :: self._columns]) for column in range(self._columns)]
