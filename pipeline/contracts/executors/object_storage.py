"""Files of a stage by way of object storage, for machines that share no folder: RETRIEVAL_RAY_STORAGE names it.

The stage puts there what its tasks read. A worker takes that, puts there what it makes, and last its receipt; the stage takes the files. A file
lies under the digest of its bytes, files/SHA256, so that what is there is not sent again, whoever made it. A receipt lies in
receipts/STAGE/FINGERPRINT until the stage has ended, and so does a worker's beginning of a task in tries/STAGE/FINGERPRINT.
"""

import errno
import hashlib
import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pyarrow import ArrowException, ArrowInvalid
from pyarrow.fs import FileSelector, FileSystem, FileType

from pipeline.contracts.executors.executing import Receipt
from pipeline.stage.errors import ParameterError, ShardError, UnreachableError
from pipeline.stage.fingerprint import file_sha256
from pipeline.stage.tables import replacing

BLOCK = 2**20
SMALL_AT_ONCE = "allow_delayed_open=true"
"""Of an address of S3: a file of few MiB is sent by one request instead of three."""
AT_ONCE = 8
"""Files that travel at a time."""


@dataclass(frozen=True)
class Sent:
    """A file in the storage.

    Attributes:
        path: where it belongs, from the project's folder or from the scratch store's.
        digest: SHA-256 of its bytes.
    """

    path: str
    digest: str


@dataclass(frozen=True)
class ObjectStorage:
    """A folder of an object store, by an address that pyarrow knows: s3://BUCKET/FOLDER, gs://…, file:///…

    Raises:
        UnreachableError: from every method, where the storage does not answer or refuses.
    """

    address: str

    def put(self, path: Path, belongs: str) -> Sent:
        """Send a file, where the storage does not have its bytes."""
        sent = Sent(belongs, file_sha256(path))
        if self._size(key := self._key("files", sent.digest)) != path.stat().st_size:
            with self._answering(), path.open("rb") as stream:
                self._write(key, iter(lambda: stream.read(BLOCK), b""))
        return sent

    def put_all(self, files: Iterable[tuple[Path, str]]) -> list[Sent]:
        """Send files, each with where it belongs."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(lambda file: self.put(*file), files))

    def take(self, sent: Sent, target: Path) -> None:
        """Bring a file to a path, which appears whole or not at all.

        Raises:
            ShardError: the storage holds other bytes than those that were sent, or none.
        """
        if target.exists() and file_sha256(target) == sent.digest:
            return
        digest = hashlib.sha256()
        with replacing(target) as partial:
            with self._answering(), self._opened_file(sent) as source, partial.open("wb") as stream:
                while block := source.read(BLOCK):
                    digest.update(block)
                    stream.write(block)
            if digest.hexdigest() != sent.digest:
                raise ShardError(f"{self.address}: files/{sent.digest} holds other bytes than those that were sent; remove it and run again")

    def _opened_file(self, sent: Sent) -> Any:
        try:
            return self._files.open_input_stream(self._key("files", sent.digest))
        except FileNotFoundError:
            raise ShardError(f"{self.address}: files/{sent.digest} ({sent.path}) was removed; run again") from None

    def put_receipt(self, work: str, receipt: Receipt, files: Sequence[Sent]) -> None:
        """Say that a task is finished.

        Args:
            work: STAGE/FINGERPRINT.
        """
        content = json.dumps({"receipt": asdict(receipt), "files": [asdict(sent) for sent in files]})
        with self._answering():
            self._write(self._key("receipts", work, f"{receipt.task}.json"), iter([content.encode()]))

    def receipts(self, work: str) -> Iterator[tuple[Receipt, list[Sent]]]:
        """What workers have finished, each receipt with its files."""
        for key in self._below("receipts", work):
            with self._answering(), self._files.open_input_stream(key) as stream:
                content = json.loads(stream.read())
            yield Receipt(**content["receipt"]), [Sent(**sent) for sent in content["files"]]

    def begin(self, work: str, task: str) -> None:
        """Note that a worker begins a task."""
        with self._answering():
            self._write(self._key("tries", work, f"{task}.{uuid.uuid4().hex}"), iter([b"."]))

    def begun(self, work: str, task: str) -> int:
        """How often a task was begun and not ended."""
        return len(self._tries(work, task))

    def ended(self, work: str, task: str) -> None:
        """Forget the beginnings of a task."""
        self._forget(self._tries(work, task))

    def clean_up(self, work: str) -> None:
        """Forget receipts and beginnings; files stay for the stages that read them."""
        for kind in ("receipts", "tries"):
            with self._answering(), suppress(FileNotFoundError):
                self._files.delete_dir(self._key(kind, work))

    def _tries(self, work: str, task: str) -> list[str]:
        return [key for key in self._below("tries", work) if key.rpartition("/")[2].rpartition(".")[0] == task]

    @cached_property
    def _opened(self) -> tuple[FileSystem, str]:
        address = self.address
        if "@" in address:
            raise ParameterError("RETRIEVAL_RAY_STORAGE: an address with a name and a secret is printed in messages; leave these to the environment")
        if address.startswith("s3://") and SMALL_AT_ONCE not in address:
            address += ("&" if "?" in address else "?") + SMALL_AT_ONCE
        try:
            files, root = FileSystem.from_uri(address)
            said = "" if root else "it names no bucket"
        except (ArrowInvalid, ValueError, OSError) as error:
            said = str(error).splitlines()[0]
        if said:
            raise ParameterError(f"RETRIEVAL_RAY_STORAGE={self.address}: {said}; right would be s3://BUCKET/FOLDER or file:///FOLDER")
        return files, root.rstrip("/")

    @property
    def _files(self) -> FileSystem:
        return self._opened[0]

    def _key(self, *names: str) -> str:
        return "/".join((self._opened[1], *names))

    def _size(self, key: str) -> int | None:
        with self._answering():
            found = self._files.get_file_info([key])[0]
        return found.size if found.type == FileType.File else None

    def _write(self, key: str, blocks: Iterator[bytes]) -> None:
        """An object appears when it is whole; a file on a disk under a temporary name first."""
        local = self._files.type_name == "local"
        written = f"{key}.{uuid.uuid4().hex}.part" if local else key
        if local:
            self._files.create_dir(key.rpartition("/")[0], recursive=True)
        with self._files.open_output_stream(written) as stream:
            for block in blocks:
                stream.write(block)
        if local:
            self._files.move(written, key)

    def _below(self, *names: str) -> list[str]:
        selector = FileSelector(self._key(*names), recursive=True, allow_not_found=True)
        with self._answering():
            files = [found.path for found in self._files.get_file_info(selector) if found.type == FileType.File]
        return sorted(path for path in files if not path.endswith(".part"))

    def _forget(self, keys: list[str]) -> None:
        with self._answering():
            for key in keys:
                self._files.delete_file(key)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ArrowException) as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise  # of this machine's disk
            raise UnreachableError(f"RETRIEVAL_RAY_STORAGE={self.address}: {str(error).splitlines()[0]}") from None


def whole(paths: Iterable[Path]) -> list[Path]:
    """Files, those of folders among them, each once and in order."""
    found: dict[Path, None] = {}
    for path in paths:
        found |= dict.fromkeys(sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path])
    return list(found)
