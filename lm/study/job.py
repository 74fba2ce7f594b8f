"""One run of a study, in a process of its own: brought to its end from wherever it is."""

import torch

from lm.experiment import run_method
from lm.experiment.start import task_of
from lm.reporting.tensorboard import write_page
from lm.study.plan import Job
from lm.study.progress import Notes
from oversight.sweeps.lock import locked
from oversight.sweeps.outcome import Outcome, one_line


def work(job: Job) -> Outcome:
    """Bring a run to its end, write its page for TensorBoard, and tell how it went."""
    torch.set_num_threads(1)  # sums depend on it, and there is a process for each core
    try:
        with locked(job.folder):
            for part in job.folder.glob("*.part"):  # what a kill has left half written
                part.unlink()
            config = job.study.run_config(job.recall)
            task, note = task_of(config), Notes(job.folder)
            result = run_method(config, task, job.method, job.seed, job.folder, note)
            write_page(result, job.folder)
    except Exception as error:  # one failing run must not end the others
        return Outcome(job.id, one_line(error))
    return Outcome(job.id)
