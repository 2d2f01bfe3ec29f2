#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/data/text/*.json: what llama.cpp (llama-cpp-python) and Jinja2 as Hugging Face transformers sets it up
give for our texts and templates. Needs those two packages and the two default models:

    python3 tests/data/make_text.py SMOLLM2.gguf GEMMA3.gguf
"""
import datetime
import json
import pathlib
import sys

import jinja2
import jinja2.ext
import llama_cpp
from jinja2.sandbox import ImmutableSandboxedEnvironment

HERE = pathlib.Path(__file__).parent / "text"
CLOCK = 1774692930

TEXTS = [
    "", " ", "  ", "\t", "\n", "\n\n\n", " \n \n\n \t\t ", "Hello world", " Hello, World!", "I'VE been; y'all'd've 'tis",
    "3", "33", "333333", "12 345.678,90", "x²+y³=z½ ⅷ ①", "Ünïcödé naïve café ß ẞ ǅ", "e\u0301 a\u0308\u0304",
    "нещо на Български", "កាន់តែពិសេស", "日本語のテキスト、漢字", "한국어 텍스트", "العربية نص 123، جملة۔",
    "हिन्दी में पाठ।", "ไทยภาษา", "😀🚀 😶‍🌫️ 👩‍👩‍👧 🇩🇪", "def f(x):\n    return x**2  # c\n\n\nclass A:\n\tpass\n",
    "for (int i=0;i<10;i++){ a[i]+=b->c; }\r\n", "http://example.com/a_b?c=d&e=f#g", "<|im_start|>user\nhi<|im_end|>\n",
    "<bos><start_of_turn>user\nhi<end_of_turn>\n<start_of_turn>model\n", "<|endoftext|></s><s><unk><pad>",
    "<table><td>a</td></table>", "a<|im_end|", "<<|im_end|>>", "▁▁ ▁a▁", "a\u00a0b\u2003c\u3000d\u200be\u2028f\u0085g",
    "a" * 300, " " * 100, "\n" * 70, "=" * 90, "中" * 90, "1" * 100, "the quick brown fox " * 12,
]


def tokens(path):
    model = llama_cpp.Llama(path, vocab_only=True, verbose=False)
    return [[model.tokenize(text.encode(), add_bos=True, special=special) for special in (False, True)] for text in TEXTS]


TEMPLATES = {
    "turns": "{% for m in messages %}{{ '<|a|>' + m['role'] + '\\n' + m['content'] + '<|z|>' + '\\n' }}{% endfor %}"
             "{% if add_generation_prompt %}{{ '<|a|>assistant\\n' }}{% endif %}",
    "headers": "{{ bos_token }}\n{%- for m in messages %}\n    {{- '<|h|>' ~ m.role ~ '<|/h|>\\n\\n' ~ m.content | trim ~ '<|e|>' }}\n"
               "{%- endfor %}\n{%- if add_generation_prompt %}\n    {{- '<|h|>assistant<|/h|>\\n\\n' }}\n{%- endif %}\n",
    "alternate": "{% if messages[0].role == 'system' %}{% set first = messages[0].content + '\\n\\n' %}{% set rest = messages[1:] %}"
                 "{% else %}{% set first = '' %}{% set rest = messages %}{% endif %}\n{% for m in rest %}\n"
                 "    {% if (m.role == 'user') != (loop.index0 % 2 == 0) %}\n{{ raise_exception('roles must alternate') }}\n    {% endif %}\n"
                 "    {% set role = 'model' if m.role == 'assistant' else m.role %}\n"
                 "<t>{{ role }}\n{{ (first if loop.first else '') + m.content | trim }}</t>\n{% endfor %}\n",
    "thinking": "{%- set ns = namespace(last=0) %}\n{%- for m in messages[::-1] %}\n{%- if m.role == 'user' and ns.last == 0 %}"
                "{%- set ns.last = messages | length - loop.index0 %}{%- endif %}\n{%- endfor %}\n{%- for m in messages %}\n"
                "{%- set c = m.content %}{%- if m.role == 'assistant' and '</think>' in c and loop.index < ns.last %}"
                "{%- set c = c.split('</think>')[-1].lstrip('\\n') %}{%- endif %}\n[{{ m.role | upper }}] {{ c }}\n{%- endfor %}",
    "tools": "{% if tools %}{% for t in tools %}{{ t | tojson }}\n{{ t.function.parameters | tojson(indent=2) }}\n"
             "{% for k, v in t.function.parameters.properties | dictsort %}{{ loop.index }}/{{ loop.length }} {{ k }}={{ v.type | default('any') }}"
             "{{ '' if loop.last else ', ' }}{% endfor %}\n{% endfor %}{% endif %}{{ messages | map(attribute='role') | join('>') }}",
    "macros": "{% macro wrap(text, mark='*') -%}{{ mark }}{{ text }}{{ mark }}{{ caller() if caller else '' }}{%- endmacro %}\n"
              "{% for m in messages recursive %}{{ wrap(m.content, mark='_') }}{% call wrap('x') %}!{{ m.role }}{% endcall %}\n"
              "{% if m.role == 'tool' %}{% break %}{% endif %}{% if loop.first %}{% continue %}{% endif %}after\n{% else %}none{% endfor %}",
    "filters": "{% set t = 'Hello wOrld, it\\'s' %}{{ t | upper }}|{{ t | title }}|{{ t | capitalize }}|{{ t | replace('l', 'LL', 2) }}|"
               "{{ t | length }}|{{ t[1:-1:2] }}|{{ t[::-1] }}|{{ [3, 1, 2] | sort | join('-') }}|{{ [1, 2, 3, 4] | select('even') | list }}|"
               "{{ 'a\nb\n\nc' | indent(2, true) }}|{{ {'b': 1, 'a': [none, true, 1.5, 'q\"']} }}|{{ 7 // 2 }}{{ -7 % 3 }}{{ 2 ** 10 }}{{ 7 / 2 }}|"
               "{{ '%s:%03d:%.2f' % ('x', 7, 1.5) }}|{{ '{}-{}'.format(1, 'b') }}|{{ [1, 1.0, '1', 2] | unique | list }}|{{ (1, 2) + (3,) }}|"
               "{{ 1 if false }}|{{ undefined_thing is defined }}|{{ 'a' in 'cat' and 2 not in [1] }}|{{ 1 < 2 <= 2 }}|{{ 3.0 | int }}{{ '4' | int + 1 }}|"
               "{{ 2.567 | round(1) }}|{{ range(2, 11, 3) | list }}|{{ [[1, 'x'], [2, 'y']] | map('last') | list }}|{{ 'a,b,,c'.split(',') }}|"
               "{{ ' x y '.split() }}|{{ 'Ärger'.lower() }}|{{ [1, 2, 3, 4, 5] | batch(2, 0) | list }}|{{ 1e20 }}{{ 0.1 }}{{ 1e-7 }}",
    "white": "  {% if true %}  \n  a  {% endif %}\n  {# c #}  \n {{ 1 }} \n{%- if true -%}  \n b {%+ if true %} c{% endif +%}\n{% endif %}\n"
             "{% raw %}{{ x }} {% y %}{% endraw %}\n{% set b %}\n block {{ 1 + 1 }}\n{% endset %}[{{ b | trim }}]{% filter upper %}low{% endfilter %}\n\n",
    "clock": "{{ strftime_now('%d %b %Y') }} {{ strftime_now('%A %H:%M') }} {{ today | default('none') }} {{ flag is defined and flag is true }}",
}
SYSTEM, USER, ASSISTANT = "system", "user", "assistant"
TOOLS = [{"type": "function", "function": {"name": "weather", "description": "the \"current\" weather\nof a city é", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}, "Days": {"type": "integer", "default": 3}, "x": {}}, "required": ["city"]}}}]
CONVERSATIONS = [
    [(USER, "Hello")],
    [(SYSTEM, " Be brief. "), (USER, "Hi <|z|> there"), (ASSISTANT, "<think>\nhm\n</think>\n\nYo"), (USER, " é😀 ")],
    [(USER, "a"), ("tool", "{\"t\": 1}"), (USER, "b")],
    [],
]


def environment():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols])
    clock = datetime.datetime.fromtimestamp(CLOCK, datetime.timezone.utc)
    env.filters["tojson"] = lambda x, indent=None: json.dumps(x, ensure_ascii=False, indent=indent)

    def refuse(message):
        raise jinja2.exceptions.TemplateError(message)

    env.globals.update(raise_exception=refuse, strftime_now=clock.strftime)
    return env


def rendered():
    cases = []
    for name, source in TEMPLATES.items():
        for number, conversation in enumerate(CONVERSATIONS):
            messages = [{"role": role, "content": content} for role, content in conversation]
            variables = {"flag": True} if number % 2 else {}
            try:
                text = environment().from_string(source).render(
                    messages=messages, tools=TOOLS if number != 2 else None, documents=None, add_generation_prompt=number % 2 == 0,
                    bos_token="<s>", eos_token="</s>", **variables)
            except jinja2.exceptions.TemplateError:
                text = None
            cases.append({"template": name, "messages": messages, "tools": TOOLS if number != 2 else None,
                          "add_generation_prompt": number % 2 == 0, "variables": variables, "text": text})
    return {"clock": CLOCK, "templates": TEMPLATES, "cases": cases}


def write(name, data):
    (HERE / name).write_text(json.dumps(data, ensure_ascii=True, separators=(",", ":")) + "\n")


HERE.mkdir(exist_ok=True)
write("templates.json", rendered())
write("tokens.json", {"texts": TEXTS, "smollm2": tokens(sys.argv[1]), "gemma3": tokens(sys.argv[2])})
