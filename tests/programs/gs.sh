#!/bin/bash
# SPDX-License-Identifier: MIT
# PostScript to PNG and to PDF and back: own chunk allocator, fonts.
# packages: ghostscript
# timeout: 60
. "$(dirname "$0")/lib.sh"
need gs

cat >page.ps <<'PS'
%!PS
/line { 72 exch moveto show } def
1 1 6 {
	/page exch def
	/Times-Roman findfont 11 scalefont setfont
	0 1 40 {
		/n exch def
		n 41 div 0.3 1 sethsbcolor
		(The quick brown fox jumps over the lazy dog 0123456789) 720 n 16 mul sub line
	} for
	gsave 300 400 translate
	0 5 355 {
		gsave dup rotate 360 div 1 0.8 sethsbcolor
		newpath 20 0 moveto 150 20 200 page 10 mul 220 0 curveto closepath fill
		grestore
	} for
	grestore
	showpage
} for
PS
loaded_stdin gs -q -dNODISPLAY -
gs=(gs -q -dSAFER -dBATCH -dNOPAUSE)
render() {
	dir=$1
	shift
	mkdir "$dir"
	"$@" "${gs[@]}" -sDEVICE=png16m -r100 -sOutputFile="$dir/%d.png" page.ps
	"$@" "${gs[@]}" -sDEVICE=pdfwrite -sOutputFile="$dir/page.pdf" page.ps
	"$@" "${gs[@]}" -sDEVICE=ppmraw -r60 -sOutputFile="$dir/%d.ppm" "$dir/page.pdf"
}
render want env
render got under
for n in 1 2 3 4 5 6; do
	same got/$n.png want/$n.png
	same got/$n.ppm want/$n.ppm
done
[ "$(wc -c <got/1.png)" -gt 10000 ] || fail "an empty page"
