#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The unit tests built for aarch64 and run under qemu-user, which has no restartable
# sequences: the try-lock back end.  About five minutes.
# usage: check_aarch64.sh [NAME...]       (tests/test_NAME.c; default: all)
#
# cmocka for aarch64 is fetched with lists of its own, so that this system's
# architectures stay as they are.

cd "$(dirname "$0")/.." || exit 2
out=build/aarch64
debs=$PWD/$out/debs
cross=aarch64-linux-gnu

tests/install_tools.sh build check aarch64 || exit 1
mkdir -p build/log

fetch() {
	local options="-qq -o APT::Architecture=arm64 -o APT::Architectures::=arm64
		-o Dir::State::lists=$debs/lists -o Dir::Cache=$debs/cache -o APT::Sandbox::User=root"
	[ -e "$debs/root/usr/include/cmocka.h" ] && return
	mkdir -p "$debs/lists/partial" "$debs/cache/archives/partial"
	# shellcheck disable=SC2086
	(cd "$debs" && apt-get $options update && apt-get $options download libcmocka0:arm64 \
		libcmocka-dev:arm64 && for deb in *.deb; do dpkg -x "$deb" root; done)
}
if ! fetch >"$out.log" 2>&1; then
	cat "$out.log"
	echo "could not fetch cmocka for aarch64"
	exit 1
fi

names=("$@")
if [ ${#names[@]} -eq 0 ]; then
	for source in tests/test_*.c; do
		name=${source#tests/test_}
		names+=("${name%.c}")
	done
fi
lib=$debs/root/usr/lib/$cross
if ! make -s -j"$(nproc)" OUT=$out CC=$cross-gcc UNWIND=0 CFLAGS="-O2 -g -isystem $debs/root/usr/include" \
	LDFLAGS="-L$lib" "${names[@]/#/$out/tests/test_}"; then
	echo "FAILED  build"
	echo "0 passed, 1 failed"
	exit 1
fi

passed=0
failed=0
# A program may fail in nothing but the tests that the emulator cannot run.
known() { # known NAME LOG
	local test
	awk -v name="$1" '$1 == name && $2 == "*"' tests/aarch64/not_emulated.txt | grep -q . &&
		return 0
	grep -q '^\[  FAILED  \] test_' "$2" || return 1
	# shellcheck disable=SC2013 # words are meant
	for test in $(sed -n 's/^\[  FAILED  \] \(test_[a-z0-9_]*\).*/\1/p' "$2" | sort -u); do
		awk -v name="$1" -v test="$test" '$1 == name && $2 == test' \
			tests/aarch64/not_emulated.txt | grep -q . || return 1
	done
}
cannot=0
for name in "${names[@]}"; do
	log=build/log/aarch64.test_$name
	start=$(date +%s)
	LAB_EMULATED=1 timeout 300 qemu-aarch64 -L /usr/$cross -E "LD_LIBRARY_PATH=$lib" \
		$out/tests/test_"$name" >"$log" 2>&1
	code=$?
	if [ $code -eq 0 ]; then
		passed=$((passed + 1))
		echo "ok      $name ($(($(date +%s) - start)) s)"
	elif [ $code -ne 124 ] && known "$name" "$log"; then
		cannot=$((cannot + 1))
		awk -v name="$name" '$1 == name { $1 = $2 = ""; print "cannot  " name ": " $0 }' \
			tests/aarch64/not_emulated.txt
	else
		failed=$((failed + 1))
		echo "FAILED  $name: ended with $code ($(($(date +%s) - start)) s)"
		grep -E 'must hold|ERROR|error:|FAILED' "$log" | head -n 12
	fi
done
echo "$cannot programs with tests that the emulator cannot run"
echo "$passed passed, $failed failed"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
