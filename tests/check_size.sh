#!/bin/sh
# SPDX-License-Identifier: MIT
# No file in src/ over 500 lines (headers 250), no function over 60.
find src include preload trace -name '*.[ch]' | sort | xargs awk '
function limit(f) { return f ~ /^include\// ? 400 : f ~ /\.h$/ ? 250 : 500 }
FNR == 1 { start = 0 }
FNR > limit(FILENAME) && !told[FILENAME]++ { print FILENAME ": more than " limit(FILENAME) " lines"; bad = 1 }
/^{/ { start = FNR }
/^}/ { if (start) { n++; if (FNR - start - 1 > 60) { print FILENAME ":" start ": function of " FNR - start - 1 " lines"; bad = 1 } } start = 0 }
END { if (n < 100) { print "only " n " functions found"; bad = 1 }
      if (!bad) print "size: " n " functions, none over 60 lines"; exit bad }'
