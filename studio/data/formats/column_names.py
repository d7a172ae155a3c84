"""The names that datasets give to their columns, lower case, the usual ones first.

Knows nothing else; `recognisers.py` looks for them.
"""

from __future__ import annotations

from studio.data.formats.baked import Sureness
from studio.recipe_data_fields import FormatName

CONVERSATIONS = (
    "messages",
    "conversations",
    "conversation",
    "dialog",
    "dialogue",
    "dialogs",
    "chat",
    "turns",
    "items",
    "data",
)
"""Of lists of turns."""
NO_CONVERSATIONS = {
    *("prompt", "completion", "response", "answer", "question", "input", "output", "instruction"),
    *("chosen", "rejected", "history", "tools", "functions", "choices", "options", "context"),
}
"""Lists of turns in these are a part of a conversation."""
SYSTEM = ("system", "system_prompt", "system_message")
TOOLS = ("tools", "functions")
HISTORY = "history"
"""Of earlier questions and answers, beside an instruction."""
PAIRS: tuple[tuple[FormatName, Sureness, str, str], ...] = (
    ("prompt/completion", "certain", "prompt", "completion"),
    ("prompt/completion", "certain", "prompt", "response"),
    ("prompt/completion", "certain", "prompt", "answer"),
    ("prompt/completion", "certain", "prompt", "output"),
    ("question/answer", "certain", "question", "answer"),
    ("question/answer", "certain", "question", "answers"),
    ("question/answer", "certain", "question", "response"),
    ("question/answer", "certain", "query", "response"),
    ("question/answer", "certain", "query", "answer"),
    ("question/answer", "certain", "user", "assistant"),
    ("question/answer", "certain", "human", "assistant"),
    ("question/answer", "likely", "q", "a"),
    ("question/answer", "likely", "question", "solution"),
    ("question/answer", "likely", "problem", "solution"),
    ("question/answer", "likely", "problem", "answer"),
    ("question/answer", "likely", "input", "output"),
    ("question/answer", "likely", "input", "response"),
    ("question/answer", "likely", "input", "target"),
    ("question/answer", "likely", "inputs", "targets"),
    ("question/answer", "likely", "document", "summary"),
    ("question/answer", "likely", "dialogue", "summary"),
    ("question/answer", "likely", "article", "highlights"),
    ("question/answer", "likely", "article", "summary"),
    ("question/answer", "likely", "text", "summary"),
    ("question/answer", "guess", "source", "target"),
    ("question/answer", "guess", "src", "tgt"),
)
"""Format, how surely, question's column, answer's column."""
ABOUT_ROWS = {
    "unnamed: 0",
    *("id", "_id", "uid", "uuid", "idx", "index", "row_id", "prompt_id", "question_id", "hash", "url", "link"),
    *("source", "lang", "language", "date", "time", "timestamp", "created_at", "split", "license", "licence", "author"),
}
"""These say something about a row and are not learned."""
TEXTS = ("text", "content", "document", "body", "article", "code", "story", "sentence")
LABELLED = (
    "text",
    "sentence",
    "review",
    "review_body",
    "content",
    "tweet",
    "comment",
    "headline",
    "utterance",
    "message",
)
LABELLED_PAIRS = (("premise", "hypothesis"), ("sentence1", "sentence2"), ("question1", "question2"))
LABELS = ("label", "labels", "sentiment", "emotion", "intent", "coarse_label", "category", "class", "target", "topic")
CERTAIN_LABELS = ("label", "labels", "sentiment", "emotion", "intent", "coarse_label")
"""The others may as well say something about a row."""
LABEL_WORDS = ("label_text", "label_name", "class_name", "category_name", "label_str")
LONGEST_LABEL = 60
"""Characters of a label that is a text; longer ones are answers."""
VOTES = ("label", "kto_tag", "desirable")
VOTE_VALUES = {"true", "false", "0", "1", "0.0", "1.0"}
"""Of good and bad answers, as text."""
PREFERENCES = (
    ("chosen", "rejected"),
    ("response_j", "response_k"),
    ("preferred_output", "non_preferred_output"),
    ("preferred", "dispreferred"),
)
PROMPTS = ("prompt", "question", "instruction", "query", "input")
