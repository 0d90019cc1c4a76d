#!/bin/bash
# SPDX-License-Identifier: MIT
# Twenty panes with output and history: forkpty, libevent, reallocarray.
# packages: tmux
# timeout: 60
. "$(dirname "$0")/lib.sh"
need tmux

export TERM=screen SHELL=/bin/sh
unset TMUX
echo 'set -g history-limit 5000' >config
spawn tmux -D -S "$WORK/socket" -f "$WORK/config"
until_true 100 test -S socket || fail "no server"
loaded "$pid"
tm() {
	under tmux -S "$WORK/socket" "$@"
}
# output, a mark, and then wait for end of file
# shellcheck disable=SC2016
job='seq 1 3000; echo "pane $((3000 + 1)) end"; exec cat'
tm new-session -d -s lab -x 200 -y 200 "$job"
for _ in $(seq 1 20); do
	tm split-window -t lab "$job"
	tm select-layout -t lab tiled
done
panes=$(tm list-panes -t lab -F '#{pane_id}')
equal "$(wc -w <<<"$panes")" 21 panes
shows_end() {
	tm capture-pane -p -S - -t "$1" >capture
	grep -qx 'pane 3001 end' capture
}
for pane in $panes; do
	until_true 100 shows_end "$pane" || fail "pane $pane: $(tail -n 3 capture)"
	grep -v '^$' capture | head -n 3000 | cmp - <(seq 1 3000) ||
		fail "pane $pane: wrong history"
done
tm send-keys -t lab 'typed here' Enter
typed() {
	tm capture-pane -p -t lab | grep -q 'typed here'
}
until_true 50 typed || fail "keys do not arrive"
tm kill-server
wait "$pid" || fail "server: status $?"
