# ruff: noqa: E501 - a script on one line reads better than in pieces
"""Correct scripts, by what they do. None of them may be stopped, and each really runs to its end."""

RIGHT: dict[str, str] = {
    "an unknown tool behind an early return": (
        "names = [t['name'] for t in runtime.list_tools()]\n"
        "if 'shop.refund' not in names:\n    return 'no refunds'\nreturn await shop.refund(1)"
    ),
    "an unknown tool behind an early final_answer": (
        "if not hasattr(shop, 'refund'):\n    final_answer('none')\nreturn await shop.refund(1)"
    ),
    "an unknown tool behind a continue": (
        "for t in runtime.list_tools():\n    if t['name'] != 'shop.refund':\n        continue\n"
        "    await shop.refund(1)\nreturn 1"
    ),
    "an unknown tool in the else of a try": (
        "try:\n    runtime.get_tool_info('shop.refund')\nexcept NameError:\n    pass\n"
        "else:\n    await shop.refund(1)\nreturn 1"
    ),
    "an unknown tool behind the condition of a comprehension": (
        "return [await shop.refund(n) for n in (1, 2) if hasattr(shop, 'refund')]"
    ),
    "a wrong argument handled where it is awaited": (
        "async def safe(call):\n    try:\n        return await call\n    except TypeError as e:\n"
        "        return str(e)\nreturn await safe(get_order('x'))"
    ),
    "an unknown tool handled where it is awaited": (
        "calls = [shop.refund(1), get_order(1)]\nfor call in calls:\n    try:\n        await call\n"
        "    except NameError:\n        print('none')\nreturn 1"
    ),
    "a missing key handled by whoever calls": (
        "def pick(f):\n    try:\n        return f()\n    except KeyError:\n        return None\n"
        "o = await get_order(1)\nreturn pick(lambda: o['colour'])"
    ),
    "rows given more keys by |=": (
        "rows = await list_orders()\nfor row in rows:\n    row |= {'gross': row['total'] * 2}\n"
        "return rows[0]['gross']"
    ),
    "a result given more keys by |= in a function": (
        "def grow(d):\n    d |= {'extra': 1}\no = await get_order(1)\ngrow(o)\nreturn o['extra']"
    ),
    "a row added by += behind another name": (
        "rows = await list_orders()\nmore = rows\nmore += [{'extra': 1}]\nreturn rows[-1]['extra']"
    ),
    "results given more keys by way of an index": (
        "rows = await list_orders()\nindex = {row['number']: row for row in rows}\n"
        "for number in index:\n    index[number].update(rank=1)\nreturn rows[0]['rank']"
    ),
    "rows added by way of a dict they are in": (
        "rows = await list_orders()\nall_rows = {'orders': rows}\nall_rows['orders'].append({'extra': 1})\n"
        "return rows[-1]['extra']"
    ),
    "a call": "await tools.shop.get_order(number=1)",
    "a positional argument": "await shop.get_order(1)",
    "a short name": "(await get_order(1))['total']",
    "a top-level tool": "await add(1, 2)",
    "a top-level tool in full": "await tools.add(a=1, b=2)",
    "a top-level return": "order = await shop.get_order(1)\nreturn order['customer']['name']",
    "final_answer": "final_answer(await shop.price(3))\nraise ValueError('not reached')",
    "gather of a list": (
        "import asyncio\n"
        "orders = await asyncio.gather(*[shop.get_order(n) for n in range(1, 4)])\n"
        "return [each['total'] for each in orders]"
    ),
    "gather of two kinds": (
        "import asyncio\n"
        "order, mails = await asyncio.gather(shop.get_order(1), mail.search('pen'))\n"
        "return order['status'], mails[0]['subject']"
    ),
    "gather with a key of each": (
        "import asyncio\n"
        "a, b = await asyncio.gather(get_order(1), get_order(2))\n"
        "return {a['number']: a['items'], b['number']: b['items']}"
    ),
    "a comprehension": "return [each['number'] for each in await shop.list_orders() if each['total'] > 3]",
    "a dict comprehension": (
        "by = {each['number']: each for each in await shop.list_orders()}\n"
        "return {n: each['status'] for n, each in by.items()}"
    ),
    "a set comprehension": "return sorted({each['customer']['name'] for each in await list_orders()})",
    "building a dict": (
        "found = {}\n"
        "for each in await shop.list_orders():\n"
        "    found[each['number']] = {'name': each['customer']['name'], 'late': False}\n"
        "found[1]['late'] = True\n"
        "return found"
    ),
    "a new key in a result": (
        "orders = await shop.list_orders()\n"
        "for each in orders:\n"
        "    each['net'] = each['total'] / 1.19\n"
        "return sum(each['net'] for each in orders)"
    ),
    "a new key by update": "o = await get_order(1)\no.update(net=1.5)\nreturn o['net']",
    "a new key by a merged dict": "o = {**await get_order(1), 'net': 2}\nreturn o['net'] + o['total']",
    "a new key under a computed name": (
        "o = await get_order(1)\n"
        "for name, value in [('net', 1), ('gross', 2)]:\n"
        "    o[name] = value\n"
        "return o['n' + 'et'], o['gross']"
    ),
    "a row from elsewhere in a list of results": (
        "rows = await list_orders()\nrows.append((await docs.fetch('a')))\nreturn rows[-1]['pages']"
    ),
    "rows of two tools in one list": (
        "rows = [each for each in await list_orders()]\n"
        "rows.extend(await mail.search('x'))\n"
        "return rows[-1]['subject']"
    ),
    "a result changed behind another name": (
        "rows = await list_orders()\n"
        "same = rows\n"
        "same.insert(0, {'number': 'none', **{'total': 1}})\n"
        "return await add_note(1, rows[0]['number'])"
    ),
    "a result changed by a function": (
        "def mark(each):\n"
        "    each['number'] = str(each['number'])\n"
        "o = await get_order(1)\n"
        "mark(o)\n"
        "return await mail.search(o['number'])"
    ),
    "narrowing from None": ("o = await shop.find_order(1)\nif o is not None:\n    return o['total']"),
    "narrowing by a guard": (
        "o = await shop.find_order(1)\n"
        "if not o:\n"
        "    return 'none'\n"
        "email = o['customer']['email']\n"
        "return await mail.send([email or 'nobody@example.org'], 'hello')"
    ),
    "not narrowing what is there": "return (await shop.find_order(2))['customer']['email'].upper()",
    "get with a default": "o = await get_order(1)\nreturn o.get('note', 'none'), o.get('anything'), o.get('total', 0)",
    "get of a key that is not declared": "return (await get_order(1)).get('colour')",
    "asking for a key first": "o = await get_order(1)\nreturn o['note'] if 'note' in o else ''",
    "asking for an undeclared key first": "o = await get_order(1)\nif 'colour' in o:\n    print(o['colour'])\nreturn 1",
    "asking for an undeclared key of each": (
        "found = []\n"
        "for each in await list_orders():\n"
        "    if 'colour' not in each:\n"
        "        continue\n"
        "    found.append(each['colour'])\n"
        "return found"
    ),
    "a missing key caught": "o = await get_order(1)\ntry:\n    x = o['colour']\nexcept KeyError:\n    x = None\nreturn x",
    "a missing key caught outside the function": (
        "async def colour(n):\n"
        "    return (await get_order(n))['colour']\n"
        "try:\n"
        "    x = await colour(1)\n"
        "except (KeyError, ValueError) as error:\n"
        "    x = str(error)\n"
        "return x"
    ),
    "walrus": "if (o := await shop.find_order(3)) and o['total'] > 1:\n    return o['number']",
    "match": (
        "o = await get_order(2)\n"
        "match o['status']:\n"
        "    case 'open':\n"
        "        return 'waiting'\n"
        "    case other:\n"
        "        return other"
    ),
    "f-strings": "o = await get_order(1)\nreturn f\"{o['number']:>4} {o['customer']['name']!r} {o['total']:.2f}\"",
    "string methods on a result": "return (await get_order(1))['customer']['name'].lower().split(' ')[0]",
    "a caught failure of a tool": (
        "try:\n    await get_order(500)\nexcept ToolError as error:\n    return str(error)"
    ),
    "a closure": (
        "def sender(subject):\n"
        "    async def send(to):\n"
        "        return await mail.send([to], subject)\n"
        "    return send\n"
        "return await sender('hi')('a@example.org')"
    ),
    "a lambda as a sort key": "return sorted(await list_orders(), key=lambda each: -each['total'])[0]['number']",
    "max with a key": "best = max(await list_orders(), key=lambda each: each['total'])\nreturn best['number']",
    "a tuple for a list": "await mail.send(('a@example.org', 'b@example.org'), 'hi')",
    "a set for a list": "await mail.send({'a@example.org'}, 'hi')",
    "a tuple in a variable for a list": "to = ('a@example.org',)\nawait mail.send(to=to, subject='hi')",
    "a datetime for text": (
        "from datetime import datetime, date\n"
        "when = datetime(2025, 1, 2, 3, 4)\n"
        "await shop.schedule(1, when, day=date(2025, 1, 2))"
    ),
    "a date as text": "await shop.schedule(1, '2025-01-02T03:04:05')",
    "a whole float for an integer": "await shop.get_order(2.0)",
    "a computed whole float for an integer": "n = 4 / 2\nawait shop.get_order(n)",
    "an integer for a float": "await shop.price(2, discount=0)",
    "None for an optional argument": "await shop.add_note(1, 'x', None)",
    "None by name for an optional argument": "await shop.list_orders(status=None, limit=None)",
    "None in a variable for an optional argument": "tags = None\nawait shop.add_note(1, 'x', tags=tags)",
    "perhaps None for an optional argument": (
        "tags = ['a'] if (await shop.price(1)) > 5 else None\nawait shop.add_note(1, 'x', tags=tags)"
    ),
    "bytes for base64": "await upload(b'abc')",
    "a dict for an object": "await shop.make_order({'customer': 'Ada', 'items': ['pen']})",
    "a dict in a variable for an object": (
        "new = {'customer': 'Ada', 'items': ['pen']}\nnew['rush'] = True\nawait shop.make_order(new)"
    ),
    "a dict built up for an object": (
        "new = {}\nnew['customer'] = 'Ada'\nnew['items'] = []\nnew['items'].append('ink')\n"
        "await shop.make_order(order=new)"
    ),
    "arguments from a dict": "args = {'number': 1, 'text': 'x'}\nawait shop.add_note(**args)",
    "arguments from a dict of mixed types": (
        "args = {'number': 1, 'text': 'x', 'tags': ['a']}\nargs['number'] += 1\nawait add_note(**args)"
    ),
    "arguments from a literal dict": "await shop.add_note(**{'number': 1, 'text': 'x'})",
    "arguments from a list": "pair = [1, 2]\nawait add(*pair)",
    "some arguments from a dict": "more = {'limit': 2}\nawait shop.list_orders('open', **more)",
    "an alias of a namespace": "s = tools.shop\nreturn (await s.get_order(1))['number']",
    "an alias of a tool": "fetch = tools.shop.get_order\nreturn (await fetch(number=2))['number']",
    "import tools": "import tools\nreturn (await tools.shop.get_order(1))['items']",
    "from tools import": "from tools import shop, add\nreturn (await shop.get_order(await add(1, 1)))['items']",
    "from tools import as": "from tools import shop as s\nreturn (await s.price(1)) + 1",
    "from a namespace import": "from tools.shop import get_order as fetch\nreturn (await fetch(1))['number']",
    "from a namespace import over lines": (
        "from tools.shop import (\n    get_order,\n    price,\n)\nreturn (await price(1)), (await get_order(1))['number']"
    ),
    "a tool picked by name": "return await getattr(tools.shop, 'price')(3)",
    "a tool from a table": ("steps = {'add': tools.add}\nreturn await steps['add'](1, 2)"),
    "a function of a result": (
        "def line(order):\n    return order['customer']['name'] + ' ' + str(order['total'])\n"
        "return [line(each) for each in await list_orders()]"
    ),
    "a function with annotations": (
        "async def total(numbers: list[int]) -> float:\n"
        "    found = 0.0\n"
        "    for n in numbers:\n"
        "        found += (await get_order(n))['total']\n"
        "    return found\n"
        "return await total([1, 2])"
    ),
    "a recursive function": (
        "async def count(n):\n    return 0 if n == 0 else await add(1, await count(n - 1))\nreturn await count(3)"
    ),
    "json there and back": (
        "import json\n"
        "o = json.loads(json.dumps(await get_order(1)))\n"
        "o['extra'] = 1\n"
        "return o['extra'], o['total']"
    ),
    "json inside a result": "import json\npage = await docs.fetch('x')\nreturn json.loads(page['json'])['a'][1]",
    "an undeclared result": "page = await docs.fetch('x')\nreturn page['pages'][0]['title'].upper(), page.get('nope')",
    "a dict of numbers": "sums = await shop.totals()\nreturn sums['open'] + sums.get('lost', 0), max(sums.values())",
    "runtime helpers": (
        "names = [each['name'] for each in runtime.list_tools('shop')]\n"
        "about = runtime.get_tool_info(names[0])\n"
        "return len(runtime.search_tools('order', limit=2)), about['returns']"
    ),
    "an unknown tool handled": "try:\n    await shop.refund(1)\nexcept NameError:\n    return 'no such tool'",
    "a forbidden tool handled": "try:\n    await admin.wipe(True)\nexcept PermissionError as error:\n    return str(error)",
    "an unknown tool behind a question": (
        "if any(each['name'] == 'shop.refund' for each in runtime.list_tools()):\n"
        "    await shop.refund(1)\n"
        "return 'asked'"
    ),
    "an unknown tool in dead code": "DEBUG = False\nif DEBUG:\n    await shop.trace()\nreturn 1\nawait shop.more()",
    "an unknown tool in a function nobody calls": "async def later():\n    await shop.refund(1)\nreturn 2",
    "a namesake of a tool": (
        "def price(number):\n    return number\ndef refund():\n    return 'mine'\nreturn price('x'), refund()"
    ),
    "a name that hides a namespace": "shop = await shop.list_orders()\nreturn [each['number'] for each in shop]",
    "a wrong argument handled": "try:\n    await get_order('1')\nexcept TypeError as error:\n    return 'handled'",
    "a global": (
        "number = None\n"
        "def choose():\n    global number\n    number = 3\n"
        "choose()\n"
        "return (await get_order(number))['number']"
    ),
    "a dict filled in a loop": (
        "best = {'number': None}\n"
        "for each in await list_orders():\n"
        "    for key in ['number']:\n        best[key] = each['number']\n"
        "return await get_order(best['number'])"
    ),
    "a list of mixed types": (
        "row = ['x', None]\nfor n in (1, 2):\n    row[1] = n\nreturn await add_note(row[1], row[0])"
    ),
    "a name of two types": ("value = '7'\nvalue = int(value)\nreturn (await get_order(value))['number']"),
    "a name set in one branch": (
        "number = None\nfor each in await list_orders():\n    if each['total'] > 2:\n        number = each['number']\n"
        "return await get_order(number)"
    ),
    "isinstance": (
        "async def fetch(what):\n"
        "    if isinstance(what, str):\n        what = int(what)\n"
        "    return await get_order(what)\n"
        "return (await fetch('3'))['number']"
    ),
    "unpacking": "first, *rest = await list_orders()\nreturn first['number'], len(rest)",
    "zip and enumerate": (
        "orders = await list_orders()\nmails = await mail.search('x', limit=len(orders))\n"
        "return [(i, o['number'], m['subject']) for i, (o, m) in enumerate(zip(orders, mails))]"
    ),
    "grouping": (
        "groups = {}\nfor each in await list_orders():\n"
        "    groups.setdefault(each['customer']['email'] or 'none', []).append(each['number'])\n"
        "return groups"
    ),
    "a counter": (
        "from collections import Counter, defaultdict\n"
        "seen = Counter(each['status'] for each in await list_orders())\n"
        "by = defaultdict(list)\n"
        "for each in await list_orders():\n    by[each['status']].append(each)\n"
        "return seen['open'], by['open'][0]['number']"
    ),
    "slices and conditions": "orders = await list_orders()\nreturn orders[0]['number'] if orders[:1] else None",
    "a while loop": "n = 1\nwhile (await shop.price(n)) < 3:\n    n += 1\nreturn n",
    "an argument of a computed type": "o = await get_order(2)\nawait mail.send([o['customer']['email']], str(o['total']))",
    "text from numbers": "await mail.search(' '.join(str(each['number']) for each in await list_orders()))",
    "a class of the script": (
        "class Basket:\n    total = 0\nb = Basket()\nb.total = await shop.price(2)\nreturn b.total"
    ),
    "a dataclass of the script": (
        "from dataclasses import dataclass\n@dataclass\nclass Row:\n    number: int\n    name: str\n"
        "rows = [Row(o['number'], o['customer']['name']) for o in await list_orders()]\nreturn rows[0].name"
    ),
    "prints and an expression": "orders = await list_orders()\nprint(len(orders), orders)\norders[0]['items']",
    "a fence and an indentation": "```python\n    o = await get_order(1)\n    o['number']\n```",
    "non-ASCII text": "name = 'Zoë 😀'; note = await add_note(1, name); return note, (await get_order(1))['total']",
    "a dict asked with get": (
        "best = {'number': None}\ndef fill(into):\n    into['number'] = 4\nfill(best)\n"
        "return await get_order(best.get('number'))"
    ),
    "a list passed on and filled": (
        "found = [None]\ndef fill(into):\n    into[0] = 4\nfill(found)\nreturn await get_order(found[0])"
    ),
    "a list popped": "stack = [1, 'two']\nstack.pop()\nreturn await get_order(stack.pop())",
    "a fallback for a key": "o = await get_order(1)\ntry:\n    x = o['colour']\nexcept Exception:\n    x = 'none'\nreturn x",
    "a bare fallback for a key": "o = await get_order(1)\ntry:\n    x = o['colour']\nexcept:\n    x = 'none'\nreturn x",
    "a key behind a comparison": (
        "o = await get_order(1)\nfor key in o:\n    if key == 'colour':\n        print(o['colour'])\nreturn 1"
    ),
    "an optional key": "o = await get_order(1)\ntry:\n    print(o['note'])\nexcept KeyError:\n    pass\nreturn o['total']",
    "an optional import": (
        "try:\n    from tools.shop import refund\nexcept ImportError:\n    refund = None\n"
        "return 'no' if refund is None else await refund(1)"
    ),
    "an optional import with a broad handler": (
        "try:\n    from tools.shop import refund\nexcept Exception:\n    refund = None\nreturn refund is None"
    ),
    "a tool behind hasattr": "if hasattr(tools.shop, 'refund') and False:\n    await tools.shop.refund(1)\nreturn 1",
    "one name for two things": ("o = await get_order(1)\no = o['customer']\nreturn o['name']"),
    "one name in two functions": (
        "async def a():\n    o = await get_order(1)\n    return o['total']\n"
        "def b():\n    o = {'colour': 1}\n    return o['colour']\nreturn await a() + b()"
    ),
    "a parameter with a default": (
        "async def fetch(n=None):\n    return await get_order(n or 1)\nreturn (await fetch())['number']"
    ),
    "a key in a variable": "key = 'total'\nreturn (await get_order(1))[key]",
    "a method of the script": (
        "class Shop:\n    async def refund(self, n):\n        return await shop.price(n)\nreturn await Shop().refund(2)"
    ),
    "a coroutine passed on": (
        "async def twice(what):\n    return [await what(1), await what(2)]\nreturn await twice(tools.shop.price)"
    ),
    "a coroutine kept for later": "later = get_order(1)\nprint('first')\nreturn (await later)['number']",
    "calls in a dict": (
        "import asyncio\ncalls = {n: get_order(n) for n in (1, 2)}\n"
        "found = await asyncio.gather(*calls.values())\nreturn dict(zip(calls, [o['total'] for o in found]))"
    ),
    "rows built with renamed keys": (
        "rows = [{'id': o['number'], 'who': o['customer']['name']} for o in await list_orders()]\n"
        "return [row['id'] for row in rows if row['who']]"
    ),
    "a result given more keys in a comprehension": (
        "rows = [{**o, 'net': o['total'] * 0.8} for o in await list_orders()]\nreturn rows[0]['net']"
    ),
    "a result given more keys by |": "o = await get_order(1) | {'net': 1}\nreturn o['net']",
    "a copy with more keys": (
        "import copy\no = copy.deepcopy(await get_order(1))\no['net'] = 1\nreturn o['net']"
    ),
    "a list of results replaced in place": (
        "rows = await list_orders()\nrows[0] = {'id': 7}\nreturn rows[0]['id']"
    ),
    "a swapped pair": "a, b = 'x', 1\na, b = b, a\nreturn (await get_order(a))['number']",
    "a boolean made a number": "return await add(int(True), sum([True, False]))",
    "a number as a choice of types": "n = 3 if await shop.price(1) else '3'\nreturn (await get_order(int(n)))['number']",
    "text or a number": "n = '' or 5\nreturn (await get_order(n))['number']",
    "a time stamp": (
        "from datetime import datetime, timedelta\nwhen = datetime(2025, 1, 31) + timedelta(days=1)\n"
        "return await shop.schedule(1, when.isoformat())"
    ),
    "keyword dict merged": "base = {'number': 1}\nreturn await add_note(**{**base, 'text': 'x'})",
    "decimal money": (
        "from decimal import Decimal\ntotal = Decimal('0')\n"
        "for o in await list_orders():\n    total += Decimal(str(o['total']))\nreturn str(total)"
    ),
    "a while loop over pages": (
        "page, found = 1, []\nwhile True:\n    rows = await list_orders(limit=page)\n    found.extend(rows)\n"
        "    if len(rows) < page or page > 3:\n        break\n    page += 1\nreturn len(found)"
    ),
    "any and all": "rows = await list_orders()\nreturn any(o['total'] > 3 for o in rows), all('number' in o for o in rows)",
    "a global counter": (
        "count = 0\nasync def one(n):\n    global count\n    count += 1\n    return await shop.price(n)\n"
        "import asyncio\nawait asyncio.gather(*[one(n) for n in range(3)])\nreturn count"
    ),
    "nested gathers": (
        "import asyncio\npairs = await asyncio.gather(*[asyncio.gather(get_order(n), shop.price(n)) for n in (1, 2)])\n"
        "return [(o['number'], p) for o, p in pairs]"
    ),
    "a key looked for in a set": "o = await get_order(1)\nok = set(o) >= {'colour'}\nreturn o['colour'] if ok else 0",
    "a key looked for among the keys": "o = await get_order(1)\nreturn o['colour'] if o.keys() & {'colour'} else 1",
    "a default of another shape": "rows = await list_orders(limit=0) or [{'extra': 1}]\nreturn rows[0]['extra']",
    "a default for max": (
        "m = max(await list_orders(limit=0), key=lambda o: o['total'], default={'extra': 1})\nreturn m['extra']"
    ),
    "a default for next": "first = next(iter(await list_orders(limit=0)), {'extra': 1})\nreturn first['extra']",
    "a row added with +": "rows = (await list_orders()) + [{'extra': 1}]\nreturn rows[-1]['extra']",
    "a row added with +=": "rows = await list_orders()\nrows += [{'extra': 2}]\nreturn rows[-1]['extra']",
    "a row added with *": "rows = [*(await list_orders()), {'extra': 1}]\nreturn rows[-1]['extra']",
    "a row added by a lambda": "rows = await list_orders()\nadd = lambda some: some.append({'extra': 3})\nadd(rows)\nreturn rows[-1]['extra']",
    "all rows replaced": "rows = await list_orders()\nrows[:] = [{'extra': 2}]\nreturn rows[0]['extra']",
    "a result replaced when it fails": (
        "try:\n    o = await get_order(500)\nexcept Exception as error:\n    o = {'colour': str(error)}\nreturn o['colour']"
    ),
    "results and other things in one list": (
        "for each in [await get_order(1), {'extra': 1}]:\n    if len(each) == 1:\n        return each['extra']"
    ),
    "a function of the name of a tool": "async def get_order():\n    return {'colour': 1}\nreturn (await get_order())['colour']",
    "a tool's name given to another function": (
        "async def mine():\n    return {'colour': 1}\nget_order = mine\nreturn (await get_order())['colour']"
    ),
}
