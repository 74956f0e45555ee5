"""The service as an ASGI application: questions, pictures, instances, collections, health, numbers, and the page."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException as StarletteHTTPException

from pipeline.look.stylesheet import stylesheet
from pipeline.search.photo import Encoded
from pipeline.serving.answering import Answering, Wanted
from pipeline.serving.counters import Counters
from pipeline.serving.forms import FORM, box_of, flag_of, number_of
from pipeline.serving.limits import Limits
from pipeline.serving.overview import overview
from pipeline.serving.published import Published, Served
from pipeline.serving.refusals import RefusedError
from pipeline.serving.uploads import Form, Uploads
from pipeline.stage.errors import ImageError

PAGE = Path(__file__).parent / "page"
PICTURES_STAY = {"cache-control": "private, max-age=3600"}


class Service:
    """What the routes share."""

    def __init__(self, published: Published, limits: Limits) -> None:
        self.published, self.limits = published, limits
        self.counters = Counters()
        self.uploads, self.answering = Uploads(limits), Answering(limits, self.counters)

    @contextlib.asynccontextmanager
    async def running(self, _: FastAPI) -> AsyncIterator[None]:
        """Answers questions and follows new versions while the application lives."""
        work = [asyncio.create_task(self.answering.run()), asyncio.create_task(self._follow())]
        try:
            yield
        finally:
            for task in work:
                task.cancel()
            self.answering.close()

    async def _follow(self) -> None:
        while True:
            for served in await run_in_threadpool(self.published.opened):
                try:
                    await self.answering.load(served)
                except Exception as error:  # whatever it is, the version before answers on
                    self.published.put_off(served.name, served.version, error)
                    continue
                self.published.serve(served)
                self.counters.versions.labels(served.name).inc()
                self.counters.images.labels(served.name).set(len(served.collection))
            await asyncio.sleep(self.limits.refresh_seconds)

    async def ask(self, request: Request) -> dict[str, Any]:
        """The answer to the form of a request."""
        async with self.uploads.read(request) as form:
            served = self.published.get(form.fields.get("collection", ""))
            photograph = await run_in_threadpool(_photograph, served, form)
            top = number_of(form.fields, "top", 10, self.limits.results)
            wanted = Wanted(box_of(form.fields), top, flag_of(form.fields, "rerank", default=True))
            reply = await self.answering.ask(served, photograph, wanted)
        return reply.to_dict() | {"verdict": reply.verdict, "collection": served.name, "version": served.version}


def _photograph(served: Served, form: Form) -> Encoded:
    """What is asked with: an upload, or an image of the collection."""
    image_id = form.fields.get("image_id")
    if (form.photograph is None) == (image_id is None):
        raise RefusedError(400, "send one of `photograph`, a file, and `image_id`, an image of the collection")
    if form.photograph is not None:
        return Encoded(form.name, form.photograph)
    return Encoded(str(image_id), _picture(served.pictures.large, str(image_id))[0])


def _picture(read: Callable[[str], tuple[bytes, str]], image_id: str) -> tuple[bytes, str]:
    """What `Pictures.small` or `Pictures.large` reads."""
    try:
        return read(image_id)
    except KeyError:
        raise RefusedError(404, "the collection has no such image") from None


def application(published: Published, limits: Limits) -> FastAPI:
    """The application of a set of collections."""
    service = Service(published, limits)
    app = FastAPI(title="Instance retrieval", version="1", lifespan=service.running, docs_url=None, redoc_url=None)
    _add_errors(app)
    _add_questions(app, service)
    _add_pictures(app, service)
    _add_collections(app, service)

    @app.get("/api", response_class=HTMLResponse, include_in_schema=False)
    def described() -> str:
        return overview(app.openapi())

    @app.get("/look/common.css", include_in_schema=False)
    def look() -> Response:
        return Response(stylesheet(), media_type="text/css")

    app.mount("/", StaticFiles(directory=PAGE, html=True), "page")
    return app


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(RefusedError)
    async def refused(_: Request, error: RefusedError) -> JSONResponse:
        headers = {} if error.retry_after is None else {"retry-after": str(error.retry_after)}
        if error.status in (408, 413):
            headers["connection"] = "close"  # what is still sent is not read
        return JSONResponse({"error": str(error)}, error.status, headers)

    @app.exception_handler(StarletteHTTPException)
    async def unknown(_: Request, error: StarletteHTTPException) -> JSONResponse:
        return JSONResponse({"error": str(error.detail)}, error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def failed(_: Request, __: Exception) -> JSONResponse:
        return JSONResponse({"error": "the service has failed; its log says why"}, 500)

    @app.exception_handler(ImageError)
    async def unreadable(_: Request, error: ImageError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, 422)


def _add_questions(app: FastAPI, service: Service) -> None:
    @app.post("/api/ask", openapi_extra={"requestBody": FORM})
    async def ask(request: Request) -> JSONResponse:
        """Which images of a collection show what a photograph shows."""
        began, name, status = time.monotonic(), "", 500
        try:
            content = await service.ask(request)
            name, status = content["collection"], 200
            return JSONResponse(content)
        except RefusedError as error:
            status = error.status
            raise
        except ImageError:
            status = 422
            raise
        finally:
            service.counters.questions.labels(name, str(status)).inc()
            service.counters.seconds.observe(time.monotonic() - began)


def _add_pictures(app: FastAPI, service: Service) -> None:
    @app.get("/api/images/{image_id:path}/thumbnail", response_class=Response)
    def thumbnail(image_id: str, collection: str = "") -> Response:
        """A small picture of an image, as JPEG."""
        data, kind = _picture(service.published.get(collection).pictures.small, image_id)
        return Response(data, media_type=kind, headers=PICTURES_STAY)

    @app.get("/api/images/{image_id:path}", response_class=Response)
    def image(image_id: str, collection: str = "") -> Response:
        """An image as the pipeline resized it, or its thumbnail where there is no more."""
        data, kind = _picture(service.published.get(collection).pictures.large, image_id)
        return Response(data, media_type=kind, headers=PICTURES_STAY)


def _add_collections(app: FastAPI, service: Service) -> None:
    @app.get("/api/collection")
    def collections() -> list[dict[str, Any]]:
        """Every collection that may be asked."""
        return [_described(service.published, name) for name in service.published.names]

    @app.get("/api/instances")
    def instances(collection: str = "") -> list[dict[str, Any]]:
        """Every instance that has a name: how many images show it, and one of them."""
        served = service.published.get(collection)
        return [{"instance": name, "images": len(ids), "image_id": ids[0]} for name, ids in served.instances.items()]

    @app.get("/api/instances/{instance:path}")
    def instance(instance: str, collection: str = "") -> dict[str, Any]:
        """The images of an instance."""
        found = service.published.get(collection).instances.get(instance)
        if found is None:
            raise RefusedError(404, "the collection has no such instance")
        return {"instance": instance, "image_ids": found}

    @app.get("/healthz")
    def health() -> JSONResponse:
        """Whether every collection is open."""
        waiting = [name for name in service.published.names if not service.published.is_open(name)]
        return JSONResponse({"status": "opening" if waiting else "ok"}, 503 if waiting else 200)

    @app.get("/metrics", response_class=Response)
    def metrics() -> Response:
        """Counters for Prometheus."""
        return Response(service.counters.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _described(published: Published, name: str) -> dict[str, Any]:
    if not published.is_open(name):
        return {"name": name, "open": False}
    served = published.get(name)
    facts = served.collection.facts
    return {
        "name": name,
        "open": True,
        "version": served.version,
        "images": facts.images,
        "instances": len(served.instances),
        "method": facts.described.method,
        "network": facts.described.features.network.name,
        "index": facts.index.kind,
        "boxes": facts.described.features.images.resize["query_crop"] != "none",
        "refined": served.collection.parameters.refined,
        "limits": {name: asdict(published.limits)[name] for name in ("upload_bytes", "pixels", "results")},
    }
