"""A run's model as a folder that transformers loads with no code of ours."""

import shutil
from pathlib import Path

from lm.experiment.config import UnlearnConfig
from lm.hf.contraction import contract
from lm.hf.loading import load_tokenizer
from lm.hf.model import RoutedCausalLM

PLAIN = "plain"
"""The folder's name, within that of the run."""


def export(config: UnlearnConfig, model: RoutedCausalLM, folder: Path) -> None:
    """Write a model and its tokenizer as `save_pretrained` does, unless that is done.

    The folder gets its name when it is whole.

    Args:
        config: of the run, with a pretrained model.
        model: to write, on any device.
        folder: of the run.

    Raises:
        ValueError: if it cannot be written, or the tokenizer is no longer there.
    """
    path, draft = folder / PLAIN, folder / f".{PLAIN}"
    if path.exists():
        return
    assert config.model is not None
    shutil.rmtree(draft, ignore_errors=True)  # what a kill has left
    try:
        contract(model).save_pretrained(draft)
        load_tokenizer(config.model, config.gguf_file).save_pretrained(draft)
        draft.rename(path)
    except OSError as error:
        raise ValueError(f"{path} cannot be written: {error}") from error
