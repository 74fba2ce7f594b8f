"""The events of a run as TensorBoard reads them."""

from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def learner_log(folder: Path) -> Path:
    """Return the folder of the only log of a run: that of the learner, above those of policies."""
    (log,) = (folder / "tensorboard").iterdir()
    return log


def events(log: Path) -> EventAccumulator:
    """Return all events of a log, without TensorBoard's sampling."""
    accumulator = EventAccumulator(str(log), size_guidance={"scalars": 0, "images": 0})
    accumulator.Reload()
    return accumulator


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return the points of every curve that does not depend on the clock, (step, value).

    The tags of a policy are below its name, such as `proxy/eval/true_return`.
    """
    log = learner_log(folder)
    logs = {"": log, **{f"{path.name}/": path for path in sorted(log.iterdir()) if path.is_dir()}}
    return {
        prefix + tag: [(event.step, event.value) for event in read.Scalars(tag)]
        for prefix, read in ((prefix, events(path)) for prefix, path in logs.items())
        for tag in read.Tags()["scalars"]
        if not tag.startswith("time/")
    }
