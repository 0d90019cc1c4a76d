#!/bin/bash
# SPDX-License-Identifier: MIT
# Keys, a certificate, CMS both ways, speed in two processes; secure heap.
# packages: openssl
# timeout: 60
. "$(dirname "$0")/lib.sh"
need openssl

loaded_stdin openssl dgst -sha256
seq 1 300000 >text
want=$(sha256sum <text | cut -d' ' -f1)
equal "$(under openssl dgst -sha256 -r text)" "$want *text" digest
under openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=lab -days 2 \
	-keyout key.pem -out cert.pem
equal "$(under openssl x509 -in cert.pem -noout -subject)" "subject=CN = lab" subject
under openssl verify -CAfile cert.pem cert.pem >verify.out
grep -qx 'cert.pem: OK' verify.out || fail "$(cat verify.out)"
under openssl cms -encrypt -binary -aes-256-cbc -in text -outform DER -out text.cms cert.pem
under openssl cms -decrypt -binary -inform DER -in text.cms -recip cert.pem \
	-inkey key.pem -out text.out
same text.out text
under openssl cms -sign -binary -nodetach -in text -signer cert.pem -inkey key.pem \
	-outform DER -out text.sig
# openssl without the preload must agree
openssl cms -verify -binary -inform DER -in text.sig -CAfile cert.pem \
	-purpose any -out text.back 2>/dev/null
same text.back text
under openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ec.pem
under openssl dgst -sha256 -sign ec.pem -out sig text
openssl pkey -in ec.pem -pubout -out ec.pub
equal "$(under openssl dgst -sha256 -verify ec.pub -signature sig text)" "Verified OK" signature
under openssl speed -seconds 1 -bytes 1024 -multi 2 sha256 >speed.out
grep -q '^sha256 ' speed.out || fail "$(cat speed.out)"
