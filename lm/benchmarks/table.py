"""What a model scores, as a table for a terminal."""

from collections.abc import Mapping

from rich.table import Table

from lm.benchmarks.scores import MEASURES, Score, Share
from oversight.table import plain_table

HEADINGS = {
    "letter": "letter",
    "answer": "answer",
    "cloze": "cloze",
    "cloze_per_character": "cloze, per\ncharacter",
    "control": "control",
}


def scores_table(title: str, found: Mapping[str, Score]) -> Table:
    """Return a row for all questions, then one for each subject."""
    measured = [name for name in MEASURES if name in found["all"].measures]
    headings = ["questions", *(HEADINGS[name] for name in measured), "chance"]
    table = plain_table(title, "subject", headings)
    for name, score in found.items():
        cells = (percent(score.measures[measure]) for measure in measured)
        table.add_row(name, str(score.questions), *cells, f"{score.chance:.1%}")
    table.caption = (
        "Questions answered right, and 95% intervals. letter: of the listed choices; answer: "
        "the text of a listed choice; cloze: the text, which is not listed, by its likelihood, and "
        "by that per character; control: the letter, without the question. Equally likely choices "
        "share the credit"
    )
    return table


def percent(share: Share) -> str:
    """Return a share and its interval.

    >>> percent(Share(0.5, 0.4, 0.6))
    '50.0% (40 to 60)'
    """
    return f"{share.value:.1%} ({100 * share.low:.0f} to {100 * share.high:.0f})"
