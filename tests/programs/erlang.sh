#!/bin/bash
# SPDX-License-Identifier: MIT
# Twenty processes of binaries and terms; carriers straight from mmap.
# packages: erlang-base
# timeout: 60
. "$(dirname "$0")/lib.sh"
need erl erlc

cat >work.erl <<'ERL'
-module(work).
-export([main/0]).

churn(_, 0, Live, Sum) -> {length(Live), Sum};
churn(N, I, Live, Sum) ->
	B = binary:copy(<<N, I:32>>, 1 + I rem 400),
	Kept = lists:sublist([B | Live], 50),
	T = term_to_binary({I, Kept}),
	{I, Back} = binary_to_term(T),
	churn(N, I - 1, Back, (Sum + byte_size(T)) rem 1000003).

main() ->
	{ok, Maps} = file:read_file("/proc/self/maps"),
	ok = file:write_file("maps", Maps),
	Me = self(),
	[spawn_link(fun() -> Me ! {N, churn(N, 1500, [], 0)} end) || N <- lists:seq(1, 20)],
	Sums = [receive {N, S} -> S end || N <- lists:seq(1, 20)],
	Tab = ets:new(t, [ordered_set]),
	[ets:insert(Tab, {I * 7919 rem 100003, integer_to_list(I)}) || I <- lists:seq(1, 100000)],
	Text = zlib:compress(term_to_binary(ets:tab2list(Tab))),
	io:format("~p ~p ~p~n", [Sums, ets:info(Tab, size), erlang:md5(zlib:uncompress(Text))]).
ERL
erlc work.erl
export ERL_CRASH_DUMP="$WORK/crash.dump" HOME="$WORK"
erl -noshell -noinput -s work main -s init stop >want
rm maps
under erl -noshell -noinput -s work main -s init stop >got
loaded_maps maps
same got want
equal "$(tr -d ' \n' <got | grep -o '{50,' | wc -l)" 20 processes
[ ! -e crash.dump ] || fail "$(head -n 20 crash.dump)"
