"""Connections that do not wait for ever, and a server that ends cleanly: what uvicorn leaves to its users."""

import asyncio

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

READ_SECONDS = 10  # for all of a request, from the connection or its first byte on
STOP_SECONDS = 3  # for clients to take the end of what they are sent, when the server ends
MAX_CONNECTIONS = 512  # below the number of open files that systems allow a program


class TimedProtocol(H11Protocol):
    """HTTP/1.1; a client that does not send its request in time is hung up on."""

    deadline = None

    def connection_made(self, transport):
        """As uvicorn's. Where there is no room, who has waited longest with a request makes it."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            slow = (c for c in self.connections if c.deadline)
            min(slow, key=lambda c: c.deadline.when(), default=self).transport.abort()
        self.deadline = self.loop.call_later(READ_SECONDS, transport.abort)

    def data_received(self, data):
        """As uvicorn's, with the deadline running from the first byte of a request to its last."""
        if self.deadline is None:
            self.deadline = self.loop.call_later(READ_SECONDS, self.transport.abort)
        super().data_received(data)
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self.in_time()

    def connection_lost(self, exc):
        """As uvicorn's."""
        self.in_time()
        super().connection_lost(exc)

    def in_time(self):
        """The request is here."""
        if self.deadline:
            self.deadline.cancel()
        self.deadline = None


class Server(uvicorn.Server):
    """Ends on SIGINT and SIGTERM, with exit code 0: who waits is told, who does not listen is hung up on."""

    def handle_exit(self, sig, frame):
        """A second signal changes nothing: the end is seconds away."""
        self.should_exit = True

    async def shutdown(self, sockets=None):
        """As uvicorn's."""
        self.config.app.state.engine.stop()
        asyncio.get_running_loop().call_later(STOP_SECONDS, self.hang_up)
        await super().shutdown(sockets)

    def hang_up(self):
        """Close what is still open, whatever was not sent."""
        for connection in list(self.server_state.connections):
            connection.transport.abort()
