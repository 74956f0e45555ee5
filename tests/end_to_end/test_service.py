"""The service over HTTP: its answers are the collection's, whatever else it is sent, and while the collection is replaced."""

import io
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from PIL import Image

from pipeline.contracts.collections import CALIBRATION, CollectionFacts, current_version, new_version, publish
from pipeline.search.collection import Collection
from tests.conftest import PROJECT
from tests.end_to_end.asking import query_photographs
from tests.end_to_end.project import Project
from tests.end_to_end.service import ServiceProcess

pytestmark = pytest.mark.slow
MIB = 2**20


@pytest.fixture(scope="module")
def service(museum: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    with ServiceProcess(museum.folder, tmp_path_factory.mktemp("service") / "log") as running:
        yield running


@pytest.fixture(scope="module")
def photograph(museum: Project) -> bytes:
    return next(query_photographs(museum)).data


def test_answers_are_those_of_the_collection_also_when_many_ask_at_a_time(museum: Project, service: ServiceProcess) -> None:
    collection = Collection.open(museum.folder / "data/collection/gallery", "cpu")
    asked = list(query_photographs(museum)) * 4
    with ThreadPoolExecutor(len(asked)) as pool:
        replies = list(pool.map(lambda each: service.ask(each.data, box=",".join(map(str, each.box or ())), top=4).json(), asked))
    for each, reply in zip(asked[:5], replies[:5], strict=True):
        expected = collection.ask(each.data, each.box, top=4).to_dict()
        assert [found["image_id"] for found in reply["results"]] == [found["image_id"] for found in expected["results"]]
        for name in ("instance", "known"):
            assert reply[name] == expected[name]
        assert [found["score"] for found in reply["results"]] == pytest.approx([found["score"] for found in expected["results"]], abs=1e-6)
    assert replies == replies[:5] * 4
    metrics = service.client.get("/metrics").text
    assert 'retrieval_questions_total{collection="gallery",status="200"} 20.0' in metrics
    batches = float(metrics.partition("retrieval_batch_questions_count ")[2].split()[0])
    assert batches < 20, "some were searched together"


def test_pictures_instances_and_collections_are_there(museum: Project, service: ServiceProcess) -> None:
    (one,) = service.client.get("/api/collection").json()
    assert (one["name"], one["images"], one["instances"], one["boxes"]) == ("gallery", 10, 5, True)
    instances = service.client.get("/api/instances").json()
    assert [each["images"] for each in instances] == [2] * 5
    first = service.client.get(f"/api/instances/{instances[0]['instance']}").json()
    assert len(first["image_ids"]) == 2
    image_id = first["image_ids"][0]
    sizes = {}
    for name in (f"/api/images/{image_id}", f"/api/images/{image_id}/thumbnail"):
        reply = service.client.get(name)
        with Image.open(io.BytesIO(reply.content)) as picture:
            sizes[name] = picture.size
            assert reply.headers["content-type"] == f"image/{str(picture.format).lower()}"
    large, small = sizes.values()
    assert max(large) == 256 > max(small)
    like = service.client.post("/api/ask", files={"image_id": (None, image_id)}).json()
    assert like["results"][0]["image_id"] == image_id
    assert like["results"][0]["score"] == pytest.approx(1, abs=1e-3)
    page = service.client.get("/")
    assert "<!doctype html>" in page.text
    assert "/api/ask" in service.client.get("/api").text
    schema = service.client.get("/openapi.json").json()["paths"]["/api/ask"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert set(schema["properties"]) == {"photograph", "image_id", "collection", "box", "top", "rerank"}


def bomb(side: int) -> bytes:
    """A small PNG of side² white pixels."""
    header = side.to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    rows, packed = zlib.compressobj(9), b""
    for _ in range(side // 100):
        packed += rows.compress((b"\0" + b"\xff" * 3 * side) * 100)
    packed += rows.flush()
    chunks = ((b"IHDR", header), (b"IDAT", packed), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big") for kind, data in chunks
    )


def test_what_cannot_be_asked_is_refused_by_name(service: ServiceProcess, photograph: bytes) -> None:
    for reply, status, reason in (
        (service.ask(b"no picture"), 422, "photo.jpg: not an image that can be decoded"),
        (service.ask(b""), 422, "photo.jpg: the file is empty"),
        (service.ask(photograph, box="9000,9000,9100,9100"), 422, "lies outside the image"),
        (service.ask(photograph, box="1,2,3"), 400, "box: four numbers"),
        (service.ask(photograph, top=201), 400, "top: a whole number from 1 to 200"),
        (service.ask(photograph, collection="other"), 404, "no such collection; there are: gallery"),
        (service.ask(photograph, image_id="a"), 400, "send one of"),
        (service.client.post("/api/ask", files={"top": (None, "1")}), 400, "send one of"),
        (service.client.post("/api/ask", files={"image_id": (None, "../../etc/passwd")}), 404, "no such image"),
        (service.client.get("/api/images/..%2f..%2f..%2fetc%2fpasswd"), 404, "no such image"),
        (service.client.get("/api/images/<script>alert(1)</script>"), 404, "no such image"),
        (service.client.get("/api/instances/<b>"), 404, "no such instance"),
    ):
        assert (reply.status_code, reason in reply.json()["error"]) == (status, True), reply.text
        assert reply.headers["content-type"] == "application/json"
    for path in ("/../cli/__init__.py", "/..%2fcommand.py", "/%2e%2e/command.py", "//etc/passwd"):
        assert service.client.get(path).status_code == 404


def test_abuse_takes_no_memory_and_others_are_answered(service: ServiceProcess, photograph: bytes) -> None:
    assert service.ask(photograph).status_code == 200
    before = service.memory
    reply = service.ask(bomb(20_000))
    assert (reply.status_code, "20000×20000 pixels" in reply.json()["error"]) == (422, True)
    address = urlsplit(service.address)
    where = (str(address.hostname), int(address.port or 0))
    head = f"POST /api/ask HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    form = b'--b\r\nContent-Disposition: form-data; name="photograph"; filename="a"\r\n\r\n'
    for said, sent in (
        (f"Content-Length: {2 * 2**30}\r\n\r\n", []),
        ("Transfer-Encoding: chunked\r\n\r\n", [b"%x\r\n%s\r\n" % (len(form), form), *[b"100000\r\n" + bytes(MIB) + b"\r\n"] * 64]),
    ):
        with socket.create_connection(where, 30) as connection:
            connection.sendall((head + said).encode())
            try:
                for block in sent:
                    connection.sendall(block)
            except (BrokenPipeError, ConnectionResetError):
                pass  # the service has hung up, which is its right
            else:
                assert connection.recv(100).startswith(b"HTTP/1.1 413")
    slow = [socket.create_connection(where, 30) for _ in range(1000)]
    for number, connection in enumerate(slow):
        if number % 2:
            connection.sendall((head + "Content-Length: 1000000\r\n\r\n").encode() + form)
    assert service.ask(photograph).status_code == 200, "while 1,000 connections are open, half of them in the middle of an upload"
    assert service.memory - before < 200 * MIB
    for connection in slow:
        connection.close()
    assert service.ask(photograph).status_code == 200


def test_nobody_is_let_in_by_other_names_or_without_the_token(museum: Project, service: ServiceProcess, photograph: bytes, tmp_path: Path) -> None:
    assert service.client.get("/", headers={"host": "museum.example"}).status_code == 421
    assert service.client.post("/api/ask", headers={"origin": "http://museum.example"}).status_code == 403
    with ServiceProcess(museum.folder, tmp_path / "log", "--host", "0.0.0.0", environment={"RETRIEVAL_TOKEN": "sixteen letters long"}) as closed:
        assert closed.ask(photograph).status_code == 401
        assert closed.client.get("/").status_code == 401
        closed.client.headers["authorization"] = "Bearer sixteen letters long"
        assert closed.ask(photograph).status_code == 200
        assert "sixteen" not in closed.said
    for arguments, environment, reason in (
        (["--host", "0.0.0.0"], {}, "other machines can reach it; set RETRIEVAL_TOKEN"),
        ([], {"RETRIEVAL_TOKEN": "short"}, "5 characters can be guessed"),
        (["--collection", "other"], {}, "there are: gallery"),
        (["--collection", "gallery", "--collection", "data/collection/gallery"], {}, "another collection is named gallery already"),
        (["--port", str(urlsplit(service.address).port)], {}, "choose another --port"),
    ):
        command = [sys.executable, "-P", "-m", "cli", "serve", *arguments]
        own = museum.environment | {"PYTHONPATH": str(PROJECT)} | environment
        done = subprocess.run(command, cwd=museum.folder, env=own, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert reason in done.stderr
        assert done.stderr.count("\n") == 1


def test_no_question_is_lost_while_the_collection_is_replaced(museum: Project, photograph: bytes, tmp_path: Path) -> None:
    made = current_version(museum.folder / "data/collection/gallery")
    folder, later = tmp_path / "data/collection/changing", tmp_path / "data/collection/later"

    def replace(share: float, facts: CollectionFacts = made.facts, folder: Path = folder) -> str:
        with new_version(folder) as staging:
            shutil.copytree(made.folder, staging, dirs_exist_ok=True, ignore=shutil.ignore_patterns("manifest.json"))
            learned = json.loads((staging / CALIBRATION).read_text(encoding="utf-8"))
            (staging / CALIBRATION).write_text(json.dumps(learned | {"share": share}), encoding="utf-8")
            return publish(staging, folder, facts).folder.name

    versions = [replace(0.5)]
    stop = threading.Event()
    told: list[httpx.Response] = []
    with ServiceProcess(tmp_path, tmp_path / "log") as service:

        def ask() -> None:
            while not stop.is_set():
                told.append(service.ask(photograph, top=1))

        def hang_up() -> None:
            address = urlsplit(service.address)
            with socket.create_connection((str(address.hostname), int(address.port or 0))) as connection:
                connection.sendall(f"POST /api/ask HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Length: 9999\r\n\r\n".encode())

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for turn in range(1, 11):
            versions.append(replace(0.5 - turn / 100))
            hang_up()
            while service.ask(photograph, top=1).json()["version"] != versions[-1]:
                pass
        stop.set()
        for thread in threads:
            thread.join()
        (home,) = (tmp_path / ".scratch/serving").iterdir()
        while len(list(home.glob("changing-*"))) > 2:  # those that no question needs any more are let go
            time.sleep(0.1)
        foreign = replace(0.1, made.facts.model_copy(update={"search": made.facts.search | {"of_tomorrow": 1}}))
        while f"changing: version {foreign} cannot be used" not in service.said:
            time.sleep(0.1)
        assert service.ask(photograph, top=1).json()["version"] == versions[-1]
        replace(0.5, folder=later)
        while service.client.get("/healthz").status_code != 200 or len(service.client.get("/api/collection").json()) < 2:
            time.sleep(0.1)
        assert {service.ask(photograph, top=1, collection=name).status_code for name in ("changing", "later")} == {200}
        assert "another version of the project" in service.said
    assert {reply.status_code for reply in told} == {200}
    replies = [reply.json() for reply in told]
    assert {reply["version"] for reply in replies} == set(versions)
    assert len({reply["results"][0]["image_id"] for reply in replies}) == 1
    assert [path.name for path in folder.iterdir() if path.is_dir()] == [foreign], "what the stages leave does not depend on who is asked"
    assert list((tmp_path / ".scratch/serving").iterdir()) == [], "what the service had linked is gone"
