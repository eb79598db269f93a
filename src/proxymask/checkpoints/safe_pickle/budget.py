"""What reading a file of unknown origin may cost: :class:`Limits` are the bounds, :class:`Budget` is what is left of them."""

from dataclasses import dataclass

from ...core.errors import ProxymaskError
from .messages import MALICIOUS, megabytes

MIB = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """Bounds on one file. The defaults take every StyleGAN2 checkpoint with room to spare.

    A 1024x1024 checkpoint with both networks and their optimisers has about 2,000 tensors, 100,000 opcodes and 20 levels of containers.

    Attributes:
        max_bytes: of all tensors, arrays and copies together; None is four times the file's size and 64 MiB.
        max_elements: in one tensor or array, and in one of its dimensions.
        max_opcodes: of all pickles in the file, nested ones included.
        max_objects: tensors, arrays and inert objects; plain containers do not count.
        max_depth: levels of containers in containers.
        max_memo: entries in the memo of one pickle.
        max_string_bytes: of one string.
        max_int_bytes: of one integer.
        max_nested_pickles: levels of pickles in pickles (a storage in an NVIDIA pickle is at level 1).
        max_unusual_keys: keys of dicts that are neither text nor small integers, in all pickles of the file.
        max_zip_entries: files in all zips of the file.
        max_zip_ratio: how many times larger than the zip its contents may be (on top of 16 MiB).
    """

    max_bytes: int | None = None
    max_elements: int = 2**30
    max_opcodes: int = 1_000_000
    max_objects: int = 100_000
    max_depth: int = 200
    max_memo: int = 1_000_000
    max_string_bytes: int = 16 * MIB
    max_int_bytes: int = 1024
    max_nested_pickles: int = 4
    max_unusual_keys: int = 10_000
    max_zip_entries: int = 50_000
    max_zip_ratio: int = 20


DEFAULT_LIMITS = Limits()


class Budget:
    """What is left of the :class:`Limits` while one file is being read. Pickles nested in the file share it.

    Every ``charge_*`` method raises :class:`ProxymaskError` when the limit is passed.
    """

    def __init__(self, limits: Limits, file_bytes: int) -> None:
        self.limits = limits
        self.max_bytes = 4 * file_bytes + 64 * MIB if limits.max_bytes is None else limits.max_bytes
        self.bytes_left = self.view_bytes_left = self.max_bytes
        self.opcodes_left = limits.max_opcodes
        self.objects_left = limits.max_objects
        self.unusual_keys_left = limits.max_unusual_keys
        self.zip_entries_left = limits.max_zip_entries

    def charge_bytes(self, count: int) -> None:
        """For ``count`` bytes of storage or of a copy."""
        self.bytes_left -= count
        if self.bytes_left < 0:
            raise ProxymaskError(f"its tensors and copies take more than {megabytes(self.max_bytes)}, too much for its size: {MALICIOUS}")

    def charge_view(self, count: int) -> None:
        """For a tensor of ``count`` bytes that is a view of a storage. A view takes no memory, but a later copy of it does."""
        self.view_bytes_left -= count
        if self.view_bytes_left < 0:
            raise ProxymaskError(f"its tensors show more than {megabytes(self.max_bytes)}, many times what is stored: {MALICIOUS}")

    def charge_steps(self, count: int) -> None:
        """For an opcode that handles ``count`` elements, which counts like ``count`` opcodes."""
        self.opcodes_left -= count
        if self.opcodes_left < 0:
            raise ProxymaskError(f"it takes more than {self.limits.max_opcodes:,} steps to read, far more than a checkpoint: {MALICIOUS}")

    def charge_object(self) -> None:
        """For one tensor, array or inert object."""
        self.objects_left -= 1
        if self.objects_left < 0:
            raise ProxymaskError(f"it holds more than {self.limits.max_objects:,} objects, far more than a checkpoint: {MALICIOUS}")

    def charge_unusual_key(self) -> None:
        """For a key of a dict or a set that is neither text nor a small integer: such keys can be made to collide."""
        self.unusual_keys_left -= 1
        if self.unusual_keys_left < 0:
            most = self.limits.max_unusual_keys
            raise ProxymaskError(f"it has more than {most:,} dict keys that are neither text nor small numbers: {MALICIOUS}")

    def charge_zip_entries(self, count: int) -> None:
        """For the entries of a zip."""
        self.zip_entries_left -= count
        if self.zip_entries_left < 0:
            raise ProxymaskError(f"its zip has more than {self.limits.max_zip_entries:,} entries: no checkpoint has so many")
