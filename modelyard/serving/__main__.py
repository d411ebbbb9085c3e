"""The model server as a process: `python -m modelyard.serving --tracking-uri URI`."""

import argparse
import asyncio
import json
import logging
import os
import re
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import uvicorn

from modelyard.serving.app import MAX_REQUEST_BYTES, create_app
from modelyard.serving.errors import first_line
from modelyard.serving.models import Models, Registry

GRACE_SECONDS = 5
KEEP_ALIVE_SECONDS = 75

log = logging.getLogger("modelyard.serving")


class CantServeError(Exception):
    """Why there is no server, in one sentence."""


def main(arguments: Sequence[str] | None = None, connect: Callable[[str], Registry[Any]] | None = None) -> int:
    """Serve until told to end; the exit code."""
    options = read(arguments)
    # The first of these signals ends the server gracefully; then uvicorn raises it again for the handler set here.
    # A load that still waits for a registry out of reach is not waited for, which a plain exit would do.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    log.setLevel(logging.INFO)
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    try:
        asyncio.run(serve(options, connect or registry))
    except CantServeError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


def read(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser("python -m modelyard.serving", description="Serve every model's champion.")
    parser.add_argument("--tracking-uri", required=True, type=given, help="MLflow's tracking and registry URI")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", default=0, type=port, help="0 takes a free one")
    parser.add_argument("--ready-file", type=Path, help='gets {"url", "pid"} once the server is ready')
    parser.add_argument("--max-request-bytes", default=MAX_REQUEST_BYTES, type=positive)
    return parser.parse_args(arguments)


def given(text: str) -> str:
    """A URI; without one, MLflow would make a database in the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("it is empty; give one like sqlite:////absolute/path.db")
    return text


def port(text: str) -> int:
    """A TCP port."""
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; it goes from 0 (any free one) to 65535")
    return int(text)


def positive(text: str) -> int:
    """A number of bytes."""
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of bytes; it must be a whole number above 0")
    return int(text)


async def serve(options: argparse.Namespace, connect: Callable[[str], Registry[Any]]) -> None:
    """Answer at once, load the champions, say that it is ready, go on until a signal.

    Raises:
        CantServeError: the port, the registry or the ready file can't be had.
    """
    if options.ready_file:
        forget(options.ready_file)
    listener = listen(options.host, options.port)
    address = listener.getsockname()[0]
    models = Models(lambda: connect(options.tracking_uri))
    app = create_app(models, max_request_bytes=options.max_request_bytes, loopback=ip_address(address).is_loopback)
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        log_level="warning",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = Server(config)
    opening = asyncio.create_task(open_up(server, models, listener, options))
    await server.serve(sockets=[listener])
    if opening.done():
        opening.result()


def forget(ready_file: Path) -> None:
    """Take away what a server before this one left, and find out early that the new one can't be written."""
    try:
        ready_file.unlink(missing_ok=True)
        ready_file.parent.stat()
    except OSError as error:
        raise CantServeError(f"can't write {ready_file}: {error.strerror}") from error


def listen(host: str, number: int) -> socket.socket:
    """A listening socket.

    It names its protocol, which `socket.create_server` leaves out: asyncio switches Nagle's algorithm off only on
    sockets that do, and with it on each answer takes 40 ms longer.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        raise CantServeError(
            f"can't listen on port {number} of {host}: {error.strerror}; "
            "choose another with --port, or 0 for a free one"
        ) from error
    return listener


class Server(uvicorn.Server):
    """Tells when it accepts requests."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.accepts = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.accepts.set()


async def open_up(server: Server, models: Models, listener: socket.socket, options: argparse.Namespace) -> None:
    """Load the champions and tell that the server is ready; end it if that can't be done."""
    try:
        await models.open()
    except Exception as error:
        server.should_exit = True
        sentence = f"can't read the registry at {options.tracking_uri}: {first_line(error)}"
        raise CantServeError(without_passwords(sentence)) from error
    await server.accepts.wait()
    address = url(listener)
    try:
        if options.ready_file:
            write(options.ready_file, json.dumps({"url": address, "pid": os.getpid()}))
    except OSError as error:
        server.should_exit = True
        raise CantServeError(f"can't write {options.ready_file}: {error.strerror}") from error
    log.info("ready at %s", address)


def registry(uri: str) -> Registry[Any]:
    """MLflow's registry. Importing it takes longer than all the rest, so that happens while the server answers."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # its seven take over two minutes
    from components.services.registry import Registry as MlflowRegistry  # noqa: PLC0415

    return MlflowRegistry(uri)


def url(listener: socket.socket) -> str:
    """Where a client on this machine finds the server."""
    host, number = listener.getsockname()[:2]
    address = ip_address(host)
    if address.is_unspecified:
        host = "::1" if address.version == 6 else "127.0.0.1"
    return f"http://[{host}]:{number}" if address.version == 6 else f"http://{host}:{number}"


def write(path: Path, text: str) -> None:
    """Whoever sees the file sees all of it."""
    half = path.with_name(f"{path.name}.{os.getpid()}")
    half.write_text(text, encoding="utf-8")
    half.replace(path)


def without_passwords(text: str) -> str:
    """The text with its URIs fit to be shown."""
    return re.sub(r"(://[^/@:\s]*):[^/\s]*@", r"\1:***@", text)


if __name__ == "__main__":
    sys.exit(main())
