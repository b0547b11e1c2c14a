"""A process killed just before a certain one of the system calls by which it changes files; strace does it.

Killed before each of them in turn, it has left its files in each state they come through, but for a write that is cut
in its middle.
"""

import re
import shutil
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

# Opening a file with O_CREAT is left out: what it does shows in the next of these. Some systems lack some of them.
_CHANGING: Final = (
    "?write,?writev,?pwrite64,?pwritev,?pwritev2,?ftruncate,?truncate,?fallocate,?fsync,?fdatasync,?sync_file_range,"
    "?rename,?renameat,?renameat2,?link,?linkat,?unlink,?unlinkat,?rmdir,?mkdir,?mkdirat,?chmod,?fchmod,?fchmodat"
)
_CALL: Final = re.compile(r"(\d+) +(\w+)\(")


@dataclass(frozen=True, slots=True)
class Moment:
    """Just before a thread's `number`th `call`."""

    call: str
    number: int


def why_untraceable() -> str | None:
    """Why no process can be traced here, and what to do about it; None if it can."""
    if shutil.which("strace") is None:
        return "strace is not installed; scripts/install-test-tools installs it (as root, by apt-get)"
    tried = subprocess.run(["strace", "-qq", "-e", "trace=none", "true"], capture_output=True, text=True)
    return f"strace may trace nobody on this system: {tried.stderr.strip()}" if tried.returncode else None


def moments(command: list[str], log: Path, **options: Any) -> list[Moment]:
    """Every moment of this command, in the order they come; it must succeed.

    Args:
        command: With its arguments.
        log: A file for strace.
        options: Of `subprocess.run`.
    """
    done = _trace(command, log, [f"trace={_CHANGING}"], **options)
    assert done.returncode == 0, done.stderr
    seen: Counter[tuple[str, str]] = Counter()
    found: dict[Moment, None] = {}
    for thread, call in _CALL.findall(log.read_text(errors="replace")):
        seen[thread, call] += 1
        found[Moment(call, seen[thread, call])] = None
    return list(found)


def killed_at(moment: Moment, command: list[str], log: Path, **options: Any) -> bool:
    """Run the command and kill it at this moment; False if the moment did not come and it succeeded."""
    kill = f"inject=?{moment.call}:signal=KILL:when={moment.number}"
    done = _trace(command, log, [f"trace={_CHANGING}", kill], **options)
    assert done.returncode in (0, -9), done.stderr
    return done.returncode == -9


def _trace(command: list[str], log: Path, what: list[str], **options: Any) -> "subprocess.CompletedProcess[str]":
    asked = [part for each in what for part in ("-e", each)]
    # Without --seccomp-bpf, with which the signal is not delivered.
    traced = ["strace", "-f", "-qq", "-o", str(log), *asked, *command]
    return subprocess.run(traced, capture_output=True, text=True, timeout=120, **options)
