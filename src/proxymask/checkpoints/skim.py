"""Walks over a pickle without building anything: where it ends, and which globals it names. Needs no PyTorch."""

from dataclasses import dataclass

from ..errors import ProxymaskError
from .limits import Limits, find_line_end, printable

LEGACY_MAGIC = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")  # the pickled number that an old torch.save begins with

# How the argument of every opcode is stored: a number of bytes, the size of the length before it, or lines of text.
_FIXED = {**dict.fromkeys(b"N)]}.(012tldeuasbRoQ\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x92\x93\x94\x97\x98", 0)}
_FIXED |= {**dict.fromkeys(b"Kqh\x80\x82", 1), **dict.fromkeys(b"M\x83", 2), **dict.fromkeys(b"Jrj\x84", 4), **dict.fromkeys(b"G\x95", 8)}
_COUNTED = {**dict.fromkeys(b"UC\x8a\x8c", 1), **dict.fromkeys(b"TXB\x8b", 4), **dict.fromkeys(b"\x8d\x8e\x96", 8)}
_LINES = {**dict.fromkeys(b"IFLSVPpg", 1), **dict.fromkeys(b"ci", 2)}
_FAR_ENOUGH = 250_000  # opcodes
_TEXT = b"UX\x8c\x8dVS"


@dataclass(frozen=True)
class Skim:
    """What a pickle says of itself.

    Attributes:
        end: the byte after its STOP; None where that was not reached.
        cut: whether the data end before that, in the middle of the pickle.
        names: ``module.name`` of its globals, each once, in order, at most 1,000. Those that a file hides behind its memo in unusual
            ways may be missing: this is for telling files apart, not for trusting them.
    """

    end: int | None
    cut: bool
    names: tuple[str, ...]


def skim(data: memoryview, at: int = 0) -> Skim:
    """Walk over the pickle that begins at byte ``at``.

    Only so far as it takes to tell what it is: a checkpoint with all that goes with it has about 100,000 opcodes.

    Raises:
        ProxymaskError: an unknown opcode (it is no pickle).
    """
    names: dict[str, None] = {}
    texts: list[str] = []  # the last ones that were pushed: STACK_GLOBAL takes two of them
    memo: dict[int, str] = {}
    stored, last = 0, ""  # what MEMOIZE would store
    for _ in range(_FAR_ENOUGH):
        if at >= len(data):
            return Skim(None, True, tuple(names))
        code = data[at]
        at += 1
        pushed = ""
        if code in _FIXED:
            size = _FIXED[code]
            value = int.from_bytes(data[at : at + size], "little")
            at += size
            if code == 0x2E:
                return Skim(at, False, tuple(names))
            if code == 0x94:
                memo[stored], stored = last, stored + 1
            elif code in b"qr":
                memo[value], stored = last, stored + 1
            elif code in b"hj":
                pushed = memo.get(value, "")
            elif code == 0x93 and len(texts) >= 2 and len(names) < 1000:
                names[printable(f"{texts[-2]}.{texts[-1]}", 120)] = None
        elif code in _COUNTED:
            size = int.from_bytes(data[at : at + _COUNTED[code]], "little")
            at += _COUNTED[code]
            if size > len(data) - at:
                return Skim(None, True, tuple(names))
            if code in _TEXT and size <= 512:
                pushed = bytes(data[at : at + size]).decode("utf-8", "replace")
            at += size
        elif code in _LINES:
            lines = []
            for _ in range(_LINES[code]):
                longest = Limits.max_string if code in b"SV" else 512
                end = find_line_end(data, at, longest)
                if end is None:
                    if len(data) - at <= longest:
                        return Skim(None, True, tuple(names))
                    raise ProxymaskError("no pickle: a line in it does not end")
                lines.append(bytes(data[at : min(end, at + 512)]).decode("utf-8", "replace"))
                at = end + 1
            if code in b"ci" and len(names) < 1000:
                names[printable(".".join(lines), 120)] = None
            pushed = lines[0].strip("'\"") if code in _TEXT else ""
            if code == 0x70 and lines[0].isascii() and lines[0].isdecimal() and len(lines[0]) < 10:
                memo[int(lines[0])], stored = last, stored + 1
        else:
            raise ProxymaskError(f"no pickle: byte {at - 1:,} is no opcode")
        if code not in (0x94, *b"qrp"):
            last = pushed
        if pushed:
            texts = [*texts[-1:], pushed]
    return Skim(None, False, tuple(names))
