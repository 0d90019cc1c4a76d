#!/bin/bash
# SPDX-License-Identifier: MIT
# Direct buffers from eight threads, a large heap, compiler threads; SIGSEGV
# is ordinary to this program.
# packages: default-jdk-headless
# timeout: 90
. "$(dirname "$0")/lib.sh"
need java javac

cat >Work.java <<'JAVA'
import java.nio.ByteBuffer;
import java.nio.file.*;
import java.util.*;
import java.util.zip.*;

public class Work {
	static long churn(int n) throws Exception {
		long sum = 0;
		ByteBuffer[] ring = new ByteBuffer[64];
		for (int i = 0; i < 3000; i++) {
			ByteBuffer b = ByteBuffer.allocateDirect(8192);
			b.putInt(0, i).putInt(8188, n);
			ByteBuffer old = ring[i % 64];
			if (old != null)
				sum += old.getInt(0) + old.getInt(8188);
			ring[i % 64] = b;
		}
		Deflater d = new Deflater();
		byte[] in = new byte[100000], out = new byte[200000];
		new Random(n).nextBytes(in);
		d.setInput(in);
		d.finish();
		int len = d.deflate(out);
		Inflater inf = new Inflater();
		inf.setInput(out, 0, len);
		byte[] back = new byte[100000];
		if (inf.inflate(back) != in.length || !Arrays.equals(in, back))
			throw new Exception("zlib");
		d.end();
		inf.end();
		return sum;
	}

	public static void main(String[] args) throws Exception {
		Files.write(Path.of("maps"), Files.readAllBytes(Path.of("/proc/self/maps")));
		long[] sums = new long[8];
		Thread[] threads = new Thread[8];
		for (int t = 0; t < 8; t++) {
			final int n = t;
			threads[t] = new Thread(() -> {
				try {
					sums[n] = churn(n);
				} catch (Exception e) {
					e.printStackTrace();
				}
			});
			threads[t].start();
		}
		for (Thread t : threads)
			t.join();
		HashMap<Integer, String> map = new HashMap<>();
		for (int i = 0; i < 1000000; i++)
			map.put(i * 7919 % 1000003, "v" + i);
		System.out.println(Arrays.toString(sums) + " " + map.size());
		Object gone = null;
		int caught = 0;
		for (int i = 0; i < 1000; i++)
			try {
				gone.hashCode();
			} catch (NullPointerException e) {
				caught++;
			}
		System.out.println(caught);
	}
}
JAVA
javac Work.java
java=(java -Xmx512m -XX:ErrorFile="$WORK/hs_err.log" -cp . Work)
"${java[@]}" >want
rm maps
under "${java[@]}" >got
loaded_maps maps
same got want
want=
for n in 0 1 2 3 4 5 6 7; do
	want+="${want:+, }$((2936 * 2935 / 2 + 2936 * n))"
done
equal "$(head -n 1 got | sed 's/].*/]/')" "[$want]" sums
[ ! -e hs_err.log ] || fail "$(head -n 40 hs_err.log)"
