"""The zip that ``torch.save`` writes: entries stored or deflated, one disk, no encryption.

Source of the format: PKWARE's APPNOTE.TXT, sections 4.3 and 4.5.3 (zip64). The central directory is checked before anything is
unpacked: entry names are unique and stay inside, entries do not overlap, and their contents are not much larger than the file, so
that the known zip bombs are refused at once. Each entry is checked against its CRC-32 when it is read.
"""

import re
import struct
import zlib
from dataclasses import dataclass
from itertools import pairwise

from ...core.errors import ProxymaskError
from .budget import MIB, Budget
from .messages import BROKEN_DOWNLOAD, DAMAGED, MALICIOUS, megabytes, printable

_END = struct.Struct("<4s4H2LH")  # signature, 2 disk numbers, 2 entry counts, directory size and offset, comment length
_ZIP64_LOCATOR = struct.Struct("<4sLQL")
_ZIP64_END = struct.Struct("<4sQ2H2L4Q")
_CENTRAL_HEADER = struct.Struct("<4s6H3L5H2L")
_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_STORED, _DEFLATED = 0, 8  # compression methods
_ALWAYS_ALLOWED = 16 * MIB  # contents up to this size pass whatever their ratio


@dataclass(frozen=True, slots=True)
class _Entry:
    """One entry of the central directory: where its local header is, its sizes in bytes, its CRC-32."""

    header: int
    packed: int
    size: int
    checksum: int
    deflated: bool


class ZipArchive:
    """A zip in memory.

    Args:
        data: the whole file.
        budget: is charged for what is unpacked.

    Raises:
        ProxymaskError: truncated, damaged, or a zip bomb.
    """

    def __init__(self, data: memoryview, budget: Budget) -> None:
        self._data = data
        self._budget = budget
        self._entries: dict[str, _Entry] = {}
        count, size, position = self._find_directory()
        limits = budget.limits
        budget.charge_zip_entries(count)
        end = position + size
        for _ in range(count):
            position = self._read_directory_entry(position, end)
        unpacked = sum(entry.size for entry in self._entries.values())
        if unpacked > limits.max_zip_ratio * len(data) + _ALWAYS_ALLOWED:
            raise ProxymaskError(f"the zip of {megabytes(len(data))} unpacks to {megabytes(unpacked)}, a zip bomb: {MALICIOUS}")
        spans = sorted((entry.header, entry.header + _LOCAL_HEADER.size + entry.packed) for entry in self._entries.values())
        if any(first[1] > second[0] for first, second in pairwise(spans)):
            raise ProxymaskError(f"entries of the zip overlap, as in a zip bomb: {MALICIOUS}")

    @property
    def names(self) -> list[str]:
        """Of all entries, in the directory's order."""
        return list(self._entries)

    def size(self, name: str) -> int:
        """Bytes of the entry ``name`` once unpacked. No such entry: KeyError."""
        return self._entries[name].size

    def read(self, name: str) -> memoryview:
        """The bytes of an entry: a view of the file where it is stored, a copy where it is deflated. No such entry: KeyError."""
        entry, data = self._entries[name], self._data
        try:
            signature, _, _, _, _, _, _, _, _, name_length, extra = _LOCAL_HEADER.unpack_from(data, entry.header)
        except struct.error:
            raise _damaged() from None
        start = entry.header + _LOCAL_HEADER.size + name_length + extra
        if signature != b"PK\3\4" or start + entry.packed > len(data):
            raise _damaged()
        contents = data[start : start + entry.packed]
        if entry.deflated:
            self._budget.charge_bytes(entry.size)
            try:
                contents = memoryview(zlib.decompressobj(-15).decompress(contents, entry.size + 1))
            except zlib.error:
                raise _damaged() from None
        if len(contents) != entry.size or zlib.crc32(contents) != entry.checksum:
            raise ProxymaskError(f"the entry {printable(name)} of the zip does not match its checksum: {DAMAGED}")
        return contents

    def _find_directory(self) -> tuple[int, int, int]:
        """Number of entries, bytes and offset of the central directory."""
        data = self._data
        tail = bytes(data[-(_END.size + 65535) :])
        found = tail.rfind(b"PK\5\6")
        if found < 0 or len(tail) - found < _END.size:
            raise ProxymaskError(f"the file ends before the directory of its zip, {BROKEN_DOWNLOAD}")
        end = len(data) - len(tail) + found
        _, disk, first_disk, _, count, size, offset, _ = _END.unpack_from(data, end)
        if (count == 0xFFFF or size == 0xFFFFFFFF or offset == 0xFFFFFFFF) and end >= _ZIP64_LOCATOR.size:
            signature, _, zip64_end, _ = _ZIP64_LOCATOR.unpack_from(data, end - _ZIP64_LOCATOR.size)
            if signature != b"PK\6\7" or zip64_end > len(data) - _ZIP64_END.size:
                raise _damaged()
            signature, _, _, _, disk, first_disk, _, count, size, offset = _ZIP64_END.unpack_from(data, zip64_end)
            if signature != b"PK\6\6":
                raise _damaged()
        if disk or first_disk or offset + size > end or size < count * _CENTRAL_HEADER.size:
            raise _damaged()
        return count, size, offset

    def _read_directory_entry(self, position: int, end: int) -> int:
        """Check and keep the entry at ``position``; returns where the next one begins."""
        data = self._data
        if position + _CENTRAL_HEADER.size > end:
            raise _damaged()
        fields = _CENTRAL_HEADER.unpack_from(data, position)
        signature, flags, method = fields[0], fields[3], fields[4]
        checksum, packed, size, name_length, extra_length, comment_length = fields[7:13]
        name_start = position + _CENTRAL_HEADER.size
        extra_start = name_start + name_length
        following = extra_start + extra_length + comment_length
        if signature != b"PK\1\2" or following > end:
            raise _damaged()
        name = bytes(data[name_start:extra_start]).decode("utf-8", "replace")
        extra = bytes(data[extra_start : extra_start + extra_length])
        size, packed, header = _zip64_values(extra, (size, packed, fields[16]))
        self._check_name(name)
        if flags & 1 or method not in (_STORED, _DEFLATED):
            raise ProxymaskError(
                f"the zip's entry {printable(name)} is encrypted, or packed in a way that torch.save does not use: unpack it first"
            )
        if header + _LOCAL_HEADER.size + packed > len(data) or (method == _STORED and packed != size):
            raise _damaged()
        self._entries[name] = _Entry(header, packed, size, checksum, method == _DEFLATED)
        return following

    def _check_name(self, name: str) -> None:
        if name.startswith("/") or "\\" in name or "\0" in name or ":" in name or re.search(r"(^|/)\.\.(/|$)", name):
            raise ProxymaskError(f"the zip has an entry that points outside of it ({printable(name)}): it is malicious, do not use it")
        if name in self._entries:
            raise ProxymaskError(f"the zip has two entries {printable(name)}: {MALICIOUS}")


def _damaged() -> ProxymaskError:
    return ProxymaskError(f"the zip's directory does not match its contents: {DAMAGED}")


def _zip64_values(extra: bytes, values: tuple[int, int, int]) -> tuple[int, int, int]:
    """``values`` (size, packed size, header offset), those that do not fit 32 bits taken from the zip64 extra field."""
    position, wide = 0, []
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, position)
        position += 4
        if kind == 1 and position + length <= len(extra):
            wide = list(struct.unpack_from(f"<{length // 8}Q", extra, position))
        position += length
    found = []
    for value in values:
        if value == 0xFFFFFFFF:
            if not wide:
                raise _damaged()
            value = wide.pop(0)
        found.append(value)
    return found[0], found[1], found[2]
