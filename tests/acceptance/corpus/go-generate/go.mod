module example.org/colours

go 1.19
