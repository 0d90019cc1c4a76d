#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The manual: mandoc has nothing to say, every public function has a page whose
# prototype is the header's and no page one that is not there, every option is in
# labyrinth(7), every page has its sections, and every C program in EXAMPLES is
# compiled and run.
# Every message of the library is in labyrinth(7), and all names are installed.
#
# usage: check_man.sh [--lib BUILD-DIRECTORY]

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
lib=$root/build/release
case $1 in
--lib) lib=$(realpath "$2") ;;
'') ;;
*)
	echo "usage: $0 [--lib BUILD-DIRECTORY]" >&2
	exit 2
	;;
esac
cd "$root" || exit 2
passed=0
failed=0
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
log=$dir/log

# verdict NAME: passed if $log is empty
verdict() {
	if [ -s "$log" ]; then
		failed=$((failed + 1))
		echo "FAIL $1"
		sed 's/^/     /' "$log"
	else
		passed=$((passed + 1))
	fi
}

# for the preload object alone, see include/labyrinth_heap.h
private='labyrinth_step_aside labyrinth_option_deepbind labyrinth_option_atomic_handlers
labyrinth_section_enter labyrinth_section_leave labyrinth_section_jump'

# the same text for the same prototype
normal() {
	sed -e 's/[[:space:]][[:space:]]*/ /g' -e 's/ *\([*(),]\) */\1/g' -e 's/^ //' -e 's/ $//' |
		sort
}

# NAME PROTOTYPE of what the headers declare
declared() {
	sed -e ':join' -e '/\\$/{N;s/\\\n//;b join' -e '}' -e '/^#/d' include/*.h | ${CC:-cc} -fpreprocessed -E -P -x c - |
		tr '\n' ' ' | sed -e 's/extern "C" {//g' -e 's/LABYRINTH_HOT//g' | tr ';{}' '[\n*]' |
		grep -v -e '^ *typedef' -e '(\*' |
		sed -n -e 's/static inline //' \
			-e 's/^ *\([a-z].*[ *]labyrinth_[a-z0-9_]* *(.*)\) *$/\1/p' | normal
}

# the same of the SYNOPSIS of a page
documented() {
	awk '
	function word(text) { gsub(/^ *"?|"? *$/, "", text); return text }
	function out() { print type " " name "(" list ")"; list = "" }
	/^\.Sh / { inside = $2 == "SYNOPSIS" }
	!inside { next }
	/^\.Ft / { type = word(substr($0, 4)) }
	/^\.Fo / { name = $2; list = "" }
	/^\.Fa / { list = list (list == "" ? "" : ", ") word(substr($0, 4)) }
	/^\.Fc/ { out() }
	/^\.Fn / {
		name = $2
		line = $0
		sub(/^\.Fn [^ ]* */, "", line)
		gsub(/" +"/, ", ", line)
		list = word(line)
		out()
	}' "$1" | normal
}

names() { sed -n 's/^[^(]*[ *]\(labyrinth_[a-z0-9_]*\)(.*$/\1/p' | sort; }
named() { awk '/^\.Sh / { inside = $2 == "NAME" } inside && /^\.Nm / { print $2 }' "$1" | sort; }

# ---- lint, sections ----

for page in man/*.[137]; do
	# whether pages of others are installed here is no fault of ours; see "references" below
	mandoc -Tlint "$page" 2>&1 | grep -v -e 'STYLE: referenced manual not found' \
		-e '^mandoc: outdated mandoc.db' >"$log"
	verdict "lint: $page"
	case $page in
	*.1) sections='SYNOPSIS DESCRIPTION ENVIRONMENT EXIT_STATUS EXAMPLES DIAGNOSTICS SEE_ALSO' ;;
	*.3) sections='SYNOPSIS DESCRIPTION RETURN_VALUES EXAMPLES ERRORS ATTRIBUTES SEE_ALSO' ;;
	*/labyrinth.7) sections='SYNOPSIS DESCRIPTION OPTIONS EXAMPLES DIAGNOSTICS ATTRIBUTES SEE_ALSO' ;;
	*) sections='SYNOPSIS DESCRIPTION EXAMPLES ATTRIBUTES SEE_ALSO' ;;
	esac
	for section in NAME $sections; do
		grep -q -x "\.Sh ${section/_/ }" "$page" || echo "no section ${section/_/ }"
	done >"$log"
	verdict "sections: $page"
done

# ---- prototypes ----

declared >"$dir/declared"
for page in man/*.3; do documented "$page"; done | sort >"$dir/documented"
names <"$dir/declared" >"$dir/names"
for name in $private; do
	grep -q -x "$name" "$dir/names" || echo "$name is declared private here, and is in no header"
done >"$log"
[ "$(wc -l <"$dir/names")" -ge 60 ] || echo "the headers were not understood" >>"$log"
# shellcheck disable=SC2086 # a list of words
printf '%s\n' $private >"$dir/private"
grep -v -w -F -f "$dir/private" "$dir/declared" |
	comm -3 - "$dir/documented" |
	sed -e 's/^\t/only in man:     /' -e t -e 's/^/only in include: /' >>"$log"
verdict "prototypes: the headers' and the pages'"
for page in man/*.3; do
	[ "$page" = man/labyrinth.3 ] && continue
	documented "$page" | names | comm -3 - <(named "$page") |
		sed "s|^|$page: NAME and SYNOPSIS differ: |"
done >"$log"
verdict "names: each function of a SYNOPSIS is in NAME"
man/list.sh | awk '{ print $2, $1 }' | sort -u >"$dir/pages"
sed -n 's/^\.\(It \)\{0,1\}Xr \(labyrinth[a-z0-9_]* [0-9]\).*/\2/p' man/*.[137] | sort -u |
	comm -23 - "$dir/pages" | sed 's/^/no such page: /' >"$log"
verdict "references"

# ---- options ----

sed -n 's/^[[:space:]]*X(\([a-z_]*\), .*/\1/p' src/api/option_keys.h | sort >"$dir/keys"
sed -n '/^\.Sh OPTIONS/,/^\.Sh EXAMPLES/s/^\.It Cm \([a-z_]*\).*/\1/p' man/labyrinth.7 | sort |
	comm -3 "$dir/keys" - |
	sed -e 's/^\t/no such option: /' -e t -e 's/^/not in labyrinth.7: /' >"$log"
[ "$(wc -l <"$dir/keys")" -ge 10 ] || echo "option_keys.h was not understood" >>"$log"
verdict "options: those of option_keys.h"

# ---- messages ----

# literals that adjoin are one; of these, what ends in a message's text
cat src/*/*.c preload/signals.c | grep -v '^#' | tr '\n' ' ' | sed -e 's/\\"//g' -e 's/"[[:space:]]*"//g' |
	grep -o -E '(lab_bug|broken|lab_warn_once|complain|say|say_why|put_which|lab_line_str)\([^"();]*"[^"]*"|static const char (text|inside)\[\] = "[^"]*"' |
	sed -e 's/^[^"]*"//' -e 's/"$//' -e 's/\\n$//' -e 's/^[ :;,]*//' -e 's/[ :;,]*\\*$//' |
	grep -E '[a-z]{3}.* .*[a-z]{3}' | sort -u >"$dir/messages"
tr '\n' ' ' <man/labyrinth.7 | sed 's/\\&//g' >"$dir/text"
[ "$(wc -l <"$dir/messages")" -ge 30 ] || echo "the messages were not found" >"$dir/few"
while read -r text; do
	grep -q -F -e "$text" "$dir/text" || echo "not in labyrinth.7: $text"
done <"$dir/messages" | cat - "$dir"/few* >"$log" 2>/dev/null
verdict "messages: each is in labyrinth.7"

# what the program labyrinth says is in labyrinth.1: of each format the words between conversions
tr '\n' ' ' <man/labyrinth.1 | sed -e 's/\\-/-/g' >"$dir/text1"
cat src/tool/*.c | tr '\n' ' ' | sed -e 's/\\"//g' -e 's/"[[:space:]]*"//g' |
	grep -o -E 'tool_die\([A-Za-z_]*,[[:space:]]*"[^"]*"' | sed -e 's/^[^"]*"//' -e 's/"$//' -e 's/%[a-z]*/\n/g' |
	sed -e 's/^[ :;,()=]*//' -e 's/[ :;,()=]*$//' | grep -E '[a-z]{2}.* .*[a-z]{3}' | sort -u >"$dir/tool"
: >"$log"
[ "$(wc -l <"$dir/tool")" -ge 5 ] || echo "the tool's messages were not found" >"$log"
while read -r text; do
	grep -q -F -e "$text" "$dir/text1" || echo "not in labyrinth.1: $text"
done <"$dir/tool" >>"$log"
verdict "messages: the tool's are in labyrinth.1"

# ---- examples ----

ln -s "$lib/liblabyrinth.so" "$dir/liblabyrinth.so.1"
for page in man/*.[137]; do
	base=$dir/$(basename "$page" | tr . _)
	awk -v base="$base" '
	/^\.Sh / { inside = $2 == "EXAMPLES" }
	inside && /^\.Bd -literal/ { on = 1; text = ""; next }
	on && /^\.Ed/ {
		on = 0
		if (text ~ /int[ \n]main/)
			printf "%s", text >(base "_" ++n ".c")
		next
	}
	on { text = text $0 "\n" }' "$page"
	for source in "$base"_*.c; do
		[ -e "$source" ] || continue
		# roff: a backslash is written \e, and \& is nothing
		sed -i -e 's/\\&//g' -e 's/\\e/\\/g' "$source"
		name="example: $page $(basename "$source" .c | sed 's/.*_//')"
		if ${CC:-cc} -std=gnu11 -Wall -Wextra -Werror -Iinclude -o "$source.run" "$source" \
			-L"$lib" -llabyrinth >"$log" 2>&1; then
			LD_LIBRARY_PATH=$dir timeout -k 5 60 "$source.run" >"$log" 2>&1 </dev/null
			code=$?
			if [ $code = 0 ]; then : >"$log"; else echo "exit code $code" >>"$log"; fi
		else
			echo "does not compile" >>"$log"
		fi
		verdict "$name"
	done
	case $page in
	*.3) [ -e "${base}_1.c" ] || echo "no C program in EXAMPLES" ;;
	esac >"$log"
	[ ! -s "$log" ] || verdict "example: $page"
done

# ---- installed ----

mkdir "$dir/root"
make --no-print-directory install DESTDIR="$dir/root" PREFIX=/usr >"$log" 2>&1 && : >"$log"
(
	cd "$dir/root/usr/share/man" || exit
	while read -r name section; do
		mandoc -Tmarkdown "man$section/$name.$section" 2>&1 | grep -q '^# NAME' ||
			echo "man$section/$name.$section cannot be read"
	done <"$dir/pages"
	find . ! -type d -printf '%f\n' | sed 's/\.\(.\)$/ \1/' | sort | comm -3 - "$dir/pages"
) >>"$log" 2>&1
verdict "installed: a page or a link for each name"
make --no-print-directory uninstall DESTDIR="$dir/root" PREFIX=/usr >"$log" 2>&1 && : >"$log"
find "$dir/root" ! -type d >>"$log"
verdict "uninstalled: nothing is left"

echo "manual: $(find man -name '*.[137]' | wc -l) pages, $passed passed, $failed failed"
[ $failed = 0 ]
