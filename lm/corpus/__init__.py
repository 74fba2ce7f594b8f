"""GrammarStories: a seeded world of topics and facts, in short stories with exact labels."""

from lm.corpus.grammar import END, Grammar, Kind, StoryDistribution, make_grammar
from lm.corpus.questions import Question, make_questions
from lm.corpus.stories import (
    Stories,
    entropy_lower_bound,
    noisy_labels,
    sample_stories,
)
from lm.corpus.tokens import (
    Tokens,
    encode,
    story_tokenizer,
    train_tokenizer,
)
from lm.corpus.world import HALVES, PARTS, Cue, Splits, World, make_world, split_topics

__all__ = [
    "END",
    "HALVES",
    "PARTS",
    "Cue",
    "Grammar",
    "Kind",
    "Question",
    "Splits",
    "Stories",
    "StoryDistribution",
    "Tokens",
    "World",
    "encode",
    "entropy_lower_bound",
    "make_grammar",
    "make_questions",
    "make_world",
    "noisy_labels",
    "sample_stories",
    "split_topics",
    "story_tokenizer",
    "train_tokenizer",
]
