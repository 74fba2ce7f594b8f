"""TensorBoard's page holds the numbers and texts of the result, once."""

from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lm.report_figures import scalars, write_page
from tests.lm.reporting import curve, result

RESULT = result(
    "era",
    0,
    curves=[curve([3.0, 1.0])],
    training={"loss": [[0, 7.0], [10, 2.0]]},
    gradient_shares={"forget": {"expansion_parameters": 0.75}},
    samples={"before": {"forget": ["In the forest"]}, "repaired": {"forget": ["In the city"]}},
    adjacent_loss={"before": None},
)


def test_every_curve_is_there_and_what_is_unknown_is_not() -> None:
    assert scalars(RESULT) == [
        *[("forget/loss", step, value) for step, value in enumerate((0.9, 3.0, 2.9))],
        *[("retain/loss", step, 1.0) for step in range(3)],
        ("training/loss", 0, 7.0),
        ("training/loss", 10, 2.0),
        ("gradient_share_expansion_parameters/forget", 0, 0.75),
        ("relearning_same_forget_loss/16_examples_rate_0.001", 0, 3.0),
        ("relearning_same_forget_loss/16_examples_rate_0.001", 1, 1.0),
    ]


def test_a_page_written_again_is_the_same_page(tmp_path: Path) -> None:
    write_page(RESULT, tmp_path)
    write_page(RESULT, tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    page = EventAccumulator(str(tmp_path))
    page.Reload()
    losses = page.Scalars("training/loss")
    assert [(event.step, event.value) for event in losses] == [(0, 7.0), (10, 2.0)]
    texts = [
        event.tensor_proto.string_val[0] for event in page.Tensors("samples/forget/text_summary")
    ]
    assert texts == [b"**before**\n\nIn the forest", b"**repaired**\n\nIn the city"]
