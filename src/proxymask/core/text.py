"""Text out of a file, made safe to print."""

import os
import re
import shlex


def printable(text: str, longest: int = 80) -> str:
    """``text`` as printable ASCII (other characters become ``?``), at most ``longest`` characters."""
    safe = re.sub(r"[^\x20-\x7e]", "?", text[: longest + 1])
    return safe if len(safe) <= longest else safe[: longest - 3] + "..."


def without_controls(text: str, longest: int = 2000) -> str:
    """``text`` in its own script, without characters that steer a terminal or the direction of text (they become ``?``)."""
    return "".join(character if character.isprintable() else "?" for character in text[:longest])


def counted(number: int, noun: str) -> str:
    """``1 picture``, ``2,031 pictures``; ``noun`` in the singular, with a plural in s, or in es after ch."""
    ending = "es" if noun.endswith("ch") else "s"
    return f"{number:,} {noun}" + ("" if number == 1 else ending)


def shell_word(word: object) -> str:
    """A word of a command, quoted for a shell; one with characters that cannot be shown, or bytes that are no text, as ``$'...'``, which
    bash, zsh and ksh read."""
    text = str(word)
    if text.isprintable():
        return shlex.quote(text)
    shown = "".join(chr(byte) if 32 <= byte < 127 and chr(byte) not in "'\\" else f"\\x{byte:02x}" for byte in os.fsencode(text))
    return f"$'{shown}'"
