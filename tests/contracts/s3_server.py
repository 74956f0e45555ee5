"""A server of S3 on loopback, in a process of its own."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from types import TracebackType
from typing import ClassVar, Self
from xml.etree import ElementTree


class S3Server:
    """Context manager; it has one bucket, which takes any credentials."""

    credentials: ClassVar = {"AWS_ACCESS_KEY_ID": "reader", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._place = f"127.0.0.1:{free.getsockname()[1]}"

    def __enter__(self) -> Self:
        host, port = self._place.split(":")
        command = [sys.executable, "-m", "moto.server", "-H", host, "-p", port]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=kept | self.credentials)
        while True:
            try:
                urllib.request.urlopen(urllib.request.Request(f"http://{self._place}/{self._bucket}", method="PUT")).close()
                return self
            except urllib.error.URLError:
                assert self._process.poll() is None, "the server of S3 does not start"
                time.sleep(0.1)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()

    def address(self, folder: str) -> str:
        """Of a folder of the bucket."""
        return f"s3://{self._bucket}/{folder}?endpoint_override={self._place}&scheme=http"

    def objects(self) -> list[str]:
        """The keys of all objects of the bucket."""
        with urllib.request.urlopen(f"http://{self._place}/{self._bucket}?list-type=2") as answer:
            listed = ElementTree.fromstring(answer.read())
        return [key.text or "" for key in listed.iter() if key.tag.endswith("}Key") or key.tag == "Key"]
