#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Build the Debian packages in build/deb with dpkg's tools, and hold them to lintian.
# usage: build.sh VERSION
set -eu
cd "$(dirname "$0")/../.."
top=$PWD/build/deb
tree=$top/labyrinth-$1
version=$(sed -n '1s/.*(\(.*\)-.*).*/\1/p' preload/debian/changelog)
[ "$version" = "$1" ] || {
	echo "preload/debian/changelog is of version $version, the headers of $1" >&2
	exit 1
}
rm -rf "$top"
mkdir -p "$tree"
# the tree, without what was built or belongs to git
tar -c --exclude=./build --exclude='./.*' . | tar -x -C "$tree"
mv "$tree/preload/debian" "$tree/debian"
sed -e 's/^$/./' -e 's/^/ /' LICENSE >>"$tree/debian/copyright"
cd "$tree"
dpkg-buildpackage -b -us -uc -j"$(nproc)" >"$top/build.log" 2>&1 || {
	tail -n 40 "$top/build.log"
	exit 1
}
cd "$top"
lintian --allow-root --fail-on info,warning,error --display-info ./*.changes
echo "lintian: silent; exceptions are explained in preload/debian/*.lintian-overrides"
ls -l ./*.deb | awk '{ print $5, $NF }'
