#!/bin/bash
# SPDX-License-Identifier: MIT
# Strings, threads, forks, a compacting collector with its own mappings.
# packages: ruby
# timeout: 60
. "$(dirname "$0")/lib.sh"
need ruby

cat >work.rb <<'RB'
require 'digest'
File.write('maps', File.read('/proc/self/maps'))
strings = (0...100_000).map { |i| ((i * 7919) % 100_003).to_s(36) * (1 + i % 40) }
puts Digest::SHA256.hexdigest(strings.sort.join(','))
sums = (0...6).map do |n|
  Thread.new do
    ring = Array.new(200)
    (0...30_000).sum { |i| ring[i % 200] = 'x' * (i * 31 % 2000 + n); ring[i * 7 % (i % 200 + 1)].size }
  end
end
good = (0...20).count do |i|
  pid = fork { exit!((0...5000).map(&:to_s).join.size == 18_890) }
  Process.wait(pid)
  $?.success?
end
puts sums.map(&:value).join(' ')
puts "children #{good}"
hash = strings.each_slice(2).to_h
strings = nil
GC.compact
puts hash.size, Digest::SHA256.hexdigest(hash.to_a.flatten.join(','))
RB
ruby work.rb >want
rm maps
under ruby work.rb >got
loaded_maps maps
same got want
grep -qx 'children 20' got || fail "$(cat got)"
