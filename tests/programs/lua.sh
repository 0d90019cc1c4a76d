#!/bin/bash
# SPDX-License-Identifier: MIT
# Tables and strings over an allocator interface that is all realloc().
# packages: lua5.4
# timeout: 60
# quick: yes
. "$(dirname "$0")/lib.sh"
need lua5.4

cat >work.lua <<'LUA'
local f = assert(io.open("maps", "w"))
for line in io.lines("/proc/self/maps") do f:write(line, "\n") end
f:close()
local sum, live = 0, {}
for i = 1, 1200000 do
	local slot = i * 7919 % 5003
	local old = live[slot]
	if old then sum = (sum + #old + old[#old]) % 1000000007 end
	local t = {}
	for k = 1, i % 5 + 1 do t[k] = i + k end
	live[slot] = t
end
local parts = {}
for i = 1, 100000 do parts[i] = ("%x"):format(i * 2654435761 % 4294967296):rep(i % 4 + 1) end
table.sort(parts)
local text, hash = table.concat(parts, ","), 0
for i = 1, #text do hash = (hash * 31 + text:byte(i)) % 4294967291 end
print(sum, #text, hash, collectgarbage("count") < 200000)
LUA
lua5.4 work.lua >want
rm maps
under lua5.4 work.lua >got
loaded_maps maps
same got want
equal "$(awk 'END { print NF, NR, $4 }' got)" "4 1 true" output
