"""The stack machine that a pickle is a program for: its input, its stack, its memo. :mod:`.opcodes` runs on it.

Same terms as ``pickle._Unpickler``: ``stack``, ``metastack``, ``memo``, ``pop_mark``, ``find_class``, ``persistent_load``.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from ...core.errors import ProxymaskError
from . import rebuild_numpy, rebuild_nvidia
from .allowlist import RECONSTRUCTORS, is_understood
from .context import PickleContext, ReadContext
from .inert import Global, InertObject, UnfinishedArray
from .known_names import MODULE_ALIASES, TF_NETWORK, TORCH_DTYPES
from .messages import BROKEN_DOWNLOAD, MALICIOUS
from .scan import MAX_NAME_BYTES, find_line_end

PersistentLoad = Callable[[object], object]

UNCOPIED_BYTES = 64 * 1024  # from this size on, bytes are views of the file instead of copies
MAX_UNKNOWN_GLOBALS = 10_000


class StackMachine(PickleContext):
    """State of one pickle while it runs.

    Args:
        data: the bytes that it lies in.
        file: what it shares with other pickles of its file.
        position: of its first byte.
        persistent_load: gives the object for a persistent id; where None, such ids are refused.

    Attributes:
        stack: the stack above the last MARK.
        metastack: the stacks below each MARK.
        memo: objects by the index that PUT gave them.
    """

    def __init__(self, data: memoryview, file: ReadContext, position: int = 0, persistent_load: PersistentLoad | None = None) -> None:
        super().__init__(data, file, position)
        self.persistent_load = persistent_load
        self.stack: list[Any] = []
        self.metastack: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    # Input

    def truncated(self) -> ProxymaskError:
        return ProxymaskError(f"the file ends in the middle of its contents (at byte {len(self.data):,}), {BROKEN_DOWNLOAD}")

    def read(self, count: int) -> memoryview:
        start = self.position
        if count > len(self.data) - start:
            raise self.truncated()
        self.position = start + count
        return self.data[start : start + count]

    def read_uint(self, size: int) -> int:
        """An unsigned integer of ``size`` bytes."""
        return int.from_bytes(self.read(size), "little")

    def read_line(self, longest: int = MAX_NAME_BYTES) -> bytes:
        start, end = self.position, find_line_end(self.data, self.position, longest)
        if end is None:
            if len(self.data) - start <= longest:
                raise self.truncated()
            raise self.damaged(f"a line is longer than {longest:,} bytes")
        self.position = end + 1
        return bytes(self.data[start:end]).removesuffix(b"\r")

    def read_text(self, size: int) -> str:
        longest = self.budget.limits.max_string_bytes
        if size > longest:
            if size > len(self.data) - self.position:
                raise self.truncated()
            raise ProxymaskError(f"a string takes {size:,} bytes, more than {longest:,}: {MALICIOUS}")
        return str(self.read(size), "utf-8", "surrogatepass")

    def read_bytes(self, size: int) -> bytes | memoryview:
        """A copy; from 64 KiB on a view of the file."""
        found = self.read(size)
        return found if size >= UNCOPIED_BYTES else bytes(found)

    # Stack and memo

    def pop_mark(self) -> list[Any]:
        """The items above the last MARK."""
        items = self.stack
        self.stack = self.metastack.pop()
        return items

    def put(self, index: int) -> None:
        """Keep the top of the stack in the memo."""
        value = self.stack[-1]
        self.memo[index] = value
        if len(self.memo) > self.budget.limits.max_memo:
            raise ProxymaskError(f"its memo has more than {self.budget.limits.max_memo:,} entries: {MALICIOUS}")
        if type(value) is UnfinishedArray:
            value.memo.append(index)

    # Containers on top of the stack

    def set_items(self, items: list[Any]) -> None:
        """SETITEMS: ``items`` are key, value, key, value and so on."""
        if len(items) % 2:
            raise self.damaged("a dict has a key without a value")
        target = self.stack[-1]
        if type(target) is InertObject:
            if target.entries is None:
                target.entries = {}
            target = target.entries
        elif not isinstance(target, dict):
            raise self.damaged("an entry is set in what is no dict")
        for i in range(0, len(items), 2):
            target[self.hashable(items[i])] = items[i + 1]

    def append(self, items: list[Any]) -> None:
        """APPENDS."""
        target = self.stack[-1]
        if type(target) is InertObject:
            if target.items is None:
                target.items = []
            target = target.items
        elif type(target) is not list:
            raise self.damaged("an item is appended to what is no list")
        target.extend(items)

    # Globals and calls

    def find_class(self, module: Any, name: Any) -> Any:
        """What a global stands for: a torch dtype, or the inert name itself."""
        if type(module) is not str or type(name) is not str:
            raise self.damaged("a global is named by what is no text")
        if len(module) > MAX_NAME_BYTES or len(name) > MAX_NAME_BYTES:
            raise self.damaged(f"a global's name is longer than {MAX_NAME_BYTES} characters")
        if module == "torch" and name in TORCH_DTYPES:
            return TORCH_DTYPES[name]
        found = Global(MODULE_ALIASES.get(module, module), name)
        if not is_understood(found):
            self.report.count_unknown(found.qualified, made=0)
            if len(self.report.unknown) > MAX_UNKNOWN_GLOBALS:
                raise ProxymaskError(f"it names more than {MAX_UNKNOWN_GLOBALS:,} globals that are not understood: {MALICIOUS}")
        return found

    def reduce(self, called: Any, args: Any) -> Any:
        """REDUCE: ``called(*args)`` by the function that stands in for it, or an inert object."""
        if type(args) is not tuple:
            raise self.damaged("a call has no tuple of arguments")
        run = RECONSTRUCTORS.get((called.module, called.name)) if isinstance(called, Global) else None
        return self.inert(called, args) if run is None else run(self, called, args)

    def build(self, state: Any) -> None:
        """BUILD: set the state of the object on top of the stack."""
        target = self.stack[-1]
        kind = type(target)
        if kind is InertObject:
            is_network = (target.module, target.name) == TF_NETWORK
            target.state = rebuild_nvidia.tensorflow_state(self, state) if is_network else state
        elif kind is UnfinishedArray:
            self._finish_array(target, state)
        elif kind is dict:  # an EasyDict, whose attributes are its entries
            attributes = state[1] if type(state) is tuple and len(state) == 2 and state[0] is None else state
            if not isinstance(attributes, dict):
                raise self.damaged("the state of a dict is no dict")
            self.budget.charge_steps(len(attributes))
            target.update(attributes)
        elif kind is not OrderedDict:  # whose attributes (torch's _metadata) are not needed
            raise self.damaged(f"it sets the state of a {kind.__name__}, which has none")

    def _finish_array(self, target: UnfinishedArray, state: Any) -> None:
        """Put the finished array or dtype where the unfinished one is: on top of the stack and in the memo."""
        if target.dtype is not None:
            value: Any = rebuild_numpy.finish_dtype(self, target.dtype, state)
        else:
            value = rebuild_numpy.finish_array(self, state)
        self.stack[-1] = value
        for index in target.memo:
            if self.memo.get(index) is target:
                self.memo[index] = value
