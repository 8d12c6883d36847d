# ruff: noqa: E501  scripts are easier to read whole
"""Reaching anything over a network or a socket, names included."""

from __future__ import annotations

from .case import libc_case, os_case, table

_S = "socket"
_CONNECT = {
    "TCP": os_case("s = socket.create_connection(('127.0.0.1', @PORT@), 1)\ns.recv(99)", _S),
    "TCP 6": os_case("s = socket.create_connection(('::1', @PORT@), 1)\ns.recv(99)", _S),
    "the C part of sockets": os_case("s = _socket.socket(2, 1)\ns.connect(('127.0.0.1', @PORT@))\ns.recv(99)", "_socket"),
    "UDP": os_case("socket.socket(2, 2).sendto(b'x', ('127.0.0.1', @PORT@))", _S),
    "a question to a name server": os_case("q = b'\\x12\\x34\\x01\\x00\\x00\\x01' + bytes(6) + b'\\x07example\\x03com\\x00\\x00\\x01\\x00\\x01'\nsocket.socket(2, 2).sendto(q, ('127.0.0.1', @PORT@))", _S),
    "a unix socket": os_case("s = socket.socket(1)\ns.connect('@UNIX@')\ns.recv(99)", _S),
    "an abstract socket": os_case("s = socket.socket(1)\ns.connect(chr(0) + '@ABSTRACT@')\ns.recv(99)", _S),
    "every address of this machine": os_case("n = 0\nfor a in ('127.0.0.1', '127.0.1.1', '0.0.0.0', '10.0.2.15', '172.17.0.1', '169.254.169.254', '192.168.0.1'):\n    try:\n        s = socket.socket(2, 1)\n        s.settimeout(0.1)\n        s.connect((a, @PORT@))\n        n += 1\n    except OSError:\n        pass\nn", _S),
    "http": os_case("request.urlopen('http://127.0.0.1:@PORT@/', timeout=1).read()", "urllib.request"),
    "system calls by number": libc_case("fd = syscall(41, 2, 1, 0)\na = (2).to_bytes(2, 'little') + (@PORT@).to_bytes(2, 'big') + bytes([127, 0, 0, 1]) + bytes(8)\nsyscall(42, fd, ctypes.c_char_p(a), 16)"),
    "system calls of 32 bits": libc_case("""
mmap = reach('mmap')
code = mmap.mmap(-1, 4096, prot=7)
low = libc.mmap
low.restype = ctypes.c_void_p
p = low(ctypes.c_void_p(0x10000000), 4096, 3, 0x32, -1, 0)
args = (2).to_bytes(4, 'little') + (1).to_bytes(4, 'little') + bytes(4)
ctypes.memmove(p, args, 12)
code.write(bytes.fromhex('53b866000000bb01000000b900000010cd805bc3'))
f = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
fd = f()
if fd >= 0:
    a = (2).to_bytes(2, 'little') + (@PORT@).to_bytes(2, 'big') + bytes([127, 0, 0, 1]) + bytes(8)
    libc.connect(fd, ctypes.c_char_p(a), 16)
fd"""),
    "system calls of x32": libc_case("fd = syscall(0x40000000 + 41, 2, 1, 0)\nfd = fd if fd >= 0 else syscall(41, 2, 1, 0)\na = (2).to_bytes(2, 'little') + (@PORT@).to_bytes(2, 'big') + bytes([127, 0, 0, 1]) + bytes(8)\nsyscall(42, fd, ctypes.c_char_p(a), 16)"),
    "io_uring": libc_case("p = ctypes.create_string_buffer(120)\nfd = syscall(425, 4, p)\nif fd >= 0:\n    fd = @PWNED@ + ': a ring'\nfd"),
    "a subprocess": os_case("subprocess.run(['/bin/bash', '-c', 'exec 3<>/dev/tcp/127.0.0.1/@PORT@; cat <&3'], capture_output=True).stdout", "subprocess"),
    "another network namespace": libc_case("fd = os.open('/proc/1/ns/net', 0)\nlibc.setns(fd, 0)\ns = socket.create_connection(('127.0.0.1', @PORT@), 1)\ns.recv(99)", "os", _S),
    "another process's network namespace": libc_case("fd = os.open('/proc/@HOST@/ns/net', 0)\nlibc.setns(fd, 0)\ns = socket.create_connection(('127.0.0.1', @PORT@), 1)\ns.recv(99)", "os", _S),
    "sendmsg with an address": os_case("s = socket.socket(2, 2)\ns.sendmsg([b'x'], [], 0, ('127.0.0.1', @PORT@))", _S),
    "fast open": os_case("s = socket.socket(2, 1)\ns.sendto(b'x', 0x20000000, ('127.0.0.1', @PORT@))", _S),
    "the guest's own socket, connected elsewhere": os_case("for fd in range(3, 64):\n    try:\n        s = socket.socket(fileno=os.dup(fd))\n        s.connect(chr(0) + '@ABSTRACT@')\n    except OSError:\n        pass\nsocket.socket(1).connect(chr(0) + '@ABSTRACT@')", "os", _S),
}  # fmt: skip

_KINDS = {
    "raw packets": os_case("s = socket.socket(17, 3, 3)\n@PWNED@ + ': a packet socket'", _S),
    "raw IP": os_case("s = socket.socket(2, 3, 1)\n@PWNED@ + ': a raw socket'", _S),
    "netlink": os_case("s = socket.socket(16, 3, 0)\n@PWNED@ + ': a netlink socket'", _S),
    "vsock": os_case("s = socket.socket(40, 1)\n@PWNED@ + ': a vsock socket'", _S),
    "a server of its own": os_case("s = socket.create_server(('127.0.0.1', 0))\n@PWNED@ + ': a listening socket'", _S),
}  # fmt: skip

# The guest's own event loop has no sockets, and not every kernel has ciphers.
_MAYBE = {
    "asyncio": os_case("import asyncio\nr, w = await asyncio.open_connection('127.0.0.1', @PORT@)\nstr(await r.read(99))"),
    "asyncio over a unix socket": os_case("import asyncio\nr, w = await asyncio.open_unix_connection('@UNIX@')\nstr(await r.read(99))"),
    "asyncio, a datagram": os_case("import asyncio\nt, p = await asyncio.get_running_loop().create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=('127.0.0.1', @PORT@))\nt.sendto(b'x')\nawait asyncio.sleep(0.05)"),
    "the kernel's ciphers": os_case("s = socket.socket(38, 5)\ns.bind(('hash', 'sha256'))\n@PWNED@ + ': a cipher socket'", _S),
}  # fmt: skip

CASES = [
    *table("7 network", {f"net: {k}": v for k, v in _CONNECT.items()}, fires=["connection", "said so"]),
    *table("7 network", {f"net: {k}": v for k, v in _KINDS.items()}, fires=["said so"], claim="no sockets"),
    *table("7 network", {f"net: {k}": v for k, v in _MAYBE.items()}, claim="no sockets"),
]
