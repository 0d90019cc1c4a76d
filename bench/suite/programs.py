# SPDX-License-Identifier: MIT
"""Real programs, all of them Debian's packages, and their inputs.

Inputs are made here, the same ones on every machine; nothing is downloaded.
"""
import os
import random
import shutil
import subprocess

from workloads import Workload

PYTHON = """
import json, re, random
rng = random.Random(1)
words = ["w%d" % rng.randrange(5000) for _ in range(60000)]
for turn in range(4):
    count = {}
    for w in words:
        count.setdefault(w, []).append(len(count))
    text = json.dumps(count)
    back = json.loads(text)
    tokens = re.findall(r"w[0-9]+", text)
    tree = None
    for t in tokens[:20000]:
        tree = (t, tree)
    rows = sorted((str(i * 7919 % 10007), i) for i in range(40000))
    assert back == count and tree and rows
"""
LUA = """
local t, s = {}, {}
for turn = 1, 5 do
    for i = 1, 60000 do
        t[i] = { id = i, name = "item" .. i, list = { i, i + 1, i + 2 } }
        s[#s + 1] = ("%d:%s"):format(i, t[i].name)
    end
    local text = table.concat(s, ",")
    local n = 0
    for w in text:gmatch("[^,]+") do n = n + #w end
    assert(n > 0)
    t, s = {}, {}
end
"""
RUBY = """
4.times do
  h = Hash.new { |x, k| x[k] = [] }
  60_000.times { |i| h["key#{i % 5000}"] << "value #{i}" * 3 }
  s = h.map { |k, v| k + v.join("-") }.join("\\n")
  n = s.scan(/key[0-9]+/).map(&:to_sym).uniq.size
  raise unless n == 5000
  a = (0...100_000).map { |i| [i * 7919 % 100_003, i.to_s] }.sort
  raise unless a.size == 100_000
end
"""
SQL = """
pragma journal_mode = off;
create table t(id integer primary key, name text, value real, body blob);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 60000)
    insert into t select i, 'name' || (i * 7919 % 60013), i * 1.5, randomblob(i % 300) from n;
create index by_name on t(name);
select count(*), sum(length(body)) from t where name like 'name1%';
select substr(name, 1, 6) k, count(*), group_concat(id) from t group by k order by 2 desc limit 5;
update t set body = zeroblob(200) where id % 3 = 0;
delete from t where id % 5 = 0;
select count(*) from t a join t b on a.name = b.name;
"""
POSTSCRIPT = """%!PS
/line { 72 exch moveto show } def
1 1 12 {
  /page exch def
  /Times-Roman findfont 11 scalefont setfont
  0 1 40 { /n exch def n 41 div 0.3 1 sethsbcolor
    (The quick brown fox jumps over the lazy dog 0123456789) 720 n 16 mul sub line } for
  gsave 300 400 translate
  0 2 358 { gsave dup rotate 360 div 1 0.8 sethsbcolor newpath 20 0 moveto
    150 20 200 page 10 mul 220 0 curveto closepath fill grestore } for
  grestore showpage
} for
"""
NGINX = """daemon off;
worker_processes 1;
pid {dir}/nginx.pid;
error_log {dir}/nginx.err;
events {{ worker_connections 128; }}
http {{
    access_log off;
    client_body_temp_path {dir}/1; proxy_temp_path {dir}/2; fastcgi_temp_path {dir}/3;
    uwsgi_temp_path {dir}/4; scgi_temp_path {dir}/5;
    keepalive_requests 100000;
    gzip on; gzip_types text/html;
    server {{ listen 127.0.0.1:{port}; root {dir}/www; }}
}}
"""
STL_SOURCE = """#include <iostream>
#include <map>
#include <regex>
#include <string>
#include <unordered_map>
#include <vector>
int main(int argc, char **argv)
{
    std::map<std::string, std::vector<int>> m;
    std::unordered_map<std::string, std::regex> r;
    for (int i = 0; i < argc; i++) { m[argv[i]].push_back(i); r[argv[i]] = std::regex(argv[i]); }
    std::cout << m.size() + r.size() << std::endl;
}
"""


def pigeons(holes):
    out = []
    for p in range(holes + 1):
        out += [f"(declare-const p{p}_{h} Bool)" for h in range(holes)]
        out.append("(assert (or " + " ".join(f"p{p}_{h}" for h in range(holes)) + "))")
    for h in range(holes):
        for p in range(holes + 1):
            out += [f"(assert (or (not p{p}_{h}) (not p{q}_{h})))" for q in range(p + 1, holes + 1)]
    out.append("(check-sat)")
    return "\n".join(out) + "\n"


def bit_vectors():
    out = ["(set-logic QF_BV)"]
    out += [f"(declare-const x{i} (_ BitVec 16))" for i in range(40)]
    for i in range(38):
        out.append(f"(assert (= (bvadd (bvmul x{i} x{i + 1}) x{i + 2}) #x{i * 2654435 % 65536:04x}))")
    return "\n".join(out + ["(check-sat)"]) + "\n"


def c_source():
    """A few hundred functions with loops, switches and calls of each other."""
    rng = random.Random(2)
    out = ["#include <stdio.h>", "#include <string.h>"]
    for i in range(220):
        out.append(f"static int f{i}(int a, int b, char *s)\n{{\n\tint i, n = {i};\n"
                   f"\tfor (i = 0; i < a; i++) {{\n\t\tswitch ((b + i) % 9) {{")
        for c in range(9):
            call = f"f{rng.randrange(i)}(i, n, s)" if i else "n"
            out.append(f"\t\tcase {c}: n += {call} * {rng.randrange(99)} ^ (int)strlen(s); break;")
        out.append(f"\t\t}}\n\t}}\n\tsnprintf(s, 8, \"%d\", n);\n\treturn n;\n}}")
    out.append("int main(void) { char s[99] = \"x\"; return f219(3, 4, s); }")
    return "\n".join(out) + "\n"


def write(path, text):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return path


def make_repository(path):
    """A repository of 300 commits; every run packs a copy of it anew."""
    env = {"PATH": os.environ["PATH"], "HOME": path, "GIT_CONFIG_NOSYSTEM": "1"}
    for who in ("AUTHOR", "COMMITTER"):
        env |= {f"GIT_{who}_NAME": "a", f"GIT_{who}_EMAIL": "a@b", f"GIT_{who}_DATE": "1 +0000"}
    rng = random.Random(3)
    stream, files = [], {}
    for commit in range(300):
        stream.append("commit refs/heads/main\ncommitter a <a@b> %d +0000\ndata 1\nx" % commit)
        for _ in range(6):
            name = f"d{rng.randrange(8)}/f{rng.randrange(40)}"
            lines = files.setdefault(name, [])
            for _ in range(40):
                lines.insert(rng.randrange(len(lines) + 1), "line %d\n" % rng.randrange(10**9))
            body = "".join(lines)
            stream.append(f"M 644 inline {name}\ndata {len(body)}\n{body}")
    if os.path.isdir(path):
        shutil.rmtree(path)
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", path], env=env, check=True)
    subprocess.run(["git", "-C", path, "fast-import", "--quiet"], env=env, check=True,
                   input="\n".join(stream) + "\n", text=True)
    return path


PACKAGES = {"redis-server": "redis-server", "redis-benchmark": "redis-tools",
            "sqlite3": "sqlite3", "python3": "python3", "lua5.4": "lua5.4", "ruby": "ruby",
            "z3": "z3", "gs": "ghostscript", "gcc": "gcc", "g++": "g++", "git": "git",
            "nginx": "nginx-light", "ab": "apache2-utils", "db_bench": "rocksdb-tools"}


def missing():
    """Programs that are not here; `make bench` installs their packages."""
    return [name for name in PACKAGES if not which(name)]


def which(name):
    """The distribution's, whatever else PATH has."""
    return shutil.which(name, path="/usr/bin:/usr/sbin:/bin:/sbin")


def programs(data, port):
    """Writes the inputs into @data and returns the table."""
    os.makedirs(os.path.join(data, "www"), exist_ok=True)
    if not os.path.isdir(os.path.join(data, "repo", "objects", "pack")):
        make_repository(os.path.join(data, "repo"))

    def at(name, text):
        return write(os.path.join(data, name), text)

    def program(name, what, argv, quick=True, **more):
        argv[0] = which(argv[0]) or argv[0]
        return Workload(name, "programs", what, argv, quick=quick, **more)

    at("www/page.html", "\n".join(str(i * 7919 % 10007) for i in range(6000)))
    copy = os.path.join(data, "copy")
    ping = f"until redis-cli -p {port} ping >/dev/null 2>&1; do sleep 0.02; done; "
    wait = f"until (exec 3<>/dev/tcp/127.0.0.1/{port + 1}) 2>/dev/null; do sleep 0.02; done; "
    ab = f"ab -q -k -c 8 -n 8000 -H 'Accept-Encoding: gzip' http://127.0.0.1:{port + 1}/page.html"
    return [
        program("python3", "dicts, lists, json, regular expressions; PYTHONMALLOC=malloc",
                ["python3", "-I", "-S", at("work.py", PYTHON)], env=["PYTHONMALLOC=malloc"]),
        program("lua", "tables and strings", ["lua5.4", at("work.lua", LUA)]),
        program("ruby", "hashes, strings, symbols, arrays",
                ["ruby", "--disable-gems", at("work.rb", RUBY)]),
        program("sqlite3", "insert, index, group, update, join; in memory",
                ["sqlite3", "-batch", ":memory:", f".read {at('work.sql', SQL)}"]),
        program("redis", "set, get, lpush, lpop, sadd, hset, zadd; pipelines of 16",
                ["redis-server", "--port", str(port), "--save", "", "--appendonly", "no",
                 "--dir", data], client=ping +
                f"redis-benchmark -p {port} -q -n 100000 -P 16 -r 20000 -d 100 "
                "-t set,get,lpush,lpop,sadd,hset,zadd >/dev/null"),
        program("z3", "pigeon-holes, then bit vectors",
                ["sh", "-c", f"z3 {at('holes.smt2', pigeons(8))} && "
                 f"z3 rlimit=700000 {at('bits.smt2', bit_vectors())}"]),
        program("gs", "PostScript to pictures",
                ["gs", "-q", "-dBATCH", "-dNOPAUSE", "-sDEVICE=ppmraw", "-r72",
                 "-sOutputFile=/dev/null", at("page.ps", POSTSCRIPT)]),
        program("gcc", "220 functions of C, -O2",
                ["gcc", "-O2", "-w", "-S", "-o", "/dev/null", at("work.c", c_source())]),
        program("g++", "map, regex, iostream, -O1",
                ["g++", "-O1", "-S", "-o", "/dev/null", at("work.cc", STL_SOURCE)]),
        program("git", "gc of 300 commits",
                ["sh", "-c", f"rm -rf {copy} && cp -r {os.path.join(data, 'repo')} {copy} && "
                 f"git -C {copy} -c pack.threads=1 -c gc.auto=0 -c core.fsync=none gc -q "
                 "--aggressive --prune=now"], quick=False),
        program("nginx", "8,000 requests by keep-alive, gzip",
                ["nginx", "-p", data, "-e", os.path.join(data, "nginx.err"),
                 "-c", at("nginx.conf", NGINX.format(dir=data, port=port + 1))],
                client=f"bash -c '{wait}' && {ab} >/dev/null"),
        program("rocksdb", "db_bench: fill in random order, read, in /dev/shm",
                ["db_bench", "--benchmarks=fillrandom,readrandom", "--num=60000",
                 "--value_size=200", f"--db={copy}.rocks", "--compression_type=lz4",
                 "--disable_wal=1", "--write_buffer_size=2097152"], threads=2, quick=False),
    ]
