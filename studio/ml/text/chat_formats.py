"""Formats of conversations by name: what each writes, in Jinja, and which tokens it needs.

Written for the studio after the formats' descriptions, for transformers. Where a tokenizer or a dataset decides
(`first`, `begin`, `end` and a few words), templates.py sets the values in front. Knows no tokenizer.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class NamedTemplate:
    """One format of conversations."""

    title: str
    jinja: str
    tokens: tuple[str, ...] = ()
    """Special tokens that the format needs; a tokenizer without them gets them."""
    begin: str = ""
    """What its texts begin with where they carry it along: "<s>"."""
    end: str = ""
    """The token that ends an answer; empty takes the tokenizer's own end token."""
    system: bool = True
    """Whether it can write a system prompt."""


_PLAIN_TURNS = (
    "{% if tools %}{{ raise_exception('it cannot write functions (tools)') }}{% endif %}"
    "{% for message in messages %}{% if message['role'] not in ['system', 'user', 'assistant'] or message.tool_calls %}"
    "{{ raise_exception('it cannot write turns of tools or calls to them') }}{% endif %}{% endfor %}"
)
_SYSTEM_ASIDE = (
    "{% set system = messages[0]['content'] if messages[0]['role'] == 'system' else '' %}"
    "{% set turns = messages[1:] if messages[0]['role'] == 'system' else messages %}"
)
_ALTERNATE = (
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('user and assistant must alternate, and the user begins') }}{% endif %}"
)

_CHATML = (
    "{{ first }}{% if tools %}{{ '<|im_start|>system\n' }}"
    "{% if messages[0]['role'] == 'system' %}{{ messages[0]['content'] + '\n\n' }}{% endif %}"
    "{{ 'You may call functions. These are their JSON schemas:\n<tools>\n' }}"
    "{% for tool in tools %}{{ tool | tojson + '\n' }}{% endfor %}"
    "{{ '</tools>\nA call is a JSON object with name and arguments between <tool_call> and </tool_call>.' }}"
    "{{ '<|im_end|>\n' }}{% endif %}"
    "{% for message in messages %}{% if not (tools and loop.first and message['role'] == 'system') %}"
    "{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['role'] == 'tool' %}{{ '<tool_response>\n' + message['content'] + '\n</tool_response>' }}"
    "{% else %}{{ message['content'] }}{% endif %}"
    "{% for call in message.tool_calls or [] %}{% set call = call.function if call.function is defined else call %}"
    "{{ ('\n' if message['content'] or not loop.first else '') + '<tool_call>\n' }}"
    "{{ {'name': call.name, 'arguments': call.arguments} | tojson + '\n</tool_call>' }}{% endfor %}"
    "{{ '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

_LLAMA_3 = (
    _PLAIN_TURNS + "{{ first + begin }}{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)

_LLAMA_2 = (
    _PLAIN_TURNS + _SYSTEM_ASIDE + "{{ first }}"
    "{% if system %}{% set system = '<<SYS>>\n' + system + '\n<</SYS>>\n\n' %}{% endif %}"
    "{% for message in turns %}" + _ALTERNATE + "{% if message['role'] == 'user' %}"
    "{{ begin + '[INST] ' + (system if loop.first else '') + message['content'] | trim + ' [/INST]' }}"
    "{% else %}{{ ' ' + message['content'] | trim + ' ' + end }}{% endif %}{% endfor %}"
)

_MISTRAL = (
    _PLAIN_TURNS + _SYSTEM_ASIDE + "{{ first + begin }}"
    "{% if system %}{% set system = system + '\n\n' %}{% endif %}"
    "{% for message in turns %}" + _ALTERNATE + "{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + (system if loop.first else '') + message['content'] | trim + ' [/INST]' }}"
    "{% else %}{{ ' ' + message['content'] | trim + end }}{% endif %}{% endfor %}"
)

_GEMMA = (
    _PLAIN_TURNS
    + "{% if messages[0]['role'] == 'system' %}{{ raise_exception('it knows no system prompt') }}{% endif %}"
    "{{ first + begin }}{% for message in messages %}" + _ALTERNATE + "{{ '<start_of_turn>' + "
    "('model' if message['role'] == 'assistant' else 'user') + '\n' + message['content'] | trim + '<end_of_turn>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)

_ALPACA = (
    _PLAIN_TURNS + _SYSTEM_ASIDE + "{{ first }}"
    "{% if system %}{{ system + '\n\n' }}{% else %}{{ preamble }}{% endif %}"
    "{% for message in turns %}" + _ALTERNATE + "{% if message['role'] == 'user' %}"
    "{{ ('' if loop.first else '\n\n') + '### Instruction:\n' + message['content'] + '\n\n### Response:\n' }}"
    "{% else %}{{ message['content'] + end }}{% endif %}{% endfor %}"
)

_HUMAN_ASSISTANT = (
    _PLAIN_TURNS + _SYSTEM_ASIDE + "{{ first + begin }}{% if system %}{{ system + gap }}{% endif %}"
    "{% for message in turns %}" + _ALTERNATE + "{% if message['role'] == 'user' %}"
    "{{ ('' if loop.first else gap) + human + ' ' + message['content'] + gap + assistant }}"
    "{% else %}{{ ' ' + message['content'] + (end if loop.last else '') }}{% endif %}{% endfor %}"
)

_ZEPHYR = (
    _PLAIN_TURNS + "{{ first + begin }}{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>\n' + message['content'] + end + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)

ALPACA_PREAMBLE = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
)

TEMPLATES: dict[str, NamedTemplate] = {
    "chatml": NamedTemplate(title="ChatML", jinja=_CHATML, tokens=("<|im_start|>", "<|im_end|>"), end="<|im_end|>"),
    "llama-3": NamedTemplate(
        title="Llama 3",
        jinja=_LLAMA_3,
        tokens=("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        begin="<|begin_of_text|>",
        end="<|eot_id|>",
    ),
    "llama-2": NamedTemplate(title="Llama 2", jinja=_LLAMA_2, begin="<s>", end="</s>"),
    "mistral": NamedTemplate(title="Mistral", jinja=_MISTRAL, begin="<s>", end="</s>"),
    "gemma": NamedTemplate(
        title="Gemma",
        jinja=_GEMMA,
        tokens=("<start_of_turn>", "<end_of_turn>"),
        begin="<bos>",
        end="<end_of_turn>",
        system=False,
    ),
    "alpaca": NamedTemplate(title="Alpaca", jinja=_ALPACA),
    "human-assistant": NamedTemplate(title="Human and Assistant", jinja=_HUMAN_ASSISTANT),
    "zephyr": NamedTemplate(title="Zephyr", jinja=_ZEPHYR, begin="<s>", end="</s>"),
    "phi-3": NamedTemplate(
        title="Phi-3",
        jinja=_ZEPHYR,
        tokens=("<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
        begin="<s>",
        end="<|end|>",
    ),
}
"""Every format by its name. A recipe offers the first six; the others are recognised in texts that carry them along."""
