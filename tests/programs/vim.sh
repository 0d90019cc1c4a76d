#!/bin/bash
# SPDX-License-Identifier: MIT
# Scripted edits of 60,000 lines, undo tree, sort, a dictionary.
# packages: vim
# timeout: 60
. "$(dirname "$0")/lib.sh"
need vim

seq 1 60000 | awk '{ print ($1 * 7919) % 60013, "word" $1 % 97, $1 }' >text
cat >work.vim <<'VIM'
call writefile(readfile('/proc/self/maps'), 'maps')
edit text
%s/word\(\d\+\)/w\1w/g
g/ w13w /normal! Ax
let &undolevels = &undolevels
let u = undotree().seq_cur
g/^1/d
exe 'undo ' . u
sort n
%s/$/;/
let d = {}
for i in range(1, line('$'))
	let k = split(getline(i))[1]
	let d[k] = get(d, k, 0) + 1
endfor
call append(line('$'), 'keys ' . len(d))
write! got
qall!
VIM
under vim -Nu NONE -i NONE -n -es -S work.vim </dev/null || fail "vim: status $?"
loaded_maps maps
{
	sed -e 's/word\([0-9]*\)/w\1w/' -e '/ w13w /s/$/x/' text | sort -n -s | sed 's/$/;/'
	echo "keys 97"
} >want
same got want
