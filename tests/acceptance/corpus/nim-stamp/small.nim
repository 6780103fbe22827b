const id = staticExec("cat /proc/sys/kernel/random/uuid")

echo CompileDate, " ", CompileTime, " ", id
