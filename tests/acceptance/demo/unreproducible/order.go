// Prints a map's keys in the order of iteration, which Go makes random on purpose.
package main

import "fmt"

func main() {
	squares := map[int]int{}
	for number := 0; number < 64; number++ {
		squares[number] = number * number
	}
	for number := range squares {
		fmt.Print(number, " ")
	}
	fmt.Println()
}
