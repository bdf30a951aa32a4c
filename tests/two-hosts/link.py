"""A wire between two network interfaces, as it is between hosts: frames are lost, late, slow or cut off as told.

`link.py SIDE SIDE` passes frames between two interfaces of its own network namespace, and takes commands on its standard
input, one on a line: `whole`, `cut`, `loss SHARE`, `slow BYTES_PER_SECOND SECONDS_OF_DELAY`. It ends with its standard input.
What it drops is drawn from a fixed seed, so one run is as lossy as another.
"""

import collections
import heapq
import random
import select
import socket
import sys
import time

ALL_PROTOCOLS = 3
# Longer than any frame here: the sides have segmentation offload switched off.
FRAME = 65_536
# What a slow side holds before it drops, as routers do.
QUEUE = 100


class Side:
    """One direction: when the line is free again, and what waits."""

    def __init__(self, name: str) -> None:
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_PROTOCOLS))
        self.socket.bind((name, 0))
        self.free = 0.0
        self.waiting = 0


def main() -> None:
    sides = [Side(name) for name in sys.argv[1:3]]
    other = {sides[0]: sides[1], sides[1]: sides[0]}
    chance = random.Random(20_261)
    cut, loss, rate, delay = False, 0.0, None, 0.0
    late: list = []  # (when, number, side to send on, frame)
    number = 0
    counts: collections.Counter = collections.Counter()
    print("ready", flush=True)
    while True:
        timeout = max(0.0, late[0][0] - time.monotonic()) if late else None
        readable, _, _ = select.select([sys.stdin, *(side.socket for side in sides)], [], [], timeout)
        if sys.stdin in readable:
            line = sys.stdin.readline()
            if not line:
                return
            word, *values = line.split()
            cut, loss, rate, delay = False, 0.0, None, 0.0
            if word == "cut":
                cut = True
                late.clear()
                for side in sides:
                    side.waiting = 0
            elif word == "loss":
                loss = float(values[0])
            elif word == "slow":
                rate, delay = float(values[0]), float(values[1])
            print("now", word, dict(counts), flush=True)
        now = time.monotonic()
        while late and late[0][0] <= now:
            _, _, side, frame = heapq.heappop(late)
            side.waiting -= 1
            send(side, frame)
        for side in sides:
            if side.socket not in readable:
                continue
            frame, address = side.socket.recvfrom(FRAME)
            if address[2] == socket.PACKET_OUTGOING:
                continue
            out = other[side]
            if cut or chance.random() < loss or out.waiting >= QUEUE:
                counts["dropped"] += 1
            elif rate is None:
                counts["passed"] += 1
                send(out, frame)
            else:
                counts["passed"] += 1
                out.free = max(out.free, now) + len(frame) / rate
                number += 1
                out.waiting += 1
                heapq.heappush(late, (out.free + delay, number, out, frame))


def send(side: Side, frame: bytes) -> None:
    try:
        side.socket.send(frame)
    except OSError:
        pass  # an interface that is down, or full, loses what it is given


main()
