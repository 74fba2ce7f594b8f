"""Traces of values, to tell whether two values have different digests."""

from oversight.certificate.recording import Trace


def trace_of(*values: object) -> Trace:
    """Return a trace with these values in one channel, one at each step."""
    trace = Trace()
    for step, value in enumerate(values):
        trace.add("channel", step, f"value {step}", value)
    return trace


def differ(one: object, other: object) -> bool:
    """Return whether two values have different digests."""
    return trace_of(one).difference(trace_of(other), "channel") is not None
