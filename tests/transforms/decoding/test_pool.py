from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from earmark.transforms.decoding import pool as decoder_pool
from earmark.transforms.decoding.pool import DecoderError, DecoderPool
from earmark.transforms.decoding.spans import SpanDecoding
from earmark.transforms.elements import AudioObject, Ending, FrameBlock, Span
from earmark.transforms.errors import PASSING_REASONS
from earmark.transforms.settings import ChannelUse, Decoding, FrameGrid

GRID = FrameGrid(16_000, 15_600, 15_600)
_FAULTY_DECODER = str(Path(__file__).with_name("faulty_decoder.py"))
FAULTY = f"import runpy; runpy.run_path({_FAULTY_DECODER!r})['main']()"
RATE_HZ = 8000


@pytest.fixture(scope="module", name="pool")
def _pool() -> Iterator[DecoderPool]:
    pool = DecoderPool(FAULTY)
    yield pool
    pool.close()


def recording(path: Path, seconds: float = 80, **kwargs: str) -> Path:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (round(seconds * RATE_HZ), 2))
    sf.write(path, samples, RATE_HZ, **kwargs)
    return path


def decode(
    pool: DecoderPool, path: Path, grid: FrameGrid = GRID, span: Span | None = None
) -> tuple[list[tuple[int, bytes]], Ending]:
    """The first frame of each block and its bytes, and the ending."""
    span = span or Span(AudioObject(str(path), 1, "v"))
    *blocks, last = pool.decode([(span, str(path))], Decoding(grid))
    assert all(block.ending is None and block.span is span for block in blocks)
    assert all(block.frames.dtype == np.float32 for block in blocks)
    assert last.frames.shape == (0, grid.frame_samples)
    assert last.ending is not None
    assert last.ending.frames == sum(len(block.frames) for block in blocks)
    return [(block.first_frame, block.frames.tobytes()) for block in blocks], last.ending


def decode_here(
    path: Path, grid: FrameGrid = GRID, span: Span | None = None
) -> tuple[list[tuple[int, bytes]], Ending]:
    decoding = SpanDecoding(span or Span(AudioObject(str(path), 1, "v")), Decoding(grid))
    blocks = [(at, frames.tobytes()) for at, frames in decoding.blocks(str(path))]
    return blocks, decoding.ending()


def processes_of(pid: int) -> set[int]:
    children = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    return set(map(int, " ".join(children).split()))


def is_gone(pid: int, within_s: float = 10) -> bool:
    for _ in range(round(within_s * 50)):
        if not Path(f"/proc/{pid}").exists():
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("hop", [15_600, 3_000, 40_000, 400_000])
@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "mp3"])
def test_frames_and_endings_are_those_of_decoding_in_this_process(pool, tmp_path, kind, hop):
    path = recording(tmp_path / f"20240528_100000.{kind}", 70.3)
    grid = FrameGrid(16_000, 15_600, hop)
    blocks, ending = decode(pool, path, grid)
    assert (blocks, ending) == decode_here(path, grid)
    assert ending.trouble is None
    assert ending.recorded_at_source == "name"


@pytest.mark.parametrize(("start_s", "stop_s"), [(0, 60), (60, 120), (120, None)])
def test_spans_are_those_of_decoding_in_this_process(pool, tmp_path, start_s, stop_s):
    path = recording(tmp_path / "a.flac", 150)
    span = Span(AudioObject(str(path), 1, "v"), start_s // 60, 3, start_s, stop_s)
    assert decode(pool, path, span=span) == decode_here(path, span=span)


def test_what_is_wrong_with_a_recording_is_told_as_in_this_process(pool, tmp_path):
    whole = recording(tmp_path / "whole.flac").read_bytes()
    contents = {
        "cut.flac": whole[: len(whole) // 2],
        "overwritten.flac": whole[: len(whole) // 2]
        + bytes(3000)
        + whole[len(whole) // 2 + 3000 :],
        "text.wav": b"just some text, and quite a lot of it. " * 50,
        "empty.wav": b"",
        "a\udcff.wav": b"RIFF",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    for path in [*map(tmp_path.joinpath, contents), tmp_path / "gone.wav", Path("a\0b.wav")]:
        blocks, ending = decode(pool, path)
        assert (blocks, ending) == decode_here(path)
        assert ending.trouble is not None or ending.gaps


CRASHES = {
    "segfault": "the decoder crashed (SIGSEGV)",
    "abort": "the decoder crashed (SIGABRT)",
    "exit": "the decoder exited early (exit status 3)",
    "memory": "the decoder ran out of memory",
}


@pytest.mark.parametrize("fault", CRASHES)
def test_a_crash_costs_what_had_not_come_and_no_other_recording(pool, tmp_path, fault):
    whole, _ = decode_here(recording(tmp_path / "whole.wav"))
    blocks, ending = decode(pool, recording(tmp_path / f"{fault}_40.wav"))
    assert blocks == whole[:1]
    heard_s = ending.samples / RATE_HZ
    assert 31.2 <= heard_s < 40
    assert ending.header.sample_rate_hz == RATE_HZ
    assert ending.trouble == (
        "decode",
        "crashed",
        f"{CRASHES[fault]}, after {heard_s:.3f} s",
    )
    assert decode(pool, tmp_path / "whole.wav")[0] == whole


@pytest.mark.parametrize("fault", CRASHES)
def test_a_crash_before_the_first_frames_is_a_failure(pool, tmp_path, fault):
    for when in ("open", "3"):
        blocks, ending = decode(pool, recording(tmp_path / f"{fault}_{when}.wav"))
        assert blocks == []
        assert (ending.header, ending.samples) == (None, 0)
        assert ending.trouble == ("decode", "crashed", CRASHES[fault])


def _as_if_not_killed(pool, tmp_path, name, span=None, **kwargs) -> None:
    whole = recording(tmp_path / f"whole{Path(name).suffix}", **kwargs)
    path = recording(tmp_path / name, **kwargs)
    blocks, ending = decode(pool, path, span=span)
    assert path.with_suffix(".killed").exists()
    assert (blocks, ending) == decode_here(whole, span=span)


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3"])
@pytest.mark.parametrize("when", ["open", "0", "3", "20", "39"])
def test_a_decoder_that_is_killed_from_outside_costs_nothing(pool, tmp_path, kind, when):
    _as_if_not_killed(pool, tmp_path, f"killedonce_{when}.{kind}")


@pytest.mark.parametrize("when", ["0", "22", "61"])
def test_nor_does_it_in_a_later_span(pool, tmp_path, when):
    span = Span(AudioObject("a.flac", 1, "v"), 1, 3, 60, 120)
    _as_if_not_killed(pool, tmp_path, f"killedonce_{when}.flac", span, seconds=150)


@pytest.mark.parametrize("use", [ChannelUse(each=True), ChannelUse(in_frame=2)])
def test_nor_where_each_channel_is_heard(pool, tmp_path, use):
    path = recording(tmp_path / "killedonce_40.wav")
    span = Span(AudioObject("a.wav", 1, "v"))
    decoding = SpanDecoding(span, Decoding(GRID, use))
    expected = [(at, frames.tobytes()) for at, frames in decoding.blocks(str(path))]
    *blocks, last = pool.decode([(span, str(path))], Decoding(GRID, use))
    assert [(block.first_frame, block.frames.tobytes()) for block in blocks] == expected
    assert last.ending == decoding.ending()
    assert path.with_suffix(".killed").exists()


def test_one_that_is_killed_again_is_told_with_a_reason_that_is_tried_again(pool, tmp_path):
    whole, _ = decode_here(recording(tmp_path / "whole.wav"))
    blocks, ending = decode(pool, recording(tmp_path / "killed_40.wav"))
    assert blocks == whole[:1]
    assert ending.trouble == (
        "decode",
        "killed",
        "the decoder was killed (SIGKILL), perhaps because memory was short,"
        f" after {ending.samples / RATE_HZ:.3f} s",
    )
    assert ending.trouble.reason in PASSING_REASONS
    _, ending = decode(pool, recording(tmp_path / "killed_open.wav"))
    assert (ending.header, ending.trouble.reason) == (None, "killed")


IN_TURN = {
    "a.wav": None,
    "segfault_open.wav": "crashed",
    "b.wav": None,
    "killedonce_open.wav": None,
    "corruption_1.wav": "crashed",
    "hang_1.wav": "timeout",
    "killed_open.wav": "killed",
    "takeover_1.wav": "crashed",
    "killedonce_1.wav": None,
    "exit_open.wav": "crashed",
}


def test_recordings_asked_for_together_come_as_if_each_was_asked_for_alone(
    pool, tmp_path, monkeypatch
):
    monkeypatch.setattr(decoder_pool, "LIMIT_S", 2.0)
    monkeypatch.chdir(tmp_path)
    whole = decode_here(recording(tmp_path / "whole.wav", 3))
    paths = [recording(tmp_path / name, 3) for name in IN_TURN]
    spans = [Span(AudioObject(str(path), 1, "v")) for path in paths]
    asked = zip(spans, map(str, paths), strict=True)
    got: dict[str, list[FrameBlock]] = {}
    for block in pool.decode(list(asked), Decoding(GRID)):
        got.setdefault(Path(block.span.clip.uri).name, []).append(block)
    assert list(got) == list(IN_TURN)
    for (*blocks, last), reason in zip(got.values(), IN_TURN.values(), strict=True):
        ending = last.ending
        assert (ending.trouble and ending.trouble.reason) == reason
        frames = [(block.first_frame, block.frames.tobytes()) for block in blocks]
        assert (frames, ending) == whole if reason is None else frames == []


def test_the_next_recording_is_decoded_while_what_came_of_the_last_is_used(pool, tmp_path):
    paths = [recording(tmp_path / name, 3) for name in ("a.wav", "killedonce_open.wav")]
    asked = [(Span(AudioObject(str(path), 1, "v")), str(path)) for path in paths]
    blocks = pool.decode(asked, Decoding(GRID))
    next(blocks)
    while not paths[1].with_suffix(".killed").exists():
        time.sleep(0.01)
    assert [block.ending.trouble for block in blocks if block.ending] == [None, None]


def test_a_length_is_looked_for_again_where_the_decoder_was_killed(pool, tmp_path):
    path = recording(tmp_path / "killedonce_open.flac", 40.1)
    assert pool.length(str(path)).seconds == 41
    assert path.with_suffix(".killed").exists()


def test_a_decoder_that_was_killed_works_alone_when_it_tries_again(tmp_path):
    events: list[str] = []

    class Pool(DecoderPool):
        def _take(self):
            events.append("taken")
            return super()._take()

    pool = Pool(FAULTY)
    path, other = recording(tmp_path / "killedonce_3.wav", 5), recording(tmp_path / "a.wav")
    blocks = pool.decode([(Span(AudioObject(str(other), 1, "v")), str(other))], Decoding(GRID))
    next(blocks)
    with ThreadPoolExecutor(1) as thread:
        retried = thread.submit(decode, pool, path)
        while not pool._gate.alone and not retried.done():
            time.sleep(0.01)
        events.append("the other goes on")
        rest = list(blocks)
        assert retried.result() == decode_here(path)
    assert rest[-1].ending.trouble is None
    assert events == ["taken", "taken", "the other goes on", "taken"]
    pool.close()


def test_a_crash_in_a_later_span_says_where_in_the_recording(pool, tmp_path):
    path = recording(tmp_path / "segfault_44.wav", 120)
    blocks, ending = decode(pool, path, span=Span(AudioObject(str(path), 1, "v"), 1, 2, 60))
    assert len(blocks) == 1
    assert ending.trouble.message == (
        f"the decoder crashed (SIGSEGV), after {60 + ending.samples / RATE_HZ:.3f} s"
    )


def test_the_last_words_of_a_library_that_aborts_are_told(pool, tmp_path):
    _, ending = decode(pool, recording(tmp_path / "corruption_40.wav"))
    assert ending.trouble.message.startswith("the decoder crashed (SIGABRT: ")
    assert "pointer" in ending.trouble.message


@pytest.mark.parametrize("fault", ["loop", "hang"])
def test_a_decoder_that_hangs_is_ended_when_its_time_is_up(pool, tmp_path, monkeypatch, fault):
    monkeypatch.setattr(decoder_pool, "LIMIT_S", 1.0)
    path, opening = (
        recording(tmp_path / f"{fault}_40.wav"),
        recording(tmp_path / f"{fault}_open.wav"),
    )
    _, ending = decode(pool, opening)
    assert ending.trouble == ("decode", "timeout", "the decoder took more than 1 s")

    monkeypatch.setattr(decoder_pool, "LIMIT_S", -15.0)  # with 17 s more for the first block
    monkeypatch.setattr(decoder_pool, "_TICK_S", 2.0)
    path = recording(tmp_path / f"{fault}_40.wav")
    blocks, ending = decode(pool, path)
    assert blocks == decode_here(path)[0][:1]
    assert ending.trouble.reason == "timeout"
    assert ending.trouble.message.endswith(f", after {ending.samples / RATE_HZ:.3f} s")


def test_only_time_in_which_the_decoder_is_waited_for_counts(pool, tmp_path, monkeypatch):
    path = recording(tmp_path / "whole.wav")
    span = Span(AudioObject(str(path), 1, "v"))
    monkeypatch.setattr(decoder_pool, "LIMIT_S", 1.0)
    last = None
    for block in pool.decode([(span, str(path))], Decoding(FrameGrid(16_000, 15_600, 8000))):
        time.sleep(0.7)
        last = block
    assert last.ending.trouble is None


def test_a_decoder_that_goes_on_without_giving_frames_is_waited_for(pool, tmp_path, monkeypatch):
    monkeypatch.setattr(decoder_pool, "LIMIT_S", 2.5)
    blocks, ending = decode(pool, recording(tmp_path / "slow_0.wav", 10))
    assert len(blocks) == 1
    assert ending.trouble is None


def test_sound_without_an_end_is_damage(pool, tmp_path):
    path = tmp_path / "endless_0.wav"
    sf.write(path, np.zeros(8), RATE_HZ, subtype="PCM_U8")
    size_bytes = path.stat().st_size
    _, ending = decode(pool, path)
    assert ending.trouble.reason == "damaged"
    assert "never ends" in ending.trouble.message
    assert ending.samples == (60 + 10 * size_bytes) * 8  # each 'second' of it is eight samples


def test_what_a_decoder_prints_is_not_taken_for_an_answer(pool, tmp_path, capfd):
    path = recording(tmp_path / "noise_40.wav")
    assert decode(pool, path) == decode_here(path)
    assert capfd.readouterr() == ("", "")


def test_without_shared_memory_frames_come_through_the_pipe(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "memfd_create")
    pool = DecoderPool()
    path = recording(tmp_path / "a.wav")
    assert decode(pool, path) == decode_here(path)
    pool.close()


@pytest.mark.parametrize("fault", ["takeover", "lie", "slot"])
def test_a_decoder_that_was_taken_over_does_nothing_to_who_asks_it(tmp_path, monkeypatch, fault):
    monkeypatch.chdir(tmp_path)
    pool = DecoderPool(FAULTY)
    whole = decode_here(recording(tmp_path / "whole.wav"))
    blocks, ending = decode(pool, recording(tmp_path / f"{fault}_40.wav"))
    assert blocks == whole[0][:1]
    assert ending.trouble.reason == "crashed"
    assert ending.trouble.message.startswith("the decoder returned an invalid answer, after")
    assert decode(pool, tmp_path / "whole.wav") == whole
    assert pool.length(str(recording(tmp_path / "takeover_open.wav"))).seconds is None
    assert not (tmp_path / "taken_over").exists()
    pool.close()


def test_a_bug_is_told_with_its_traceback_and_is_no_recordings_fault(pool, tmp_path):
    with pytest.raises(DecoderError, match=r"(?s)Traceback.*KeyError: 'a key that is missing'"):
        decode(pool, recording(tmp_path / "bug_40.wav"))
    assert decode(pool, recording(tmp_path / "good.wav"))[1].trouble is None


def test_a_process_that_cannot_start_is_no_recordings_fault(tmp_path):
    with pytest.raises(DecoderError, match="No module named 'no_such_library'"):
        decode(DecoderPool("import no_such_library"), recording(tmp_path / "a.wav"))


def test_lengths_are_found_and_what_cannot_be_opened_has_none(pool, tmp_path, monkeypatch):
    monkeypatch.setattr(decoder_pool, "LIMIT_S", 1.0)
    assert pool.length(str(recording(tmp_path / "a.flac", 40.1))).seconds == 41
    assert pool.length(str(recording(tmp_path / "a.mp3", 40))).seconds is None
    for name in ("segfault_open.wav", "hang_open.wav"):
        assert pool.length(str(recording(tmp_path / name))).seconds is None
    assert pool.length(str(tmp_path / "gone.wav")).seconds is None


def test_who_stops_in_the_midst_leaves_nothing_to_the_next(tmp_path):
    pool = DecoderPool()
    path = recording(tmp_path / "a.wav", 300)
    before = processes_of(os.getpid())
    blocks = pool.decode([(Span(AudioObject(str(path), 1, "v")), str(path))], Decoding(GRID))
    next(blocks)
    (process,) = processes_of(os.getpid()) - before
    blocks.close()
    assert is_gone(process)
    short = recording(tmp_path / "b.wav", 5)
    assert decode(pool, short) == decode_here(short)
    pool.close()
    assert processes_of(os.getpid()) <= before


def test_a_process_that_died_while_idle_is_replaced(tmp_path):
    pool, path = DecoderPool(), recording(tmp_path / "a.wav", 5)
    before = processes_of(os.getpid())
    decode(pool, path)
    (process,) = processes_of(os.getpid()) - before
    os.kill(process, signal.SIGKILL)
    time.sleep(0.2)
    assert decode(pool, path) == decode_here(path)
    pool.close()


def test_threads_share_no_process_and_start_no_more_than_they_are(tmp_path):
    pool = DecoderPool()
    before = processes_of(os.getpid())
    paths = [recording(tmp_path / f"{i}.flac", 5 + i) for i in range(12)]
    with ThreadPoolExecutor(3) as threads:
        results = list(threads.map(lambda path: decode(pool, path), paths))
    assert results == [decode_here(path) for path in paths]
    assert 1 <= len(processes_of(os.getpid()) - before) <= 3
    pool.close()
    assert processes_of(os.getpid()) <= before


SCRIPT = """
import signal, sys, time
from earmark.transforms.decoding.pool import DecoderPool
from earmark.transforms.elements import AudioObject, Span
from earmark.transforms.settings import Decoding, FrameGrid
import atexit
signal.signal(signal.SIGINT, signal.SIG_IGN)
pool = DecoderPool(sys.argv[1])
atexit.register(pool.close)
span, grid = Span(AudioObject(sys.argv[2], 1, "v")), FrameGrid(16_000, 15_600, 15_600)
blocks = pool.decode([(span, sys.argv[2])], Decoding(grid))
for block in blocks:
    print("a block", flush=True)
    if sys.argv[3] == "first":
        sys.stdin.read(1)
print(block.ending.trouble, flush=True)
sys.stdin.read(1)
"""


def started(path: Path, wait_after: str = "") -> tuple[subprocess.Popen[str], int]:
    """A process that decodes, once a block has come, and its decoder."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, FAULTY, str(path), wait_after],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout.readline() == "a block\n"
    (decoder,) = processes_of(process.pid)
    return process, decoder


@pytest.mark.parametrize(
    ("name", "wait_after"),
    [("loop_50.wav", ""), ("hang_50.wav", ""), ("writing.wav", "first"), ("idle.wav", "")],
)
def test_a_decoder_ends_when_the_process_that_started_it_is_killed(tmp_path, name, wait_after):
    process, decoder = started(recording(tmp_path / name, 200), wait_after)
    time.sleep(0.5)
    with process:
        process.kill()
    assert is_gone(decoder)


def test_a_decoder_is_gone_when_the_process_that_started_it_ends(tmp_path):
    process, decoder = started(recording(tmp_path / "a.wav", 50))
    output, _ = process.communicate("\n", timeout=20)
    assert output.endswith("None\n")
    assert not Path(f"/proc/{decoder}").exists()


def test_an_interrupt_from_the_terminal_does_not_reach_a_decoder(tmp_path):
    process, _ = started(recording(tmp_path / "a.wav", 200), "first")
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate("\n" * 100, timeout=20)
    assert output.endswith("None\n")


def test_a_decoder_process_imports_no_beam():
    program = (
        "import sys, earmark.transforms.decoding.process\nsys.exit('apache_beam' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_process_that_was_started_beforehand_decodes_the_first_recording(tmp_path):
    path = recording(tmp_path / "a.wav")
    with closing(DecoderPool()) as pool:
        pool.start()
        pool.start()
        [started] = pool._all
        assert decode(pool, path)[0] == decode_here(path)[0]
        assert pool._all == {started}


def test_a_process_that_dies_before_the_first_recording_is_replaced(tmp_path):
    path = recording(tmp_path / "a.wav")
    with closing(DecoderPool()) as pool:
        pool.start()
        [started] = pool._all
        started._process.kill()
        started._process.wait()
        assert decode(pool, path)[0] == decode_here(path)[0]
        assert started not in pool._all


def test_a_decoder_has_loaded_its_libraries_when_it_waits_for_its_first_question():
    program = """
import sys
from earmark.transforms.decoding import process

class Waiting:
    def get(self):
        sys.exit("earmark.transforms.audio.decoders" not in sys.modules)

process._questions = lambda *given: Waiting()
process.main()
"""
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.DEVNULL)
    assert done.returncode == 0
