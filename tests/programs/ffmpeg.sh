#!/bin/bash
# SPDX-License-Identifier: MIT
# Encoders, filters and frame threads; thousands of allocations before main().
# packages: ffmpeg
# timeout: 60
. "$(dirname "$0")/lib.sh"
need ffmpeg

# -bitexact and one encoder thread make the files comparable; the scaler and
# the demuxers keep their threads
media() {
	dir=$1
	shift
	mkdir "$dir"
	"$@" ffmpeg -nostdin -v error -y \
		-f lavfi -i testsrc=size=320x240:rate=25:duration=4 \
		-f lavfi -i sine=frequency=440:duration=4 \
		-c:v mpeg4 -threads 1 -c:a aac -bitexact -flags +bitexact "$dir/a.mp4"
	"$@" ffmpeg -nostdin -v error -y -i "$dir/a.mp4" \
		-vf scale=480:360,hflip,noise=alls=10:all_seed=1 \
		-c:v libx264 -preset veryfast -threads 1 -c:a copy \
		-bitexact -flags +bitexact "$dir/b.mkv"
	"$@" ffmpeg -nostdin -v error -y -i "$dir/b.mkv" -threads 4 \
		-f framemd5 "$dir/frames"
}
loaded_stdin ffmpeg -v quiet -f rawvideo -s 16x16 -i - -f null -
media want env
media got under
same got/a.mp4 want/a.mp4
same got/frames want/frames
equal "$(grep -c '^0,' got/frames)" 100 "video frames"
