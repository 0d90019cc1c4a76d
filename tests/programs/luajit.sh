#!/bin/bash
# SPDX-License-Identifier: MIT
# Traces compiled to machine code (mmap, mprotect), FFI callbacks in pages of
# their own, FFI calls of mmap() and munmap() themselves.
# packages: luajit
# timeout: 60
# quick: yes
. "$(dirname "$0")/lib.sh"
need luajit

cat >work.lua <<'LUA'
local ffi = require("ffi")
ffi.cdef [[
void *mmap(void *at, size_t len, int prot, int flags, int fd, long offset);
int munmap(void *at, size_t len);
int mprotect(void *at, size_t len, int prot);
void qsort(void *base, size_t n, size_t size, int (*cmp)(const int *, const int *));
]]
local f = assert(io.open("maps", "w"))
for line in io.lines("/proc/self/maps") do f:write(line, "\n") end
f:close()
local C, sum = ffi.C, 0
for turn = 1, 200000 do
	local len = 4096 * (turn % 17 + 1)
	local p = ffi.cast("uint8_t *", C.mmap(nil, len, 3, 0x22, -1, 0))
	assert(p[0] == 0 and p[len - 1] == 0)
	p[0], p[len - 1] = turn % 256, 1
	sum = sum + p[0]
	if turn % 5 == 0 then assert(C.mprotect(p, 4096, 1) == 0 and p[0] == turn % 256) end
	assert(C.munmap(p, len) == 0)
end
-- callbacks live in executable pages; each is made and dropped
for turn = 1, 400 do
	local a = ffi.new("int[100]")
	for i = 0, 99 do a[i] = i * 7919 % 101 end
	local cb = ffi.cast("int (*)(const int *, const int *)",
		function(x, y) return x[0] - y[0] end)
	C.qsort(a, 100, 4, cb)
	cb:free()
	for i = 1, 99 do assert(a[i - 1] <= a[i]) end
	sum = sum + a[turn % 100]
end
-- many traces, flushed again and again
for turn = 1, 60 do
	local code = ("local s = 0 for i = 1, 20000 do s = (s + i * %d) %% 65521 end return s"):format(turn)
	sum = sum + assert(loadstring(code))()
	if turn % 20 == 0 then jit.flush() end
end
print(jit.status(), sum)
LUA
luajit work.lua >want
rm maps
under luajit work.lua >got
loaded_maps maps
same got want
equal "$(awk '{ print $1 }' got)" true "compiler on"
