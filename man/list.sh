#!/bin/sh
# SPDX-License-Identifier: MIT
# SECTION NAME PAGE of each name in the manual: a page's own, and those of its NAME.
cd "$(dirname "$0")" || exit 1
for page in *.[137]; do
	section=${page##*.}
	{
		echo "${page%.*}"
		awk '/^\.Sh / { inside = $2 == "NAME" } inside && /^\.Nm / { print $2 }' "$page"
	} | sort -u | sed -e "s/^/$section /" -e "s/\$/ $page/"
done
