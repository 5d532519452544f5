"""Write numbered transactions and say which are acknowledged; run by `test_crashes`, which makes it fail.

``FOLDER COUNT RETRIES`` writes to ``FOLDER/0.db``. ``FOLDER COUNT SYSCALL CALL`` forks one writer after the other, so
that the CALL-th call of SYSCALL is the first write of the first one, the second write of the second, and so on, until
one lives to its end: whoever runs this arranges that a thread is killed at its CALL-th call.
"""

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from controller.app.errors import StorageUnavailable
from controller.app.ports import Priority
from controller.app.repositories import Transaction
from controller.store.sql_store import SqlStore
from protocol.units import Instant
from tests.controller.store.samples import report


def numbered(number: int, tx: Transaction) -> None:
    """Write a heartbeat and two reports that belong together."""
    tx.log.beat(Instant(number))
    tx.log.add_reports([report(1, number), report(2, number)])


def write(path: Path, *, count: int, retries: int, out: int, burnt: tuple[str, int] | None = None) -> None:
    store = SqlStore.open(f"sqlite:///{path}")
    if burnt is not None:
        store._writer.submit(lambda tx: burn(*burnt), Priority.INGEST).result()
    for number in range(1, count + 1):
        for _ in range(retries + 1):
            try:
                store._writer.submit(lambda tx, n=number: numbered(n, tx), Priority.INGEST).result()  # type: ignore[misc]
            except StorageUnavailable as error:
                os.write(out, f"unavailable {number} {error}\n".encode())
                time.sleep(0.01)
            else:
                os.write(out, f"stored {number}\n".encode())
                break
    store.close()


def burn(syscall: str, count: int) -> None:
    """Make calls that do nothing, on the thread that writes."""
    with tempfile.TemporaryFile() as file:
        for _ in range(count):
            if syscall == "fdatasync":
                os.fdatasync(file.fileno())
            else:
                os.pwrite(file.fileno(), b"", 0)


def write_until_one_lives(folder: Path, *, count: int, syscall: str, call: int) -> None:
    for point in range(1, call):
        path = folder / f"{point}.db"
        shutil.copy(folder / "0.db", path)
        child = os.fork()
        if not child:
            out = os.open(folder / f"{point}.said", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            write(path, count=count, retries=0, out=out, burnt=(syscall, call - point))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(point, os.waitstatus_to_exitcode(status), flush=True)
        if status == 0:
            return


if __name__ == "__main__":
    target, total = Path(sys.argv[1]), int(sys.argv[2])
    if len(sys.argv) == 4:
        write(target / "0.db", count=total, retries=int(sys.argv[3]), out=1)
    else:
        write_until_one_lives(target, count=total, syscall=sys.argv[3], call=int(sys.argv[4]))
