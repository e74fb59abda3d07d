from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Barrier, Event

from earmark.transforms.decoding.gate import DecoderGate


def test_many_are_inside_together():
    gate, barrier = DecoderGate(), Barrier(4, timeout=60)

    def enter(_: int) -> None:
        with gate.with_others():
            barrier.wait()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(enter, range(4)))


def test_who_wants_to_be_alone_waits_for_those_inside_and_keeps_others_out():
    gate, events, left = DecoderGate(), [], Event()

    def alone(name: str) -> None:
        with gate.by_oneself():
            events.append(f"{name} in")
            left.wait(0.05)
            events.append(f"{name} out")

    def with_others() -> None:
        with gate.with_others():
            events.append("other")

    with ThreadPoolExecutor(6) as threads:
        with gate.with_others():
            tasks = [threads.submit(alone, name) for name in "ab"]
            while gate.alone < 2:
                pass
            tasks += [threads.submit(with_others) for _ in range(3)]
            events.append("left")
        for task in tasks:
            task.result(60)
    assert events[0] == "left"
    a, b = sorted((events.index("a in"), events.index("b in")))
    assert (a, b) == (1, 3)
    assert events[5:] == ["other"] * 3


def test_nobody_waits_for_ever_for_one_who_does_not_leave():
    gate = DecoderGate(patience_s=0.01)
    with ExitStack() as stack:
        stack.enter_context(gate.with_others())
        stack.enter_context(gate.by_oneself())
        stack.enter_context(gate.with_others())
        stack.enter_context(gate.by_oneself())
    assert gate.alone == 0
