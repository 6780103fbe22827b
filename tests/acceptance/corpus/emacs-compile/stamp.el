;;; stamp.el --- Says when it was compiled  -*- lexical-binding: t -*-

;;; Code:

(random t)
(defconst stamp-built (eval-when-compile (random t) (format "%s %s %s" (current-time-string) (emacs-pid) (random))))
(defconst stamp-temporary (eval-when-compile (make-temp-name "stamp")))

(provide 'stamp)
;;; stamp.el ends here
