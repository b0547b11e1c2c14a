"""Messages out of files in every format, however they are cut into blocks, torn or glued together."""

import gzip
import hashlib
import itertools
import os
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_usage.errors import MissingExtraError, OTLPDecodeError
from otel_usage.exporter.ingest import framing, length_prefixed, unpacking
from otel_usage.exporter.ingest.file_intake import decode
from otel_usage.exporter.ingest.framing import Framing, JSONLines, Message
from otel_usage.exporter.ingest.length_prefixed import LengthPrefixed
from otel_usage.exporter.ingest.otlp_file import OTLPFile, UnknownFormatError, detect
from otel_usage.exporter.ingest.unpacking import unpacked
from otel_usage.exporter.otlp import decompressors
from otel_usage.exporter.otlp.decoding import SpanData, decode_protobuf
from otel_usage.exporter.otlp.wire import fields, length_delimited
from tests.unit.exporter.exported import FORMATS, WHOLE, frame, frames, line, lines, packed_frames, request, zstd


def told(messages: Iterable[Message], reject: Callable[[Message, str], None]) -> tuple[list[int], list[Message]]:
    """The numbers of the requests in these messages, and the messages that are none."""
    numbers: list[int] = []
    bad: list[Message] = []
    for message in messages:
        if message.problem:
            bad.append(message)
            continue
        try:
            scopes = list(decode(message) or ())
        except OTLPDecodeError as error:
            reject(message, error.message)
            continue
        numbers += [span.span_id for scope in scopes for span in scope.spans]
    return numbers, bad


def fed(made: Framing, *blocks: bytes) -> tuple[list[int], list[Message]]:
    """What a framing tells of a file in these blocks, the end included."""

    def messages() -> Iterable[Message]:
        for block in blocks:
            yield from made.feed(block)
        yield from made.end()

    return told(messages(), made.reject)


def read(path: Path, content: bytes) -> tuple[list[int], list[Message]]:
    """What a file of this content tells."""
    path.write_bytes(content)
    fd = os.open(path, os.O_RDONLY)
    try:
        file = OTLPFile(fd)
        numbers, bad = told(file.messages(), file.reject)
        more, torn = told(file.end(), file.reject)
    finally:
        os.close(fd)
    return numbers + more, bad + torn


@pytest.mark.parametrize("whole", WHOLE)
@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_known_by_its_content(tmp_path: Path, kind: str, whole: str) -> None:
    """Whatever the file is called, its messages come out in order."""
    assert read(tmp_path / "anything", WHOLE[whole](FORMATS[kind](range(1, 40)))) == (list(range(1, 40)), [])


@pytest.mark.parametrize("kind", FORMATS)
@given(cuts=st.lists(st.integers(0, 4000), max_size=12))
def test_blocks_may_be_cut_anywhere(kind: str, cuts: list[int]) -> None:
    """Where a block ends changes nothing."""
    content = FORMATS[kind](range(1, 6))
    made = (detect(content) or JSONLines)()
    bounds = [0, *sorted(cuts), len(content)]
    blocks = [content[start:end] for start, end in itertools.pairwise(bounds)]
    assert fed(made, *blocks) == ([1, 2, 3, 4, 5], [])
    assert made.offset >= len(content)


@pytest.mark.parametrize("whole", ["gzip", "zstd"])
def test_compressed_files_may_have_several_parts(tmp_path: Path, whole: str) -> None:
    """Files that were compressed in parts and put together are one file."""
    content = WHOLE[whole](lines([1, 2])) + WHOLE[whole](lines([3])) + WHOLE[whole](b"")
    assert read(tmp_path / "file", content) == ([1, 2, 3], [])


@pytest.mark.parametrize("content", [b"\xef\xbb\xbf" + lines([1, 2]), lines([1]) + b"\n \r\n" + lines([2])[:-1]])
def test_what_editors_do_to_lines_is_no_matter(content: bytes) -> None:
    """A byte order mark, blank lines, CRLF, a missing last newline."""
    assert fed(JSONLines(), content) == ([1, 2], [])
    assert fed(JSONLines(), content.replace(b"\n", b"\r\n")) == ([1, 2], [])


def test_bad_lines_say_where_they_are_and_stop_nothing() -> None:
    """Line and offset of what is none, without a word of it."""
    secret = b'{"resourceSpans":"Bearer secret-of-somebody"}'
    numbers, bad = fed(JSONLines(), lines([1]) + secret + b"\n" + lines([2]) + b"{}\n" + lines([3]))
    assert numbers == [1, 2, 3]
    assert [(each.line, each.offset, each.length) for each in bad] == [
        (2, len(lines([1])), len(secret)),
        (4, len(lines([1]) + secret + b"\n" + lines([2])), 2),
    ]
    assert "secret" not in "".join(each.problem for each in bad)


@pytest.mark.parametrize("torn_at", [1, 12, 30, 200])
def test_a_torn_line_and_the_one_glued_to_it(torn_at: int) -> None:
    """A Collector that appends after it was killed glues the next request to the torn one: only the torn is lost."""
    torn = line(1)[:torn_at]
    numbers, bad = fed(JSONLines(), torn + lines([2, 3]))
    assert numbers == [2, 3]
    assert [(each.line, each.offset, each.length) for each in bad] == [(1, 0, torn_at)]


def test_a_line_without_its_newline_and_the_next() -> None:
    """Killed between a line and its newline: both requests are whole, and so is a third after a torn one."""
    assert fed(JSONLines(), line(1) + line(2) + b"\n") == ([1, 2], [])
    numbers, bad = fed(JSONLines(), line(1) + line(9)[:70] + line(2) + line(3) + b"\n" + lines([4]))
    assert numbers == [1, 2, 3, 4]
    assert [each.length for each in bad] == [70]


@pytest.mark.parametrize("make", [frames, packed_frames])
@pytest.mark.parametrize("cut", [1, 3, 5, 40, 100])
def test_a_torn_message_and_those_glued_to_it(make: Callable[[Iterable[int]], bytes], cut: int) -> None:
    """After a torn message of protobuf the next whole one is found, and the stretch between is told once."""
    first, torn = make([1]), make([2])[:cut]
    for more in ([3], range(3, 60)):
        content = first + torn + make(more)
        numbers, bad = fed(LengthPrefixed(), *(content[at : at + 97] for at in range(0, len(content), 97)))
        assert numbers == [1, *more]
        assert [(each.offset, each.length) for each in bad] == [(len(first), cut)]


# What a message may end with, in the order of its fields: a cut within it leaves what still looks like a message.
ENDINGS = ["attribute", "bytes", "status", "flags", "scope's schema", "resource's schema"]


def ending_in(number: int, ending: str, text: str, count: int = 1) -> bytes:
    """A request whose last field is this one, with ids like those of real spans."""
    made = request(*range(number, number + count))
    (resource,) = made.resource_spans
    (scope,) = resource.scope_spans
    for span in scope.spans:
        digest = hashlib.sha256(span.span_id).digest()
        span.trace_id, span.span_id = digest[:16], digest[16:24]
    match ending:
        case "attribute":
            span.attributes.add(key="user_agent.original").value.string_value = text
        case "bytes":
            span.attributes.add(key="signature").value.bytes_value = text.encode()
        case "status":
            span.status.message = text
        case "flags":
            span.flags = 0x101
        case "scope's schema":
            scope.schema_url = text
        case "resource's schema":
            resource.schema_url = text
    return made.SerializeToString()


def spans_of(*messages: bytes) -> list[SpanData]:
    """The spans of these messages."""
    return [span for message in messages for scope in decode_protobuf(message) for span in scope.spans]


def spans_fed(made: Framing, blocks: Iterable[bytes]) -> tuple[list[SpanData], list[tuple[int, int]]]:
    """The spans of a file in these blocks; where the messages are that are none, and how long."""
    spans: list[SpanData] = []
    bad: list[tuple[int, int]] = []
    for messages in (*map(made.feed, blocks), made.end()):
        for message in messages:
            try:
                if not message.problem:
                    spans += [span for scope in decode(message) or () for span in scope.spans]
                    continue
            except OTLPDecodeError as error:
                made.reject(message, error.message)
                continue
            bad.append((message.offset, message.length))
    return spans, bad


@pytest.mark.parametrize("make", [bytes, zstd.compress], ids=["as it is", "zstd"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_message_cut_at_any_byte(ending: str, make: Callable[[bytes], bytes]) -> None:
    """The torn one is told, all others are read, and nothing is made of two of them."""
    torn, *others = [ending_in(number, ending, "x" * 40) for number in (1, 2, 3, 4)]
    whole = frame(make(torn))
    for cut in range(1, len(whole)):
        content = whole[:cut] + b"".join(frame(make(each)) for each in others)
        assert spans_fed(LengthPrefixed(), [content]) == (spans_of(*others), [(0, cut)]), cut


@pytest.mark.parametrize("swallowed", [1, 2])
@pytest.mark.parametrize("ending", ["attribute", "bytes", "status", "resource's schema"])
def test_a_torn_message_of_just_the_size_of_those_behind_it(ending: str, swallowed: int) -> None:
    """What is missing of it and what follows are as long as each other: where it should end, another begins."""
    others = [ending_in(number, "flags", "") for number in (2, 3, 4)]
    missing = sum(len(frame(each)) for each in others[:swallowed])
    whole = frame(ending_in(1, ending, "x" * 900))
    content = whole[:-missing] + b"".join(map(frame, others))
    assert spans_fed(LengthPrefixed(), [content]) == (spans_of(*others), [(0, len(whole) - missing)])


def test_a_message_that_holds_another_is_itself() -> None:
    """Text that says what a message says is text, whoever wrote it: nobody makes rows of others by it."""
    forged = frame(ending_in(66, "flags", "")).decode("latin-1").translate(dict.fromkeys(range(128, 256), "A"))
    forged = frame(length_delimited(1, b"\x12" + forged[8:110].encode())).decode()
    for ending in ("attribute", "status", "resource's schema"):
        messages = [ending_in(1, ending, forged), ending_in(2, ending, f"{forged} and more"), ending_in(3, ending, "")]
        for blocks in ([b"".join(map(frame, messages))], list(map(frame, messages))):
            assert spans_fed(LengthPrefixed(), blocks) == (spans_of(*messages), [])


@given(data=st.data())
def test_one_of_many_messages_is_torn(data: st.DataObject) -> None:
    """Every message but the torn one is read, whatever they end with, wherever it is cut and wherever blocks end."""
    shapes = st.tuples(st.sampled_from(ENDINGS), st.text(max_size=60), st.integers(1, 3))
    drawn = data.draw(st.lists(shapes, min_size=2, max_size=6))
    messages = [ending_in(10 * n + 1, ending, text, count) for n, (ending, text, count) in enumerate(drawn)]
    pieces = list(map(frame, messages))
    torn = data.draw(st.integers(0, len(pieces) - 2))
    cut = data.draw(st.integers(1, len(pieces[torn]) - 1))
    start = sum(map(len, pieces[:torn]))
    pieces[torn] = pieces[torn][:cut]
    content = b"".join(pieces)
    # With no more than the length of the next one, and nothing behind it, nobody can tell.
    end = start + len(frame(messages[torn]))
    places = st.integers(0, len(content)).filter(lambda place: place != end or end > start + cut + 4)
    bounds = [0, *sorted(data.draw(st.lists(places, max_size=6))), len(content)]
    blocks = [content[begin:end] for begin, end in itertools.pairwise(bounds)]
    spans, bad = spans_fed(LengthPrefixed(), blocks)
    del messages[torn]
    assert (spans, bad) == (spans_of(*messages), [(start, cut)])


def test_two_torn_messages_in_a_row() -> None:
    """A Collector that was killed twice costs two messages, not three."""
    first, second, *others = [frame(ending_in(number, "resource's schema", "x" * 60)) for number in (1, 2, 3, 4)]
    for cut in range(len(first) - 40, len(first)):
        spans, bad = spans_fed(LengthPrefixed(), [first[:cut] + second[:-9] + b"".join(others)])
        assert spans == spans_of(*(each[4:] for each in others))
        assert sum(length for _, length in bad) == cut + len(second) - 9


def test_the_last_message_is_not_held_back() -> None:
    """A whole one is given before anything follows it, and before what follows it is whole."""
    messages = [ending_in(number, "attribute", "x" * 60) for number in (1, 2, 3)]
    made = LengthPrefixed()
    for message in messages:
        assert [each.data for each in made.feed(frame(message))] == [message]
    for split in range(1, 40):
        made = LengthPrefixed()
        first = made.feed(frame(messages[0]) + frame(messages[1])[:split])
        assert [each.data for each in first] == messages[:1], split
        assert [each.data for each in made.feed(frame(messages[1])[split:])] == messages[1:2]


def test_a_message_that_is_none_is_told_and_the_next_is_found() -> None:
    """A frame of garbage, and a length beyond all bounds, cost only themselves."""
    garbage = frame(b"\x0aBearer secret-of-somebody")
    numbers, bad = fed(LengthPrefixed(), frames([1]) + garbage + frames([2]) + b"\xff\xff\xff\xff" + frames([3]))
    assert numbers == [1, 2, 3]
    assert [each.length for each in bad] == [len(garbage), 4]
    assert "secret" not in "".join(each.problem for each in bad)


def test_a_message_of_many_parts_after_a_torn_one() -> None:
    """A block may end anywhere in it, also within a length: it is found when it is whole."""
    parts = b"".join(request(number, name="x" * 200).SerializeToString() for number in range(1, 101))
    content = frames([200])[:100] + frame(parts) + frames([201])
    for size in range(90, 300, 7):
        numbers, bad = fed(LengthPrefixed(), *(content[at : at + size] for at in range(0, len(content), size)))
        assert numbers == [*range(1, 101), 201]
        assert [(each.offset, each.length) for each in bad] == [(0, 100)]


def test_the_search_for_a_message_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every third byte begins what might be a message, what is read for it does not grow with the file."""
    seen = 0

    def counted(data: bytes, start: int, end: int) -> Iterable[tuple[int, int, int, int]]:
        nonlocal seen
        for field in fields(data, start, end):
            seen += 1
            yield field

    monkeypatch.setattr(length_prefixed, "fields", counted)
    crafted = frame(b"\x0aX") + b"\x0a\x01\x0a" * 40_000
    _, bad = fed(LengthPrefixed(), crafted)
    assert seen < 2 * length_prefixed._CREDIT / length_prefixed._FIELD_COST
    assert [(each.offset, each.length) for each in bad] == [(0, len(crafted))]
    assert fed(LengthPrefixed(), crafted, crafted, bytes(2 << 20), frames([1, 2]), frames([3]))[0] == [1, 2, 3]


def test_messages_within_messages_are_bounded() -> None:
    """Frames that fit and hold nothing are not read again and again: they are given up, the next block is not."""
    hollow = length_delimited(1, b"\xff" * 3)
    nested = b"".join((len(hollow) * (400_000 - each)).to_bytes(4) + hollow for each in range(4000))
    made, length = LengthPrefixed(), 0
    for message in made.feed(frame(b"\x0aX") + nested + hollow * 400_000):
        length += message.length
        if not message.problem:
            made.reject(message, "none")
    assert length < 4 * length_prefixed._CREDIT


@pytest.mark.parametrize("kind", FORMATS)
def test_a_torn_end_is_told(kind: str) -> None:
    """Of a message that was not finished, its beginning and its bytes are told."""
    content = FORMATS[kind]([1, 2, 3])
    start = len(FORMATS[kind]([1, 2]))
    numbers, bad = fed((detect(content) or JSONLines)(), content[:-20])
    assert numbers == [1, 2]
    assert [(each.offset, each.length) for each in bad] == [(start, len(content) - 20 - start)]


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("whole", WHOLE)
def test_reading_goes_on_where_it_was_left(tmp_path: Path, kind: str, whole: str) -> None:
    """A file that has grown is read on, by the same reader or by one that knows the position."""
    path = tmp_path / "file"
    first, all_ = WHOLE[whole](FORMATS[kind]([1, 2])), FORMATS[kind]([1, 2, 3])
    path.write_bytes(first)
    file = OTLPFile(os.open(path, os.O_RDONLY))
    assert told(file.messages(), file.reject) == ([1, 2], [])
    path.write_bytes(first + WHOLE[whole](all_[len(FORMATS[kind]([1, 2])) :]))
    offset, line_number = file.offset, file.line
    assert told(file.messages(), file.reject) == ([3], [])
    os.close(file.fd)
    later = OTLPFile(os.open(path, os.O_RDONLY), offset, line_number)
    assert told(later.messages(), later.reject) == ([3], [])
    assert (later.offset, later.line) == (file.offset, file.line)
    os.close(later.fd)


@pytest.mark.parametrize(
    "content", [b"not ours at all", b'{"name": "a package"}', b"\x7fELF............", b"[]        "]
)
def test_other_files_are_none_of_ours(tmp_path: Path, content: bytes) -> None:
    """What a Collector does not write is told before a line of it is read."""
    with pytest.raises(UnknownFormatError):
        read(tmp_path / "file", content)


def test_empty_and_tiny_files(tmp_path: Path) -> None:
    """Nothing is nothing; a few bytes are the beginning of something."""
    assert read(tmp_path / "file", b"") == ([], [])
    assert read(tmp_path / "file", b"\n\n") == ([], [])
    assert [each.length for each in read(tmp_path / "file", b'{"re')[1]] == [4]


@pytest.mark.parametrize("whole", ["gzip", "zstd"])
def test_damaged_compression(tmp_path: Path, whole: str) -> None:
    """What comes before the damage is told; where the data only ends too early, that is told too."""
    content = WHOLE[whole](lines([1])) + WHOLE[whole](lines([2]))
    numbers, bad = read(tmp_path / "file", content + WHOLE[whole](lines([3]))[:40])
    assert numbers == [1, 2]
    assert "the compressed data ends too early" in [each.problem for each in bad]
    with pytest.raises(OTLPDecodeError, match="cannot be read"):
        read(tmp_path / "file", content + b"no gzip, no zstd")


def test_lines_too_long_are_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line beyond the bound is told with its length, the next one is read."""
    monkeypatch.setattr(framing, "MAX_MESSAGE_BYTES", 4096)
    endless = b"x" * 1000
    numbers, bad = fed(
        JSONLines(), lines([1]), *[endless] * 10, b"\n" + lines([2]), b"y" * 5000 + b"\n", *[endless] * 6
    )
    assert numbers == [1, 2]
    assert [(each.length, each.data) for each in bad] == [(10_000, b""), (5000, b""), (6000, b"")]


def test_what_a_line_has_so_far_is_not_copied() -> None:
    """A line that comes in many small blocks is put together once, where its newline is."""
    made = JSONLines()
    content = lines([1]) + b"{" + b" " * 300_000 + line(2)[1:] + b"\n"
    held = set()
    numbers: list[int] = []
    for at in range(0, len(content), 100):
        numbers += told(made.feed(content[at : at + 100]), made.reject)[0]
        held.add(id(made._rest))
    assert numbers == [1, 2]
    assert len(held) == 1


def test_the_newline_of_the_last_line_may_still_come() -> None:
    """What has been read at the end without it is not read again, whether a newline follows or the next message."""
    for rest in (b"\n" + lines([3]), lines([3])):
        made = JSONLines()
        assert fed(made, lines([1]) + line(2)) == ([1, 2], [])
        assert (made.offset, made.line) == (len(lines([1]) + line(2)), 1)
        assert fed(JSONLines(made.offset, made.line), rest) == ([3], [])


def test_a_large_message_is_not_in_memory_as_a_whole() -> None:
    """Its spans come piece by piece; it is none if one of them is, or if it is made of nothing but beginnings."""
    large = line(*range(1, 4001))
    assert len(large) > 1 << 20
    (message,) = JSONLines().feed(large + b"\n")
    scopes = decode(message)
    assert not isinstance(scopes, list) and scopes is not None
    assert len([span for scope in scopes for span in scope.spans]) == 4000
    assert not isinstance(decode(*LengthPrefixed().feed(frame(zstd.compress(large)))), list)


def test_a_zstd_window_is_bounded(tmp_path: Path) -> None:
    """A frame that wants more than 32 MiB of memory is refused, in a message and as a file."""
    option = zstd.CompressionParameter.window_log
    with zstd.open(tmp_path / "packed", "wb", options={option: 26}) as file:
        for _ in range(40):
            file.write(bytes(1 << 20))
    packed = (tmp_path / "packed").read_bytes()
    with pytest.raises(OTLPDecodeError, match="memory"):
        unpacked(packed)
    with pytest.raises(OTLPDecodeError, match="memory"):
        read(tmp_path / "file", packed)


def test_zstd_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the package, and no extra that brings a server with it."""
    monkeypatch.setattr(decompressors, "zstd", None)
    with pytest.raises(MissingExtraError) as refusal:
        unpacked(zstd.compress(b"x"))
    assert refusal.value.hint == "Run: pip install backports.zstd"


def test_a_message_that_grows_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A little message that decompresses to more than the bound is none, and not held."""
    monkeypatch.setattr(unpacking, "MAX_MESSAGE_BYTES", 4096)
    assert unpacked(zstd.compress(bytes(4096))) == bytes(4096)
    with pytest.raises(OTLPDecodeError, match="longer"):
        unpacked(zstd.compress(bytes(1 << 20)))
    with pytest.raises(OTLPDecodeError, match="end"):
        unpacked(zstd.compress(bytes(100))[:-1])


def test_a_compressed_file_is_unpacked_in_pieces(tmp_path: Path) -> None:
    """A hundred megabytes in a hundred kilobytes are never in memory at once."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = packer.compress(lines([1])) + b"".join(packer.compress(b" " * (1 << 20)) for _ in range(100))
    path = tmp_path / "file"
    path.write_bytes(bomb + packer.compress(b"\n" + lines([2])) + packer.flush())
    file = OTLPFile(os.open(path, os.O_RDONLY))
    held = [len(message.data) for message in file.messages()]
    os.close(file.fd)
    assert max(held) < 1000


@given(st.binary(max_size=300), st.integers(0, 3))
def test_whatever_a_file_says_nothing_breaks(noise: bytes, place: int) -> None:
    """Noise between whole messages is told or ignored; lines before and after it are read."""
    for made, content in ((JSONLines(), lines), (LengthPrefixed(), frames)):
        numbers, _ = fed(made, content([1, 2])[: 10_000 if place else 0], noise, b"\n", content([3]))
        assert set(numbers) <= {1, 2, 3}
        assert not place or numbers[:2] == [1, 2]


def test_the_digest_of_what_is_read_is_the_files(tmp_path: Path) -> None:
    """A file of many blocks loses and repeats no byte."""
    content = lines(range(1, 6000))
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(content, 1))
    file = OTLPFile(os.open(path, os.O_RDONLY))
    digest = hashlib.sha256(b"".join(message.data + b"\n" for message in file.messages()))
    os.close(file.fd)
    assert digest.digest() == hashlib.sha256(content).digest()


def test_an_unknown_request_of_the_right_frame() -> None:
    """The frames of protobuf hold what was sent."""
    (message,) = LengthPrefixed().feed(frame(request(7).SerializeToString()))
    assert (message.data, message.offset, message.line) == (request(7).SerializeToString(), 0, 0)
