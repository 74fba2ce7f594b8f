"""A method of a user's own, in a module that commands import by name."""

from dataclasses import replace

from agents.methods import METHODS

CAUTIOUS = replace(METHODS["uds"], name="cautious", summary="It is `uds` under another name.")
