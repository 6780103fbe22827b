(defparameter *built* #.(get-universal-time))
(defparameter *random* #.(random (expt 2 64) (make-random-state t)))
(defun stamp () (format t "~a ~a~%" *built* *random*))
