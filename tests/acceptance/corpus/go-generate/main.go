package main

import "fmt"

//go:generate go run ./maketable table.go

func main() {
	fmt.Println(made)
	for _, colour := range colours {
		fmt.Println(colour)
	}
}
