"""The requests that wait, and the one thread that generates."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from ...errors import counted
from .completions import Completion, complete, may_share
from .interface import Refused

STOPPING = "the server is stopping"


@dataclass(eq=False)
class Job:
    """A request on its way: what the thread sends arrives in `parts`.

    begun  has anything been sent?        alone  it shares no batch: the one that it shared has failed
    """

    completion: Completion
    parts: asyncio.Queue = field(default_factory=asyncio.Queue)
    begun: bool = False
    alone: bool = False

    @property
    def request(self):
        """What was asked for."""
        return self.completion.request


class Engine:
    """The jobs that wait, in the order they came, and the one thread that generates.

    All of it belongs to the event loop, so there are no locks; the thread only sends parts back to the loop.
    """

    def __init__(self, peft, max_batch, max_waiting):
        self.peft, self.max_batch, self.max_waiting = peft, max_batch, max_waiting
        self.waiting, self.running, self.arrived = [], [], asyncio.Event()
        self.stopping = False

    def submit(self, request):
        """-> the request's Job. Raises Refused with status 429 where too many wait already."""
        if self.stopping:
            raise Refused(503, STOPPING)
        if len(self.waiting) >= self.max_waiting:
            message = f"waiting already: {counted(len(self.waiting), 'request')}; try again in a moment"
            raise Refused(429, message, code="queue_full", headers={"Retry-After": "1"})
        loop, job = asyncio.get_running_loop(), Job(Completion(request, None))

        def send(part):
            job.begun = True
            loop.call_soon_threadsafe(job.parts.put_nowait, part)

        job.completion.send = send
        self.waiting.append(job)
        self.arrived.set()
        return job

    def leave(self, job):
        """Nobody waits for this job any more: its place is free, at once or after the present token."""
        job.completion.cancelled = True
        if job in self.waiting:
            self.waiting.remove(job)

    def stop(self):
        """Take no more; whoever waits is told, and whatever runs ends after the present token."""
        self.stopping = True
        for job in [*self.waiting, *self.running]:
            job.parts.put_nowait(Refused(503, STOPPING))
            self.leave(job)

    def next_batch(self):
        """The job that has waited longest, and those that may go with it, as many as there is room for."""
        first, batch, rows = self.waiting[0], [], 0
        for job in self.waiting:
            together = job is first or (
                not (first.alone or job.alone)
                and may_share(self.peft, first.request.adapter, job.request.adapter)
            )
            if together and rows + job.request.rows <= self.max_batch:
                batch.append(job)
                rows += job.request.rows
        self.waiting = [job for job in self.waiting if job not in batch]
        return batch

    async def run(self):
        """Generate for ever."""
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, thread_name_prefix="generate") as thread:
            while True:
                if not self.waiting:
                    self.arrived.clear()
                    await self.arrived.wait()
                self.running = self.next_batch()
                completions = [job.completion for job in self.running]
                try:
                    await loop.run_in_executor(thread, complete, self.peft, completions)
                except asyncio.CancelledError:
                    raise
                except BaseException as error:  # whatever it is (a panic in Rust is no Exception), go on
                    logging.getLogger("uvicorn.error").exception("a batch failed")
                    self.after(error)
                self.running = []

    def after(self, error):
        """A batch has failed: too little memory for all of it, say. One request's fault stays its own.

        So each goes again by itself, where it was not alone already and its reader has nothing of it yet.
        """
        shared = len(self.running) > 1
        again = [job for job in self.running if shared and not job.begun and not job.completion.cancelled]
        for job in self.running:
            if job in again:
                job.alone, job.completion.generated = True, 0
            else:
                job.parts.put_nowait(error)
        self.waiting = again + self.waiting

    async def parts(self, job):
        """The parts of a job as they come, until each of its choices has ended. Raises Refused."""
        open_choices = job.request.rows
        while open_choices:
            part = await job.parts.get()
            if isinstance(part, Refused):
                raise part
            if isinstance(part, BaseException):
                logging.getLogger("uvicorn.error").error("generation failed: %r", part)
                raise Refused(500, f"generation failed: {type(part).__name__}: {part}")
            open_choices -= part.finish_reason is not None
            yield part
