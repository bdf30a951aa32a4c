"""Tries what it is told to try, each attempt in a process of its own, and says what came of it.

    attack.py PLAN            tries the attempts of a plan, one JSON line each
    attack.py launch N -- CMD opens the descriptors that a careless caller leaks, and becomes CMD

It is told where things are, never what they hold: whatever it reports to have read, it has read.
"""

import errno
import json
import os
import select
import signal
import sys
import time

import files
import kernel
import mounts
import net
import own
import processes

ATTEMPTS = {}
for part in (files, kernel, mounts, net, own, processes):
    ATTEMPTS.update({name: what for name, what in vars(part).items() if getattr(what, "attempt", False)})

AT_ONCE = 4
PATIENCE = 12.0


def reason(error):
    """One word for why an attempt failed."""
    if isinstance(error, OSError) and error.errno in errno.errorcode:
        return errno.errorcode[error.errno]
    if isinstance(error, TimeoutError):
        return "ETIMEDOUT"
    return f"{type(error).__name__}: {error}"


def child(case, facts, out):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        got = ATTEMPTS[case["attempt"]](facts, case["token"], **case.get("args", {}))
        said = {"got": got if isinstance(got, str) else "" if got is None else repr(got)}
    except BaseException as error:  # noqa: BLE001: whatever it was is the answer
        said = {"error": reason(error)}
    os.write(out, json.dumps(said).encode()[:60000])
    os._exit(0)


class Attempt:
    def __init__(self, case, facts):
        self.case, self.begun, self.said = case, time.monotonic(), b""
        self.pipe, out = os.pipe()
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            child(case, facts, out)
        os.close(out)

    def read(self):
        part = os.read(self.pipe, 65536)
        self.said += part
        return bool(part)

    def end(self):
        if time.monotonic() - self.begun > PATIENCE:
            os.kill(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        os.close(self.pipe)
        try:
            said = json.loads(self.said)
        except ValueError:
            number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
            said = {"error": signal.Signals(number).name if number else "ended without a word"}
        print(json.dumps({"name": self.case["name"], **said}), flush=True)


def run(cases, facts, at_once):
    waiting, going = list(cases), []
    while waiting or going:
        while waiting and len(going) < at_once:
            going.append(Attempt(waiting.pop(0), facts))
        ready, _, _ = select.select([one.pipe for one in going], [], [], 0.2)
        for one in list(going):
            late = time.monotonic() - one.begun > PATIENCE
            if late or (one.pipe in ready and not one.read()):
                going.remove(one)
                one.end()


def main():
    if sys.argv[1] == "launch":
        own.launch(json.loads(sys.argv[2]), sys.argv[4:])
    with open(sys.argv[1], encoding="utf-8") as plan:
        plan = json.load(plan)
    # One of the attempts asks everything that it can see to end.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    together = [case for case in plan["cases"] if not case["alone"]]
    run(together, plan["facts"], AT_ONCE)
    run([case for case in plan["cases"] if case["alone"]], plan["facts"], 1)


if __name__ == "__main__":
    main()
