"""The routes of the server, and the server.

    POST /v1/completions     POST /v1/chat/completions     GET /v1/models     GET /v1/models/NAME

The event loop reads, checks and answers; one thread generates.
"""

import asyncio
import socket
import time
from contextlib import asynccontextmanager, suppress

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from ...errors import InputError
from ...files.json_files import as_json
from .connections import Server, TimedProtocol
from .interface import CHAT, TEXT, Refused, usage_of
from .queue import Engine

MAX_BODY = 1 << 20  # bytes of a request
KNOWN = "/v1/completions, /v1/chat/completions and /v1/models"
LOOPBACK = ("127.0.0.1", "localhost")

# ------------------------------------------------------------------------------------------ completions


async def post_completions(request):
    """POST /v1/completions."""
    return await post(request, TEXT)


async def post_chat_completions(request):
    """POST /v1/chat/completions."""
    return await post(request, CHAT)


async def post(request, interface):
    """Read, check, wait, answer. A stream begins with its first part: an error before has its own status."""
    engine = request.app.state.engine
    content = await read_body(request)
    body, asked = await run_in_threadpool(interface.checked, content, engine.peft, engine.max_batch)
    job = engine.submit(asked)
    try:
        if not body.stream:
            return JSONResponse(await unless_gone(request, whole_answer(engine, job, interface)))
        parts = engine.parts(job)
        first = await unless_gone(request, anext(parts))
        texts = events(job, interface, first, parts, body.stream_options.include_usage)
        return Events(texts, lambda: engine.leave(job))
    except BaseException:
        engine.leave(job)
        raise


async def unless_gone(request, work):
    """What `work` gives. Raises ClientDisconnect when the client closes its connection before."""
    work, gone = asyncio.ensure_future(work), asyncio.ensure_future(client_gone(request))
    try:
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise ClientDisconnect
        return work.result()
    finally:
        work.cancel()
        gone.cancel()


async def read_body(request):
    """The bytes of a request's body. Raises Refused as soon as there are too many.

    A web page elsewhere may send text to this machine without asking, but not JSON.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refused(415, "send JSON, with the header content-type: application/json")
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > MAX_BODY:
            raise Refused(413, f"the body is larger than {MAX_BODY:,} bytes")
    return bytes(content)


async def client_gone(request):
    """Return when the client has closed its connection; the body has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def whole_answer(engine, job, interface):
    """The JSON of a completion, once all of it is there."""
    texts, scores, reasons = ([[] for _ in range(job.request.rows)] for _ in range(3))
    async for part in engine.parts(job):
        texts[part.index].append(part.text)
        scores[part.index] += part.scores
        reasons[part.index].append(part.finish_reason)
    choices = [
        interface.choice(i, "".join(texts[i]), scores[i], reasons[i][-1], job.request)
        for i in range(len(texts))
    ]
    frame = interface.frame(job.request, interface.whole)
    return frame | {"choices": choices, "usage": usage_of(job.completion)}


async def events(job, interface, part, parts, include_usage):
    """The same as server-sent events, a part each: `part` is the first, `parts` are the others."""
    frame = interface.frame(job.request, interface.piece) | ({"usage": None} if include_usage else {})
    event = lambda value: f"data: {as_json(value)}\n\n"
    begun = set()
    try:
        while part:
            first = part.index not in begun
            begun.add(part.index)
            choice = interface.delta(
                part.index, part.text, part.scores, part.finish_reason, job.request, first
            )
            yield event(frame | {"choices": [choice]})
            part = await anext(parts, None)
    except Refused as error:  # the status has been sent long ago
        yield event(error.body)
        return
    if include_usage:
        yield event(frame | {"choices": [], "usage": usage_of(job.completion)})
    yield "data: [DONE]\n\n"


class Events(StreamingResponse):
    """Server-sent events; leave() is called when they end or when the client goes away."""

    media_type = "text/event-stream"

    def __init__(self, texts, leave):
        super().__init__(texts, headers={"Cache-Control": "no-cache"})
        self.leave = leave

    async def __call__(self, scope, receive, send):
        """Send them."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.leave()


# ------------------------------------------------------------------------------------------- the models


def as_model(name, state):
    """A model as OpenAI's interface lists it; `parent` is the base of an adapter."""
    parent = None if name == state.base else state.base
    return {
        "id": name, "object": "model", "created": state.started, "owned_by": "minipeft", "parent": parent,
    }  # fmt: skip


async def get_models(request):
    """GET /v1/models."""
    state = request.app.state
    models = [as_model(name, state) for name in state.engine.peft.adapters]
    return JSONResponse({"object": "list", "data": models})


async def get_model(request):
    """GET /v1/models/NAME."""
    state, name = request.app.state, request.path_params["name"]
    if name not in state.engine.peft.adapters:
        raise Refused(404, f"the model {name!r} does not exist", "model", "model_not_found")
    return JSONResponse(as_model(name, state))


# ------------------------------------------------------------------------------------------- the server


async def on_refused(_, error):
    """Refused -> its answer."""
    return JSONResponse(error.body, error.status, error.headers)


async def on_http_exception(request, error):
    """No such page, a method that it does not take, ...: in the same shape."""
    message = f"{request.method} {request.url.path}: {error.detail}; there are {KNOWN}"
    return await on_refused(request, Refused(error.status_code, message, headers=error.headers))


async def on_gone(*_):
    """A client that went away before all it asked was read: an answer to nobody."""
    return Response(status_code=499)


async def on_failure(request, _):
    """An error of the server's own; its traceback is in the log."""
    return await on_refused(request, Refused(500, "the server failed; its log says why"))


def make_app(peft, base, hosts=("*",), max_batch=8, max_waiting=32):
    """The application. Each adapter of `peft` is a model; `base` is the name of the base alone.

    hosts: names under which the server may be asked, so that no web page reaches it under a name of its own.
    """
    if peft.tokenizer is None:
        raise InputError("the model has no tokenizer: put tokenizer.json into its folder")
    if max_batch < 1 or max_waiting < 1:
        raise InputError(f"--batch ({max_batch}) and --queue ({max_waiting}) must be 1 or more")

    @asynccontextmanager
    async def lifespan(app):
        generating = asyncio.create_task(app.state.engine.run())
        yield
        app.state.engine.stop()
        generating.cancel()
        with suppress(asyncio.CancelledError):
            await generating

    routes = [
        Route("/v1/completions", post_completions, methods=["POST"]),
        Route("/v1/chat/completions", post_chat_completions, methods=["POST"]),
        Route("/v1/models", get_models),
        Route("/v1/models/{name:path}", get_model),
    ]
    handlers = {
        Refused: on_refused, HTTPException: on_http_exception, ClientDisconnect: on_gone,
        Exception: on_failure,
    }  # fmt: skip
    middleware = [Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)]
    app = Starlette(routes=routes, exception_handlers=handlers, middleware=middleware, lifespan=lifespan)
    app.state.engine = Engine(peft, max_batch, max_waiting)
    app.state.base, app.state.started = base, int(time.time())
    return app


def make_server(app, host="127.0.0.1", port=8000):
    """-> a uvicorn server and its listening sockets. Raises InputError where the port cannot be had."""
    if not 0 <= port < 1 << 16:
        raise InputError(f"--port {port}: a port is a number from 0 (any that is free) to 65535")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        reason = error.strerror.partition(" (")[0]  # Python adds the address, which is here already
        raise InputError(f"{host}, port {port}: {reason}: choose another --host or --port") from None
    config = uvicorn.Config(app, http=TimedProtocol, ws="none", log_level="warning")
    return Server(config), [listening]
