package main

var built string

func main() {
	println(built)
}
