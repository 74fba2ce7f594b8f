"""The events of a run as TensorBoard reads them."""

from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def events(folder: Path) -> EventAccumulator:
    """Return all events of a run, without TensorBoard's sampling."""
    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0})
    accumulator.Reload()
    return accumulator


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return the points of every curve that does not depend on the clock, (step, value)."""
    read = events(folder)
    tags = read.Tags()["scalars"]
    return {
        tag: [(event.step, event.value) for event in read.Scalars(tag)]
        for tag in tags
        if not tag.startswith("time/")
    }
