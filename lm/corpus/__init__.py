"""GrammarStories: a seeded world of topics and facts, told as stories, with exact labels."""

from lm.corpus.floor import Floor, floor
from lm.corpus.grammar import END, Grammar, make_grammar
from lm.corpus.kind import Kind
from lm.corpus.labels import noisy_labels
from lm.corpus.questions import Question, blind_accuracy, questions
from lm.corpus.spans import overlaps
from lm.corpus.splits import Splits, is_topic, split_topics
from lm.corpus.stories import Stories, tell
from lm.corpus.telling import Telling
from lm.corpus.tokenizer import cached_tokenizer, story_tokenizer, train_tokenizer
from lm.corpus.tokens import Tokens, encode, story_ids
from lm.corpus.world import HALVES, PARTS, World, make_world

__all__ = [
    "END",
    "HALVES",
    "PARTS",
    "Floor",
    "Grammar",
    "Kind",
    "Question",
    "Splits",
    "Stories",
    "Telling",
    "Tokens",
    "World",
    "blind_accuracy",
    "cached_tokenizer",
    "encode",
    "floor",
    "is_topic",
    "make_grammar",
    "make_world",
    "noisy_labels",
    "overlaps",
    "questions",
    "split_topics",
    "story_ids",
    "story_tokenizer",
    "tell",
    "train_tokenizer",
]
