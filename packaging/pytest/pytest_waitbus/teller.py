"""Tells the bus on a thread of its own, so that a test never waits for the log.

The thread lives only while there is something to tell: a test that forks meets a process with one thread.
"""

import threading

# The most that waits to be told. `session` tells of fewer failing tests than that, so nothing is dropped but by a log
# that holds the first of them up; then memory stays bounded.
MAX_PENDING = 128

# How long the end of a session may wait, all in all. It is above the patience with the log, so that the reason is known,
# and below what somebody who looks at the last line would take for a hang. A log that works takes milliseconds.
END_SECONDS = 3.0


class Teller:
    def __init__(self, bus):
        self._bus = bus
        self._lock = threading.Lock()
        self._pending = []
        self._thread = None
        self._is_last = False
        self._problem = None

    def tell(self, event):
        """Returns at once."""
        with self._lock:
            if len(self._pending) >= MAX_PENDING:
                self._problem = "too much was waiting to be told"
                return
            self._pending.append(event)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="waitbus", daemon=True)
                self._thread.start()

    def finish(self, event):
        """Tells the last event, and returns within a bounded time: what went wrong, or None."""
        with self._lock:
            self._is_last = True
        self.tell(event)
        thread = self._thread
        try:
            if thread is not None:
                thread.join(END_SECONDS)
        except KeyboardInterrupt:
            return "it was not waited for"
        if thread is not None and thread.is_alive():
            return "no answer within {:g} s".format(END_SECONDS)
        return self._problem

    def _run(self):
        while True:
            with self._lock:
                events, self._pending = self._pending, []
                if not events:
                    self._thread = None
                    return
                is_last = self._is_last
            try:
                # A process is started at the end if at all, and not for a test.
                if not self._bus.insert(events) and not self._later(events, is_last):
                    return
            # Whatever it is, a test run neither fails nor gets a warning because of it.
            except BaseException as problem:
                self._problem = str(problem) or type(problem).__name__

    def _later(self, events, is_last):
        """Where there is no log yet: asks the program if this is the end, else keeps the events. Whether to go on."""
        if is_last:
            self._bus.emit(events)
            return True
        with self._lock:
            self._pending[:0] = events
            if not self._is_last:
                self._thread = None
            return self._is_last
