// gopure: what a pure Go program sees: clock, monotonic difference, map order, both random sources.
package main

import (
	crypto "crypto/rand"
	"fmt"
	"math/rand"
	"os"
	"runtime"
	"time"
)

func main() {
	start := time.Now()
	fmt.Println(start.UnixNano(), time.Now().UnixNano())
	fmt.Println(time.Since(start) >= 0, runtime.NumCPU(), os.Getpid())
	table := map[int]bool{}
	for i := 0; i < 40; i++ {
		table[i] = true
	}
	for round := 0; round < 3; round++ {
		for key := range table {
			fmt.Print(key, " ")
		}
		fmt.Println()
	}
	bytes := make([]byte, 16)
	if _, err := crypto.Read(bytes); err != nil {
		fmt.Println(err)
	}
	fmt.Printf("%x\n", bytes)
	rand.Seed(time.Now().UnixNano())
	fmt.Println(rand.Int63())
	fmt.Println(os.Hostname())
}
