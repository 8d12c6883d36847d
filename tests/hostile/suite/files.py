# ruff: noqa: E501  scripts are easier to read whole
"""Files, environment, `/proc`, descriptors that were left open, and filling the disk."""

from __future__ import annotations

from .case import Case, libc_case, os_case, table

_SECRET = {
    "environment": os_case("str(os.environ)", "os"),
    "environment of the C library": libc_case("libc.getenv.restype = ctypes.c_char_p\nlibc.getenv(b'ONETURN_CANARY')"),
    "environment in /proc": os_case("open('/proc/self/environ').read()", "os"),
    "environment of every process": os_case("""
found = []
for pid in os.listdir('/proc'):
    for name in ('environ', 'cmdline'):
        try:
            found += [w for w in open('/proc/' + pid + '/' + name).read().split(chr(0)) if w.startswith(('ONETURN', 'canary'))]
        except OSError:
            pass
found""", "os"),
    "environment of the parent": os_case("open('/proc/%d/environ' % os.getppid()).read()", "os"),
    "environment of the host by its number": os_case("open('/proc/@HOST@/environ').read()", "os"),
    "command line of another process": os_case("open('/proc/@VICTIM@/cmdline').read()", "os"),
    "memory of another process": os_case("""
maps = [l.split()[0] for l in open('/proc/@VICTIM@/maps') if 'rw-p' in l]
m = open('/proc/@VICTIM@/mem', 'rb')
found = []
for r in maps:
    a, b = [int(x, 16) for x in r.split('-')]
    m.seek(a)
    try:
        data = m.read(b - a)
    except (OSError, ValueError):
        continue
    at = data.find(b'canary_')
    if at >= 0:
        found.append(data[at:at + 30])
        break
str(found)""", "os"),
    "memory by process_vm_readv": libc_case("""
maps = [l.split()[0] for l in open('/proc/@VICTIM@/maps') if 'rw-p' in l]
found = []
class V(ctypes.Structure):
    _fields_ = [('base', ctypes.c_void_p), ('len', ctypes.c_size_t)]
for r in maps:
    a, b = [int(x, 16) for x in r.split('-')]
    buf = ctypes.create_string_buffer(b - a)
    got = syscall(310, @VICTIM@, ctypes.byref(V(ctypes.addressof(buf), b - a)), 1, ctypes.byref(V(a, b - a)), 1, 0)
    at = buf.raw.find(b'canary_')
    if at >= 0:
        found.append(buf.raw[at:at + 30])
        break
str(found)"""),
    "root of another process": os_case("open('/proc/@VICTIM@/root@SECRET@').read()", "os"),
    "root of the parent": os_case("[open('/proc/%s/root@SECRET@' % p).read() for p in (os.getppid(), 1, '@HOST@')]", "os"),
    "working folder of another process": os_case("os.chdir('/proc/@VICTIM@/cwd')\nos.chdir('/')\nopen('.@SECRET@').read()", "os"),
    "descriptors that were left open": os_case("""
found = []
for fd in range(1024):
    try:
        found.append(str(os.pread(fd, 200, 0)))
    except OSError:
        pass
found""", "os"),
    "the descriptor by its number": os_case("os.pread(@FD@, 99, 0)", "os"),
    "descriptors in /proc": os_case("open('/proc/self/fd/@FD@').read()", "os"),
    "descriptors of another process": libc_case("fd = syscall(434, @HOST@, 0)\ng = syscall(438, fd, @FD@, 0)\nos.pread(g, 99, 0)", "os"),
    "a symbolic link of its own": os_case("""
for place in ('/tmp', '.', '/dev/shm', '/scratch', os.environ.get('HOME', '/tmp')):
    try:
        os.symlink('@SECRET@', place + '/l@TOKEN@')
        text = open(place + '/l@TOKEN@').read()
        os.unlink(place + '/l@TOKEN@')
        break
    except OSError as e:
        text = str(e)
text""", "os"),
    "a hard link of its own": os_case("os.link('@SECRET@', '@FOLDER@/@TOKEN@-hard')", "os"),
    "dots": os_case("open('../' * 30 + '@SECRET@'[1:]).read()", "os"),
    "a handle of a folder": os_case("d = os.open('/', os.O_RDONLY)\nos.read(os.open('@SECRET@'[1:], 0, dir_fd=d), 99)", "os"),
    "a way out of chroot": os_case("d = os.open('.', 0)\nos.makedirs('/tmp/@TOKEN@-root', exist_ok=True)\nos.chroot('/tmp/@TOKEN@-root')\nos.fchdir(d)\nfor i in range(30):\n    os.chdir('..')\nos.chroot('.')\nopen('@SECRET@').read()", "os"),
    "an old root": os_case("[os.listdir(p) for p in ('/.old', '/old_root', '/oldroot', '/mnt', '/host') if os.path.exists(p)], open('@SECRET@').read()", "os"),
    "the file by a name of the kernel": libc_case("""
h = ctypes.create_string_buffer(200)
ctypes.memmove(h, (128).to_bytes(4, 'little'), 4)
m = ctypes.c_int()
assert syscall(303, -100, ctypes.c_char_p(b'@SECRET@'), h, ctypes.byref(m), 0) == 0, 'no handle'
root = os.open('/', 0)
os.read(syscall(304, root, h, 0), 99)""", "os"),
    "openat2": libc_case("how = (ctypes.c_uint64 * 3)(0, 0, 0)\nos.read(syscall(437, -100, ctypes.c_char_p(b'@SECRET@'), how, 24), 99)", "os"),
    "shared memory of the system": libc_case("libc.shmat.restype = ctypes.c_void_p\na = libc.shmat(@SHM@, None, 0o10000)\nctypes.string_at(ctypes.c_void_p(a).value, 40) if a not in (None, 2**64 - 1) else 'nothing'"),
    "a whole walk": os_case("found = []\nfor d in ('/tmp', '/var/tmp', '/run', '/dev/shm'):\n    for f in os.listdir(d):\n        for g in [f] + ([f + '/' + x for x in os.listdir(d + '/' + f)] if os.path.isdir(d + '/' + f) and f.startswith('hostile-') else []):\n            if '@TOKEN@' in g and os.path.isfile(d + '/' + g):\n                found.append(open(d + '/' + g).read())\nfound", "os"),
}  # fmt: skip

_MADE = {
    "writing": os_case("open('@FOLDER@/@TOKEN@', 'w').write('x')", "os"),
    "writing through the descriptor": os_case("os.pwrite(@FD@, b'changed', 0)", "os"),
    "changing the secret": os_case("open('@SECRET@', 'a').write('x')", "os"),
    "removing and writing again": os_case("os.remove('@SECRET@')\nopen('@SECRET@', 'w').write('mine')", "os"),
    "changing its mode": os_case("os.chmod('@SECRET@', 0o777)", "os"),
    "through the parent's root": os_case("open('/proc/%d/root@FOLDER@/@TOKEN@' % os.getppid(), 'w').write('x')", "os"),
    "in every folder there is": os_case("n = 0\nfor d in ('/tmp', '/var/tmp', '/dev/shm', '/run', '/home', '/root'):\n    try:\n        open(d + '/@TOKEN@-here', 'w').write('x')\n        n += 1\n    except OSError:\n        pass\nn", "os"),
    "a fifo and a socket": os_case("os.mkfifo('@FOLDER@/@TOKEN@-fifo')\ns = socket.socket(1)\ns.bind('@FOLDER@/@TOKEN@-sock')", "os", "socket"),
    "a device": os_case("os.mknod('/tmp/@TOKEN@-null', 0o20666, os.makedev(1, 3))", "os"),
    "a file of a size": os_case("f = open('@FOLDER@/@TOKEN@-sparse', 'wb')\nf.truncate(1 << 40)", "os"),
    "a file of a user of its own": os_case("fd = os.open('@FOLDER@/@TOKEN@-suid', os.O_CREAT | os.O_WRONLY, 0o777)\nos.fchmod(fd, 0o6777)", "os"),
    "a file without a name, given one": libc_case("fd = os.open('@FOLDER@', os.O_TMPFILE | os.O_RDWR)\nlibc.linkat(-100, b'/proc/self/fd/%d' % fd, -100, b'@FOLDER@/@TOKEN@-named', 0x400)"),
    "a bind mount": libc_case("os.makedirs('/tmp/@TOKEN@-mount', exist_ok=True)\nassert libc.mount(b'@FOLDER@', b'/tmp/@TOKEN@-mount', None, 4096, None) == 0, ctypes.get_errno()\nopen('/tmp/@TOKEN@-mount/@TOKEN@', 'w').write('x')", "os"),
    "the core dump pattern": os_case("open('/proc/sys/kernel/core_pattern').read()\nopen('@FOLDER@/@TOKEN@-core', 'w').write('x')", "os"),
    "start-up files of Python": os_case("n = 0\nfor d in [p for p in sys.path if p] + [sys.prefix]:\n    try:\n        open(d + '/@TOKEN@.pth', 'w').write('import os')\n        os.remove(d + '/@TOKEN@.pth')\n        n += 1\n    except OSError:\n        pass\nif n:\n    n = @PWNED@ + ': wrote into the interpreter'\nn", "os", "sys"),
}  # fmt: skip

_FILL = {
    "a disk filled": os_case("""
n = 0
for d in ('@FOLDER@', '/tmp', '/var/tmp', '/dev/shm', '.', '/'):
    try:
        with open(d + '/@TOKEN@-big', 'wb') as f:
            for i in range(250):
                f.write(bytes(1 << 20))
                f.flush()
                n += 1
    except OSError:
        pass
if n >= 250:
    n = @PWNED@ + ': wrote %d MB' % n
n""", "os"),
    "many files": os_case("""
n = 0
for d in ('@FOLDER@', '/tmp', '/dev/shm', '.', '/'):
    try:
        os.mkdir(d + '/@TOKEN@-many')
        for i in range(100_000):
            os.close(os.open(d + '/@TOKEN@-many/%d' % i, os.O_CREAT | os.O_WRONLY))
            n += 1
    except OSError:
        pass
    if n >= 60_000:
        n = @PWNED@ + ': made %d files' % n
        break
n""", "os"),
}  # fmt: skip

_DESCRIPTORS = {
    "every descriptor used up": os_case("fds = []\ntry:\n    while len(fds) < 100_000:\n        fds.append(os.dup(0) if not fds else os.open('/dev/null', 0))\nexcept OSError:\n    pass\nlen(fds)", "os"),
    "every descriptor closed": os_case("os.closerange(0, 4096)\nawait echo(1)", "os"),
    "every descriptor replaced": os_case("n = os.open('/dev/null', 2)\nfor fd in range(3, 300):\n    if fd != n:\n        try:\n            os.fstat(fd)\n            os.dup2(n, fd)\n        except OSError:\n            pass\nawait echo(1)", "os"),
    "every socket shut down": os_case("for fd in range(300):\n    try:\n        socket.socket(fileno=fd).shutdown(2)\n    except OSError:\n        pass\nawait echo(1)", "os", "socket"),
    "standard streams closed": os_case("for fd in (0, 1, 2):\n    try:\n        os.close(fd)\n    except OSError:\n        pass\nprint('x')\nawait echo(1)", "os"),
    "standard streams written to": os_case("for fd in (1, 2):\n    try:\n        os.write(fd, b'{\"id\": \"forged\"}\\n' * 10)\n    except OSError:\n        pass\nawait echo(1)", "os"),
}  # fmt: skip

CASES: list[Case] = [
    *table("7 files", {f"secret: {k}": v for k, v in _SECRET.items()}, fires=["secret", "file"]),
    *table("7 files", {f"made: {k}": v for k, v in _MADE.items()}, fires=["file", "said so"]),
    *table("7 files", {f"filled: {k}": v for k, v in _FILL.items()}, fires=["file", "said so"]),
    *table("7 files", {f"fds: {k}": v for k, v in _DESCRIPTORS.items()}),
]
