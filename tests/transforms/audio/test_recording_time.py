from __future__ import annotations

import json
import struct
from datetime import datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.transforms.audio.recording_time import RecordedAt, origin_of, recorded_at
from earmark.transforms.audio.time_names import check_time_pattern
from earmark.transforms.errors import ReadError

UTC = timezone.utc
BERLIN = ZoneInfo("Europe/Berlin")
AT = datetime(2020, 4, 4, 10, 25, tzinfo=UTC)

FMT = (b"fmt ", struct.pack("<HHIIHH", 1, 1, 16000, 32000, 2, 16))
SAMPLES = (b"data", bytes(64))

# later than the days on which clocks begin that were never set
MOMENTS = st.datetimes(datetime(1980, 1, 3), datetime(2099, 12, 31), timezones=st.just(UTC))
SECONDS = MOMENTS.map(lambda moment: moment.replace(microsecond=0))
OFFSETS = st.sampled_from([-720, -570, -300, -210, 0, 60, 120, 345, 330, 840]).map(
    lambda minutes: timezone(timedelta(minutes=minutes))
)


def chunk(chunk_id: bytes, content: bytes) -> bytes:
    return chunk_id + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def wav(*chunks: tuple[bytes, bytes], form: bytes = b"RIFF") -> bytes:
    body = b"WAVE" + b"".join(chunk(*each) for each in chunks)
    return form + struct.pack("<I", len(body)) + body


def guano(text: str) -> tuple[bytes, bytes]:
    return b"guan", text.encode()


def comment(text: str) -> tuple[bytes, bytes]:
    entries = chunk(b"IART", b"odd") + chunk(b"ICMT", text.encode() + b"\0\0")
    return b"LIST", b"INFO" + entries


def audiomoth(when: str = "10:25:00 04/04/2020 (UTC)") -> tuple[bytes, bytes]:
    return comment(f"Recorded at {when} by AudioMoth 24526B065D325963 at gain setting 2")


def opensoundscape(start: object, recorder_says: str = "") -> tuple[bytes, bytes]:
    kept = {"comment": recorder_says, "recording_start_time": start}
    return comment("opso_metadata" + json.dumps(kept))


def bext(date: bytes, time: bytes) -> tuple[bytes, bytes]:
    head = struct.pack("<256s32s32s10s8s", b"a session", b"a recorder", b"", date, time)
    return b"bext", head + bytes(264)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return tmp_path / "20010101_000000"


def of_content(
    recording: Path, content: bytes, uri: str = "/a/b.wav", zone: timezone | ZoneInfo = UTC
) -> RecordedAt | None:
    recording.write_bytes(content)
    return recorded_at(str(recording), uri, time_zone=zone)


NOT_RIFF = "/dev/null"


def of_name(name: str, zone: timezone | ZoneInfo = UTC) -> datetime | None:
    found = recorded_at(NOT_RIFF, f"gs://bucket/20010101_000000/{name}", time_zone=zone)
    assert found is None or found.source == "name"
    return found and found.time


def by_pattern(uri: str, pattern: str, zone: timezone | ZoneInfo = UTC) -> datetime | None:
    found = recorded_at(NOT_RIFF, uri, time_pattern=pattern, time_zone=zone)
    return found and found.time


class TestPlaces:
    @pytest.mark.parametrize(
        ("note", "expected"),
        [
            ("Loc Position:37.187802 -86.105731\nOAD|Loc Source:GPS", (37.187802, -86.105731)),
            ("Loc Position:  37.1878016  -86.1057312  ", (37.1878016, -86.1057312)),
            ("  Loc Position : -90, 180\r", (-90, 180)),
            ("Loc Position:0.000000 0.000000", None),  # without a fix
            ("Loc Position:0.000000 6.500000", (0, 6.5)),
            ("Loc Position:", None),
            ("Loc Position:37.19", None),
            ("Loc Position:37.19 86.1 20", None),
            ("Loc Position:37.19N 86.1W", None),
            ("Loc Position:90.1 10", None),
            ("Loc Position:10 nan", None),
            ("Loc Position:10\n20", None),
            ("OAD|Loc Position:10 20", None),
            ("Loc Accuracy:20\nLoc Elevation:228.6", None),
        ],
    )
    def test_place_is_guanos_position(
        self, tmp_path: Path, note: str, expected: tuple[float, float] | None
    ) -> None:
        told = guano(f"GUANO|Version:1.0\nTimestamp:2020-04-04T10:25:00Z\n{note}\n")
        (tmp_path / "a.wav").write_bytes(wav(FMT, SAMPLES, told))
        found = origin_of(tmp_path / "a.wav")
        assert found == (RecordedAt(AT, "guano"), expected)

    def test_no_place_is_none(self, tmp_path: Path) -> None:
        (tmp_path / "a.wav").write_bytes(wav(FMT, SAMPLES, comment("Loc Position: 10 20")))
        assert origin_of(tmp_path / "a.wav") == (None, None)


class TestReferenceRecordings:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("metadata.wav", RecordedAt(AT, "audiomoth")),
            ("1min.wav", RecordedAt(datetime(2018, 5, 4, 9, 32, tzinfo=UTC), "audiomoth")),
            (
                "audiomoth_gps.wav",
                RecordedAt(datetime(2024, 5, 28, 10, tzinfo=UTC), "opensoundscape"),
            ),
            ("speech.wav", None),
            ("empty_2c.wav", None),
            ("soundscape.mp3", None),
        ],
    )
    def test_time_is_the_one_in_the_file(
        self, shared: Path, name: str, expected: RecordedAt | None
    ) -> None:
        assert recorded_at(str(shared / "audio" / name), name) == expected


class TestGuano:
    @given(moment=MOMENTS, offset=OFFSETS)
    def test_any_timestamp_with_an_offset_comes_back(
        self, tmp_path_factory: pytest.TempPathFactory, moment: datetime, offset: timezone
    ) -> None:
        stamp = moment.astimezone(offset).isoformat()
        file = tmp_path_factory.getbasetemp() / "guano.wav"
        found = of_content(
            file, wav(FMT, SAMPLES, guano(f"GUANO|Version: 1.0\nTimestamp: {stamp}\n"))
        )
        assert found == RecordedAt(moment, "guano")

    @pytest.mark.parametrize(
        "stamp",
        [
            "2020-04-04T10:25:00Z",
            "2020-04-04T12:25:00+02:00",
            "2020-04-04T12:25:00",
            "2020-04-04 12:25:00",
            "2020-04-04T06:55:00-03:30",
        ],
    )
    def test_naive_times_are_of_the_time_zone(self, recording: Path, stamp: str) -> None:
        text = f"Note: Timestamp: 1999\r\n Timestamp : {stamp}\r\nWA|Song: x\0"
        assert of_content(recording, wav(FMT, guano(text)), zone=BERLIN) == (AT, "guano")

    def test_goes_before_all_others(self, recording: Path) -> None:
        content = wav(
            FMT,
            bext(b"2001-01-01", b"01-01-01"),
            audiomoth("11:11:11 11/11/2011 (UTC)"),
            SAMPLES,
            guano("Timestamp: 2020-04-04T10:25:00Z"),
        )
        assert of_content(recording, content, "/a/20220202_020202.wav") == (AT, "guano")


class TestAudioMoth:
    @pytest.mark.parametrize(
        "when",
        [
            "10:25:00 04/04/2020 (UTC)",
            "12:25:00 04/04/2020 (UTC+2)",
            "06:55:00 04/04/2020 (UTC-3:30)",
            "10:55:00 04/04/2020 (UTC+0:30)",
            "00:25:00 05/04/2020 (UTC+14)",
            "22:25:00 03/04/2020 (UTC-12)",
            "10:25:00.000 04/04/2020 (UTC)",
            "10:25 04/04/2020 (UTC)",
            "10:25:00 04/04/2020",
        ],
    )
    def test_clock_and_offset_of_the_comment_are_read(self, recording: Path, when: str) -> None:
        content = wav(FMT, SAMPLES, audiomoth(when))
        assert of_content(recording, content, zone=BERLIN) == (AT, "audiomoth")

    def test_milliseconds_are_kept(self, recording: Path) -> None:
        found = of_content(recording, wav(FMT, audiomoth("10:25:00.250 04/04/2020 (UTC)")))
        assert found == (AT + timedelta(milliseconds=250), "audiomoth")

    def test_a_date_that_there_is_not_is_no_time(self, recording: Path) -> None:
        content = wav(FMT, audiomoth("10:25:00 31/02/2020 (UTC)"))
        assert of_content(recording, content) is None

    def test_comment_of_somebody_else_is_no_time(self, recording: Path) -> None:
        assert of_content(recording, wav(FMT, comment("a blackbird at 10:25:00"))) is None


class TestOpenSoundscape:
    def test_start_of_a_cut_goes_before_the_recorders_sentence(self, recording: Path) -> None:
        says = "Recorded at 10:00:00 04/04/2020 (UTC) by AudioMoth 24526B065D325963"
        content = wav(FMT, SAMPLES, opensoundscape("2020-04-04T10:25:00+00:00", says))
        assert of_content(recording, content) == (AT, "opensoundscape")

    @pytest.mark.parametrize("start", [None, 17, "yesterday", ["2020-04-04T10:25:00"]])
    def test_sentence_counts_where_no_start_is_kept(self, recording: Path, start: object) -> None:
        says = "Recorded at 10:25:00 04/04/2020 (UTC) by AudioMoth 24526B065D325963"
        content = wav(FMT, SAMPLES, opensoundscape(start, says))
        assert of_content(recording, content) == (AT, "audiomoth")

    @pytest.mark.parametrize("kept", ["", "[]", "[" * 100_000, '{"recording_start_time": "20'])
    def test_broken_json_is_no_time(self, recording: Path, kept: str) -> None:
        assert of_content(recording, wav(FMT, comment("opso_metadata" + kept))) is None


class TestBroadcastWave:
    @pytest.mark.parametrize("dash", list("-_:./ \0"))
    def test_any_sign_may_separate(self, recording: Path, dash: str) -> None:
        date, time = dash.join(("2020", "04", "04")), dash.join(("12", "25", "00"))
        content = wav(bext(date.encode(), time.encode()), FMT, SAMPLES)
        assert of_content(recording, content, zone=BERLIN) == (AT, "bext")

    @pytest.mark.parametrize(
        ("date", "time"),
        [
            (b"", b""),
            (b"0000-00-00", b"00:00:00"),
            (b"2020-04-04", b""),
            (b"2020-13-04", b"10:25:00"),
        ],
    )
    def test_blank_and_invalid_fields_are_no_time(
        self, recording: Path, date: bytes, time: bytes
    ) -> None:
        assert of_content(recording, wav(bext(date, time), FMT, SAMPLES)) is None


class TestChunks:
    GUANO = guano("Timestamp: 2020-04-04T10:25:00Z")

    def test_file_goes_before_the_name(self, recording: Path) -> None:
        found = of_content(recording, wav(FMT, SAMPLES, self.GUANO), "/a/20010101_000000.wav")
        assert found == (AT, "guano")

    def test_name_counts_where_the_file_says_nothing(self, recording: Path) -> None:
        found = of_content(recording, wav(FMT, SAMPLES), "/a/20200404_102500.wav")
        assert found == (AT, "name")

    def test_odd_chunks_are_padded(self, recording: Path) -> None:
        content = wav(FMT, (b"odd ", b"123"), (b"data", b"12345"), self.GUANO)
        assert of_content(recording, content) == (AT, "guano")

    @pytest.mark.parametrize("form", [b"RF64", b"BW64"])
    def test_size_of_data_beyond_4_gb_is_in_ds64(self, recording: Path, form: bytes) -> None:
        data_bytes = (5 << 30) + 1
        ds64 = struct.pack("<QQQI", data_bytes + 200, data_bytes, 0, 0)
        head = wav((b"ds64", ds64), FMT, form=form) + b"data\xff\xff\xff\xff"
        with recording.open("wb") as file:
            file.write(head)
            file.seek(data_bytes + 1, 1)
            file.write(chunk(*self.GUANO))
        assert recorded_at(str(recording), "a.wav") == (AT, "guano")

    @pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF, 100])
    def test_a_size_beyond_the_end_is_not_believed(self, recording: Path, size: int) -> None:
        content = wav(FMT, self.GUANO) + b"guan" + struct.pack("<I", size) + b"Timestamp:"
        assert of_content(recording, content) == (AT, "guano")

    def test_a_lying_ds64_ends_the_search(self, recording: Path) -> None:
        ds64 = struct.pack("<QQQI", 2**64 - 1, 2**64 - 1, 0, 0)
        content = wav((b"ds64", ds64), FMT, form=b"RF64") + b"data\xff\xff\xff\xff" + bytes(100)
        assert of_content(recording, content) is None

    def test_a_long_run_of_empty_chunks_ends(self, recording: Path) -> None:
        assert of_content(recording, wav() + b"JUNK\0\0\0\0" * 1_000_000) is None

    def test_no_more_than_a_megabyte_of_a_chunk_is_read(self, recording: Path) -> None:
        late = guano(" " * (1 << 20) + "\nTimestamp: 2020-04-04T10:25:00Z")
        assert of_content(recording, wav(FMT, late)) is None

    @given(content=st.binary(max_size=200))
    def test_no_content_is_an_error(
        self, tmp_path_factory: pytest.TempPathFactory, content: bytes
    ) -> None:
        file = tmp_path_factory.getbasetemp() / "any.wav"
        head = wav(FMT)
        for whole in (content, head + content, head + b"LIST" + content, head + b"bext" + content):
            of_content(file, whole)

    @given(cut=st.integers(0, 400))
    def test_cut_files_give_the_time_or_none(
        self, tmp_path_factory: pytest.TempPathFactory, cut: int
    ) -> None:
        file = tmp_path_factory.getbasetemp() / "cut.wav"
        whole = wav(FMT, SAMPLES, audiomoth(), self.GUANO)
        assert of_content(file, whole[:cut]) in (None, (AT, "audiomoth"), (AT, "guano"))

    def test_a_file_that_cannot_be_read_is_an_io_failure(self, tmp_path: Path) -> None:
        with pytest.raises(ReadError, match=r"gone\.wav: No such file"):
            recorded_at(str(tmp_path / "x"), "gone.wav")


class TestClocksNeverSet:
    UNSET = RecordedAt(None, "unset_clock")

    @pytest.mark.parametrize(
        "noted",
        [
            audiomoth("00:00:12 01/01/1970 (UTC)"),
            audiomoth("23:59:12 31/12/1969 (UTC-5)"),
            audiomoth("00:00:12 05/01/1970 (UTC)"),
            bext(b"1970-01-01", b"00:10:00"),
            bext(b"1980-01-01", b"00:00:00"),
            bext(b"1904-01-01", b"00:00:00"),
            guano("GUANO|Version: 1.0\nTimestamp: 1970-01-01T00:00:07+10:00\n"),
        ],
    )
    def test_there_is_no_time_and_this_is_why(
        self, recording: Path, noted: tuple[bytes, bytes]
    ) -> None:
        content = wav(noted, FMT, SAMPLES)
        assert of_content(recording, content) == self.UNSET
        assert of_content(recording, content, "/a/19700101_000012.WAV") == self.UNSET

    def test_another_source_goes_before_them(self, recording: Path) -> None:
        content = wav(audiomoth("00:00:12 01/01/1970 (UTC)"), FMT, SAMPLES)
        assert of_content(recording, content, "/a/20200404_102500.WAV") == (AT, "name")
        both = wav(audiomoth("00:00:12 01/01/1970 (UTC)"), bext(b"2020-04-04", b"10:25:00"))
        assert of_content(recording, both) == (AT, "bext")

    def test_a_name_may_be_of_these_days_in_no_zone(self) -> None:
        unset = recorded_at(NOT_RIFF, "19700101_001200.WAV", time_zone=ZoneInfo("Asia/Tokyo"))
        assert unset == self.UNSET
        first_day = datetime(1970, 1, 1, 0, 12, tzinfo=UTC)
        assert by_pattern("19700101_001200.WAV", "%Y%m%d_%H%M%S") == first_day
        assert of_name("19800101_001200.WAV") == datetime(1980, 1, 1, 0, 12, tzinfo=UTC)
        assert of_name("19700103_001200.WAV") == datetime(1970, 1, 3, 0, 12, tzinfo=UTC)


class TestNames:
    @pytest.mark.parametrize(
        "written",
        [
            "%Y%m%d_%H%M%S",
            "%Y%m%d-%H%M%S",
            "%Y%m%d %H%M%S",
            "%Y%m%dT%H%M%S",
            "%Y%m%dT%H%M%SZ",
            "%Y%m%d$%H%M%S",
            "%Y%m%d%H%M%S",
            "%Y-%m-%dT%H-%M-%SZ",
            "%Y-%m-%dT%H:%M:%SZ",
            "%Y-%m-%d %H.%M.%S",
            "%Y-%m-%d at %H.%M.%S",
            "%Y-%m-%d at %I.%M.%S %p",
            "%Y_%m_%d_%H_%M_%S",
            "%Y-%m-%d-%H-%M-%S-UTC",
            "%Y.%m.%d_%H.%M.%S",
            "%Y-%m-%d_%Hh%Mm%S",
            "%Y %m %d - %H %M %S",
        ],
    )
    @pytest.mark.parametrize(
        "around", ["{}.WAV", "S4A02895_{}.flac", "a7-{} (2).mp3", "{}.3gp", "{}"]
    )
    @given(moment=SECONDS)
    def test_any_time_in_a_usual_form_comes_back(
        self, written: str, around: str, moment: datetime
    ) -> None:
        assert of_name(around.format(moment.strftime(written))) == moment

    @given(moment=MOMENTS, places=st.integers(1, 6))
    def test_fractions_of_a_second_are_kept(self, moment: datetime, places: int) -> None:
        digits = f"{moment.microsecond:06d}"[:places]
        expected = moment.replace(microsecond=int(digits.ljust(6, "0")))
        name = moment.strftime("%Y%m%d_%H%M%S.") + digits
        assert of_name(f"{name}.wav") == of_name(f"{name}Z.wav") == of_name(name) == expected

    @given(moment=SECONDS, offset=OFFSETS)
    def test_an_offset_counts(self, moment: datetime, offset: timezone) -> None:
        local = moment.astimezone(offset)
        assert of_name(local.strftime("%Y%m%dT%H%M%S%z_REC.wav"), BERLIN) == moment

    @given(moment=SECONDS, zone=st.sampled_from(["Asia/Kathmandu", "America/St_Johns"]))
    def test_without_an_offset_the_time_zone_counts(self, moment: datetime, zone: str) -> None:
        local = moment.astimezone(ZoneInfo(zone))
        expected = local.replace(fold=0).astimezone(UTC)
        assert of_name(local.strftime("%Y%m%d_%H%M%S.wav"), ZoneInfo(zone)) == expected

    @given(
        moment=st.datetimes(datetime(2016, 1, 1), datetime(2019, 12, 31), timezones=st.just(UTC))
    )
    def test_old_audiomoth_names_count_seconds_in_hex(self, moment: datetime) -> None:
        moment = moment.replace(microsecond=0)
        name = f"{int(moment.timestamp()):08X}.WAV"
        assert of_name(name) == (None if name[:8].isdigit() else moment)

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("5D2F8D4A.WAV", datetime(2019, 7, 17, 21, 4, 10)),
            ("20240528T1030.wav", datetime(2024, 5, 28, 10, 30)),
            ("2024-05-28_10-30.wav", datetime(2024, 5, 28, 10, 30)),
            ("20240528_100000T.WAV", datetime(2024, 5, 28, 10)),
            ("20240528_100000_20240529_110000.wav", datetime(2024, 5, 28, 10)),
            ("20241328_100000_20240528_110000.wav", datetime(2024, 5, 28, 11)),
            ("20240528T100000+02.wav", datetime(2024, 5, 28, 8)),
            ("2024-05-28 at 12.00.00 AM.m4a", datetime(2024, 5, 28)),
            # sequence numbers, not offsets
            ("20240528_100000-0001.wav", datetime(2024, 5, 28, 10)),
            ("20240528_100000-0000.wav", datetime(2024, 5, 28, 10)),
            ("20240528_100000-02.wav", datetime(2024, 5, 28, 10)),
            ("20240528_100000_-0000.wav", datetime(2024, 5, 28, 10)),
            ("20240528_100000_-0012.wav", datetime(2024, 5, 28, 10)),
            # apart from the time: an offset
            ("SwiftOne_20220719_000000_-0400.wav", datetime(2022, 7, 19, 4)),
            ("SwiftOne_20220719_000000_+0545.wav", datetime(2022, 7, 18, 18, 15)),
            ("20220719_000000 +10:00.wav", datetime(2022, 7, 18, 14)),
            ("20240528_100000_UTC-4.wav", datetime(2024, 5, 28, 14)),
            ("20240528_100000 (UTC+5:30).wav", datetime(2024, 5, 28, 4, 30)),
            # a place
            ("20240528_100000_+13-090.wav", datetime(2024, 5, 28, 10)),
            ("20240528_100000_+1330-09045.wav", datetime(2024, 5, 28, 10)),
            ("20240528_100000_-1200.5+130.wav", datetime(2024, 5, 28, 10)),
            ("20240528_100000Z_+40.1213-075.0015+2.79CRSWGS_84.flac", datetime(2024, 5, 28, 10)),
            ("20240528T100000+1000_-12.3+45.flac", datetime(2024, 5, 28)),
            # OwlSense
            ("55063_2024-11-27_T16-47-33.wav", datetime(2024, 11, 27, 16, 47, 33)),
            # Frontier Labs: spaces for zeros
            ("201905 8T020000+1000_REC.wav", datetime(2019, 5, 7, 16)),
            ("2019 5 8T 2 3 4Z_REC.wav", datetime(2019, 5, 8, 2, 3, 4)),
            ("2019 512_020304.wav", datetime(2019, 5, 12, 2, 3, 4)),
            ("2019 10 12 10 11 12.wav", datetime(2019, 10, 12, 10, 11, 12)),
            # BirdNET-Pi
            ("2021-11-29-birdnet-13:20:51.wav", datetime(2021, 11, 29, 13, 20, 51)),
            ("Robin-87-2021-11-29-birdnet-RTSP_1-13:20:51.mp3", datetime(2021, 11, 29, 13, 20, 51)),
        ],
    )
    def test_further_forms(self, name: str, expected: datetime) -> None:
        assert of_name(name) == expected.replace(tzinfo=UTC)

    @pytest.mark.parametrize(
        "name",
        [
            "20240528.wav",
            "2024-05-28.wav",
            "20240528_1000.wav",  # may be the thousandth
            "20240528_0001.wav",
            "120240528_100000.wav",
            "20240528_1000001.wav",
            "202405281000001.wav",
            "20240528-20240601.wav",
            "2024-05-28_12-01-2024.wav",
            "20241328_100000.wav",
            "20240230_100000.wav",
            "20240528_240000.wav",
            "20240528_106000.wav",
            "20240528_100060.wav",
            "28052024_100000.wav",
            "10240528_100000.wav",
            "05E90A4D4.WAV",
            "5E90A4D4_1.WAV",
            "1E90A4D4.WAV",
            "5E90A4D4.WAV",  # 2020
            "61025001.wav",  # year, tape and cut in a collection
            "59025001.wav",
            "8300602E.wav",
            "2019 5 8.wav",
            "FFFFFFFF.WAV",
            "recording.wav",
            "",
        ],
    )
    def test_what_is_no_time(self, name: str) -> None:
        assert of_name(name) is None

    def test_a_repeated_hour_is_the_first_and_a_left_out_one_is_of_the_old_clock(self) -> None:
        twice, never = "20241027_023000.wav", "20240331_023000.wav"
        assert of_name(twice, BERLIN) == datetime(2024, 10, 27, 0, 30, tzinfo=UTC)
        assert of_name(never, BERLIN) == datetime(2024, 3, 31, 1, 30, tzinfo=UTC)

    def test_file_uris_are_decoded(self) -> None:
        found = recorded_at(NOT_RIFF, "file:///a/2020-04-04T10%3A25%3A00Z%FF.wav")
        assert found == (AT, "name")

    @given(name=st.text())
    def test_no_name_is_an_error(self, name: str) -> None:
        of_name(name)


class TestTimePatterns:
    @pytest.mark.parametrize(
        ("pattern", "name"),
        [
            ("REC-%d%m%y-%H.%M", "REC-040420-10.25.wav"),
            ("%d%b%Y_%I%M%p", "site3 04Apr2020_1025am.wav"),
            ("%-d.%-m.%Y, %-H Uhr %M", "4.4.2020, 10 Uhr 25.mp3"),
            ("%Y%j%H%M%S", "2020095102500.wav"),
            ("%Y%m%d_%H%M%z", "20200404_1225+0200.wav"),
            ("%a %Y-%m-%d %H%M", "Sat 2020-04-04 1025"),
            ("(%Y).[%m]%%%d+%H%M", "(2020).[04]%04+1025"),
        ],
    )
    def test_time_is_found_in_the_base_name(self, pattern: str, name: str) -> None:
        check_time_pattern(pattern)
        assert by_pattern(f"s3://bucket/{name}", pattern) == AT

    @given(moment=MOMENTS)
    def test_any_time_comes_back(self, moment: datetime) -> None:
        pattern = "%d%m%y-%H.%M.%S,%f"
        name = f"x{moment.strftime(pattern)}.wav"
        # two digits of a year: from 69 on they are of the last century
        expected = moment if 1969 <= moment.year < 2069 else moment.replace(year=moment.year - 100)
        assert by_pattern(name, pattern) == expected

    def test_pattern_with_a_slash_is_found_in_the_whole_uri(self) -> None:
        uri = "gs://bucket/2020/04/04/site3/1025.wav"
        assert by_pattern(uri, "%Y/%m/%d/site3/%H%M") == AT

    def test_times_without_an_offset_are_of_the_time_zone(self) -> None:
        assert by_pattern("2020-04-04-12", "%Y-%m-%d-%H", BERLIN) == AT.replace(minute=0)

    def test_pattern_stands_in_place_of_the_usual_ways(self) -> None:
        assert by_pattern("20200404_102500.wav", "%d%m%Y_%H") is None

    @pytest.mark.parametrize(
        "name", ["12004041025.wav", "20040410253.wav", "20049910.wav", "x.wav"]
    )
    def test_no_digits_are_taken_out_of_more_and_none_that_are_no_date(self, name: str) -> None:
        assert by_pattern(name, "%y%m%d%H%M") is None

    def test_the_first_that_there_is_counts(self) -> None:
        assert by_pattern("20209904_10 20200404_10.wav", "%Y%m%d_%H") == AT.replace(minute=0)

    @pytest.mark.parametrize(
        ("pattern", "complaint"),
        [
            ("%Y", "does not give the month"),
            ("%m%d%H", "does not give the year"),
            ("%Y%m%H", "does not give the day"),
            ("%Y%m%d", "does not give the hour"),
            ("%Y%m%d%I", "does not give the hour"),
            ("%Y%m%d_%H%Q", "'%Q' is none of"),
            ("%Y%m%d_%H%", "'%' is none of"),
            ("%Y%m%d_%H\n%\n", "is none of"),
            ("%Y%m%d_%H%-H", "%H may come only once"),
            ("", "does not give the year"),
        ],
    )
    def test_unusable_patterns_are_refused_in_one_line(self, pattern: str, complaint: str) -> None:
        with pytest.raises(ValueError, match=complaint) as refused:
            check_time_pattern(pattern)
        assert "\n" not in str(refused.value)
        with pytest.raises(ValueError, match=complaint):
            by_pattern("a.wav", pattern)
