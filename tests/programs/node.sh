#!/bin/bash
# SPDX-License-Identifier: MIT
# V8 heap, zlib in the thread pool, four workers with Buffers, a child.
# packages: nodejs
# timeout: 90
. "$(dirname "$0")/lib.sh"
need node

cat >work.js <<'JS'
const fs = require('fs'), zlib = require('zlib'), crypto = require('crypto');
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const { spawnSync } = require('child_process');

if (!isMainThread) {
  let sum = 0;
  const ring = new Array(1000);
  for (let i = 0; i < 300000; i++) {
    const b = Buffer.allocUnsafeSlow(16 + (i * 31 + workerData) % 2000);
    b[0] = i & 255; b[b.length - 1] = 7;
    const old = ring[i % 1000];
    if (old) sum += old[0] + old[old.length - 1];
    ring[i % 1000] = b;
  }
  parentPort.postMessage(sum);
} else {
  fs.writeFileSync('maps', fs.readFileSync('/proc/self/maps'));
  const data = [];
  for (let i = 0; i < 100000; i++) data.push({ id: i, name: 'n' + i, list: [i, i * 2] });
  const text = JSON.stringify(data);
  console.log('json', text.length, JSON.parse(text)[99999].list[1]);
  const jobs = [];
  for (let i = 0; i < 4; i++) {
    jobs.push(new Promise((ok, no) => zlib.deflate(text.slice(i * 100000), (e, z) =>
      e ? no(e) : zlib.inflate(z, (e2, t) => e2 ? no(e2) :
        ok('zlib ' + crypto.createHash('md5').update(t).digest('hex'))))));
    jobs.push(new Promise((ok, no) => {
      const w = new Worker(__filename, { workerData: i });
      w.on('message', m => ok('worker ' + m)); w.on('error', no);
    }));
  }
  Promise.all(jobs).then(r => {
    r.forEach(s => console.log(s));
    const c = spawnSync(process.execPath, ['-p', '6*7'], { encoding: 'utf8' });
    console.log('child', c.status, c.stdout.trim());
  });
}
JS
node work.js >want
rm maps
under node work.js >got
loaded_maps maps
same got want
equal "$(tail -n 1 got)" "child 0 42" "last line"
equal "$(grep -c -e ^zlib -e ^worker got)" 8 "jobs"
