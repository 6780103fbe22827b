%ifndef FLAT
section .rodata
%endif
built:	db __?DATE?__, " ", __?TIME?__, 0
posix:	dq __?POSIX_TIME?__
