#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""One self-contained HTML page of a run: its tables, its plots inlined as SVG.

usage: report.py DIRECTORY        the one with results.json and the plots
"""
import html
import json
import os
import re
import sys

import results

STYLE = """body { font: 15px/1.5 sans-serif; max-width: 1150px; margin: 2em auto; padding: 0 1em }
table { border-collapse: collapse; margin: 1em 0; font-size: 13px }
td, th { border: 1px solid #ccc; padding: 2px 8px; text-align: right }
td:first-child, th:first-child { text-align: left }
th { background: #f2f2f2; position: sticky; top: 0 }
tr:hover td { background: #fafae8 }
svg { max-width: 100%; height: auto } figure { margin: 1.5em 0; overflow-x: auto }"""


def inline(text):
    text = html.escape(text)
    return re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", text)


def row(line, tag):
    cells = line.strip().strip("|").split(" | ")
    return "<tr>" + "".join(f"<{tag}>{inline(c.strip())}</{tag}>" for c in cells) + "</tr>"


def body(markdown):
    """Of Markdown what results.markdown() writes: headings, tables, lists, paragraphs."""
    out, in_table = [], False
    for line in markdown.splitlines():
        is_table = line.startswith("|")
        if in_table and not is_table:
            out.append("</table>")
        if is_table and not in_table:
            out += ["<table>", row(line, "th")]
        elif is_table and not line.startswith("| ---"):
            out.append(row(line, "td"))
        elif line.startswith("#"):
            level = len(line) - len(line.lstrip("#"))
            out.append(f"<h{level}>{inline(line.lstrip('# '))}</h{level}>")
        elif line.startswith("- "):
            out.append(f"<li>{inline(line[2:])}</li>")
        elif line and not is_table:
            out.append(f"<p>{inline(line)}</p>")
        in_table = is_table
    return "\n".join(out)


def svg(path, unique):
    with open(path, encoding="utf-8") as f:
        text = f.read()
    text = text[text.index("<svg"):]
    # several in one page: identifiers must differ
    text = re.sub(r'id="', f'id="{unique}-', text)
    text = re.sub(r"(xlink:href|href)=(['\"])#", rf"\1=\2#{unique}-", text)
    return re.sub(r"url\(#", f"url(#{unique}-", text)


def page(directory):
    with open(os.path.join(directory, "results.json"), encoding="utf-8") as f:
        document = json.load(f)
    plots = [n for n in sorted(os.listdir(directory)) if n.endswith(".svg")]
    figures = "\n".join(f"<figure>{svg(os.path.join(directory, n), n[:-4])}</figure>"
                        for n in plots)
    return ("<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">"
            f"<title>Labyrinth: benchmark</title><style>{STYLE}</style>"
            f"{body(results.markdown(document))}<h2>Plots</h2>{figures}</html>\n")


def main():
    if len(sys.argv) != 2 or not os.path.exists(os.path.join(sys.argv[1], "results.json")):
        print(__doc__.strip().splitlines()[-1] + "; run `make bench` first", file=sys.stderr)
        return 2
    path = os.path.join(sys.argv[1], "report.html")
    with open(path, "w", encoding="utf-8") as f:
        f.write(page(sys.argv[1]))
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
