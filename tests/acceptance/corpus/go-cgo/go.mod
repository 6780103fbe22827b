module example.org/stamp

go 1.19
