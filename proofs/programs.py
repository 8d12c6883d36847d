# ruff: noqa: E501 - a template on one line reads better than in pieces
"""Random programs such as a model might write, made of what Python offers and of edge values.

A program is a few statements over variables whose types the writer knows, so that most of it runs
to its end; now and then it uses a wrong type on purpose. Every statement shows what it did. The
same random numbers give the same program.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping

INTS = ("0", "1", "-1", "2", "3", "7", "-13", "255", "10**6", "True")
FLOATS = ("0.0", "-0.0", "1.5", "2.5", "-3.75", "0.1", "1e16", "1e-7", "3.0", "float('inf')", "1e22", "99.95")
TEXTS = (
    *(
        "''",
        "'a'",
        "'Hello World'",
        "'  pad '",
        "'a,b,,c'",
        "'éßİ'",
        "'ab\\ncd\\r\\n'",
        "'😀x'",
        "'123'",
        "'-4.5'",
    ),
    *(
        "'a\\tb'",
        "'ǅ'",
        "'x=1;y=2'",
        "'\"quoted\"'",
        '"it\'s"',
        "'١٢'",
        "'2024-01-15'",
        "'a1b22c333'",
        "'\\x1c \\xa0'",
    ),
)
LISTS = ("[]", "[3, 1, 2]", "[1, 1, 1]", "[0, -5, 10]", "[1.5, 2, True]", "list(range(5))", "[40, -1]")
WORDS = ("[]", "['b', 'a', 'B']", "['x', 'yy', 'x']", "'a b c'.split()", "['', 'é', '10', '9']")
DICTS = ("{}", "{'a': 1, 'b': 2}", "{'z': 0, 'a': 5, 'm': -1}", "{'k': 3, 'é': 4}", "dict(x=1, y=2)")
ROWS = (
    "[{'n': 1, 's': 'x', 't': 2.5}, {'n': 3, 's': 'y', 't': 0.5}, {'n': 1, 's': 'x', 't': 1.0}]",
    "[{'n': i, 's': 'ab'[i % 2], 't': i / 4} for i in range(4)]",
    "[{'n': 5, 's': None, 't': 1}]",
    "[]",
)
TUPLES = ("()", "(1, 'a')", "(1, 2, 3)", "('x',)", "(None, True, 1.5)")
SETS = ("set()", "{1, 2, 3}", "{'a', 'b'}", "set('abca')", "{i % 3 for i in range(7)}", "frozenset([5, 1])")
ANYTHING = ("None", "True", "[[1], [2, [3]]]", "{'a': {'b': [1]}}", "{1: 'x', (1, 2): 'y'}", "b'ab'", "...")
LITERALS: Mapping[str, tuple[str, ...]] = {
    "int": INTS,
    "float": FLOATS,
    "str": TEXTS,
    "ints": LISTS,
    "words": WORDS,
    "dict": DICTS,
    "rows": ROWS,
    "tuple": TUPLES,
    "set": SETS,
    "any": ANYTHING,
    "bool": ("True", "False", "not 0", "bool('')"),
}
SPECS = (
    *(
        "",
        ">8",
        "<6",
        "^9",
        "05",
        "d",
        ",",
        ".2f",
        ".0f",
        ".3e",
        "g",
        "%",
        ".1%",
        "+",
        "x",
        "b",
        "s",
        "10.3f",
        "_",
        "08.2f",
    ),
    *("*^12", ",.2f", "e", ".3", "#x", "+.1f", "c", "n", ">+7.2f"),
)
PATTERNS = (
    *(
        r"\d+",
        r"[a-z]+",
        r"\w+",
        r"(\d)(\d)?",
        r"a|b",
        r"[^,;=]+",
        r"\s",
        r"(?P<k>[a-z])=(?P<v>\d)",
        r"x*",
        r"^a",
        r"\.$",
    ),
    *(
        r"(\d{4})-(\d{2})",
        r"[A-Z][a-z]+",
        r"\bc",
        r"(?i)HELLO",
        r".",
        r"[\d.]+",
        r",+",
        r"(a)|(b)",
        r"\-?\d+(?:\.\d+)?",
    ),
)
MODULES = ("asyncio", "copy", "datetime", "functools", "itertools", "json", "math", "random", "re")
NAMES = {
    **dict.fromkeys(("Counter", "defaultdict", "deque", "namedtuple"), "from collections import {}"),
    **dict.fromkeys(("date", "timedelta", "timezone"), "from datetime import {}"),
    "dt": "from datetime import datetime as dt",
}
# Templates by the type they give; `{int}` and the like stand for expressions of a type.
EXPRESSIONS: Mapping[str, tuple[str, ...]] = {
    "int": (
        *(
            "{int} + {int}",
            "{int} - {int}",
            "{int} * {int}",
            "{int} // {int}",
            "{int} % {int}",
            "-{int}",
            "abs({int})",
        ),
        *(
            "len({str})",
            "len({ints})",
            "len({set})",
            "len({dict})",
            "sum({ints})",
            "max({ints})",
            "min({ints})",
        ),
        *(
            "{ints}[{int}]",
            "{str}.count({str})",
            "{str}.find({str})",
            "{ints}.count({int})",
            "{words}.index({str})",
        ),
        *(
            "{dict}['a']",
            "{dict}.get({str}, {int})",
            "int({float})",
            "int({str})",
            "ord({str})",
            "round({float})",
        ),
        *(
            "{int} if {bool} else {int}",
            "{int} ** 2",
            "{int} & {int}",
            "{int} | {int}",
            "{int} ^ {int}",
            "~{int}",
        ),
        *(
            "sum(1 for x in {words} if x)",
            "sum(len(x) for x in {words})",
            "max((len(x) for x in {words}), default=0)",
        ),
        *(
            "functools.reduce(lambda a, b: a * 2 + b, {ints}, 1)",
            "math.floor({float})",
            "math.gcd({int}, {int})",
        ),
        *("sum(r['n'] for r in {rows})", "max({rows}, key=lambda r: r['n'])['n']", "(await solo({int}))"),
        *(
            "date(2024, 2, 29).weekday()",
            "(date(2024, 3, 1) - date(2024, 2, 1)).days",
            "hash({int})",
            "{int} << 3",
        ),
        *(
            "len({{x for x in {ints}}})",
            "Counter({words})['x']",
            "int('7') + {int}",
            "divmod({int}, {int})[1]",
        ),
    ),
    "float": (
        *("{float} + {float}", "{int} / {int}", "{float} * {int}", "{float} - {float}", "{float} // {float}"),
        *(
            "{float} % {float}",
            "round({float}, 2)",
            "round({float}, 1)",
            "float({int})",
            "float({str})",
            "abs({float})",
        ),
        *("sum([{float}, {float}, 0.1])", "math.sqrt({float})", "sum({ints}) / len({ints})", "{float} ** 2"),
        *(
            "sum(r['t'] for r in {rows})",
            "max({float}, {int})",
            "(await solo({float}))",
            "math.fsum([{float}, {float}])",
        ),
        *("timedelta(hours={int}).total_seconds()", "sum(r['t'] * r['n'] for r in {rows})", "{float} ** 0.5"),
    ),
    "str": (
        *(
            "{str} + {str}",
            "{str} * 2",
            "{str}.upper()",
            "{str}.title()",
            "{str}.strip()",
            "{str}[::-1]",
            "{str}[1:3]",
        ),
        *(
            "{str}.replace({str}, {str})",
            "str({int})",
            "str({float})",
            "repr({str})",
            "str({ints})",
            "str({dict})",
        ),
        *(
            "', '.join({words})",
            "'-'.join(sorted({words}))",
            "''.join(str(x) for x in {ints})",
            "f'{{{int}}}:{{{str}!r}}'",
        ),
        *(
            "f'{{{float}:{spec}}}'",
            "f'{{{int}:{spec}}}'",
            "f'{{{str}:{spec}}}'",
            "f'{{{any}:{spec}}}'",
            "f'{{{any}}}'",
        ),
        *(
            "'%s|%5.2f|%d' % ({str}, {float}, {int})",
            "'{{}} {{:>5}}'.format({str}, {int})",
            "'{{a:{spec}}}'.format(a={float})",
        ),
        *(
            "{str}.center(9, '*')",
            "{str}.zfill(6)",
            "{str}.ljust(5) + '|'",
            "{str}.partition(',')[2]",
            "{str}.capitalize()",
        ),
        *(
            "json.dumps({rows})",
            "json.dumps({dict}, sort_keys=True)",
            "json.dumps({any})",
            "json.dumps({str}, indent=2)",
        ),
        *(
            "json.dumps({rows}, indent=2, ensure_ascii=False)",
            "re.sub({pattern}, '_', {str})",
            "{str}.swapcase()",
        ),
        *(
            "re.sub({pattern}, r'<\\g<0>>', {str})",
            "date(2024, 1, 31).isoformat()",
            "str(date(2024, 1, 31) + timedelta(days={int}))",
        ),
        *(
            "dt(2024, 5, 6, 7, 8, 9).strftime('%Y-%m-%d %H:%M:%S %a %b %j')",
            "type({any}).__name__",
            "{str}.removeprefix('a')",
        ),
        *(
            "str(timedelta(days=1, seconds={int}))",
            "max({words}, key=len)",
            "min({words})",
            "chr(97 + {int} % 26)",
            "str({set})",
        ),
        *(
            "str({tuple})",
            "str({any})",
            "(await solo({str}))",
            "{str} if {bool} else {str}",
            "{str} or 'none'",
            "bin({int})",
        ),
        *(
            "str(Counter({words}))",
            "str(max({float}, {float}))",
            "{str}.expandtabs(4)",
            "f'{{{int}:>{{4 + 2}}}}'",
            "ascii({str})",
        ),
        *(
            "{str}.casefold()",
            "{str}.lower()",
            "hex({int})",
            "str({bool})",
            "f'{{{float}=}}'",
            "str(sorted({set}))",
        ),
    ),
    "bool": (
        *(
            "{int} < {int}",
            "{int} == {float}",
            "{str} < {str}",
            "{str} in {str}",
            "{int} in {ints}",
            "{str} in {dict}",
        ),
        *(
            "not {ints}",
            "{str}.isdigit()",
            "{str}.startswith({str})",
            "any({ints})",
            "all({ints})",
            "{ints} == {ints}",
        ),
        *(
            "any(x > 1 for x in {ints})",
            "all(x in 'abc' for x in {str})",
            "any(x == {int} for x in {ints})",
            "{any} is None",
        ),
        *(
            "isinstance({any}, (int, str))",
            "{int} < {int} <= {int}",
            "{bool} and {bool}",
            "{bool} or {bool}",
            "{int} in {set}",
        ),
        *(
            "bool({any})",
            "{set} <= {set}",
            "{dict} == {dict}",
            "{tuple} < {tuple}",
            "{str}.isalpha()",
            "{str} is {str}",
        ),
        *(
            "re.match({pattern}, {str}) is not None",
            "date(2024, 1, 2) < date(2024, 1, 3)",
            "{any} == {any}",
            "{str} != {str}",
        ),
        *(
            "isinstance({any}, int | str)",
            "{str}.endswith(('a', 'd'))",
            "hasattr({str}, 'upper')",
            "callable({any})",
        ),
    ),
    "ints": (
        *(
            "{ints} + {ints}",
            "{ints}[1:]",
            "{ints}[::-1]",
            "sorted({ints})",
            "sorted({ints}, reverse=True)",
            "list(range({int} % 7))",
        ),
        *(
            "[x * 2 for x in {ints}]",
            "[x for x in {ints} if x > 0]",
            "list(map(abs, {ints}))",
            "list(filter(None, {ints}))",
        ),
        *(
            "[len(w) for w in {words}]",
            "sorted(set({ints}))",
            "list(set({ints}))",
            "[r['n'] for r in {rows}]",
            "{ints} * 2",
        ),
        *(
            "list(reversed({ints}))",
            "[a * b for a, b in zip({ints}, {ints})]",
            "[i + x for i, x in enumerate({ints})]",
        ),
        *(
            "list({dict}.values())",
            "sorted({ints}, key=lambda x: -x)",
            "list(itertools.accumulate({ints}))",
            "[*{ints}, {int}]",
        ),
        *(
            "[int(x) for x in re.findall(r'\\d', {str})]",
            "list(itertools.chain({ints}, {ints}))",
            "(await solo({ints}))",
        ),
        *(
            "list(deque({ints}, maxlen=2))",
            "copy.deepcopy({ints})",
            "{ints}.copy()",
            "list({ints})",
            "[max(x, 0) for x in {ints}]",
        ),
        *(
            "[x for r in {rows} for x in (r['n'], r['n'] + 1)]",
            "list(dict.fromkeys({ints}))",
            "[y for x in {ints} if (y := x % 3)]",
        ),
    ),
    "words": (
        *(
            "{str}.split()",
            "{str}.split(',')",
            "{str}.splitlines()",
            "sorted({words})",
            "sorted({words}, key=str.lower)",
        ),
        *(
            "sorted({words}, key=len)",
            "[w.upper() for w in {words}]",
            "list({str})",
            "list({dict})",
            "sorted({dict})",
        ),
        *(
            "[str(x) for x in {ints}]",
            "list(map(str, {ints}))",
            "re.findall({pattern}, {str})",
            "re.split({pattern}, {str})",
        ),
        *(
            "[f'{{i}}:{{w}}' for i, w in enumerate({words}, 1)]",
            "{words}[:2]",
            "[w for w in {words} if w]",
            "list({set})",
        ),
        *(
            "[m.group() for m in re.finditer({pattern}, {str})]",
            "[k for k, g in itertools.groupby({words})]",
            "{words} + {words}",
        ),
        *(
            "sorted({words}, key=lambda w: (len(w), w))",
            "list(dict.fromkeys({words}))",
            "[k for k, v in Counter({words}).most_common()]",
        ),
        *(
            "[r['s'] for r in {rows}]",
            "sorted({words}, reverse=True)",
            "(await solo({words}))",
            "[w.strip() for w in {words}]",
        ),
    ),
    "dict": (
        *(
            "{{**{dict}, 'q': {int}}}",
            "{dict} | {dict}",
            "dict(sorted({dict}.items()))",
            "{{k: v * 2 for k, v in {dict}.items()}}",
        ),
        *(
            "{{w: len(w) for w in {words}}}",
            "dict(zip({words}, {ints}))",
            "dict(Counter({words}))",
            "dict({dict}, z={int})",
        ),
        *(
            "{{k: v for k, v in sorted({dict}.items(), key=lambda p: p[1])}}",
            "json.loads(json.dumps({dict}))",
            "dict({dict})",
        ),
        *(
            "copy.copy({dict})",
            "(await solo({dict}))",
            "dict.fromkeys({words}, {int})",
            "{{v: k for k, v in {dict}.items()}}",
        ),
        *("dict(enumerate({words}))", "{dict}.copy()", "{{s: 1 for s in {set}}}"),
        *(
            "dict.fromkeys({ints}, {any})",
            "dict(Counter({ints}))",
            "dict(zip({ints}, {words}))",
            "{{x: i for i, x in enumerate({ints})}}",
            "{{(r['n'], r['s']): r['t'] for r in {rows}}}",
            "{{r['n']: r for r in {rows}}}",
        ),
    ),
    "rows": (
        *(
            "sorted({rows}, key=lambda r: r['n'])",
            "sorted({rows}, key=lambda r: (-r['n'], r['t']))",
            "{rows}[:2]",
            "{rows} + {rows}",
        ),
        *(
            "[r for r in {rows} if r['n'] > 1]",
            "[{{**r, 'n': r['n'] + 1}} for r in {rows}]",
            "json.loads(json.dumps({rows}))",
        ),
        *(
            "[{{'n': x, 's': str(x), 't': x / 2}} for x in {ints}]",
            "(await solo({rows}))",
            "copy.deepcopy({rows})",
        ),
    ),
    "tuple": (
        *(
            "tuple({ints})",
            "({int}, {str})",
            "{tuple} + {tuple}",
            "divmod({int}, {int})",
            "{str}.partition('=')",
            "tuple({dict}.items())",
        ),
        *(
            "({int}, *{ints})",
            "{tuple}[::-1]",
            "tuple(sorted({words}))",
            "tuple(x for x in {ints})",
            "max({dict}.items(), key=lambda p: p[1])",
        ),
    ),
    "set": (
        *(
            "set({ints})",
            "set({words})",
            "{set} | {set}",
            "{set} & {set}",
            "{set} - {set}",
            "{{x % 2 for x in {ints}}}",
        ),
        *("{dict}.keys() & {dict}.keys()", "{set}.union({ints})", "{set} ^ {set}", "frozenset({ints})"),
    ),
    "any": (
        *(
            "{int}",
            "{str}",
            "{float}",
            "{ints}",
            "{dict}",
            "{tuple}",
            "{rows}",
            "{set}",
            "{bool}",
            "None",
            "[{any}, {any}]",
        ),
        *(
            "{{'k': {any}}}",
            "{dict}.get('nope')",
            "re.search({pattern}, {str}) and 1",
            "next(iter({ints}), None)",
            "range({int} % 5)",
        ),
        *(
            "json.loads({str})",
            "list(zip({ints}, {words}))",
            "list(enumerate({words}))",
            "list({dict}.items())",
            "{rows}[0]",
        ),
        *(
            "{rows}[0].get('s')",
            "Counter({words}).most_common(2)",
            "list(itertools.combinations({ints}, 2))",
            "{dict}[{str}]",
        ),
        *(
            "await asyncio.gather(solo({int}), solo({str}))",
            "list(map(lambda a, b: (a, b), {ints}, {words}))",
            "[[]] * 2",
        ),
        *(
            "await asyncio.gather(*[solo(x) for x in {ints}])",
            "{dict}.keys()",
            "{any} or {any}",
            "{any} and {any}",
            "type({any})",
        ),
        *(
            "datetime.datetime(2024, 1, 2, 3, 4).isoformat()",
            "dt.fromisoformat({str})",
            "deque({ints})",
            "date(2024, 1, 2)",
            "sum({words}, [])",
        ),
        *(
            "(lambda m: m and m.groups())(re.search({pattern}, {str}))",
            "{words}[{int}]",
            "{ints}.sort()",
            "print({any})",
        ),
        *(
            "[solo(x) for x in ()]",
            "sorted({any})",
            "min({any})",
            "len({any})",
            "{any} + {any}",
            "{any} * {int}",
            "-{any}",
            "{any}[{any}]",
        ),
        *(
            "random.Random(3).random()",
            "(random.seed(5), random.randint(1, 99), random.choice([1, 2, 3]))[1:]",
            "dict({any})",
            "list({any})",
        ),
    ),
}
TYPES = tuple(EXPRESSIONS)


class Writer:
    """Writes one program from one source of random numbers."""

    def __init__(self, seed: str) -> None:
        self.random = random.Random(seed)  # noqa: S311  the same seed, the same program
        self.variables: dict[str, str] = {}
        self.count = 0

    def program(self) -> str:
        """A program of a few statements; its value is a tuple of some of its variables."""
        lines: list[str] = []
        for kind in self.random.sample(TYPES, 4):
            lines += [f"{self.variable(kind)} = {self.literal(kind)}"]
        for _ in range(self.random.randint(1, 5)):
            lines += self.statement(self.random.choice(_STATEMENTS))
        shown = self.random.sample(list(self.variables), min(3, len(self.variables)))
        text = "\n".join([*lines, f"({', '.join(shown)},)"])
        imports = [f"import {name}" for name in MODULES if re.search(rf"\b{name}\.", text)]
        imports += [
            line.format(name) for name, line in NAMES.items() if re.search(rf"\b{name}\(|\b{name}\.", text)
        ]
        return "\n".join([*imports, text])

    def variable(self, kind: str) -> str:
        """A new name for something of a type."""
        self.count += 1
        name = f"{kind[0]}{self.count}"
        self.variables[name] = kind
        return name

    def literal(self, kind: str) -> str:
        return self.random.choice(LITERALS[kind])

    def expression(self, kind: str, depth: int = 0) -> str:
        """An expression that gives something of a type, if nothing in it fails."""
        if self.random.random() < 0.02:
            kind = self.random.choice(TYPES)
        chance = self.random.random()
        known = [name for name, its in self.variables.items() if its == kind]
        if known and chance < 0.45:
            return self.random.choice(known)
        if depth > 2 or chance < 0.6:
            return self.literal(kind)
        template = self.random.choice(EXPRESSIONS[kind])
        return self.fill(template, depth + 1)

    def fill(self, template: str, depth: int = 1) -> str:
        """A template with expressions in its places."""
        made = template.replace("{{", "\0").replace("}}", "\1")
        for word in (*TYPES, "spec", "pattern"):
            while f"{{{word}}}" in made:
                made = made.replace(f"{{{word}}}", self.place(word, depth, inside_text="f'" in template), 1)
        return made.replace("\0", "{").replace("\1", "}")

    def place(self, word: str, depth: int, *, inside_text: bool) -> str:
        if word == "spec":
            return self.random.choice(SPECS)
        if word == "pattern":
            return f"r'{self.random.choice(PATTERNS)}'"
        made = self.expression(word, 9 if inside_text else depth)
        if inside_text:  # before Python 3.12 no quotes or backslashes may stand in the field of an f-string
            names = [name for name, its in self.variables.items() if its == word]
            return self.random.choice(names) if names else {"int": "5", "float": "2.5"}.get(word, "None")
        return made if made.isidentifier() else f"({made})"

    def statement(self, template: str) -> list[str]:
        """Lines of one statement."""
        text = template
        for mark in ("NEW",):
            if mark in text:
                kind = text.split(f"{mark}:", 1)[1].split(" ", 1)[0].split(",", 1)[0].strip()
                text = self.fill_lines(text.replace(f"{mark}:{kind}", "\2"))
                return text.replace("\2", self.variable(kind)).split("\n")
        return self.fill_lines(text).split("\n")

    def fill_lines(self, text: str) -> str:
        return "\n".join(self.fill(line) for line in text.split("\n"))


_SIMPLE = tuple(f"NEW:{kind} = {{{kind}}}\nprint(repr(\2))" for kind in TYPES)
_STATEMENTS: tuple[str, ...] = (
    *_SIMPLE,
    *_SIMPLE,
    "print({any}, {any}, sep='|')",
    "for x in {ints}:\n    if x == {int}:\n        continue\n    print('x', x)",
    "for i, x in enumerate({words}):\n    print(i, x, {bool})",
    "for k, v in {dict}.items():\n    print(k, v + {int})",
    "for a, b in zip({ints}, {words}):\n    print(a, b)\nelse:\n    print('end')",
    "total = 0\nfor r in {rows}:\n    total += r['n'] * {int}\nprint(total)",
    "groups = {{}}\nfor r in {rows}:\n    groups.setdefault(r['s'], []).append(r['n'])\nprint(groups)",
    "groups = defaultdict(list)\nfor w in {words}:\n    groups[len(w)].append(w)\nprint(dict(groups), sorted(groups))",
    "counts = defaultdict(int)\nfor w in {words}:\n    counts[w] += 1\nprint(sorted(counts.items(), key=lambda p: (-p[1], p[0])))",
    "try:\n    print({any})\nexcept Exception:\n    print('failed')",
    "try:\n    print({int}, {str})\nexcept (KeyError, IndexError):\n    print('lookup')\nexcept Exception as e:\n    print(type(e).__name__)",
    "try:\n    print({any})\nexcept Exception as e:\n    print('error', e)\nfinally:\n    print('done')",
    "try:\n    print(len(await solo({any})))\nexcept TypeError:\n    print('type')",
    "xs = {ints}\nxs.append({int})\nxs.insert(0, {int})\nxs.pop()\nprint(xs)",
    "xs = {ints}\nys = xs\nxs += {ints}\nprint(xs, ys)",
    "xs = {ints}\nfor i, x in enumerate(xs):\n    if x < 0 and len(xs) < 9:\n        xs.append(-x)\nprint(xs)",
    "seen = set()\nout = []\nfor x in {words}:\n    if x not in seen:\n        seen.add(x)\n        out.append(x)\nprint(out, len(seen))",
    "def f(x, y={int}, *rest, z={str}, **more):\n    return [x, y, rest, z, sorted(more)]\nprint(f({any}), f({int}, {int}, {int}, z=1, q=2))",
    "def g(n):\n    return 1 if n < 1 else g(n - 1) + {int}\nprint(g(5))",
    "def h(x):\n    if x:\n        return {str}\n    return None\nprint(h({any}), h({int}))",
    "async def job(x):\n    print('in', x)\n    y = await solo(x)\n    print('out', y)\n    return y\nprint(await asyncio.gather(*[job(x) for x in {ints}]))",
    "async def job(x):\n    y = await tools.crm.find(x, limit={int})\n    return [y, await crm.save(y)]\nprint(await job({any}), await job({str}))",
    "d = {{}}\nfor x in {ints}:\n    d[x] = d.get(x, 0) + {int}\nprint(d)",
    "d = {dict}\nfor x in {ints}:\n    d.setdefault(x, []).append({any})\nprint(d)",
    "tally = defaultdict(int)\nfor r in {rows}:\n    tally[r['t']] += r['n']\nprint(dict(tally))",
    "def counted(xs):\n    c = Counter(xs)\n    c.update({ints})\n    return c\nprint(counted({ints}), counted({words}))",
    "class A:\n    size = {int}\n    def __init__(self, x):\n        self.x = x\n        self.items = []\n    def add(self, y):\n        self.items.append(y)\n        return self\n    def __repr__(self):\n        return f'A({{self.x!r}}, {{self.items}})'\na = A({any}).add({any})\nprint(a, a.x, a.size, [a])",
    "while len({ints}) > 99:\n    break\nelse:\n    print('never')",
    "n = 0\nwhile n < 4:\n    n += 1\n    if n == {int} % 4:\n        break\nprint(n)",
    "match {any}:\n    case [a, *b]:\n        print('list', a, b)\n    case {{'a': a}}:\n        print('dict', a)\n    case int(a) | float(a):\n        print('number', a)\n    case str():\n        print('text')\n    case _:\n        print('other')",
    "a, *b = {ints}\nprint(a, b)",
    "a, b = {int}, {str}\na, b = b, a\nprint(a, b)",
    "d = {dict}\nd['n'] = {int}\nd.update({dict})\nd.pop('a', None)\nprint(d, list(d))",
    "s = {set}\ns2 = s | {set}\nprint(sorted(s2, key=str), len(s), {int} in s)",
    "s = {set}\nprint(s)",
    "for x in {set}:\n    print(x)",
    "fs = [lambda x, i=i: x + i for i in range(3)]\nprint([f({int}) for f in fs])",
    "c = Counter({words})\nc.update({words})\nprint(c.most_common(), c.total(), c['nope'])",
    "P = namedtuple('P', 'x y')\np = P({int}, {str})\nprint(p, p.x, p[1], p._replace(x=0))",
    "d = deque({ints})\nd.appendleft({int})\nprint(d, d.popleft(), list(d))",
    "m = re.search({pattern}, {str})\nif m:\n    print(m.group(), m.groups(), m.span())\nelse:\n    print('no match')",
    "x = {int}\nx += {int}\nx *= {int}\nx -= {int}\nprint(x)",
    "x = {float}\nx += {int}\nx /= 4\nprint(x, f'{{x:.2f}}')",
    "assert {bool}, 'not so'\nprint('so')",
    "raise ValueError(f'bad {{{str}}}')",
    "if {bool}:\n    print('yes')\nelif {any}:\n    print('maybe')\nelse:\n    print('no')",
    "gen = (x * 2 for x in {ints})\nprint(list(gen), list(gen))",
    "pairs = zip({ints}, {words})\nfor p in pairs:\n    print(p)",
    "print(any(x > 2 or print('seen', x) for x in {ints}))",
    "print(sum(x for x in {ints}), ','.join(str(x) for x in {ints}), sorted(-x for x in {ints}))",
    "print(*{words}, sep=', ')\nprint(*sorted({ints}), sep='|', end='.\\n')",
    "@functools.lru_cache(maxsize=None)\ndef fib(n):\n    return n if n < 2 else fib(n - 1) + fib(n - 2)\nprint(fib(20))",
    "now = dt(2024, 2, 28, 23, 30, tzinfo=timezone.utc)\nlater = now + timedelta(days={int} % 400, hours=1)\nprint(later, later.date(), later.isoformat(), (later - now).days)",
    "print(json.dumps({{'rows': {rows}, 'n': {int}, 'f': {float}, 's': {str}}}, indent=2))",
    "x = {str}\ny = x.split('=')\nif len(y) == 2:\n    k, v = y\n    print(k, v)\nelse:\n    print(len(y))",
    "matrix = [[{int} for _ in range(2)] for _ in range(2)]\nmatrix[0][1] = {int}\nprint([list(row) for row in zip(*matrix)], matrix)",
    "out = []\nfor r in sorted({rows}, key=lambda r: r['n'], reverse=True):\n    out.append(f\"{{r['n']:>4}} {{r['s']}} {{r['t']:.2f}}\")\nprint('\\n'.join(out))",
    "best = None\nfor r in {rows}:\n    if best is None or r['t'] > best['t']:\n        best = r\nprint(best and best['n'])",
    "stats = {{}}\nfor r in {rows}:\n    if r['s'] not in stats:\n        stats[r['s']] = {{'n': 0, 't': 0.0}}\n    stats[r['s']]['n'] += 1\n    stats[r['s']]['t'] += r['t']\nprint(stats)",
)
Statement = Callable[[], list[str]]


def program(seed: str) -> str:
    """The program of a seed."""
    return Writer(seed).program()
