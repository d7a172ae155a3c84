"""One small example of every format and notation that is recognised: the tests read them, and the guide shows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from studio.data.formats.baked import Sureness
from studio.messages import Example, Message
from studio.recipe_data_fields import FormatName

SYSTEM: Message = {"role": "system", "content": "Be brief."}
QUESTION: Message = {"role": "user", "content": "2 + 2?"}
ANSWER: Message = {"role": "assistant", "content": "4"}
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CALL: dict[str, Any] = {"type": "function", "function": {"name": "get_weather", "arguments": {"city": "Oslo"}}}
ASKS_A_TOOL: tuple[Message, ...] = (
    {"role": "user", "content": "Weather in Oslo?"},
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "content": "4 °C", "name": "get_weather"},
    {"role": "assistant", "content": "It is 4 °C in Oslo."},
)
SIMPLE = Example(messages=(QUESTION, ANSWER))


@dataclass(frozen=True)
class FormatExample:
    """Rows in one notation, and what they are recognised as."""

    slug: str
    title: str
    description: str
    """One line."""
    kind: str
    """Ending of the files that mostly hold it; all kinds are read alike."""
    rows: tuple[dict[str, Any], ...]
    format: FormatName
    example: Example
    """What the first row becomes."""
    sureness: Sureness = "certain"
    template: str | None = None


CONVERSATIONS = (
    FormatExample(
        "messages",
        "Messages (ChatML, OpenAI)",
        "A list of turns with role and content, with or without a system prompt.",
        "jsonl",
        ({"messages": [SYSTEM, QUESTION, ANSWER]},),
        "messages",
        Example(messages=(SYSTEM, QUESTION, ANSWER)),
    ),
    FormatExample(
        "messages-other-column",
        "Messages in another column",
        "The column may also be called conversations, conversation, dialog, dialogue or chat.",
        "parquet",
        ({"id": 7, "conversation": [QUESTION, ANSWER, {"role": "user", "content": "Thanks"}]},),
        "messages",
        SIMPLE,
    ),
    FormatExample(
        "messages-tools",
        "Messages with tool calls",
        "The functions in the column tools, calls as OpenAI writes them, their results as turns of the role tool.",
        "jsonl",
        (
            {
                "messages": [
                    {"role": "user", "content": "Weather in Oslo?"},
                    {
                        "role": "assistant",
                        "content": None,
                        "tool_calls": [
                            {
                                "type": "function",
                                "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'},
                            }
                        ],
                    },
                    {"role": "tool", "name": "get_weather", "content": "4 °C"},
                    {"role": "assistant", "content": "It is 4 °C in Oslo."},
                ],
                "tools": [WEATHER],
            },
        ),
        "messages",
        Example(messages=ASKS_A_TOOL, tools=(WEATHER,)),
    ),
    FormatExample(
        "messages-parts",
        "Messages whose content is a list of parts",
        "Parts of the type text are joined; a row with an image or a sound is named and left out.",
        "jsonl",
        (
            {
                "messages": [
                    {"role": "developer", "content": [{"type": "text", "text": "Be brief."}]},
                    {"role": "user", "content": [{"type": "text", "text": "2 + "}, {"type": "text", "text": "2?"}]},
                    ANSWER,
                ]
            },
        ),
        "messages",
        Example(messages=(SYSTEM, QUESTION, ANSWER)),
    ),
    FormatExample(
        "messages-in-csv",
        "Messages as JSON in a csv cell",
        "A cell that begins like a list and is JSON is read as one.",
        "csv",
        ({"id": "1", "messages": '[{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}]'},),
        "messages",
        SIMPLE,
    ),
    FormatExample(
        "texts-in-turn",
        "Texts that take turns",
        "A list of texts, the first of them the question.",
        "jsonl",
        ({"dialog": ["2 + 2?", "4", "Sure?", "Yes."]},),
        "messages",
        Example(
            messages=(QUESTION, ANSWER, {"role": "user", "content": "Sure?"}, {"role": "assistant", "content": "Yes."})
        ),
        "likely",
    ),
    FormatExample(
        "sharegpt",
        "ShareGPT",
        "A list of turns with from and value, spoken by human and gpt.",
        "json",
        ({"conversations": [{"from": "human", "value": "2 + 2?"}, {"from": "gpt", "value": "4"}]},),
        "sharegpt",
        SIMPLE,
    ),
    FormatExample(
        "sharegpt-tools",
        "ShareGPT with system prompt and tools (LLaMA-Factory)",
        "Calls and their results as turns from function_call and observation; system and tools in columns beside.",
        "json",
        (
            {
                "conversations": [
                    {"from": "human", "value": "Weather in Oslo?"},
                    {"from": "function_call", "value": '{"name": "get_weather", "arguments": {"city": "Oslo"}}'},
                    {"from": "observation", "value": "4 °C"},
                    {"from": "gpt", "value": "It is 4 °C in Oslo."},
                ],
                "system": "Be brief.",
                "tools": '[{"name": "get_weather", "parameters": {"type": "object", "properties": {}}}]',
            },
        ),
        "sharegpt",
        Example(
            messages=(SYSTEM, *ASKS_A_TOOL[:2], {"role": "tool", "content": "4 °C"}, ASKS_A_TOOL[3]),
            tools=(
                {
                    "type": "function",
                    "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}},
                },
            ),
        ),
    ),
    FormatExample(
        "sharegpt-mixed",
        "ShareGPT and messages mixed",
        "role with value, or from with content.",
        "jsonl",
        ({"conversations": [{"role": "human", "value": "2 + 2?"}, {"role": "gpt", "value": "4"}]},),
        "sharegpt",
        SIMPLE,
        "likely",
    ),
)

PAIRS = (
    FormatExample(
        "alpaca",
        "Alpaca",
        "instruction, input (may be empty) and output, also system.",
        "json",
        (
            {"instruction": "Add.", "input": "2 + 2", "output": "4", "system": "Be brief."},
            {"instruction": "2 + 2?", "input": "", "output": "4", "system": ""},
        ),
        "alpaca",
        Example(messages=(SYSTEM, {"role": "user", "content": "Add.\n\n2 + 2"}, ANSWER)),
    ),
    FormatExample(
        "alpaca-history",
        "Alpaca with history",
        "Earlier questions and answers in the column history.",
        "json",
        ({"instruction": "2 + 2?", "input": "", "output": "4", "history": [["1 + 1?", "2"]]},),
        "alpaca",
        Example(
            messages=(
                {"role": "user", "content": "1 + 1?"},
                {"role": "assistant", "content": "2"},
                QUESTION,
                ANSWER,
            )
        ),
    ),
    FormatExample(
        "dolly",
        "Dolly",
        "instruction, context and response.",
        "jsonl",
        ({"instruction": "Who?", "context": "Ada wrote it.", "response": "Ada", "category": "closed_qa"},),
        "alpaca",
        Example(
            messages=({"role": "user", "content": "Who?\n\nAda wrote it."}, {"role": "assistant", "content": "Ada"}),
        ),
    ),
    FormatExample(
        "prompt-completion",
        "Prompt and completion",
        "Two columns of text; the second may also be called response, answer or output.",
        "csv",
        ({"prompt": "2 + 2?", "completion": "4"},),
        "prompt/completion",
        SIMPLE,
    ),
    FormatExample(
        "prompt-completion-turns",
        "Prompt and completion as turns (TRL)",
        "Both columns hold lists of turns.",
        "jsonl",
        ({"prompt": [SYSTEM, QUESTION], "completion": [ANSWER]},),
        "prompt/completion",
        Example(messages=(SYSTEM, QUESTION, ANSWER)),
    ),
    FormatExample(
        "question-answer",
        "Question and answer",
        "Also query and response, problem and solution, input and output, and others; capitals do not matter.",
        "csv",
        ({"Question": "2 + 2?", "Answer": "4"},),
        "question/answer",
        SIMPLE,
    ),
    FormatExample(
        "squad",
        "Question with a context (SQuAD)",
        "The context comes before the question; of several answers the first is learned.",
        "parquet",
        (
            {
                "id": "5733be28",
                "context": "Ada wrote it.",
                "question": "Who?",
                "answers": {"text": ["Ada", "Ada Lovelace"], "answer_start": [0, 0]},
            },
        ),
        "question/answer",
        Example(
            messages=({"role": "user", "content": "Ada wrote it.\n\nWho?"}, {"role": "assistant", "content": "Ada"}),
        ),
    ),
    FormatExample(
        "summary",
        "Document and summary",
        "The document is the question; add a mapping to say what to do with it.",
        "csv",
        ({"document": "A long story.", "summary": "A story."},),
        "question/answer",
        Example(
            messages=({"role": "user", "content": "A long story."}, {"role": "assistant", "content": "A story."}),
        ),
        "likely",
    ),
    FormatExample(
        "translation",
        "Translations",
        "Named values in the column translation; which language is the question is only a guess.",
        "parquet",
        ({"translation": {"en": "four", "de": "vier"}},),
        "question/answer",
        Example(messages=({"role": "user", "content": "four"}, {"role": "assistant", "content": "vier"})),
        "guess",
    ),
    FormatExample(
        "two-texts",
        "Two columns of other names",
        "Only a guess: the first is taken for the question. Check it, or say it in the mapping.",
        "csv",
        ({"customer": "2 + 2?", "reply": "4"},),
        "question/answer",
        SIMPLE,
        "guess",
    ),
)

TEXTS = (
    FormatExample(
        "text",
        "Plain text",
        "One column text, or the paragraphs of a text file: every token is learned.",
        "txt",
        ({"text": "Once upon a time there was a small model."},),
        "text",
        Example(text="Once upon a time there was a small model."),
    ),
    FormatExample(
        "text-llama-2",
        "Text with a chat template in it",
        "Recognised by its markers: Llama 2, Mistral, ChatML, Llama 3, Gemma, Phi 3, Zephyr, Alpaca and others.",
        "parquet",
        ({"text": "<s>[INST] 2 + 2? [/INST] 4 </s>"},),
        "text",
        Example(text="<s>[INST] 2 + 2? [/INST] 4 </s>"),
        template="llama-2",
    ),
    FormatExample(
        "text-chatml",
        "Text in ChatML",
        "Turns between <|im_start|> and <|im_end|>.",
        "jsonl",
        ({"text": "<|im_start|>user\n2 + 2?<|im_end|>\n<|im_start|>assistant\n4<|im_end|>\n"},),
        "text",
        Example(text="<|im_start|>user\n2 + 2?<|im_end|>\n<|im_start|>assistant\n4<|im_end|>\n"),
        template="chatml",
    ),
)

LABELS = (
    FormatExample(
        "classification",
        "Text and label",
        "The model learns to answer a text with its label.",
        "csv",
        ({"text": "Lovely film.", "label": "positive"}, {"text": "Never again.", "label": "negative"}),
        "classification",
        Example(
            messages=({"role": "user", "content": "Lovely film."}, {"role": "assistant", "content": "positive"}),
        ),
    ),
    FormatExample(
        "classification-label-text",
        "Text and label with the words beside the numbers",
        "A column label_text goes before the number.",
        "jsonl",
        ({"text": "Lovely film.", "label": 1, "label_text": "positive"},),
        "classification",
        Example(
            messages=({"role": "user", "content": "Lovely film."}, {"role": "assistant", "content": "positive"}),
        ),
    ),
    FormatExample(
        "classification-numbers",
        "Text and label as a number",
        "Without names (label_names) the number itself is the answer.",
        "csv",
        ({"sentence": "Lovely film.", "label": 1},),
        "classification",
        Example(messages=({"role": "user", "content": "Lovely film."}, {"role": "assistant", "content": "1"})),
        "likely",
    ),
    FormatExample(
        "classification-pair",
        "Two texts and a label",
        "premise and hypothesis, or sentence1 and sentence2.",
        "parquet",
        ({"premise": "It rains.", "hypothesis": "It is dry.", "label": "contradiction"},),
        "classification",
        Example(
            messages=(
                {"role": "user", "content": "It rains.\n\nIt is dry."},
                {"role": "assistant", "content": "contradiction"},
            ),
        ),
    ),
)

WORSE: tuple[Message, ...] = ({"role": "assistant", "content": "5"},)
PAIR = Example(messages=(QUESTION, ANSWER), rejected=WORSE)
JUDGED = (
    FormatExample(
        "preference",
        "Preference pairs",
        "A prompt, a better and a worse answer.",
        "jsonl",
        ({"prompt": "2 + 2?", "chosen": "4", "rejected": "5"},),
        "preference",
        PAIR,
    ),
    FormatExample(
        "preference-turns",
        "Preference pairs as turns",
        "chosen and rejected hold the whole conversation; what they begin with alike is the prompt.",
        "parquet",
        ({"chosen": [QUESTION, ANSWER], "rejected": [QUESTION, *WORSE]},),
        "preference",
        PAIR,
    ),
    FormatExample(
        "preference-hh",
        "Preference pairs as spoken text (Anthropic hh)",
        "Texts of Human: and Assistant:, the prompt in both.",
        "jsonl",
        (
            {
                "chosen": "\n\nHuman: 2 + 2?\n\nAssistant: 4",
                "rejected": "\n\nHuman: 2 + 2?\n\nAssistant: 5",
            },
        ),
        "preference",
        PAIR,
    ),
    FormatExample(
        "preference-sharegpt",
        "Preference pairs in ShareGPT (LLaMA-Factory)",
        "conversations, and chosen and rejected as one turn each.",
        "json",
        (
            {
                "conversations": [{"from": "human", "value": "2 + 2?"}],
                "chosen": {"from": "gpt", "value": "4"},
                "rejected": {"from": "gpt", "value": "5"},
            },
        ),
        "preference",
        PAIR,
    ),
    FormatExample(
        "preference-openai",
        "Preference pairs as OpenAI takes them",
        "input with messages and tools, preferred_output and non_preferred_output.",
        "jsonl",
        (
            {
                "input": {"messages": [QUESTION], "tools": [], "parallel_tool_calls": True},
                "preferred_output": [ANSWER],
                "non_preferred_output": list(WORSE),
            },
        ),
        "preference",
        PAIR,
    ),
    FormatExample(
        "kto",
        "Rated answers (KTO)",
        "A prompt, an answer, and whether it is a good one.",
        "jsonl",
        (
            {"prompt": "2 + 2?", "completion": "4", "label": True},
            {"prompt": "2 + 2?", "completion": "5", "label": False},
        ),
        "kto",
        Example(messages=(QUESTION, ANSWER), desirable=True),
    ),
    FormatExample(
        "kto-turns",
        "Rated conversations (LLaMA-Factory)",
        "Turns, and whether their last answer is a good one in kto_tag or label.",
        "json",
        ({"messages": [QUESTION, *WORSE], "kto_tag": False},),
        "kto",
        Example(messages=(QUESTION, *WORSE), desirable=False),
    ),
)

FORMAT_EXAMPLES: tuple[FormatExample, ...] = CONVERSATIONS + PAIRS + TEXTS + LABELS + JUDGED
