"""Runs a pickle on the :class:`~.stack_machine.StackMachine` to its end."""

from typing import Any

from ...core.errors import ProxymaskError
from .messages import DAMAGED
from .opcodes import DISPATCH, STOP
from .stack_machine import StackMachine


def run_pickle(machine: StackMachine) -> Any:
    """Run the pickle from ``machine.position`` to its STOP opcode; returns the top of the stack.

    ``machine.position`` is then after the pickle. The result is still to be checked by :func:`~.checks.check_result`.

    Raises:
        ProxymaskError: damaged, truncated, over a limit, or not a pickle.
    """
    start, data, end, budget = machine.position, machine.data, len(machine.data), machine.budget
    try:
        while True:
            if machine.position >= end:
                raise machine.truncated()
            code = data[machine.position]
            machine.position += 1
            budget.opcodes_left -= 1
            if budget.opcodes_left < 0:
                budget.charge_steps(0)
            if code == STOP:
                return machine.stack.pop()
            run = DISPATCH[code]
            if run is None:
                raise ProxymaskError(f"byte {machine.position - 1:,} is no pickle opcode (0x{code:02x}): no pickle, or {DAMAGED}")
            run(machine)
    except ProxymaskError:
        raise
    except Exception as error:  # the many ways in which a damaged pickle can fail are one to its user
        problem = f"near byte {machine.position:,} ({type(error).__name__})"
        raise ProxymaskError(f"the pickle that begins at byte {start:,} is damaged {problem}: get the file again") from None
