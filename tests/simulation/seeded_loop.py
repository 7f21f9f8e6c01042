"""An event loop in which chance decides who goes on, and time passes only when nobody can.

One loop runs several simulated *processes*. Each has what a real one has: a main strand, whose callbacks run in the
order in which they were scheduled (asyncio promises that), and a strand for each thread that `run_in_executor` or
`to_thread` starts. Which strand goes on next is drawn from the seed. So every interleaving that processes and threads
may have can come, and none that asyncio rules out; with `shuffle` also the order of a process's own callbacks is drawn.

A thread is a greenlet: code that blocks (a consumer that is waited for, `sleep`) hands over to the others and is
resumed by the loop. Nothing runs in parallel, so the same seed gives the same run, step by step.

A process may be killed before any of its steps: none of its callbacks, timers and threads ever goes on. It may be
stopped, as by SIGSTOP: its timers elapse, and everything that is due runs when it is woken.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import random
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from greenlet import GreenletExit, getcurrent, greenlet

MOST_STEPS: Final = 400_000
"""Steps after which a run that goes nowhere is ended."""


class WentNowhereError(AssertionError):
    """The run takes far more steps than any should."""


class Process:
    """What is killed, stopped and woken as one."""

    def __init__(self, loop: SeededLoop, name: str) -> None:
        self.loop = loop
        self.name = name
        self.alive = True
        self.stopped = False
        self.main = Strand(self)
        self.threads: dict[Thread, None] = {}
        self.lanes: dict[ThreadPoolExecutor, deque[Thread]] = {}
        """Executors of one thread: what waits for that thread; the first is running."""
        self._tasks: list[asyncio.Task[Any]] = []
        self.fuse = 0
        """Steps until `on_fuse` is called; 0: never."""
        self.on_fuse: Callable[[], None] = lambda: None
        self.slow = 0.0
        """How often a step takes its time, during which others become ready: a share of all steps."""
        self.critical = 0
        """Critical moments until the fuse is lit; 0: it is not."""
        self.context = contextvars.copy_context()
        self.context.run(PROCESS.set, self)

    def spawn(self, coro: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run a coroutine as a task of this process."""
        task = self.context.run(self.loop.create_task, coro, name=name)
        # The loop itself holds no task that waits for what nobody will do.
        self._tasks.append(task)
        return task

    def at_a_critical_moment(self) -> None:
        """To be called where being broken off is worst."""
        if self.critical:
            self.critical -= 1
            if not self.critical:
                self.fuse = 1

    def stop(self) -> None:
        """SIGSTOP."""
        self.stopped = True

    def wake(self) -> None:
        """SIGCONT."""
        self.stopped = False
        for strand in (self.main, *self.threads):
            self.loop.enlist(strand)

    def kill(self) -> None:
        """SIGKILL. What unwinds in threads now finds a dead process, and changes nothing."""
        self.alive = False
        self.main.ready.clear()
        self._tasks.clear()
        self.lanes.clear()
        threads, self.threads = list(self.threads), {}
        for thread in threads:
            thread.ready.clear()
            thread.unwind()


PROCESS: contextvars.ContextVar[Process] = contextvars.ContextVar("PROCESS")


class Strand:
    """A sequence of steps of one process, of which one can be next."""

    __slots__ = ("enlisted", "held", "process", "ready")

    def __init__(self, process: Process) -> None:
        self.process = process
        self.ready: deque[Any] = deque()
        self.enlisted = False
        self.held = False
        """It takes its time for the step before."""


class Thread(Strand):
    """A job of an executor, as a greenlet. It is its own step: to run it is to let it go on."""

    __slots__ = ("_future", "_greenlet", "_job", "lane", "resumed_by", "turn")

    _cancelled = False

    def __init__(self, process: Process, job: Callable[[], Any], future: asyncio.Future[Any]) -> None:
        super().__init__(process)
        self._job = job
        self._future = future
        self._greenlet: greenlet | None = None
        self.lane: ThreadPoolExecutor | None = None
        self.turn = 0
        """Counts the waits of this thread: a timer that belongs to an earlier one does not resume it."""
        self.resumed_by: object = None

    def _run(self) -> None:
        loop = self.process.loop
        if self._greenlet is None:
            if self._future.cancelled():
                loop.ended(self)
                return
            self._greenlet = greenlet(self._body)
        loop.thread, before = self, loop.thread
        try:
            self._greenlet.switch()
        finally:
            loop.thread = before

    def _body(self) -> None:
        try:
            result = self._job()
        except GreenletExit:
            return
        except BaseException as error:
            self._done(error, None)
        else:
            self._done(None, result)

    def _done(self, error: BaseException | None, result: Any) -> None:
        process = self.process
        if not process.alive:
            return
        process.loop.ended(self)
        process.loop.call_soon(self._tell, error, result, context=process.context)

    def _tell(self, error: BaseException | None, result: Any) -> None:
        if self._future.cancelled():
            return
        if error is None:
            self._future.set_result(result)
        else:
            self._future.set_exception(error)

    def unwind(self) -> None:
        """Throw the thread away where it stands."""
        if self._greenlet is not None and self._greenlet is not getcurrent() and not self._greenlet.dead:
            self._greenlet.parent = getcurrent()
            self._greenlet.throw(GreenletExit)


_RELEASE: Final = object()
"""The timer after which a strand that took its time goes on."""


class _Resume:
    """The step that lets a thread go on after a wait, unless something else did before."""

    __slots__ = ("_by", "_thread", "_turn")

    _cancelled = False

    def __init__(self, thread: Thread, by: object) -> None:
        self._thread = thread
        self._turn = thread.turn
        self._by = by

    def _run(self) -> None:
        if self._thread.turn == self._turn:
            self._thread.turn += 1
            self._thread.resumed_by = self._by
            self._thread._run()


class Gate:
    """What threads wait at until somebody opens it for those who wait now."""

    def __init__(self, loop: SeededLoop) -> None:
        self._loop = loop
        self._waiting: list[Callable[[], None]] = []

    def open(self) -> None:
        """Let everybody through who waits now."""
        waiting, self._waiting = self._waiting, []
        for resume in waiting:
            resume()

    def wait(self, seconds: float) -> bool:
        """In a thread: wait until it opens; False if so many seconds pass before."""
        return self._loop.wait_at(self._waiting, seconds) is self._waiting

    async def passed(self) -> None:
        """In a coroutine: wait until it opens."""
        future: asyncio.Future[None] = self._loop.create_future()

        def resume() -> None:
            if not future.done():
                future.set_result(None)

        self._waiting.append(resume)
        await future


class _NumberedTask(asyncio.Task[Any]):
    """A task whose hash does not depend on its address: sets of tasks are walked in the same order in every run."""

    _created = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _NumberedTask._created += 1
        self._number = _NumberedTask._created
        super().__init__(*args, **kwargs)

    def __hash__(self) -> int:
        return self._number


class SeededLoop(asyncio.BaseEventLoop):
    """See the module."""

    def __init__(self, choose: random.Random, *, shuffle: bool = False) -> None:
        super().__init__()
        self._choose = choose.random
        self._shuffle = shuffle
        self._now = 0.0
        self._runnable: list[Strand] = []
        self._timers: list[tuple[float, int, Strand, Any]] = []
        self._timer_number = 0
        self._hub = getcurrent()
        self.steps = 0
        self.thread: Thread | None = None
        """The thread that runs now; None in the main strand of a process."""
        self.unexpected: list[str] = []
        """Errors that nobody caught."""
        self.world = Process(self, "world")
        """The process of everything outside: never killed, never stopped."""
        _NumberedTask._created = 0
        self.set_task_factory(lambda loop, coro, **more: _NumberedTask(coro, loop=loop, **more))
        self.set_exception_handler(self._on_unexpected)

    # -- asyncio's side ------------------------------------------------------------------------------------------

    def time(self) -> float:
        return self._now

    def call_soon(  # type: ignore[override]
        self, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        process: Process = handle._context.get(PROCESS, self.world)  # type: ignore[attr-defined]
        if process.alive:
            process.main.ready.append(handle)
            self.enlist(process.main)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        process: Process = handle._context.get(PROCESS, self.world)  # type: ignore[attr-defined]
        self._at(when, process.main, handle)
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        pass

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        future = self.create_future()
        process = PROCESS.get()
        thread = Thread(process, lambda: func(*args), future)
        process.threads[thread] = None
        if isinstance(executor, ThreadPoolExecutor) and executor._max_workers == 1:
            thread.lane = executor
            lane = process.lanes.setdefault(executor, deque())
            lane.append(thread)
            if len(lane) > 1:
                return future
        thread.ready.append(thread)
        self.enlist(thread)
        return future

    def _asyncgen_firstiter_hook(self, agen: Any) -> None:
        pass

    def _asyncgen_finalizer_hook(self, agen: Any) -> None:
        # A killed process closes nothing; asyncio would do it in the name of whoever runs now.
        pass

    def ended(self, thread: Thread) -> None:
        """A thread's job is done, or was never to be begun: the next one of its executor begins."""
        process = thread.process
        process.threads.pop(thread, None)
        if thread.lane is not None and (lane := process.lanes.get(thread.lane)):
            lane.popleft()
            if lane:
                lane[0].ready.append(lane[0])
                self.enlist(lane[0])

    def _run_once(self) -> None:
        runnable, choose, shuffle = self._runnable, self._choose, self._shuffle
        while not self._stopping:  # type: ignore[attr-defined]
            if not runnable:
                self._pass_time()
                continue
            which = int(choose() * len(runnable))
            strand = runnable[which]
            process, ready = strand.process, strand.ready
            if process.stopped or not ready:
                self._delist(which)
                continue
            if process.slow and choose() < process.slow:
                strand.held = True
                self._delist(which)
                self._at(self._now + choose() * 0.05, strand, _RELEASE)
                continue
            if process.fuse:
                process.fuse -= 1
                if not process.fuse:
                    process.on_fuse()
                    continue
            if shuffle and len(ready) > 1:
                ready.rotate(-int(choose() * len(ready)))
            step = ready.popleft()
            if not ready:
                self._delist(which)
            if step._cancelled:
                continue
            self.steps += 1
            if self.steps > MOST_STEPS:
                raise WentNowhereError(f"{MOST_STEPS} steps, and no end")
            step._run()

    def _pass_time(self) -> None:
        timers = self._timers
        if not timers:
            raise WentNowhereError("everybody waits, and for nothing")
        when = timers[0][0]
        self._now = max(self._now, when)
        while timers and timers[0][0] <= when:
            _, _, strand, step = heapq.heappop(timers)
            if step is _RELEASE:
                strand.held = False
                self.enlist(strand)
                continue
            if strand.process.alive and not step._cancelled:
                strand.ready.append(step)
                self.enlist(strand)

    def enlist(self, strand: Strand) -> None:
        """Count a strand that has steps ready among those that may be next."""
        if not strand.enlisted and strand.ready and not strand.held:
            strand.enlisted = True
            self._runnable.append(strand)

    def _delist(self, which: int) -> None:
        runnable = self._runnable
        runnable[which].enlisted = False
        last = runnable.pop()
        if which < len(runnable):
            runnable[which] = last

    def _at(self, when: float, strand: Strand, step: Any) -> None:
        if strand.process.alive:
            self._timer_number += 1
            heapq.heappush(self._timers, (when, self._timer_number, strand, step))

    def _on_unexpected(self, _: Any, context: dict[str, Any]) -> None:
        # Only what a callback raised: what the garbage collector finds of the killed comes when it likes.
        if "handle" in context:
            self.unexpected.append(f"{type(context['exception']).__name__}: {context['exception']}")

    # -- the threads' side ---------------------------------------------------------------------------------------

    def wait_at(self, waiting: list[Callable[[], None]] | None, seconds: float) -> object:
        """In a thread: wait so many seconds, or until what is added to `waiting` is called. Returns what ended it."""
        thread = self.thread
        assert thread is not None, "only threads may block"
        if not thread.process.alive:
            raise GreenletExit
        self._at(self._now + seconds, thread, _Resume(thread, None))
        if waiting is not None:
            resume = _Resume(thread, waiting)

            def let_on() -> None:
                if thread.process.alive:
                    thread.ready.append(resume)
                    self.enlist(thread)

            waiting.append(let_on)
        self.thread = None
        self._hub.switch()
        if not thread.process.alive:
            raise GreenletExit
        return thread.resumed_by

    def block(self, seconds: float) -> None:
        """In a thread: wait."""
        self.wait_at(None, seconds)
