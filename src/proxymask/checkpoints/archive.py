"""The zip that ``torch.save`` writes, and nothing more of the format than it needs: entries stored or deflated, one disk, no encryption.

The directory is checked before anything is unpacked: entries must have different names, may not overlap and may not unpack to much
more than the file's size, so the known zip bombs fail at once. An entry is checked against its checksum when it is read.
"""

import re
import struct
import zlib
from dataclasses import dataclass
from itertools import pairwise

from ..errors import ProxymaskError
from .limits import MIB, Budget, megabytes, printable

_END = struct.Struct("<4s4H2LH")  # signature, 2 disk numbers, 2 counts, directory's size and place, comment's length
_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_FREE = 16 * MIB  # contents up to this size pass whatever the ratio


@dataclass(frozen=True, slots=True)
class _Entry:
    header: int
    packed: int
    size: int
    checksum: int
    deflated: bool


class Archive:
    """A zip in memory.

    Args:
        data: the whole file.
        budget: pays for what is unpacked.

    Raises:
        ProxymaskError: truncated, damaged, or a bomb.
    """

    def __init__(self, data: memoryview, budget: Budget) -> None:
        self._data = data
        self._budget = budget
        self._entries: dict[str, _Entry] = {}
        count, size, at = self._directory()
        limits = budget.limits
        if count > limits.max_entries:
            raise ProxymaskError(f"the zip has {count:,} entries, more than {limits.max_entries:,}")
        end = at + size
        for _ in range(count):
            at = self._read_entry(at, end)
        unpacked = sum(entry.size for entry in self._entries.values())
        if unpacked > limits.max_ratio * len(data) + _FREE:
            raise ProxymaskError(f"the zip of {megabytes(len(data))} says it unpacks to {megabytes(unpacked)}: it is a bomb, or damaged")
        spans = sorted((entry.header, entry.header + _LOCAL.size + entry.packed) for entry in self._entries.values())
        if any(first[1] > second[0] for first, second in pairwise(spans)):
            raise ProxymaskError("entries of the zip overlap: it is a bomb, or damaged")

    @property
    def names(self) -> list[str]:
        """Of all entries, in the directory's order."""
        return list(self._entries)

    def size(self, name: str) -> int:
        """Bytes of the entry ``name`` once unpacked."""
        return self._entries[name].size

    def read(self, name: str) -> memoryview:
        """The bytes of an entry: shown where they are stored, unpacked where they are deflated. Not there: KeyError."""
        entry, data = self._entries[name], self._data
        try:
            signature, _, _, _, _, _, _, _, _, name_length, extra = _LOCAL.unpack_from(data, entry.header)
        except struct.error:
            raise self._damaged() from None
        at = entry.header + _LOCAL.size + name_length + extra
        if signature != b"PK\3\4" or at + entry.packed > len(data):
            raise self._damaged()
        found = data[at : at + entry.packed]
        if entry.deflated:
            self._budget.take_bytes(entry.size)
            unpacker = zlib.decompressobj(-15)
            try:
                unpacked = unpacker.decompress(found, entry.size + 1)
            except zlib.error:
                raise self._damaged() from None
            found = memoryview(unpacked)
        if len(found) != entry.size or zlib.crc32(found) != entry.checksum:
            raise ProxymaskError(f"the part {printable(name)} of the file does not have its checksum: the file is damaged, get it again")
        return found

    def _damaged(self) -> ProxymaskError:
        return ProxymaskError("the zip's directory does not fit its contents: the file is damaged, get it again")

    def _directory(self) -> tuple[int, int, int]:
        """Number of entries, bytes and place of the central directory."""
        data = self._data
        tail = bytes(data[-(_END.size + 65535) :])
        found = tail.rfind(b"PK\5\6")
        if found < 0 or len(tail) - found < _END.size:
            raise ProxymaskError("the file ends before the directory of its zip, a broken download: get it again")
        end = len(data) - len(tail) + found
        _, disk, first_disk, _, count, size, at, _ = _END.unpack_from(data, end)
        if (count == 0xFFFF or size == 0xFFFFFFFF or at == 0xFFFFFFFF) and end >= _LOCATOR.size:
            signature, _, end64, _ = _LOCATOR.unpack_from(data, end - _LOCATOR.size)
            if signature != b"PK\6\7" or end64 > len(data) - _END64.size:
                raise self._damaged()
            signature, _, _, _, disk, first_disk, _, count, size, at = _END64.unpack_from(data, end64)
            if signature != b"PK\6\6":
                raise self._damaged()
        if disk or first_disk or at + size > end or size < count * _CENTRAL.size:
            raise self._damaged()
        return count, size, at

    def _read_entry(self, at: int, end: int) -> int:
        data = self._data
        if at + _CENTRAL.size > end:
            raise self._damaged()
        fields = _CENTRAL.unpack_from(data, at)
        signature, flags, method = fields[0], fields[3], fields[4]
        checksum, packed, size, name_length, extra_length, comment = fields[7:13]
        header = fields[16]
        at += _CENTRAL.size
        following = at + name_length + extra_length + comment
        if signature != b"PK\1\2" or following > end:
            raise self._damaged()
        name = bytes(data[at : at + name_length]).decode("utf-8", "replace")
        extra = bytes(data[at + name_length : at + name_length + extra_length])
        size, packed, header = self._wide(extra, size, packed, header)
        shown = printable(name)
        if name.startswith("/") or "\\" in name or "\0" in name or ":" in name or re.search(r"(^|/)\.\.(/|$)", name):
            raise ProxymaskError(f"the zip has an entry that points outside of it ({shown}): the file is malicious")
        if name in self._entries:
            raise ProxymaskError(f"the zip has two entries {shown}: the file is damaged or malicious")
        if flags & 1 or method not in (0, 8):
            raise ProxymaskError(f"the zip's entry {shown} is encrypted or packed in a way that torch.save does not use: unpack it first")
        if header + _LOCAL.size + packed > len(data) or (method == 0 and packed != size):
            raise self._damaged()
        self._entries[name] = _Entry(header, packed, size, checksum, method == 8)
        return following

    def _wide(self, extra: bytes, size: int, packed: int, header: int) -> tuple[int, int, int]:
        """64-bit values out of the extra field, for those that do not fit 32."""
        at, wide = 0, []
        while at + 4 <= len(extra):
            kind, length = struct.unpack_from("<2H", extra, at)
            at += 4
            if kind == 1 and at + length <= len(extra):
                wide = list(struct.unpack_from(f"<{length // 8}Q", extra, at))
            at += length
        values = []
        for value in (size, packed, header):
            if value == 0xFFFFFFFF:
                if not wide:
                    raise self._damaged()
                value = wide.pop(0)
            values.append(value)
        return values[0], values[1], values[2]
