#!/bin/bash
# SPDX-License-Identifier: MIT
# Strings, sort, json and preg over malloc; opcache comes by RTLD_DEEPBIND.
# packages: php-cli
# timeout: 60
. "$(dirname "$0")/lib.sh"
need php

cat >work.php <<'PHP'
<?php
copy('/proc/self/maps', 'maps');
if (!extension_loaded('Zend OPcache')) { echo "no opcache\n"; exit(1); }
$a = [];
for ($i = 0; $i < 400000; $i++) {
	$a[] = md5((string)(($i * 7919) % 400009)) . str_repeat('x', $i % 50);
}
sort($a);
$sum = hash_init('sha256');
foreach ($a as $s) { hash_update($sum, $s); }
echo hash_final($sum), "\n";
$j = json_decode(json_encode(array_slice($a, 0, 100000)), true);
echo count($j), ' ', $j[99999] === $a[99999] ? 'same' : 'differ', "\n";
echo preg_match_all('/[0-9a-f]{4}(x+)/', implode(' ', $j), $m), "\n";
unset($a, $j, $m);
echo "done\n";
PHP
USE_ZEND_ALLOC=0 php -d memory_limit=-1 -d opcache.enable_cli=1 work.php >want
rm maps
USE_ZEND_ALLOC=0 under php -d memory_limit=-1 -d opcache.enable_cli=1 work.php >got
loaded_maps maps
same got want
equal "$(tail -n 1 got)" "done" "last line"
