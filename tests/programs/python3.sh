#!/bin/bash
# SPDX-License-Identifier: MIT
# Every object through malloc: json, six threads, forks while they run.
# packages: python3
# timeout: 60
# quick: yes
. "$(dirname "$0")/lib.sh"
need /usr/bin/python3

cat >work.py <<'PY'
import hashlib, json, os, shutil, threading

shutil.copyfile('/proc/self/maps', 'maps')
data = [{'id': i, 'name': 'n%d' % i, 'list': list(range(i % 7))} for i in range(60000)]
for _ in range(3):
    text = json.dumps(data)
    assert json.loads(text) == data
print(hashlib.sha256(text.encode()).hexdigest())

sums = [0] * 6
def churn(n):
    live = {}
    for i in range(60000):
        live[i % 500] = bytes([n]) * (1 + i * 37 % 3000)
        sums[n] += len(live[i * 7 % (i % 500 + 1)])
threads = [threading.Thread(target=churn, args=(n,)) for n in range(6)]
for t in threads:
    t.start()
good = 0
for i in range(40):
    pid = os.fork()
    if pid == 0:
        s = sum(len(str(k) * 3) for k in range(5000))
        os._exit(0 if s == 3 * 18890 else 1)
    good += os.waitpid(pid, 0)[1] == 0
for t in threads:
    t.join()
print('threads', len(set(sums)), sums[0], 'children', good)
PY
PYTHONMALLOC=malloc under /usr/bin/python3 -I work.py >got
loaded_maps maps
/usr/bin/python3 -I work.py >want
same got want
equal "$(sed -n 's/.*children //p' got)" 40 children
