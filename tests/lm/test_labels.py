"""Labels of tokens: one for each story, of all of it or of its topic's own words."""

import pytest
import torch

from lm.labels import OF_TOPIC, token_labels
from lm.training.route_tables import FORGET, RETAIN
from tests.lm.evaluation.factories import tiny_task


def test_a_story_is_labeled_whole_or_by_its_topics_own_words() -> None:
    rows = tiny_task().sample(4, [0])
    labels = torch.tensor([FORGET, RETAIN, FORGET, RETAIN])
    whole, words = (token_labels(rows, labels, unit) for unit in ("document", "token"))
    own = torch.isin(rows.kinds, torch.tensor([int(kind) for kind in OF_TOPIC]))
    assert torch.equal(whole, labels[:, None].expand(whole.shape))
    assert torch.equal(words == FORGET, own & (whole == FORGET))
    assert 0 < int((words == FORGET).sum()) < int((whole == FORGET).sum())


@pytest.mark.parametrize("count", [0, 3, 5])
def test_more_or_fewer_labels_than_stories_are_refused(count: int) -> None:
    rows = tiny_task().sample(4, [0])
    with pytest.raises(ValueError, match=rf"labels of shape \({count},\) .* 4 stories: give each"):
        token_labels(rows, torch.zeros(count).long())
