"""What the owner of a store answers to people's requests, and that it knows all of them."""

import inspect
import re

from kos_runtime.composition import commands


def test_every_request_that_is_a_command_is_passed_on_by_the_owner() -> None:
    assert set(re.findall(r'case "(\w+)"', inspect.getsource(commands.command_of))) == commands.OPERATIONS
