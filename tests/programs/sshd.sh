#!/bin/bash
# SPDX-License-Identifier: MIT
# Five logins of 3 MB each, preload on both ends: re-exec, then the seccomp
# sandbox, which kills for a system call that it does not know.
# packages: openssh-server openssh-client
# timeout: 60
. "$(dirname "$0")/lib.sh"
PATH=$PATH:/usr/sbin:/sbin
need sshd ssh ssh-keygen

sshd=$(command -v sshd)
# as root, sshd wants its empty directory, which the service would make
[ "$(id -u)" != 0 ] || [ -d /run/sshd ] || mkdir -m 755 /run/sshd
ssh-keygen -q -t ed25519 -N '' -f host
ssh-keygen -q -t ed25519 -N '' -f user
head -c 3000000 /dev/urandom >payload
free_port
cat >config <<CONF
ListenAddress 127.0.0.1
Port $port
HostKey $WORK/host
PidFile none
AuthorizedKeysFile $WORK/user.pub
PubkeyAuthentication yes
PasswordAuthentication no
PermitRootLogin yes
StrictModes no
UsePAM no
LogLevel VERBOSE
CONF
[ -z "$PRELOAD" ] || echo "SetEnv LD_PRELOAD=$PRELOAD" >>config
spawn "$sshd" -D -e -f "$WORK/config"
wait_port
loaded "$pid"

echo "[127.0.0.1]:$port $(cat host.pub)" >known
log_in=(ssh -F none -p "$port" -i user -o IdentitiesOnly=yes
	-o UserKnownHostsFile="$WORK/known" -o BatchMode=yes
	-o ControlPath=none "$(id -un)@127.0.0.1")
for _ in 1 2 3 4 5; do
	under "${log_in[@]}" "cat '$WORK/payload'" </dev/null >got
	same got payload
done
# one session held open: the client, the command, the server's process for it
hold "${log_in[@]}" "cd '$WORK' && cat /proc/self/maps >maps &&
	{ cat /proc/\$PPID/maps >session; touch held; cat; }"
until_true 100 test -e held || fail "the held session did not start"
loaded "$pid"
loaded_maps maps
# only root may look at that process, which has dropped its dumpable flag
[ "$(id -u)" != 0 ] || loaded_maps session
release || fail "the held session: status $?"
equal "$(grep -c 'Accepted publickey' "$STDERR")" 6 "logins"
! grep -iE 'fatal|violation|segfault|abort' "$STDERR" || fail "sshd complains"
