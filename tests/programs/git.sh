#!/bin/bash
# SPDX-License-Identifier: MIT
# Clone, repack with threads, fsck, log and blame of a made history.
# packages: git
# timeout: 120
# quick: yes
. "$(dirname "$0")/lib.sh"
need git

export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 HOME="$WORK"
git init -q --bare -b main src
awk 'BEGIN {
	for (c = 1; c <= 400; c++) {
		if (c % 40 == 1)
			for (f = 0; f < 60; f++) {
				n = ""
				for (l = 0; l < 150; l++)
					n = n "line " l " of " f " in " (l * 7 + f * c) % 911 "\n"
				text[f] = n
			}
		printf "commit refs/heads/main\nmark :%d\n", c
		printf "committer Lab <lab@example.org> %d +0000\ndata 9\nnumber %02d\n", 1600000000 + c, c % 100
		for (k = 0; k < 4; k++) {
			f = (c * 13 + k * 7) % 60
			text[f] = text[f] "added by " c "\n"
			printf "M 100644 inline dir%d/file%d\ndata %d\n%s\n", f % 6, f, length(text[f]), text[f]
		}
	}
}' >history
git -C src fast-import --quiet <history

under git clone -q --no-hardlinks src copy.git --bare
# held on its standard input
loaded_stdin git -C copy.git cat-file --batch
under git -C copy.git -c pack.threads=4 repack -adfq --depth=30 --window=20
under git -C copy.git fsck --full --strict >fsck.log || fail "$(cat fsck.log)"
under git clone -q copy.git tree
equal "$(git -C tree rev-parse HEAD)" "$(git -C src rev-parse main)" HEAD
equal "$(git -C tree rev-list --count HEAD)" 400 commits

report() {
	"$@" git -C src log -p --stat main
	"$@" git -C src rev-list --objects --all
	"$@" git -C src blame main -- dir1/file13
	"$@" git -C src grep -c 'added by 3' main
	"$@" git -C src archive main | sha256sum
}
report env >want
report under >got
same got want
equal "$(grep -c '^commit ' got)" 400 "commits in the log"
