"""Listing and reading objects, whatever the connection does."""

from __future__ import annotations

import gc
import random
from pathlib import Path
from urllib.parse import unquote

import pytest
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from earmark.transforms.decoding.local_copies import local_copy
from earmark.transforms.elements import AudioObject
from earmark.transforms.errors import ReadError
from earmark.transforms.listing.matching import list_pattern
from earmark.transforms.listing.objects import check_patterns
from earmark.transforms.storage import (
    create_file,
    delete_files,
    is_same_version,
    object_stores,
    store_of,
    write_whole,
)
from earmark.transforms.storage.clients import forget_clients
from earmark.transforms.storage.lookup import look_up
from earmark.transforms.storage.paths import ListingError
from earmark.transforms.storage.reading import read_uri
from tests.stores.faults import SECRET, Faults, Store

CONTENT = random.Random(1).randbytes(3_000_000)


def copied(uri: str) -> bytes:
    with local_copy(AudioObject(uri, None, "")) as path:
        return Path(path).read_bytes()


class TestReading:
    def test_an_object_comes_whole(self, store: Store) -> None:
        store.put("a.wav", CONTENT)
        assert copied(store.uri("a.wav")) == CONTENT

    def test_the_copy_is_gone_afterwards(self, store: Store) -> None:
        store.put("a.wav", b"x")
        with local_copy(look_up(store.uri("a.wav"))) as path:
            assert Path(path).exists()
        assert not Path(path).exists()

    def test_an_empty_object_is_empty(self, store: Store) -> None:
        store.put("a.wav", b"")
        assert copied(store.uri("a.wav")) == b""

    def test_few_requests_are_made(self, store: Store) -> None:
        store.put("a.wav", CONTENT)
        listed = look_up(store.uri("a.wav"))
        store.proxy.misbehave(Faults())
        with local_copy(listed):
            pass
        asked = [each for each in store.proxy.requests if "/token" not in each]
        assert len(asked) <= 6, asked

    @pytest.mark.parametrize(
        "faults", [Faults(refused=0.3), Faults(cut=0.3), Faults(slow=0.5, slow_s=0.2)]
    )
    def test_faults_change_no_byte(self, store: Store, faults: Faults) -> None:
        store.put("a.wav", CONTENT)
        store.proxy.misbehave(faults)
        for _ in range(4):
            assert copied(store.uri("a.wav")) == CONTENT
        assert store.proxy.done.total() > store.proxy.done["well"]

    def test_a_missing_object_is_one_line(self, store: Store) -> None:
        with pytest.raises(ReadError) as failed:
            copied(store.uri("gone.wav"))
        assert "\n" not in str(failed.value)
        with pytest.raises(OSError, match=r"\S"):
            read_uri(store.uri("gone.wav"))

    def test_what_was_replaced_since_it_was_listed_is_told(self, store: Store) -> None:
        store.put("a.wav", b"old")
        listed = look_up(store.uri("a.wav"))
        store.put("a.wav", b"newer")
        with pytest.raises(ReadError, match="has changed since"), local_copy(listed):
            pass


class TestListing:
    def test_the_pages_of_a_listing_all_come(
        self, store: Store, environment: pytest.MonkeyPatch
    ) -> None:
        environment.setattr(object_stores, "_PAGE", 10)
        names = {f"many/{number:05}.wav" for number in range(25)}
        for name in names:
            store.put(name, b"x")
        store.proxy.page_size = 10
        store.proxy.misbehave(Faults(refused=0.2))
        found = [each.object for each in list_pattern(store.uri("many/**"))]
        assert {each.uri for each in found} == {store.uri(name) for name in names}
        pages = [each for each in store.proxy.requests if "list-type" in each or "prefix=" in each]
        assert len(pages) >= 3 or "az:" in store.url  # whose pages hold 5000

    def test_listing_and_looking_up_agree_on_the_version(self, store: Store) -> None:
        store.put("a.wav", b"x")
        listed = next(iter(list_pattern(store.uri("**")))).object
        assert listed == look_up(listed.uri)

    def test_what_was_replaced_at_once_by_as_many_bytes_has_another_version(
        self, store: Store
    ) -> None:
        store.put("a.wav", b"old")
        before = look_up(store.uri("a.wav"))
        store.put("a.wav", b"new")
        after = look_up(store.uri("a.wav"))
        assert not is_same_version(before.version, after.version)
        assert before.size_bytes == after.size_bytes

    def test_of_a_large_folder_only_what_a_pattern_needs_is_listed(
        self, s3: Store, environment: pytest.MonkeyPatch
    ) -> None:
        environment.setattr(object_stores, "_PAGE", 10)
        s3.proxy.page_size = 10
        for number in range(100):
            s3.put(f"rec/{number:03}.wav", b"x")
        s3.put("rec/05", b"x")
        s3.proxy.misbehave(Faults())
        found = {each.object.uri for each in list_pattern(s3.uri("rec/05*"), all_files=True)}
        names = [f"{number:03}.wav" for number in range(50, 60)]
        assert found == {s3.uri(f"rec/{name}") for name in ("05", *names)}
        assert len([each for each in s3.proxy.requests if "list-type" in each]) <= 8

    def test_a_match_ahead_of_many_others_ends_the_check(
        self, s3: Store, environment: pytest.MonkeyPatch
    ) -> None:
        environment.setattr(object_stores, "_PAGE", 10)
        s3.proxy.page_size = 10
        for number in range(100):
            s3.put(f"rec/{number:03}.wav", b"x")
        s3.proxy.misbehave(Faults())
        check_patterns((s3.uri("rec/**"),))
        assert len([each for each in s3.proxy.requests if "list-type" in each]) <= 3

    def test_nobody_there_is_told_at_once(self, s3: Store, environment: pytest.MonkeyPatch) -> None:
        environment.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        with pytest.raises(
            ListingError, match=r"nobody answers at .*:9: Connection refused"
        ) as refused:
            check_patterns((s3.uri("**"),))
        assert "\n" not in str(refused.value)

    def test_no_credentials_is_told_at_once(
        self, s3: Store, environment: pytest.MonkeyPatch
    ) -> None:
        environment.delenv("AWS_ACCESS_KEY_ID")
        environment.delenv("AWS_SECRET_ACCESS_KEY")
        with pytest.raises(ListingError, match="credentials"):
            check_patterns((s3.uri("**"),))

    def test_a_missing_bucket_is_told(self, store: Store) -> None:
        with pytest.raises(ListingError, match="there is no bucket nowhere"):
            check_patterns((f"{store.url.replace('archive', 'nowhere')}/**",))

    def test_a_store_is_asked_once_whether_it_is_there(self, store: Store) -> None:
        for name in ("a.wav", "b.wav"):
            store.put(name, b"x")
        for name in ("a.wav", "b.wav"):
            check_patterns((store.uri(name),))
        asked = [each for each in store.proxy.requests if "earmark-asks" in unquote(each)]
        assert len(asked) == 1

    def test_a_password_in_a_uri_is_refused_unseen(self) -> None:
        with pytest.raises(ListingError) as refused:
            check_patterns(("s3://me:hush@archive/**",))
        assert "hush" not in str(refused.value)


class TestNames:
    """Whatever a store takes as a name, nothing of it is lost."""

    ODD = ("odd//a.wav", "odd/./b.wav", "odd/../c.wav", "odd/d.wav")

    def test_names_that_obstore_cannot_take_are_listed_and_read(
        self, s3: Store, environment: pytest.MonkeyPatch
    ) -> None:
        environment.setattr(object_stores, "_PAGE", 10)
        for name in self.ODD:
            s3.put(name, name.encode())
        for number in range(15):  # a page before it
            s3.put(f"odd/!{number:05}.wav", b"x")
        s3.proxy.page_size = 10
        found = [each.object for each in list_pattern(s3.uri("odd/**"))]
        assert len(found) == 15 + len(self.ODD)
        assert {s3.uri(name) for name in self.ODD} <= {each.uri for each in found}
        for each in found[-len(self.ODD) :]:
            with local_copy(each) as path:
                assert s3.uri(Path(path).read_text()) == each.uri

    def test_names_with_signs_of_urls_and_patterns_are_names(self, store: Store) -> None:
        names = ["100%25.wav", "a b#?&+=.wav", "[x]*.wav", "ä/\N{OWL}.wav", "a~b/$.wav"]
        for name in names:
            store.put(name, name.encode())
        found = {each.object.uri for each in list_pattern(store.uri("**"))}
        assert found == {store.uri(name) for name in names}
        for name in names:
            assert copied(store.uri(name)) == name.encode()

    def test_what_stands_in_for_a_folder_is_no_object(self, s3: Store) -> None:
        for name, content in {"a/": b"", "a/b/": b"", "a/b/c.wav": b"x", "a/empty": b""}.items():
            s3.put(name, content)
        found = {each.object.uri for each in list_pattern(s3.uri("**"), all_files=True)}
        assert found == {s3.uri("a/b/c.wav"), s3.uri("a/empty")}


class TestWriting:
    @pytest.mark.parametrize("size", [0, 1, 20 << 20])
    @pytest.mark.parametrize("faults", [Faults(), Faults(refused=0.2, cut=0.1)])
    def test_an_object_is_written_whole(self, store: Store, size: int, faults: Faults) -> None:
        content = random.Random(2).randbytes(size)
        store.proxy.misbehave(faults)
        write_whole(store.uri("a/b.bin"), content)
        assert store.get_all() == {"a/b.bin": content}

    def test_what_could_not_be_written_to_its_end_is_not_there(self, store: Store) -> None:
        def write_half() -> None:
            with create_file(store.uri("a.bin")) as sink:
                sink.write(CONTENT)
                raise RuntimeError

        with pytest.raises(RuntimeError):
            write_half()
        gc.collect()
        assert store.get_all() == {}

    def test_deleting_what_is_not_there_is_no_error(self, store: Store) -> None:
        for name in ("a", "c"):
            store.put(name, b"x")
        delete_files([store.uri(name) for name in "abc"])
        assert store.get_all() == {}

    def test_an_object_takes_the_place_and_the_name_of_another(self, store: Store) -> None:
        store.put("a", b"new")
        store.put("b", b"old")
        store_of(store.url).rename([(store.uri("a"), store.uri("b"))])
        assert store.get_all() == {"b": b"new"}


def test_beams_options_for_s3_are_gone_by_wherever_beam_knows_them(s3, environment):
    """Also in a worker, where Beam alone has been told the options."""
    s3.put("a.wav", b"x")
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        environment.delenv(name)
    flags = ["--s3_access_key_id=tester", f"--s3_secret_access_key={SECRET}"]
    FileSystems.set_options(PipelineOptions([f"--s3_endpoint_url={s3.proxy.url}", *flags]))
    forget_clients()
    assert read_uri(s3.uri("a.wav")) == b"x"


def test_where_no_options_have_been_set_the_environment_counts(s3, environment):
    """As in `earmark model info`, which has none of Beam's."""
    s3.put("a.wav", b"x")
    environment.setattr(FileSystems, "_pipeline_options", None)
    forget_clients()
    assert read_uri(s3.uri("a.wav")) == b"x"
