(load (compile-file "stamp.lisp"))
(sb-ext:save-lisp-and-die "out/stamp.core" :toplevel #'stamp)
