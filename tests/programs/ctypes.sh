#!/bin/bash
# SPDX-License-Identifier: MIT
# libffi closures by the thousand (executable pages), callbacks from C, and the
# mmap module: made, resized, protected, flushed, shared with a child.
# packages: python3
# timeout: 60
# quick: yes
. "$(dirname "$0")/lib.sh"
need /usr/bin/python3

cat >work.py <<'PY'
import ctypes, mmap, os, random
open('maps', 'w').write(open('/proc/self/maps').read())
libc = ctypes.CDLL(None, use_errno=True)
proto = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
random.seed(1)
live = []
for turn in range(3000):
    cb = proto(lambda a, b: a[0] - b[0])
    if turn % 50 == 0:
        n = 200
        array = (ctypes.c_int * n)(*(random.randrange(1000) for _ in range(n)))
        libc.qsort(array, n, 4, cb)
        assert list(array) == sorted(array)
    live.append(cb)
    if len(live) > 700:
        del live[random.randrange(len(live))]
total = 0
maps = []
for turn in range(20000):
    pages = 1 + turn % 20
    m = mmap.mmap(-1, pages * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    assert m[0] == 0 and m[-1] == 0 and m.find(b'x') == -1
    m[turn % len(m)] = 120
    maps.append((m, turn % len(m)))
    if turn % 3 == 0:
        m.resize(4096 * (1 + (turn * 7) % 40))
    if turn % 4 == 0:
        m.madvise(mmap.MADV_DONTNEED)
    if len(maps) > 40:
        m, at = maps.pop(turn % 40)
        if at < len(m):
            total += m[at]
        m.close()
m = mmap.mmap(-1, 8192, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
m[0:5] = b'hello'
pid = os.fork()
if pid == 0:
    ok = m[0:5] == b'hello'
    m[0:5] = b'child'
    os._exit(0 if ok else 1)
assert os.waitpid(pid, 0)[1] == 0 and m[0:5] == b'hello'
print(total)
PY
/usr/bin/python3 work.py >want
rm maps
under /usr/bin/python3 work.py >got
loaded_maps maps
same got want
