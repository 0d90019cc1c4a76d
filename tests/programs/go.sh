#!/bin/bash
# SPDX-License-Identifier: MIT
# Goroutines in C.malloc: foreign threads, SIGURG that preempts C code.
# packages: golang-go gcc libc6-dev
# timeout: 180
. "$(dirname "$0")/lib.sh"
need go gcc

cat >work.go <<'GO'
package main

/*
#include <stdlib.h>
#include <string.h>
static int use(unsigned char *p, size_t n, int tag)
{
	memset(p, tag, n);
	return p[0] == tag && p[n - 1] == tag;
}
*/
import "C"
import (
	"fmt"
	"os"
	"sync"
	"unsafe"
)

func main() {
	maps, _ := os.ReadFile("/proc/self/maps")
	os.WriteFile("maps", maps, 0o644)
	var wg sync.WaitGroup
	good := make([]int, 16)
	for g := 0; g < 16; g++ {
		wg.Add(1)
		go func(g int) {
			defer wg.Done()
			var ring [32]unsafe.Pointer
			for i := 0; i < 20000; i++ {
				n := C.size_t(1 + (i*31+g)%5000)
				p := C.malloc(n)
				good[g] += int(C.use((*C.uchar)(p), n, C.int(g+1)))
				if old := ring[i%32]; old != nil {
					if *(*byte)(old) != byte(g+1) {
						fmt.Println("overwritten")
					}
					C.free(old)
				}
				ring[i%32] = p
				if i%1000 == 0 {
					_ = make([]byte, 1<<20)
				}
			}
			for _, p := range ring {
				C.free(p)
			}
		}(g)
	}
	wg.Wait()
	sum := 0
	for _, n := range good {
		sum += n
	}
	fmt.Println("good", sum)
}
GO
export CGO_ENABLED=1 GOCACHE="$WORK/cache" GOPATH="$WORK/path" GOFLAGS='' HOME="$WORK" \
	GO111MODULE=off GOTOOLCHAIN=local
go build -o work work.go
under ./work >got
loaded_maps maps
equal "$(cat got)" "good 320000" output
