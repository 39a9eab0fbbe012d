"""`uvicorn examples.fastapi_app:app --workers 4`: a workspace per user, behind a service of several processes.

Each worker opens the same folder, after it was started. Endpoints are plain functions, which FastAPI runs in threads;
but uploads have threads of their own, so they keep no search waiting, however many there are.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, BinaryIO
from urllib.parse import quote

from fastapi import Depends, FastAPI, Header, Request, Response, UploadFile
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel

from docstore import (
    DocStore,
    DocStoreError,
    Document,
    DocumentNotFound,
    Hit,
    InvalidArgument,
    QuotaExceeded,
    StoreLocked,
    UnreadableDocument,
    Workspace,
)

STATUS = {DocumentNotFound: 404, InvalidArgument: 422, UnreadableDocument: 422, QuotaExceeded: 413, StoreLocked: 503}
"""What a client is told. All else is the server's fault."""
OF_A_WORKSPACE = ("documents", "logical_bytes")
"""Limits that a user can keep to. How full the store or its disk is, the others tell: that is for you."""
BYTES = "application/octet-stream"
"""Downloads are never shown in the application's own origin: what users upload may hold scripts."""


@asynccontextmanager
async def _opened(app: FastAPI) -> AsyncIterator[None]:
    # With `demand_bytes`, nothing tells a user what others have stored.
    with DocStore(os.environ.get("DOCSTORE_FOLDER", "data"), demand_bytes=True) as store:
        app.state.store = store
        yield


class Refusal(BaseModel):
    """What a client is told of an error, for clients that are generated."""

    detail: str | list[dict[str, Any]]
    """A list where FastAPI itself refuses."""


app = FastAPI(lifespan=_opened, responses={status: {"model": Refusal} for status in (*STATUS.values(), 507)})


def _user(x_user: Annotated[str, Header()]) -> str:
    return x_user  # where your authentication goes


def _workspace(request: Request, user: Annotated[str, Depends(_user)]) -> Workspace:
    store: DocStore = request.app.state.store
    return store.workspace(f"user:{user}")


Own = Annotated[Workspace, Depends(_workspace)]


@app.exception_handler(DocStoreError)
def _refused(_: Request, error: DocStoreError) -> Response:
    status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 500)
    if isinstance(error, QuotaExceeded) and error.limited_by not in OF_A_WORKSPACE:
        status = 507
    if status >= 500:  # the client is not told, and for uvicorn it is answered
        logging.getLogger(__name__).error("A request failed", exc_info=error)
    return JSONResponse({"detail": str(error) if status < 500 else type(error).__name__}, status)


@app.post("/documents")
async def upload(workspace: Own, file: UploadFile) -> Document:
    """Adds a document."""
    return await asyncio.to_thread(workspace.add, file.file, name=file.filename)


@app.get("/documents")
def documents(workspace: Own) -> list[Document]:
    """All of the user's."""
    return workspace.documents()


@app.get("/documents/{hash}", response_class=StreamingResponse, responses={200: {"content": {BYTES: {}}}})
def download(workspace: Own, hash: str) -> Response:
    """One of the user's, as it was uploaded."""
    document = workspace.document(hash)
    name = quote(document.name or hash, safe="")
    # With its length, a client notices if the server has only a part of it left.
    headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{name}", "Content-Length": str(document.size)}
    return StreamingResponse(_blocks(workspace.read(hash)), headers=headers, media_type=BYTES)


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while block := file.read(1 << 20):
            yield block


@app.delete("/documents/{hash}", status_code=204, response_model=None)  # older FastAPI: else a body
def remove(workspace: Own, hash: str) -> None:
    """Drops the user's reference. `docstore collect`, from a timer, deletes what nobody references."""
    workspace.remove(hash)


@app.get("/search")
def search(workspace: Own, q: str, k: int = 5) -> list[Hit]:
    """The chunks nearest to a query."""
    return workspace.search(q, k)
