# ruff: noqa: E501  scripts are easier to read whole
"""Processes, threads and signals: making many, making one that stays, and hurting those of the host."""

from __future__ import annotations

from .case import libc_case, os_case, table

_STAY = {
    "children that sleep": os_case("for i in range(20):\n    if os.fork() == 0:\n        os.setpgid(0, 0)\n        select.select([], [], [], 20)\n        os._exit(0)\nreach('select').select([], [], [], 0.1)\n1", "os", "select"),
    "children in sessions of their own": os_case("for i in range(20):\n    if os.fork() == 0:\n        os.setsid()\n        if os.fork() == 0:\n            select.select([], [], [], 20)\n        os._exit(0)\nreach('select').select([], [], [], 0.1)\n1", "os", "select"),
    "children that compute": os_case("for i in range(10):\n    if os.fork() == 0:\n        os.setsid()\n        n = 0\n        while n < 3 * 10**8:\n            n += 1\n        os._exit(0)\nreach('select').select([], [], [], 0.1)\n1", "os"),
    "children that ignore every signal": os_case("for i in range(10):\n    if os.fork() == 0:\n        os.setsid()\n        for s in range(1, 65):\n            try:\n                signal.signal(s, signal.SIG_IGN)\n            except (OSError, ValueError):\n                pass\n        select.select([], [], [], 20)\n        os._exit(0)\nreach('select').select([], [], [], 0.1)\n1", "os", "signal", "select"),
    "children by vfork and exec": os_case("for i in range(10):\n    subprocess.Popen(['/bin/sleep', '20'], start_new_session=True)\nreach('select').select([], [], [], 0.1)\n1", "subprocess"),
    "children by posix_spawn": os_case("for i in range(10):\n    os.posix_spawn('/bin/sleep', ['sleep', '20'], {}, setsid=True)\nreach('select').select([], [], [], 0.1)\n1", "os"),
    "children by multiprocessing": os_case("c = multiprocessing.get_context('fork')\nfor i in range(10):\n    c.Process(target=lambda: [reach('os').setsid(), reach('select').select([], [], [], 20)]).start()\nreach('select').select([], [], [], 0.1)\n1", "multiprocessing"),
    "children by clone": libc_case("for i in range(10):\n    if syscall(56, 17, 0, 0, 0, 0) == 0:\n        os.setsid()\n        select.select([], [], [], 20)\n        os._exit(0)\nreach('select').select([], [], [], 0.1)\n1", "os", "select"),
    "children by clone3": libc_case("a = (ctypes.c_uint64 * 11)()\na[4] = 17\nfor i in range(10):\n    if syscall(435, a, 88) == 0:\n        os.setsid()\n        select.select([], [], [], 20)\n        os._exit(0)\nreach('select').select([], [], [], 0.1)\n1", "os", "select"),
    "children of children": os_case("def f(n):\n    for i in range(2):\n        if n and os.fork() == 0:\n            os.setsid()\n            f(n - 1)\n            select.select([], [], [], 20)\n            os._exit(0)\nf(4)\nreach('select').select([], [], [], 0.1)\n1", "os", "select"),
    "a child that waits for the end of its parent": os_case("for i in range(5):\n    if os.fork() == 0:\n        os.setsid()\n        p = os.getppid()\n        while os.getppid() == p:\n            select.select([], [], [], 0.01)\n        select.select([], [], [], 20)\n        os._exit(0)\nreach('select').select([], [], [], 0.1)\n1", "os", "select"),
    "zombies": os_case("for i in range(60):\n    if os.fork() == 0:\n        os._exit(0)\nfor i in range(5):\n    if os.fork() == 0:\n        os.setsid()\n        select.select([], [], [], 20)\n        os._exit(0)\nreach('select').select([], [], [], 0.1)\n1", "os", "select"),
}  # fmt: skip
_MANY = {
    "threads": os_case("ts = []\ntry:\n    for i in range(3000):\n        ts.append(_thread.start_new_thread(select.select, ([], [], [], 20)))\nexcept RuntimeError:\n    pass\nif len(ts) >= 3000:\n    ts = [@PWNED@ + ': 3,000 threads']\nts[:1]", "_thread", "select"),
    "processes": os_case("n = 0\ntry:\n    for i in range(150):\n        if os.fork() == 0:\n            select.select([], [], [], 5)\n            os._exit(0)\n        n += 1\nexcept OSError:\n    pass\nif n >= 150:\n    n = @PWNED@ + ': 150 children'\nn", "os", "select"),
}  # fmt: skip

_THREADS = {
    "children by the event loop": os_case("import asyncio\nfor i in range(10):\n    await asyncio.create_subprocess_exec('/bin/sleep', '20', start_new_session=True)\n1"),
    "the group killed": os_case("for p in (0, -os.getpgid(os.getppid())):\n    try:\n        os.kill(p, 9)\n    except OSError:\n        pass\n1", "os"),
    "daemon threads that compute": os_case("def f():\n    while True:\n        pass\nfor i in range(20):\n    _thread.start_new_thread(f, ())\n1", "_thread"),
    "threads that outlive the script": os_case("for i in range(20):\n    threading.Thread(target=select.select, args=([], [], [], 30)).start()\n1", "threading", "select"),
    "threads that call on": os_case("def f():\n    while True:\n        try:\n            lab.save('later')\n        except BaseException:\n            pass\nfor i in range(4):\n    _thread.start_new_thread(f, ())\nawait echo(1)", "_thread"),
    "threads that print on": os_case("def f():\n    while True:\n        print('x' * 1000)\nfor i in range(4):\n    _thread.start_new_thread(f, ())\nawait echo(1)", "_thread"),
    "a child that speaks for its parent": os_case("if os.fork() == 0:\n    await lab.save('child')\n    os._exit(0)\nawait echo(1)", "os"),
    "a child that goes on with the script": os_case("p = os.fork()\nx = await echo(p == 0)\nx", "os"),
    "a child while the parent ends": os_case("if os.fork():\n    os._exit(0)\nawait echo(1)", "os"),
}  # fmt: skip

_HURT = {
    "the parent killed": os_case("os.kill(os.getppid(), 9)\nselect.select([], [], [], 0.3)\n1", "os", "select"),
    "every process killed": os_case("os.kill(-1, 9)\nselect.select([], [], [], 0.3)\n1", "os", "select"),
    "the host killed by its number": os_case("os.kill(@HOST@, 9)\nselect.select([], [], [], 0.3)\n1", "os", "select"),
    "another process killed": os_case("os.kill(@VICTIM@, 9)\nselect.select([], [], [], 0.1)\n1", "os", "select"),
    "another process stopped": os_case("os.kill(@VICTIM@, 19)\nselect.select([], [], [], 0.1)\n1", "os", "select"),
    "every process of /proc stopped": os_case("for p in os.listdir('/proc'):\n    if p.isdigit() and int(p) == @VICTIM@:\n        os.kill(int(p), 19)\nselect.select([], [], [], 0.1)\n1", "os", "select"),
    "a process by its descriptor": libc_case("fd = syscall(434, @VICTIM@, 0)\nsyscall(424, fd, 9, 0, 0)\nselect.select([], [], [], 0.1)\n1", "select"),
    "another process traced": libc_case("r = libc.ptrace(16, @VICTIM@, 0, 0)\nselect.select([], [], [], 0.1)\nif r == 0:\n    r = @PWNED@ + ': traced'\nr", "select"),
    "another process seized": libc_case("r = libc.ptrace(0x4206, @VICTIM@, 0, 0)\nif r == 0:\n    r = @PWNED@ + ': traced'\nr"),
    "the parent traced": libc_case("r = libc.ptrace(0x4206, reach('os').getppid(), 0, 0)\nif r == 0:\n    r = @PWNED@ + ': traced'\nr"),
    "another process's memory written": libc_case("m = open('/proc/@VICTIM@/mem', 'r+b')\na = [int(l.split('-')[0], 16) for l in open('/proc/@VICTIM@/maps') if 'rw-p' in l][0]\nm.seek(a)\nb = m.read(1)\nm.seek(a)\nm.write(b)\nm.flush()\n@PWNED@ + ': wrote'"),
    "another process's limits": os_case("resource.prlimit(@VICTIM@, 0, (1, 1))\n@PWNED@ + ': its limits'", "resource"),
    "another process's niceness": os_case("os.setpriority(0, @VICTIM@, 19)\n@PWNED@ + ': its priority'", "os"),
    "another process's processors": os_case("os.sched_setaffinity(@VICTIM@, [0])\n@PWNED@ + ': its processors'", "os"),
    "another process chosen to be killed for memory": os_case("open('/proc/@VICTIM@/oom_score_adj', 'w').write('900')\n@PWNED@ + ': its score'", "os"),
}  # fmt: skip

CASES = [
    *table("7 processes", {f"stays: {k}": v for k, v in _STAY.items()}, fires=["process"]),
    *table("7 processes", {f"many: {k}": v for k, v in _MANY.items()}, fires=["said so"]),
    *table("7 processes", {f"goes on: {k}": v for k, v in _THREADS.items()}),
    *table(
        "7 processes",
        {f"hurts: {k}": v for k, v in _HURT.items()},
        fires=["host", "victim", "said so", "next run"],
    ),
]
