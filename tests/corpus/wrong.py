# ruff: noqa: E501 - a script on one line reads better than in pieces
"""Scripts with one certain mistake: what is wrong, the script, and the kind of error.

Each must be stopped before anything of it runs, and each really fails when it is run unchecked.
"""

WRONG: dict[str, tuple[str, str]] = {
    # a tool that is not there, or not for this caller
    "a misspelt tool": ("await tools.shop.get_ordr(1)", "NameError"),
    "a misspelt tool by its namespace": ("await shop.lst_orders()", "NameError"),
    "a misspelt short name": ("await list_oders()", "NameError"),
    "a misspelt function without await": ("total = smu([1, 2])\ntotal + 1", "NameError"),
    "a misspelt function in a condition": (
        "if is_clean([]).real:\n    return 1\nreturn 2",
        "NameError",
    ),
    "an unknown namespace": ("await tools.store.get_order(1)", "NameError"),
    "an unknown tool after a call": ("await get_order(1)\nawait shop.refund(1)", "NameError"),
    "an unknown tool in a loop": ("for n in [1]:\n    await shop.refund(n)", "NameError"),
    "an unknown tool in a function": ("async def f():\n    await shop.refund(1)\nawait f()", "NameError"),
    "an unknown tool in a gather": (
        "import asyncio\nawait asyncio.gather(*[shop.refund(n) for n in [1, 2]])",
        "NameError",
    ),
    "an unknown tool by an alias": ("s = tools.shop\nawait s.refund(1)", "NameError"),
    "an unknown tool in an imported namespace": (
        "from tools import shop as s\nawait s.refund(1)",
        "NameError",
    ),
    "an unknown tool and a broad handler for another": (
        "try:\n    await get_order(1)\nexcept NameError:\n    pass\nawait shop.refund(1)",
        "NameError",
    ),
    "an unknown import": ("from tools.shop import refund\nawait refund(1)", "ImportError"),
    "an unknown namespace import": ("from tools import store\nawait store.get(1)", "ImportError"),
    "a forbidden tool": ("await tools.admin.wipe(True)", "PermissionError"),
    "a forbidden tool by its namespace": ("await admin.wipe(everything=True)", "PermissionError"),
    "a forbidden short name": ("await wipe(True)", "PermissionError"),
    # arguments that do not bind
    "no argument": ("await get_order()", "TypeError"),
    "one argument too few": ("await add(1)", "TypeError"),
    "too many arguments": ("await add(1, 2, 3)", "TypeError"),
    "an unknown argument": ("await get_order(1, verbose=True)", "TypeError"),
    "a misspelt argument": ("await get_order(nummber=1)", "TypeError"),
    "two values for one argument": ("await get_order(1, number=2)", "TypeError"),
    "an unknown argument beside unknown ones": (
        "more = {'limit': 1}\nawait list_orders(sort='up', **more)",
        "TypeError",
    ),
    "a missing argument beside a computed one": ("n = len('ab')\nawait shop.add_note(number=n)", "TypeError"),
    "a missing argument by an alias": ("f = tools.shop.get_order\nawait f()", "TypeError"),
    "a missing argument of an import": ("from tools.shop import get_order as f\nawait f()", "TypeError"),
    # literal values of a wrong type
    "text for a number": ("await get_order('1')", "TypeError"),
    "text for a number by name": ("await shop.price(number=1, discount='10%')", "TypeError"),
    "a fraction for an integer": ("await get_order(1.5)", "TypeError"),
    "a boolean for an integer": ("await get_order(True)", "TypeError"),
    "None for a required argument": ("await get_order(None)", "TypeError"),
    "a value not among the choices": ("await shop.list_orders(status='opn')", "TypeError"),
    "text for a list": ("await mail.send('a@example.org', 'hi')", "TypeError"),
    "a list of the wrong things": ("await mail.send([1], 'hi')", "TypeError"),
    "a number for text": ("await mail.search(5)", "TypeError"),
    "an object without a key": ("await shop.make_order({'customer': 'Ada'})", "TypeError"),
    "an object with a wrong value": ("await shop.make_order({'customer': 1, 'items': []})", "TypeError"),
    "bytes for text": ("await mail.search(b'x')", "TypeError"),
    "a wrong value in a literal dict": ("await add(**{'a': 1, 'b': '2'})", "TypeError"),
    "a wrong constant by its name": ("LIMIT = 'ten'\nawait list_orders(limit=LIMIT)", "TypeError"),
    "a wrong literal beside a computed one": ("await shop.add_note(len('ab'), 5)", "TypeError"),
    "a wrong argument under a broad handler": (
        "try:\n    await get_order('1')\nexcept ToolError:\n    x = 0\nawait get_order('2')",
        "TypeError",
    ),
    # values of a wrong type that only types can tell
    "a computed text for a number": ("n = str(7)\nawait get_order(n)", "TypeError"),
    "an f-string for a number": ("n = 7\nawait get_order(f'{n}')", "TypeError"),
    "a result's text for a number": ("o = await get_order(1)\nawait get_order(o['status'])", "TypeError"),
    "a result's number for text": ("o = await get_order(1)\nawait mail.search(o['number'])", "TypeError"),
    "each result's number for text": (
        "for each in await list_orders():\n    await mail.search(each['number'])",
        "TypeError",
    ),
    "a whole result for a number": ("o = await get_order(1)\nawait shop.price(o)", "TypeError"),
    "a list of results for text": ("await mail.search(await list_orders())", "TypeError"),
    "a length for text": ("await mail.search(len('abc'))", "TypeError"),
    "a list for a number": ("ns = [n for n in range(3)]\nawait get_order(ns)", "TypeError"),
    "a list for a number in a gather": (
        "import asyncio\nawait asyncio.gather(get_order(1), mail.search(query=[str(1)]))",
        "TypeError",
    ),
    # a key that a declared result does not have
    "a misspelt key": ("o = await get_order(1)\nreturn o['totl']", "KeyError"),
    "a misspelt key of each": ("return [o['titel'] for o in await list_orders()]", "KeyError"),
    "a misspelt inner key": ("o = await get_order(1)\nreturn o['customer']['mail']", "KeyError"),
    "a misspelt key directly": ("return (await get_order(1))['Number']", "KeyError"),
    "a misspelt key in a loop": ("for m in await mail.search('x'):\n    print(m['title'])", "KeyError"),
    "a misspelt key after a gather": (
        "import asyncio\nfound = await asyncio.gather(*[get_order(n) for n in (1, 2)])\nreturn found[0]['id']",
        "KeyError",
    ),
    "a misspelt key in a gather of two": (
        "import asyncio\na, b = await asyncio.gather(get_order(1), mail.search('x'))\nreturn a['no'], b[0]['id']",
        "KeyError",
    ),
    "a misspelt key in an f-string": ("o = await get_order(2)\nreturn f\"{o['name']}\"", "KeyError"),
    "a misspelt key of a chosen one": (
        "orders = await list_orders()\nreturn sorted(orders, key=lambda o: o['total'])[0]['id']",
        "KeyError",
    ),
    "a misspelt key beside sums": (
        "total = 0\ncounts = {}\nfor o in await list_orders():\n    total += o['total']\n"
        "    counts[o['status']] = counts.get(o['status'], 0) + 1\n    print(o['titel'])",
        "KeyError",
    ),
    "an unknown tool beside a question": (
        "print(runtime.search_tools('refund'))\nawait shop.refund(1)",
        "NameError",
    ),
    "a misspelt key beside groups": (
        "groups = {}\nfor o in await list_orders():\n    groups.setdefault(o['status'], []).append(o)\n"
        "    print(o['titel'])",
        "KeyError",
    ),
    # an await that was forgotten
    "a forgotten await": ("o = get_order(1)\nreturn o['total']", "ForgottenAwait"),
    "a forgotten await in a loop": ("for o in list_orders():\n    print(o)", "ForgottenAwait"),
    "a dropped call": ("shop.add_note(1, 'x')\nreturn 1", "ForgottenAwait"),
}

FAILS_QUIETLY = frozenset({"a dropped call"})
"""Unchecked, this one ends well, with nothing to show for it."""
