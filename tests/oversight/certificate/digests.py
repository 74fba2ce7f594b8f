"""Whether two values differ, as traces see it."""

from oversight.certificate.certificate import Trace


def traced(*values: object) -> Trace:
    """Return the trace of values in one channel, one at each step."""
    trace = Trace()
    for step, value in enumerate(values):
        trace.note("channel", step, f"value {step}", value)
    return trace


def differ(one: object, other: object) -> bool:
    """Whether the digests of two values are different ones."""
    return traced(one).difference(traced(other), "channel") is not None
