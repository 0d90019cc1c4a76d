#!/bin/bash
# SPDX-License-Identifier: MIT
# A heap of its own by mmap and mprotect, whose write barrier is SIGSEGV; code
# compiled at run time, foreign calls, threads.
# packages: sbcl
# timeout: 120
. "$(dirname "$0")/lib.sh"
need sbcl

cat >work.lisp <<'LISP'
(with-open-file (in "/proc/self/maps")
  (with-open-file (out "maps" :direction :output)
    (loop for line = (read-line in nil) while line do (write-line line out))))
(defvar *table* (make-hash-table :test 'equal))
(dotimes (i 300000)
  (setf (gethash (format nil "k~d" (mod (* i 7919) 5003)) *table*)
        (make-string (mod i 200) :initial-element #\x)))
(gc :full t)
(let ((sum 0))
  (maphash (lambda (k v) (declare (ignore k)) (incf sum (length v))) *table*)
  (format t "~d ~d~%" (hash-table-count *table*) sum))
(dotimes (turn 100)
  (let ((f (compile nil `(lambda (x) (+ x ,turn)))))
    (assert (= (funcall f 1) (1+ turn)))))
(dotimes (i 20000)
  (let* ((len (* 4096 (1+ (mod i 17))))
         (at (sb-posix:mmap nil len (logior sb-posix:prot-read sb-posix:prot-write)
                            (logior sb-posix:map-private sb-posix:map-anon) -1 0)))
    (assert (zerop (sb-sys:sap-ref-8 at (1- len))))
    (setf (sb-sys:sap-ref-8 at 0) 1 (sb-sys:sap-ref-8 at (1- len)) 2)
    (sb-posix:munmap at len)))
(let ((threads (loop repeat 4 collect
                 (sb-thread:make-thread
                  (lambda () (let ((l nil)) (dotimes (i 200000) (push i l)) (length l)))))))
  (format t "~a~%" (mapcar #'sb-thread:join-thread threads)))
(gc :full t)
(format t "done~%")
LISP
run=(sbcl --noinform --non-interactive --no-sysinit --no-userinit --eval "(require :sb-posix)" --load work.lisp)
"${run[@]}" >want
rm maps
under "${run[@]}" >got
loaded_maps maps
same got want
equal "$(tail -n 1 got)" "done" "last line"
