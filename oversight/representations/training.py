"""Training: one run in its folder, from its settings or its checkpoint to its result."""

import io
import pickle
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from oversight.representations.config import Method, RunConfig
from oversight.representations.data import Images
from oversight.representations.evaluation import evaluate, summarize, uninformed
from oversight.representations.labels import groups_of, label_images
from oversight.representations.losses import correlation, errors, group_weights, l1_norm
from oversight.representations.networks import SplitNetwork, build_network, route_table
from oversight.routing import routing
from oversight.runs.folder import as_read, commit, read_json, replace_file, write_json

RESULT, CHECKPOINT, MODEL = "result.json", "checkpoint.pt", "model.safetensors"
"""The files of a run."""

_WEIGHTS, _LABELS, _BATCHES = 1, 2, 3  # streams of random numbers


def random_stream(seed: int, *stream: int) -> np.random.Generator:
    """Return random numbers that are unrelated to those of other seeds and streams."""
    return np.random.default_rng(np.random.SeedSequence([seed, *stream]))


class _Batch(NamedTuple):
    """Images of a batch, [batch, pixels], their true classes and the groups of their labels."""

    images: Tensor
    classes: Tensor
    labels: Tensor


class Training:
    """A network that is being trained, with its optimizer, its data and the steps so far.

    Attributes:
        network: the network.
        step: number of batches so far.
        history: measurements so far, each with its step.

    Args:
        config: settings of the run.
        method: how gradients are routed.
        seed: seed of the weights, labels and batches.
        images: the data.
    """

    def __init__(self, config: RunConfig, method: Method, seed: int, images: Images) -> None:
        self.config, self.seed = config, seed
        self.images = _on_device(images, config.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(random_stream(seed, _WEIGHTS).integers(2**63)))
            self.network = build_network(config, images.shape).to(config.device)
        drawn = random_stream(seed, _LABELS)
        labels = label_images(images.train_classes, config, method, drawn)
        self.labels = labels.to(config.device)
        self.table = route_table(config, routed=method != "unrouted").to(config.device)
        self.optimizer = torch.optim.Adam(
            self.network.parameters(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=True,
        )
        self.step, self.history = 0, list[dict[str, Any]]()
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.int64)

    @property
    def total_steps(self) -> int:
        """Number of batches of the whole run."""
        return self.config.steps + self.config.certificate_steps

    def advance(self) -> None:
        """Train on the next batch."""
        batch = self._next_batch()
        self.optimizer.zero_grad(set_to_none=True)
        if self.step < self.config.steps:
            self._backward(batch)
        else:
            with torch.no_grad():
                code = self.network.encode(batch.images)
            self._certificate_loss(code, batch).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.step += 1

    def measure(self) -> None:
        """Append the figures of the test images to the history."""
        decoders = evaluate(self.network, self.images, self.config)
        self.history.append({"step": self.step, **summarize(decoders, self.config)})

    def _backward(self, batch: _Batch) -> None:
        """Add the gradients of a batch, of which those of the decoder's errors are routed."""
        config, network = self.config, self.network
        code = network.encode(batch.images)
        loss = self._certificate_loss(code, batch)
        if config.trained_groups is not None:
            groups = torch.tensor(config.trained_groups, device=code.device)
            taught = torch.isin(batch.labels, groups)
            code, batch = code[taught], _Batch(*(each[taught] for each in batch))
        if not len(code):
            loss.backward()  # type: ignore[no-untyped-call]
            return
        with routing(network, self.table, batch.labels):
            each = errors(network.decode(code, batch.labels), *batch[:2], config.task)
            loss = loss + (group_weights(batch.labels, config.parts) * each).sum()
            if any(config.l1):
                loss = loss + l1_norm(code, network.part_sizes, config.l1_weights)
            if config.correlation:
                loss = loss + config.correlation * correlation(code, network.part_sizes)
            loss.backward()  # type: ignore[no-untyped-call]

    def _certificate_loss(self, code: Tensor, batch: _Batch) -> Tensor:
        """Return the errors of all certificates, which measure by the true groups."""
        weights = group_weights(groups_of(batch.classes, self.config), self.config.parts)
        outputs = self.network.certify(code)
        found = [errors(each, batch.images, batch.classes, self.config.task) for each in outputs]
        return (weights * torch.stack(found)).sum()

    def _next_batch(self) -> _Batch:
        """Return the next batch; each epoch has an order of its own.

        The images that are left over from the last whole batch of an epoch are not used in it.
        """
        num, size = len(self.images.train), self.config.batch_size
        epoch, place = divmod(self.step, num // size)
        if epoch != self._epoch:
            order = random_stream(self.seed, _BATCHES, epoch).permutation(num)
            self._epoch, self._order = epoch, torch.from_numpy(order).to(self.config.device)
        rows = self._order[place * size : (place + 1) * size]
        return _Batch(self.images.train[rows], self.images.train_classes[rows], self.labels[rows])

    def get_state(self) -> dict[str, Any]:
        """Return the state as it is stored in a checkpoint."""
        return {
            "step": self.step,
            "history": self.history,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore the state of a checkpoint."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.history = int(state["step"]), list(state["history"])


def _on_device(images: Images, device: str) -> Images:
    names = ("train", "train_classes", "test", "test_classes")
    return replace(images, **{name: getattr(images, name).to(device) for name in names})


def require_batch(config: RunConfig, images: Images) -> None:
    """Raise a ValueError if a batch is larger than the training data."""
    if config.batch_size > len(images.train):
        raise ValueError(
            f"batch_size {config.batch_size} was given for {len(images.train)} training images: "
            "give at most as many"
        )


def run_identity(config: RunConfig, method: Method, seed: int, images: Images) -> dict[str, Any]:
    """Return plain data that determines the result of a run."""
    settings = asdict(replace(config, device="cpu"))
    for name in ("data_dir", "checkpoint_every"):
        del settings[name]
    found = {"method": method, "seed": seed, "settings": settings, "data": images.digest}
    return as_read(found)


def train(
    config: RunConfig,
    method: Method,
    seed: int,
    images: Images,
    folder: Path,
    progress: Callable[[str, float], None] = lambda stage, share: None,
) -> dict[str, Any]:
    """Train a run to its end, from its checkpoint if there is one, and return its result.

    The folder, which must exist, receives checkpoints, the model and the result.

    Args:
        config: settings of the run.
        method: how gradients are routed.
        seed: seed of everything that is drawn.
        images: the data.
        folder: folder of the run.
        progress: function that receives the name of the stage, and the share that is done.

    Raises:
        ValueError: if the checkpoint in the folder is damaged or of another run, or if the network
            has weights that are not finite in the end.
    """
    require_batch(config, images)
    identity = run_identity(config, method, seed, images)
    training = Training(config, method, seed, images)
    seconds = _restore(training, folder / CHECKPOINT, identity)
    start = time.monotonic() - seconds
    while training.step < training.total_steps:
        training.advance()
        progress("training", training.step / training.total_steps)
        if training.step % config.eval_every == 0:
            training.measure()
        if training.step % config.checkpoint_every == 0:
            _store(training, folder / CHECKPOINT, identity, time.monotonic() - start)
    _require_finite(training.network)
    weights = {name: tensor.cpu() for name, tensor in training.network.state_dict().items()}
    replace_file(folder / MODEL, save(weights))
    result = _result(training, identity, time.monotonic() - start)
    write_json(folder / RESULT, result)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return result


def _result(training: Training, identity: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    config, images = training.config, training.images
    decoders = evaluate(training.network, images, config)
    return {
        **identity,
        "source": images.source,
        "seconds": seconds,
        "commit": commit(),
        "summary": summarize(decoders, config),
        "decoders": decoders,
        "uninformed": uninformed(images, config),
        "history": training.history,
    }


def _store(training: Training, path: Path, identity: Mapping[str, Any], seconds: float) -> None:
    content = io.BytesIO()
    state = {"identity": identity, "seconds": seconds, **training.get_state()}
    torch.save(state, content)
    replace_file(path, content.getvalue())


def _restore(training: Training, path: Path, identity: Mapping[str, Any]) -> float:
    """Restore a checkpoint, if there is one, and return the seconds that the run took until then.

    Raises:
        ValueError: if it is damaged, or of another run.
    """
    if not path.exists():
        return 0.0
    try:
        state = torch.load(path, map_location=training.config.device, weights_only=True)
        if state["identity"] != identity:
            raise ValueError("it is of a run with other settings or data")
        training.set_state(state)
        return float(state["seconds"])
    except (ValueError, KeyError, TypeError, RuntimeError, EOFError, pickle.PickleError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{path} cannot be resumed ({reason}): remove it to train this run again"
        ) from error


def _require_finite(network: nn.Module) -> None:
    if not all(parameter.isfinite().all() for parameter in network.parameters()):
        raise ValueError(
            "training diverged: the network has weights that are not finite; lower --learning-rate"
        )


def load_network(folder: Path, config: RunConfig, shape: tuple[int, int]) -> SplitNetwork:
    """Return the trained network of a finished run, on the CPU.

    Args:
        folder: folder of the run.
        config: settings of the run.
        shape: height and width of an image.
    """
    network = build_network(config, shape)
    network.load_state_dict(load_file(folder / MODEL))
    return network.eval()


def read_result(folder: Path, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the result of a finished run, or None if it is not finished.

    Raises:
        ValueError: if the result is of a run with other settings or data.
    """
    if not (folder / RESULT).exists():
        return None
    result = read_json(folder / RESULT)
    if {name: result.get(name) for name in identity} != dict(identity):
        raise ValueError(
            f"{folder / RESULT} is of a run with other settings or data: resume with those of the "
            "study, or start a new one in another folder"
        )
    return result
