#!/bin/bash
# SPDX-License-Identifier: MIT
# Scripted edits of 60,000 lines, collections, a subprocess; dumped heap.
# packages: emacs-nox
# timeout: 60
. "$(dirname "$0")/lib.sh"
need emacs

seq 1 60000 | awk '{ print ($1 * 7919) % 60013, "word" $1 % 97, $1 }' >text
cat >work.el <<'EL'
(call-process "cp" nil nil nil (format "/proc/%d/maps" (emacs-pid)) "maps")
(with-temp-buffer
  (insert-file-contents "text")
  (while (re-search-forward "word\\([0-9]+\\)" nil t)
    (replace-match "w\\1w"))
  (let ((before (buffer-string)))
    (buffer-enable-undo)
    (goto-char (point-min))
    (flush-lines "^1")
    (primitive-undo 1 buffer-undo-list)
    (garbage-collect)
    (erase-buffer)
    (insert before))
  (sort-numeric-fields 1 (point-min) (point-max))
  (write-region nil nil "got"))
(let ((table (make-hash-table :test 'equal)) (sum 0))
  (dotimes (i 200000)
    (puthash (format "k%d" (% (* i 7919) 5003)) (make-string (% i 200) ?x) table))
  (garbage-collect)
  (maphash (lambda (_ v) (setq sum (+ sum (length v)))) table)
  (princ (format "%d %d %s" (hash-table-count table) sum
                 (string-trim (shell-command-to-string "echo child")))))
EL
emacs --batch -Q -l subr-x -l work.el >want.out
rm maps got
under emacs --batch -Q -l subr-x -l work.el >got.out
loaded_maps maps
sed 's/word\([0-9]*\)/w\1w/' text | sort -n -s >want
same got want
same got.out want.out
grep -q '^5003 .* child$' got.out || fail "$(cat got.out)"
