#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the tree's pages say of the tree.

- A link leads to a file that is there, and to a heading that is there.
- A test, a target or a path that is named exists.
- A number in a table of the README's section "Measured" is in a file of bench/results/:
  as it stands, or rounded from what is there.
- The README has its example, and each promise a test.

usage: check_docs.py      (python3 and git, or a tree without what git ignores)
"""
import os
import re
import subprocess
import sys

os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
failures, passed = [], 0


def expect(good, text):
    """Count; note what is wrong."""
    global passed
    if good:
        passed += 1
    else:
        failures.append(text)


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def tree():
    """All files of the project."""
    found = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True, check=False)
    if found.returncode == 0:
        return [p for p in found.stdout.split("\n") if p and os.path.exists(p)]
    return [os.path.relpath(os.path.join(d, f), ".") for d, _, names in os.walk(".") for f in names
            if not d.startswith(("./build", "./.git/"))]


def slugs(text):
    """The anchors of a page's headings, as forges make them."""
    names = re.findall(r"^#+ +(.*)$", re.sub(r"^```.*?^```", "", text, flags=re.S | re.M), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", n.lower()).strip().replace(" ", "-") for n in names}


files = tree()
pages = [p for p in files if p.endswith(".md")]
sources = {p: read(p) for p in files if re.match(r"tests/.*\.(c|cc|sh|py|h)$", p)}
functions = set(re.findall(r"\b(test_\w+)\s*\(", "\n".join(sources.values())))
targets = set()
for line in re.findall(r"^([\w$() .%/-]+?):(?!=)", read("Makefile"), flags=re.M):
    targets.update(line.split())
targets.update(re.findall(r"\b((?:check|bench)-[a-z0-9-]+)\b", read("Makefile")))
expect(len(functions) > 100 and len(targets) > 20 and len(pages) > 5, "the tree was not understood")

# ---- links, names ----

for page in pages:
    text = read(page)
    prose = re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)
    for label, target in re.findall(r"\[([^\]]*)\]\(([^)\s]+)\)", prose):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        where = os.path.normpath(os.path.join(os.path.dirname(page), path)) if path else page
        expect(os.path.exists(where), f"{page}: dead link: {target} ({label})")
        if anchor and where.endswith(".md") and os.path.exists(where):
            expect(anchor in slugs(read(where)), f"{page}: no such heading: {target}")
    for word in re.findall(r"`([^`\n]+)`", prose):
        made = re.match(r"make ([a-z][a-z0-9-]+)", word)
        if made:
            expect(made.group(1) in targets, f"{page}: no such target: {word}")
        elif re.fullmatch(r"test_\w+", word):
            expect(word in functions or f"tests/{word}.c" in files, f"{page}: no such test: {word}")
        elif re.fullmatch(r"(src|tests|bench|man|include|examples|preload|trace)/[\w./*-]*", word):
            pattern = re.escape(word.rstrip("/")).replace(r"\*", "[^/]*")
            expect(any(re.match(pattern + "(/|$)", f) for f in files), f"{page}: no such file: {word}")
        elif re.fullmatch(r"(base|os|page|pcp|slab|map|gfp|api)/[\w.-]+\.[ch]", word):
            expect(f"src/{word}" in files, f"{page}: no such file: src/{word}")

# ---- the README ----

readme = read("README.md")


def section(title):
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", readme, flags=re.S | re.M)
    expect(found, f"README.md: no section {title}")
    return found.group(1) if found else ""


rows = re.findall(r"^\| P(\d) \|(.*)\|(.*)\|$", section("Promises, and the test of each"), flags=re.M)
expect([r[0] for r in rows] == list("123456789"), "README.md: the promises are not P1 to P9")
for number, _, shown in rows:
    expect(re.search(r"`(make (check|bench)-|test_|tests/)", shown), f"README.md: P{number} names no test")
expect(len(re.findall(r"^```c$", readme, flags=re.M)) == 1, "README.md: not one example in C")
for command in ("make demo", "make check"):
    expect(re.search(rf"^{command}\b", readme, flags=re.M), f"README.md: no command {command}")

# ---- its numbers ----

NUMBER = r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?![\w.]*[\w])"
skipped = 0
results = [p for p in files if p.startswith("bench/results/") and p.endswith((".md", ".json", ".csv", ".txt"))]
cells = [c for line in re.findall(r"^\|(.*)\|$", section("Measured"), flags=re.M)
         if not re.fullmatch(r"[-| :]*", line) for c in line.split("|")[1:]]
wanted = [n for c in cells for n in re.findall(NUMBER, re.sub(r"1/(?=\d)|[a-z]+ [\d.]+", "", c))]
if results:
    known = [n.replace(",", "") for p in results for n in re.findall(r"\d[\d,]*(?:\.\d+)?", read(p))]
    exact, values = set(known), [float(n) for n in set(known)]
    expect(wanted, "README.md: no numbers are in the tables of Measured")
    for number in wanted:
        plain = number.replace(",", "")
        digits = len(plain.partition(".")[2])
        expect(plain in exact or any(f"{v:.{digits}f}" == plain for v in values),
               f"README.md: {number} is in no file of bench/results/")
else:
    skipped = len(wanted)
    print(f"skipped: {skipped} numbers of the README: there is no bench/results/ to hold them against")

for failure in failures:
    print("FAIL", failure)
print(f"docs: {len(pages)} pages, {passed} passed, {len(failures)} failed, {skipped} skipped")
sys.exit(bool(failures))
